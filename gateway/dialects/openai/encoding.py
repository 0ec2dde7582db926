"""Events → an OpenAI chat answer, streamed and whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, assert_never

import orjson

from gateway.dialects.base import Json, Stamp
from gateway.dialects.openai.failures import error_frame
from gateway.dialects.openai.reasoning import FORMATS
from gateway.dialects.openai.usage import dump_usage
from gateway.dialects.sealing import NONE
from gateway.dialects.tools import wrap_custom
from gateway.neutral import events as ev
from gateway.neutral import request as rq
from gateway.neutral.events import BlockKind, Reason
from gateway.neutral.response import Block, Response
from gateway.wire import sse

_REASONS: Final[Mapping[Reason, str]] = {
    Reason.STOP: "stop",
    Reason.STOP_SEQUENCE: "stop",
    Reason.LENGTH: "length",
    Reason.CONTEXT_WINDOW: "length",
    Reason.TOOL_CALLS: "tool_calls",
    Reason.CONTENT_FILTER: "content_filter",
    Reason.REFUSAL: "content_filter",
    Reason.PAUSE: "stop",
}
KEEP_ALIVE: Final = b": keep-alive\n\n"
_DONE: Final = sse.write(b"[DONE]")


class Encoder:
    """Events → chat completion chunks (`openai-chat.md` §5, the grammar to emit)."""

    media_type = "text/event-stream"
    tells_failure = True
    keep_alive = KEEP_ALIVE

    def __init__(self, request: rq.Request, stamp: Stamp) -> None:
        self._request = request
        self._head: Json = {
            "id": f"chatcmpl-{stamp.token}",
            "object": "chat.completion.chunk",
            "created": stamp.created,
            "model": request.model,
            "system_fingerprint": None,
        }
        usage = b',"usage":null}' if request.include_usage else b"}"
        choice = b',"choices":[{"index":0,"delta":'
        self._before = b"data: " + orjson.dumps(self._head)[:-1] + choice
        self._before_text = self._before + b'{"content":'
        self._after = b',"logprobs":null,"finish_reason":null}]' + usage + b"\n\n"
        self._after_text = b"}" + self._after
        self._finished = b',"logprobs":null,"finish_reason":"%s"%s}]' + usage + b"\n\n"
        self._before_thought = self._before + b'{"%b":' % reasoning_field(request).encode()
        self._before_arguments = self._after_arguments = b""
        self._calls = -1
        self._call_kind = ""
        self._call_is_empty = True
        self._wrapped: list[str] = []
        self._reasonings = -1
        self._text = 0
        self._text_start = 0
        self._citations: list[ev.Citation] = []
        self._annotations = 0
        self._other = 0
        self._usage = ev.Usage()

    @cached_property
    def _takes_custom(self) -> bool:
        return takes_custom(self._request)

    def encode(self, events: Sequence[ev.Event]) -> bytes:
        """The frames these events make."""
        if len(events) == 1:
            return self._encode(events[0])
        return b"".join([self._encode(event) for event in events])

    def _encode(self, event: ev.Event) -> bytes:
        match event:
            case ev.TextDelta():
                self._text += len(event.text)
                return self._before_text + orjson.dumps(event.text) + self._after_text
            case ev.ArgsDelta():
                return self._arguments(event.fragment)
            case ev.ReasoningDelta():
                self._other += len(event.text)
                return self._before_thought + orjson.dumps(event.text) + self._after_text
            case ev.RefusalDelta():
                self._other += len(event.text)
                return self._delta({"refusal": event.text})
            case ev.Start():
                self._learn(event.usage)
                return self._delta({"role": "assistant", "content": ""})
            case ev.Usage():
                self._learn(event)
                return b""
            case _:
                return self._encode_edge(event)

    def _encode_edge(
        self,
        event: ev.BlockStart
        | ev.BlockStop
        | ev.ReasoningSignature
        | ev.Citation
        | ev.Finish
        | ev.End
        | ev.Ping
        | ev.Failed,
    ) -> bytes:
        match event:
            case ev.BlockStart():
                return self._block_start(event)
            case ev.BlockStop():
                return self._block_stop()
            case ev.ReasoningSignature():
                return self._signature(event.value)
            case ev.Citation():
                self._citations.append(event)
                return b""
            case ev.Finish():
                matched = b',"stop_reason":' + orjson.dumps(event.stop_sequence) if event.stop_sequence else b""
                return self._before + b"{}" + self._finished % (_REASONS[event.reason].encode(), matched)
            case ev.End():
                return self._usage_chunk() + _DONE
            case ev.Ping():
                return self.keep_alive
            case ev.Failed():
                return error_frame(event.error)
            case _:
                assert_never(event)

    def _delta(self, delta: Json) -> bytes:
        return self._before + orjson.dumps(delta) + self._after

    def _tool_delta(self, call: Json) -> bytes:
        return self._delta({"tool_calls": [call]})

    def _block_start(self, event: ev.BlockStart) -> bytes:
        match event.kind:
            case BlockKind.TOOL:
                return self._call_start(event)
            case BlockKind.REASONING:
                self._reasonings += 1
            case BlockKind.TEXT:
                self._text_start = self._text
            case BlockKind.REDACTED if isinstance(event.payload, rq.OpaqueValue):
                self._reasonings += 1
                return self._delta({"reasoning_details": [_encrypted(event.payload, self._reasonings)]})
            case _:
                pass
        return b""

    def _call_start(self, event: ev.BlockStart) -> bytes:
        self._calls += 1
        self._call_is_empty, self._call_kind = True, event.call_kind
        kind, text = "function", "arguments"
        if event.call_kind == "custom" and self._takes_custom:
            kind, text = "custom", "input"
        more = b'{"tool_calls":[{"index":%d,"%b":{"%b":' % (self._calls, kind.encode(), text.encode())
        self._before_arguments, self._after_arguments = self._before + more, b"}}]}" + self._after
        return self._tool_delta(
            {"index": self._calls, "id": event.id, "type": kind, kind: {"name": event.name, text: ""}}
        )

    def _arguments(self, fragment: str) -> bytes:
        """Free text for a client that knows only functions has to be whole before it can be wrapped (pitfall 23)."""
        self._call_is_empty = False
        self._other += len(fragment)
        if self._call_kind == "custom" and not self._takes_custom:
            self._wrapped.append(fragment)
            return b""
        return self._before_arguments + orjson.dumps(fragment) + self._after_arguments

    def _block_stop(self) -> bytes:
        """A call without any arguments gets `{}`, which clients can parse (mapping.md §5.5)."""
        if self._citations:
            return self._cite()
        if self._wrapped:
            arguments, self._wrapped = wrap_custom("".join(self._wrapped)), []
        elif self._calls < 0 or not self._call_is_empty or (self._call_kind == "custom" and self._takes_custom):
            return b""
        else:
            arguments = "{}"
        self._call_is_empty = False
        return self._tool_delta({"index": self._calls, "function": {"arguments": arguments}})

    def _cite(self) -> bytes:
        """The web pages that the block's text quotes. The SDKs join lists by `index`, so each entry has one."""
        found = url_citations(self._citations, self._text_start, self._text)
        self._citations = []
        indexed = [{**note, "index": self._annotations + i} for i, note in enumerate(found)]
        self._annotations += len(indexed)
        return self._delta({"annotations": indexed}) if indexed else b""

    def _signature(self, value: rq.OpaqueValue) -> bytes:
        if value.format == NONE:
            return b""
        return self._delta({"reasoning_details": [_signed("", value, self._reasonings)]})

    def _learn(self, usage: ev.Usage | None) -> None:
        if usage is not None:
            self._usage = self._usage.merged(usage)

    def _usage_chunk(self) -> bytes:
        if not self._request.include_usage:
            return b""
        usage = self._usage
        if usage.output is None:  # asked for, never told: an estimate, if anything (mapping.md §7.2)
            if not self._request.wording.estimates_usage:
                return b""
            written = max(1, (self._text + self._other) // 4)
            usage = ev.Usage(self._request.estimate_tokens(), written).merged(usage)
        return sse.write(orjson.dumps({**self._head, "choices": [], "usage": dump_usage(usage)}))


def reasoning_field(request: rq.Request) -> str:
    """The name under which this client gets reasoning: one of two, as SDKs that know both would show it twice."""
    return "reasoning" if request.wording.aliases_reasoning else "reasoning_content"


def takes_custom(request: rq.Request) -> bool:
    """Whether this client knows tools called with free text."""
    calls = (part for part in request.parts() if isinstance(part, rq.ToolCall))
    return any(isinstance(tool, rq.CustomTool) for tool in request.tools) or any(c.kind == "custom" for c in calls)


def url_citations(citations: Iterable[ev.Citation], start: int, end: int) -> list[Json]:
    """The citations that have a web address, as notes on the text between `start` and `end` (mapping.md §10)."""
    return [_annotation(cited, start, end) for cited in citations if cited.url]


def _annotation(cited: ev.Citation, start: int, end: int) -> Json:
    if cited.dialect == "openai" and isinstance(cited.citation.get("url_citation"), dict):
        return {"type": "url_citation", "url_citation": cited.citation["url_citation"]}
    note = {"start_index": start, "end_index": end, "url": cited.url, "title": cited.title}
    return {"type": "url_citation", "url_citation": note}


def _encrypted(value: rq.OpaqueValue, index: int) -> Json:
    return {"type": "reasoning.encrypted", "data": value.data, "format": _format(value), "index": index}


def _signed(text: str, value: rq.OpaqueValue, index: int) -> Json:
    detail = {"type": "reasoning.text", "text": text, "signature": value.data, "format": _format(value)}
    return {**detail, "index": index}


def _format(value: rq.OpaqueValue) -> str:
    return FORMATS.get(value.format, value.format)


def dump(response: Response, request: rq.Request, stamp: Stamp) -> Json:
    """A whole answer as a chat completion object."""
    choice: Json = {"index": 0, "message": _message(response, request), "logprobs": None}
    choice["finish_reason"] = _REASONS[response.finish.reason]
    if response.finish.stop_sequence:
        choice["stop_reason"] = response.finish.stop_sequence
    body: Json = {
        "id": f"chatcmpl-{stamp.token}",
        "object": "chat.completion",
        "created": stamp.created,
        "model": request.model,
        "system_fingerprint": None,
        "choices": [choice],
    }
    if response.usage is not None and response.usage.output is not None:
        body["usage"] = dump_usage(response.usage)
    return body


def _message(response: Response, request: rq.Request) -> Json:
    is_custom = takes_custom(request)
    calls = [_dump_call(block, is_custom) for block in response.blocks if block.kind is BlockKind.TOOL]
    text, reasoning = response.text(), response.text(BlockKind.REASONING)
    message: Json = {
        "role": "assistant",
        "content": None if calls and not text else text,
        "refusal": response.text(BlockKind.REFUSAL) or None,
    }
    optional = {
        "annotations": _dump_annotations(response.blocks),
        reasoning_field(request): reasoning,
        "reasoning_details": _dump_details(response.blocks),
        "tool_calls": calls,
    }
    return message | {name: value for name, value in optional.items() if value}


def _dump_annotations(blocks: Iterable[Block]) -> list[Json]:
    found: list[Json] = []
    end = 0
    for block in blocks:
        if block.kind is BlockKind.TEXT:
            start, end = end, end + len(block.text)
            found += url_citations(block.citations, start, end)
    return found


def _dump_details(blocks: Iterable[Block]) -> list[Json]:
    """What a client has to give back untouched: sealed reasoning with its text, so that each keeps its own."""
    thoughts = [block for block in blocks if block.kind in (BlockKind.REASONING, BlockKind.REDACTED)]
    details = [_dump_detail(block, index) for index, block in enumerate(thoughts)]
    is_sealed = any("signature" in detail or "data" in detail for detail in details)
    return details if is_sealed else []


def _dump_detail(block: Block, index: int) -> Json:
    if isinstance(block.payload, rq.OpaqueValue):
        return _encrypted(block.payload, index)
    if block.signature is not None and block.signature.format != NONE:
        return _signed(block.text, block.signature, index)
    return {"type": "reasoning.text", "text": block.text, "index": index}


def _dump_call(block: Block, takes_custom: bool) -> Json:
    if block.call_kind == "custom" and takes_custom:
        return {"id": block.id, "type": "custom", "custom": {"name": block.name, "input": block.text}}
    arguments = wrap_custom(block.text) if block.call_kind == "custom" else block.text or "{}"
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}
