"""An OpenAI Responses stream → pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from zlib import crc32

import orjson

from gateway.dialects.base import Json
from gateway.dialects.refusals import is_error
from gateway.dialects.responses.encoding import KEEP_ALIVE
from gateway.dialects.responses.failures import error_in, stream_error
from gateway.dialects.responses.options import Options
from gateway.dialects.responses.sealed import join_item
from gateway.dialects.stream import StreamDecoder, count, json_object, text, writable
from gateway.dialects.template import Passed, Place
from gateway.errors import GatewayError, Malformed, Truncated
from gateway.neutral import events as ev
from gateway.neutral import pieces as pc
from gateway.neutral.events import BlockKind, Reason
from gateway.wire import sse

_INCOMPLETE: Final[Mapping[str, Reason]] = {
    "max_output_tokens": Reason.LENGTH,
    "max_messages": Reason.LENGTH,
    "content_filter": Reason.CONTENT_FILTER,
    "steered": Reason.STOP,
}
_OWN: Final = "response."
"""How all events of this API begin but those that say that something is wrong with it."""
_FAILED: Final = ("failed", "cancelled")
_CALL_FIELDS: Final[Mapping[str, str]] = {"function_call": "arguments", "custom_tool_call": "input"}
_CALL_KINDS: Final[Mapping[str, str]] = {"function_call": "function", "custom_tool_call": "custom"}
_COUNTER: Final = "sequence_number"
_PART_COST: Final = 64
"""What an item, or a part of one, counts against the size of an event: an answer of more than that much is broken."""
_DELTAS: Final[Mapping[str, tuple[str, str]]] = {
    "response.output_text.delta": ("text", "content_index"),
    "response.refusal.delta": ("refusal", "content_index"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index"),
    "response.reasoning_text.delta": ("content", "content_index"),
    "response.function_call_arguments.delta": ("arguments", ""),
    "response.custom_tool_call_input.delta": ("arguments", ""),
}
"""What each kind of delta says, and the name of the number of its part."""
_PARAGRAPH: Final = "\n\n"
"""Between the parts of a summary."""


class _Told:
    """How much of a text was told in deltas: its length and checksum, since the text itself may be long."""

    __slots__ = ("checksum", "length")

    def __init__(self) -> None:
        self.length = self.checksum = 0

    def add(self, delta: str) -> None:
        self.length += len(delta)
        self.checksum = crc32(delta.encode(), self.checksum)

    def rest(self, whole: str) -> str:
        """What of the whole wasn't told yet; nothing, if what was told is no beginning of it (mapping.md §11)."""
        if crc32(whole[: self.length].encode()) != self.checksum:
            return ""
        missing = whole[self.length :]
        self.add(missing)
        return missing


