"""Events → an OpenAI Responses stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

import orjson

from gateway.dialects.base import Json, Stamp
from gateway.dialects.responses.failures import stream_error
from gateway.dialects.responses.output import NO_ARGUMENTS, Spelling, is_told, spell_annotations, spell_part
from gateway.neutral import events as ev
from gateway.neutral import request as rq
from gateway.neutral.events import BlockKind
from gateway.neutral.response import Block, block_of
from gateway.wire import sse

KEEP_ALIVE: Final = b": keep-alive\n\n"


@dataclass(frozen=True, slots=True)
class _Form:
    """How the content of a block is told: `response.NAME.delta` and `.done`, the latter with the whole in `field`.

    `part` begins the names of the events around it, where it is a part of its item, whose number is called `index`.
    """

    name: str
    field: str
    part: str = ""
    index: str = ""


_TEXT: Final = _Form("output_text", "text", "content_part", "content_index")
_REFUSAL: Final = _Form("refusal", "refusal", "content_part", "content_index")
_SUMMARY: Final = _Form("reasoning_summary_text", "text", "reasoning_summary_part", "summary_index")
_THOUGHT: Final = _Form("reasoning_text", "text", "content_part", "content_index")
_FUNCTION: Final = _Form("function_call_arguments", "arguments")
_CUSTOM: Final = _Form("custom_tool_call_input", "input")
_LOGPROBS: Final[Json] = {"logprobs": []}


class _Item:
    """The block that is open, and its place in the output. The whole text is kept: the end repeats it."""

    __slots__ = ("after", "before", "block", "form", "fragments", "id", "index", "place")

    def __init__(self, block: Block, item_id: str, index: int) -> None:
        self.block = block
        self.id = item_id
        self.index = index
        self.fragments: list[str] = []
        self.form: _Form | None = None
        self.place: Json = {"item_id": item_id, "output_index": index}
        self.before = self.after = b""

    def open(self, form: _Form) -> None:
        """What is the same in every delta to come is spelled once."""
        self.form = form
        if form.index:
            self.place[form.index] = 0
        name = f"response.{form.name}.delta"
        head = orjson.dumps({"type": name, **self.place})[:-1]
        self.before = b'event: %s\ndata: %s,"delta":' % (name.encode(), head)
        self.after = (b',"logprobs":[]' if form is _TEXT else b"") + b',"sequence_number":'

    def whole(self) -> Block:
        """The block with what came of its text."""
        self.block.text = "".join(self.fragments)
        return self.block


class Encoder:
    """Events → response events (`openai-responses.md` §5, the grammar). One item a block; `Finish` is held until `End`
    brings usage, as the last event repeats everything.
    """

    media_type = "text/event-stream"
    tells_failure = True
    keep_alive = KEEP_ALIVE

    def __init__(self, request: rq.Request, stamp: Stamp) -> None:
        self._spelling = Spelling(request, stamp)
        self._number = 0
        self._origin = ""
        self._is_started = False
        self._item: _Item | None = None
        self._output: list[Json] = []
        self._usage = ev.Usage()
        self._finish: ev.Finish | None = None

    def encode(self, events: Sequence[ev.Event]) -> bytes:
        """The frames these events make."""
        if len(events) == 1:
            return self._encode(events[0])
        return b"".join([self._encode(event) for event in events])

    def _encode(self, event: ev.Event) -> bytes:
        match event:
            case ev.TextDelta() | ev.RefusalDelta():
                return self._delta(event.text)
            case ev.ArgsDelta():
                return self._delta(event.fragment)
            case ev.ReasoningDelta():
                return self._reasoning_delta(event)
            case ev.Usage():
                self._usage = self._usage.merged(event)
                return b""
            case ev.Start():
                return self._start(event)
            case _:
                return self._encode_edge(event)

    def _encode_edge(self, event: ev.EdgeEvent) -> bytes:
        match event:
            case ev.BlockStart():
                return self._block_start(event)
            case ev.BlockStop():
                return self._block_stop()
            case ev.ReasoningSignature() | ev.Citation():
                return self._note(event)
            case ev.Finish():
                self._finish = event
                return b""
            case ev.End():
                return self._end()
            case ev.Ping():
                return self.keep_alive
            case ev.Failed():
                return self._failed(event)
            case _:
                assert_never(event)

    def _delta(self, text: str) -> bytes:
        item, number = self._item, self._number
        if item is None:
            return b""
        self._number = number + 1
        item.fragments.append(text)
        return item.before + orjson.dumps(text) + item.after + b"%d}\n\n" % number

    def _frame(self, name: str, **body: Any) -> bytes:
        kind = f"response.{name}"
        number, self._number = self._number, self._number + 1
        return sse.write(orjson.dumps({"type": kind, **body, "sequence_number": number}), kind.encode())

    def _start(self, start: ev.Start) -> bytes:
        self._is_started = True
        self._origin = start.origin
        self._usage = self._usage.merged(start.usage or ev.Usage())
        response = self._spelling.response("in_progress", [])
        return self._frame("created", response=response) + self._frame("in_progress", response=response)

    # -- items -------------------------------------------------------------------------------------------------------

    def _block_start(self, event: ev.BlockStart) -> bytes:
        block, index = block_of(event), len(self._output)
        if not is_told(block):
            return b""
        item = self._item = _Item(block, self._spelling.item_id(block, index), index)
        added = self._frame("output_item.added", output_index=index, item=self._spelling.begun(block, index))
        match event.kind:
            case BlockKind.TEXT:
                return added + self._open(item, _TEXT)
            case BlockKind.REFUSAL:
                return added + self._open(item, _REFUSAL)
            case BlockKind.TOOL:
                return added + self._open(item, _CUSTOM if event.call_kind == "custom" else _FUNCTION)
            case _:
                return added

    def _open(self, item: _Item, form: _Form) -> bytes:
        item.open(form)
        if not form.part:
            return b""
        return self._frame(f"{form.part}.added", **item.place, part=_part(item, form))

    def _reasoning_delta(self, event: ev.ReasoningDelta) -> bytes:
        """The first one decides whether the item holds a summary, or what the model really thought."""
        item = self._item
        if item is None or item.form is not None:
            return self._delta(event.text)
        item.block.is_summary = self._spelling.is_summary(event)
        return self._open(item, _SUMMARY if item.block.is_summary else _THOUGHT) + self._delta(event.text)

    def _note(self, event: ev.ReasoningSignature | ev.Citation) -> bytes:
        """Told with the end of the item: a signature seals all of it, a citation may speak of all of it."""
        if self._item is not None:
            block = self._item.block
            if isinstance(event, ev.ReasoningSignature):
                block.signature = event.value
            else:
                block.citations.append(event)
        return b""

    def _block_stop(self) -> bytes:
        item = self._item
        if item is None:
            return b""
        ending = b"" if item.fragments or item.form is not _FUNCTION else self._delta(NO_ARGUMENTS)
        self._item = None
        finished = self._spelling.item(item.whole(), item.index, self._origin)
        self._output.append(finished)
        if item.form is not None:
            ending += self._close(item, item.form)
        return ending + self._frame("output_item.done", output_index=item.index, item=finished)

    def _close(self, item: _Item, form: _Form) -> bytes:
        """The events that repeat what was told in pieces."""
        block = item.block
        ending = b""
        if form is _TEXT:
            for number, annotation in enumerate(spell_annotations(block)):
                place = {**item.place, "annotation_index": number}
                ending += self._frame("output_text.annotation.added", **place, annotation=annotation)
        whole = {form.field: block.text} | (_LOGPROBS if form is _TEXT else {})
        ending += self._frame(f"{form.name}.done", **item.place, **whole)
        if form.part:
            ending += self._frame(f"{form.part}.done", **item.place, part=_part(item, form))
        return ending

    # -- ends --------------------------------------------------------------------------------------------------------

    def _end(self) -> bytes:
        if self._finish is None:
            return b""
        response = self._spelling.ended(self._finish, self._output, self._usage)
        return self._frame(response["status"], response=response)

    def _failed(self, failed: ev.Failed) -> bytes:
        """With what came of the answer. A stream that breaks before it began begins first: clients want that order."""
        beginning = b"" if self._is_started else self._start(ev.Start())
        output = self._output
        if self._item is not None:
            item = self._item
            output = [*output, self._spelling.item(item.whole(), item.index, self._origin, "incomplete")]
        response = self._spelling.response("failed", output, error=stream_error(failed.error))
        return beginning + self._frame("failed", response=response)


def _part(item: _Item, form: _Form) -> Json:
    """The part that a block's content is, as far as it has come."""
    if form is _SUMMARY:
        return {"type": "summary_text", "text": item.block.text}
    if form is _THOUGHT:
        return {"type": "reasoning_text", "text": item.block.text}
    return spell_part(item.block)