class Decoder(StreamDecoder):
    """Response events → pieces, liberal with what compatible servers send (mapping.md §11).

    A text may come in deltas, in its `done` event, in that of its part or its item, or only in the last event of all;
    whatever comes first is told, the rest of it later, nothing twice (pitfall 132).
    """

    empty_frame = KEEP_ALIVE
    idle = (_COUNTER, "obfuscation")

    def __init__(self, options: Options, max_event: int = sse.MAX_EVENT) -> None:
        super().__init__(max_event)
        self._origin = options.profile
        self._room = max_event
        self._has_started = False
        self._has_refusal = False
        self._keys: dict[str, int] = {}
        self._done: set[int] = set()
        self._thoughts: dict[int, str] = {}
        self._told: dict[tuple[str, int, int], _Told] = {}
        self._last: Json = {}
        self._number: int | bytes = -1

    def read(self, frame: sse.Frame) -> list[pc.Piece]:
        if frame.data.strip() == b"[DONE]":
            return self.end()
        body = json_object(frame.data)
        return list(self.event(text(body.get("type")) or frame.event.decode("utf-8", "replace"), body))

    def place(self, body: Json) -> Place | None:
        """A delta of a part that was begun, which goes on counting what was told of it."""
        field, index = _DELTAS.get(str(body.get("type")), ("", ""))
        told = self._told.get((field, self._key(body), _index(body.get(index))))
        if told is None:
            return None

        def note(delta: str, passed: Passed) -> None:
            told.add(delta)
            if _COUNTER in passed:
                self._number = passed[_COUNTER]

        return Place(("delta",), note)

    def event(self, kind: str, body: Json) -> Iterator[pc.Piece]:
        """What one event of the stream means; unknown ones mean nothing."""
        reader = self._READERS.get(kind)
        if reader is not None:
            yield from reader(self, body)
        elif kind == "error" or (is_error(body) and not kind.startswith(_OWN)):
            raise error_in(body)
        number = body.get(_COUNTER)
        if type(number) is int:  # not that of a failure: `tell` speaks in its place
            self._number = number

    # -- the answer itself -------------------------------------------------------------------------------------------

    def _begin(self, body: Json) -> Iterator[pc.Piece]:
        response = self._last = body["response"]
        if not self._has_started:
            self._has_started = True
            created = response.get("created_at")
            at = int(created) if isinstance(created, int | float) else None
            yield ev.Start(_name(response, "id"), _name(response, "model"), at, origin=self._origin)

    def _ended(self, body: Json) -> Iterator[pc.Piece]:
        """Completed or incomplete, which is a normal end too. What nobody streamed is in its output."""
        yield from self._begin(body)
        response = body["response"]
        if response.get("error") or response.get("status") in _FAILED:
            raise error_in(response)
        for key, item in self._unsaid(response.get("output") or []):
            yield from self._item_done({"output_index": key, "item": item})
        if usage := response.get("usage"):
            yield load_usage(usage)
        yield self._finish(response)
        yield ev.End()

    def _unsaid(self, output: list[Json]) -> list[tuple[int, Json]]:
        """All items where none was streamed, else those that were begun and never ended; calls first, which text ends.

        One that can't be told from those streamed, as its id is new, isn't said again.
        """
        if not self._keys:
            return list(enumerate(output))
        named = [item for item in output if item.get("id") and isinstance(item["id"], str)]
        begun = [(self._keys.get(item["id"], -1), item) for item in named]
        unsaid = [(key, item) for key, item in begun if key >= 0 and key not in self._done]
        return sorted(unsaid, key=lambda found: found[1].get("type") not in _CALL_FIELDS)

    def _finish(self, response: Json) -> ev.Finish:
        status = text(response.get("status")) or "completed"
        details = response.get("incomplete_details")
        if status == "incomplete" or details:
            raw = text((details or {}).get("reason"))
            return ev.Finish(_INCOMPLETE.get(raw, Reason.LENGTH), raw=f"incomplete:{raw}" if raw else status)
        return ev.Finish(Reason.REFUSAL if self._has_refusal else Reason.STOP, raw=status)

    def _failed(self, body: Json) -> Iterator[pc.Piece]:
        self._last = body["response"]
        raise error_in(self._last)

    def _ping(self, body: Json) -> Iterator[pc.Piece]:
        yield ev.Ping()

    # -- items -------------------------------------------------------------------------------------------------------

    def _item_added(self, body: Json) -> Iterator[pc.Piece]:
        key, item = self._key(body), body["item"]
        if item.get("type") in _CALL_FIELDS:
            yield _call(key, item, text(item.get("call_id")))
        yield from self._content_of(key, item)

    def _item_done(self, body: Json) -> Iterator[pc.Piece]:
        key, item = self._key(body), body["item"]
        self._done.add(key)
        if item.get("type") in _CALL_FIELDS:
            yield _call(key, item, text(item.get("call_id")) or text(item.get("id")))
        yield from self._content_of(key, item)
        if sealed := item.get("type") == "reasoning" and text(item.get("encrypted_content")):
            yield pc.SignaturePiece(join_item(text(item.get("id")), sealed, self._origin), key)
        yield pc.BlockEnd(key)

    def _content_of(self, key: int, item: Json) -> Iterator[pc.Piece]:
        """What an item holds, as far as it wasn't told yet."""
        kind = text(item.get("type"))
        if kind == "message":
            for index, part in enumerate(item.get("content") or ()):
                yield from self._part_of(key, index, part)
        elif kind == "reasoning":
            for index, part in enumerate(item.get("summary") or ()):
                yield from self._thought_rest(key, index, part, "summary")
            for index, part in enumerate(item.get("content") or ()):
                yield from self._thought_rest(key, index, part, "content")
        elif kind in _CALL_FIELDS:
            yield from self._arguments_rest(key, item.get(_CALL_FIELDS[kind]), _CALL_KINDS[kind])

    def _arguments_rest(self, key: int, whole: Any, call_kind: str) -> Iterator[pc.Piece]:
        if missing := self._rest("arguments", key, 0, _fragment(whole)):
            yield pc.ToolPiece(key, fragment=missing, call_kind=call_kind)

    def _part_of(self, key: int, index: int, part: Json) -> Iterator[pc.Piece]:
        """A part of a message, as far as it wasn't told yet, with what it quotes."""
        if part.get("type") == "refusal":
            self._has_refusal = True
            if missing := self._rest("refusal", key, index, text(part.get("refusal"))):
                yield pc.ContentPiece(BlockKind.REFUSAL, missing, key)
        elif part.get("type") in ("output_text", "text"):
            if missing := self._rest("text", key, index, text(part.get("text"))):
                yield pc.ContentPiece(BlockKind.TEXT, missing, key)
            for number, annotation in enumerate(part.get("annotations") or ()):
                yield from self._citation(key, index, number, annotation)

    def _thought_rest(self, key: int, index: int, part: Json, field: str) -> Iterator[pc.Piece]:
        yield from self._thought(key, index, field, self._rest(field, key, index, text(part.get("text"))))

    def _thought(self, key: int, index: int, field: str, told: str) -> Iterator[pc.Piece]:
        """Of summary and full text of one item, the one that comes first: they say the same (pitfall 83)."""
        is_first = key not in self._thoughts
        if not told or self._thoughts.setdefault(key, field) != field:
            return
        if not is_first and self._told[field, key, index].length == len(told):
            told = _PARAGRAPH + told
        yield pc.ContentPiece(BlockKind.REASONING, told, key, is_summary=field == "summary")

    def _citation(self, key: int, index: int, number: int, annotation: Json) -> Iterator[pc.Piece]:
        """Each is told once, though events and items repeat it."""
        place = (f"citation {index}", key, number)
        if place in self._told:
            return
        self._told_of(place)
        url, title = text(annotation.get("url")), text(annotation.get("title"))
        yield pc.CitationPiece(writable(annotation), "responses", key, url, title)

    # -- deltas ------------------------------------------------------------------------------------------------------

    def _text_delta(self, body: Json) -> Iterator[pc.Piece]:
        key, delta = self._key(body), text(body.get("delta"))
        self._add("text", key, body.get("content_index"), delta)
        yield pc.ContentPiece(BlockKind.TEXT, delta, key)

    def _refusal_delta(self, body: Json) -> Iterator[pc.Piece]:
        key, delta = self._key(body), text(body.get("delta"))
        self._has_refusal = True
        self._add("refusal", key, body.get("content_index"), delta)
        yield pc.ContentPiece(BlockKind.REFUSAL, delta, key)

    def _summary_delta(self, body: Json) -> Iterator[pc.Piece]:
        key, delta, index = self._key(body), text(body.get("delta")), _index(body.get("summary_index"))
        self._add("summary", key, index, delta)
        yield from self._thought(key, index, "summary", delta)

    def _thought_delta(self, body: Json) -> Iterator[pc.Piece]:
        key, delta, index = self._key(body), text(body.get("delta")), _index(body.get("content_index"))
        self._add("content", key, index, delta)
        yield from self._thought(key, index, "content", delta)

    def _arguments_delta(self, body: Json) -> Iterator[pc.Piece]:
        yield self._fragment_told(body, "function")

    def _input_delta(self, body: Json) -> Iterator[pc.Piece]:
        yield self._fragment_told(body, "custom")

    def _fragment_told(self, body: Json, call_kind: str) -> pc.Piece:
        key, delta = self._key(body), text(body.get("delta"))
        self._add("arguments", key, 0, delta)
        return pc.ToolPiece(key, fragment=delta, call_kind=call_kind)

    # -- what repeats them -------------------------------------------------------------------------------------------

    def _text_done(self, body: Json) -> Iterator[pc.Piece]:
        part = {"type": "output_text", "text": body.get("text")}
        yield from self._part_of(self._key(body), _index(body.get("content_index")), part)

    def _refusal_done(self, body: Json) -> Iterator[pc.Piece]:
        part = {"type": "refusal", "refusal": body.get("refusal")}
        yield from self._part_of(self._key(body), _index(body.get("content_index")), part)

    def _part_done(self, body: Json) -> Iterator[pc.Piece]:
        key, index, part = self._key(body), _index(body.get("content_index")), body["part"]
        if part.get("type") == "reasoning_text":
            yield from self._thought_rest(key, index, part, "content")
        else:
            yield from self._part_of(key, index, part)

    def _summary_done(self, body: Json) -> Iterator[pc.Piece]:
        part = body.get("part") or body
        yield from self._thought_rest(self._key(body), _index(body.get("summary_index")), part, "summary")

    def _thought_done(self, body: Json) -> Iterator[pc.Piece]:
        yield from self._thought_rest(self._key(body), _index(body.get("content_index")), body, "content")

    def _arguments_done(self, body: Json) -> Iterator[pc.Piece]:
        yield from self._arguments_rest(self._key(body), body.get("arguments"), "function")

    def _input_done(self, body: Json) -> Iterator[pc.Piece]:
        yield from self._arguments_rest(self._key(body), body.get("input"), "custom")

    def _annotation_added(self, body: Json) -> Iterator[pc.Piece]:
        key, index, number = self._key(body), _index(body.get("content_index")), _index(body.get("annotation_index"))
        yield from self._citation(key, index, number, body["annotation"])

    _READERS: Final = {
        "response.created": _begin,
        "response.queued": _begin,
        "response.in_progress": _begin,
        "response.completed": _ended,
        "response.done": _ended,
        "response.incomplete": _ended,
        "response.failed": _failed,
        "response.cancelled": _failed,
        "response.output_item.added": _item_added,
        "response.output_item.done": _item_done,
        "response.content_part.added": _part_done,
        "response.content_part.done": _part_done,
        "response.output_text.delta": _text_delta,
        "response.output_text.done": _text_done,
        "response.output_text.annotation.added": _annotation_added,
        "response.refusal.delta": _refusal_delta,
        "response.refusal.done": _refusal_done,
        "response.function_call_arguments.delta": _arguments_delta,
        "response.function_call_arguments.done": _arguments_done,
        "response.custom_tool_call_input.delta": _input_delta,
        "response.custom_tool_call_input.done": _input_done,
        "response.reasoning_summary_part.added": _summary_done,
        "response.reasoning_summary_part.done": _summary_done,
        "response.reasoning_summary_text.delta": _summary_delta,
        "response.reasoning_summary_text.done": _summary_done,
        "response.reasoning_text.delta": _thought_delta,
        "response.reasoning_text.done": _thought_done,
        "keepalive": _ping,
        "ping": _ping,
    }

    # -- what was told -----------------------------------------------------------------------------------------------

    def _key(self, body: Json) -> int:
        """The number of an item: as the event says, else as its id was numbered."""
        item = body.get("item")
        item_id = body.get("item_id") or (item.get("id") if isinstance(item, dict) else None)
        name = item_id if isinstance(item_id, str) else ""
        key = body.get("output_index")
        if type(key) is not int:
            key = self._keys.get(name, len(self._keys))
        if name not in self._keys:
            self._hold(len(name))
            self._keys[name] = key
        return key

    def _add(self, field: str, key: int, index: Any, delta: str) -> None:
        self._told_of((field, key, _index(index))).add(delta)

    def _rest(self, field: str, key: int, index: int, whole: str) -> str:
        return self._told_of((field, key, index)).rest(whole) if whole else ""

    def _told_of(self, place: tuple[str, int, int]) -> _Told:
        told = self._told.get(place)
        if told is None:
            self._hold(0)
            told = self._told[place] = _Told()
        return told

    def _hold(self, characters: int) -> None:
        """Counts what has to be remembered, so that a hostile upstream can't fill the memory."""
        self._room -= characters + _PART_COST
        if self._room < 0:
            raise Malformed("more items, and parts of items, than an answer may have")

    # -- ends --------------------------------------------------------------------------------------------------------

    def tell(self, error: GatewayError) -> bytes:
        """A failed response, under the id of the one that is being relayed."""
        body: Json = {"id": "resp_unknown", "object": "response", "created_at": 0, "model": "", "output": [], **_STRICT}
        body |= self._last | {"status": "failed", "error": stream_error(error)}
        event = {"type": "response.failed", "response": body, "sequence_number": int(self._number) + 1}
        try:
            return sse.write(orjson.dumps(event), b"response.failed")
        except TypeError:  # orjson reads deeper nesting than it writes (HARDENING.md 1.8)
            body |= {"output": [], **_STRICT}
            return sse.write(orjson.dumps(event), b"response.failed")

    def end(self) -> list[pc.Piece]:
        """Nothing but a terminal event is an end (mapping.md §9.1)."""
        return [ev.Failed(Truncated("the upstream closed the stream before the answer was finished"))]


_STRICT: Final[Mapping[str, Any]] = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}


def _call(key: int, item: Json, call_id: str) -> pc.ToolPiece:
    """The head of a call; one in a namespace under the name that it has where there are none."""
    name, namespace = text(item.get("name")), text(item.get("namespace"))
    whole = f"{namespace}__{name}" if namespace else name
    return pc.ToolPiece(key, call_id, whole, call_kind=_CALL_KINDS[item["type"]])


def _index(value: Any) -> int:
    return value if type(value) is int else 0


def _name(response: Json, name: str) -> str | None:
    return text(response.get(name)) or None


def _fragment(arguments: Any) -> str:
    """Some servers send arguments as an object (pitfall 14)."""
    return orjson.dumps(arguments).decode() if isinstance(arguments, dict) else text(arguments)


def load_usage(usage: Json) -> ev.Usage:
    """mapping.md §7.2, with the exclusive counting of some servers mended (pitfall 31)."""
    details, output_details = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    read, write = count(details.get("cached_tokens")), count(details.get("cache_write_tokens"))
    prompt, cached = count(usage.get("input_tokens")), (read or 0) + (write or 0)
    if prompt is not None and cached > prompt:
        prompt += cached
    return ev.Usage(
        input=prompt,
        output=count(usage.get("output_tokens")),
        cache_read=read,
        cache_write=write,
        reasoning=count(output_details.get("reasoning_tokens")),
        is_final=True,
    )


def load(body: Any, options: Options) -> list[pc.Piece]:
    """A whole response as the pieces of its stream. Raises UpstreamError for what isn't one."""
    if not isinstance(body, dict) or not (body.get("error") or isinstance(body.get("output"), list)):
        raise Malformed("expected a response object")
    if body.get("status") in ("in_progress", "queued"):
        raise Malformed(f"not a whole response: status {body['status']}")
    decoder = Decoder(options)
    try:
        return list(decoder.event("response.completed", {"response": body}))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise Malformed(f"not a response: {type(error).__name__}") from error
