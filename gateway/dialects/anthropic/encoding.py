"""Events → an Anthropic answer, streamed and whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, assert_never

import orjson

from gateway.dialects.anthropic.contents import NAME
from gateway.dialects.anthropic.failures import error_frame
from gateway.dialects.base import Json, Stamp
from gateway.dialects.tools import arguments_object
from gateway.neutral import events as ev
from gateway.neutral import request as rq
from gateway.neutral.events import BlockKind, Reason
from gateway.neutral.response import Block, Response, block_of
from gateway.wire import sse

_REASONS: Final[Mapping[Reason, str]] = {
    Reason.STOP: "end_turn",
    Reason.STOP_SEQUENCE: "stop_sequence",
    Reason.LENGTH: "max_tokens",
    Reason.CONTEXT_WINDOW: "model_context_window_exceeded",
    Reason.TOOL_CALLS: "tool_use",
    Reason.CONTENT_FILTER: "refusal",
    Reason.REFUSAL: "refusal",
    Reason.PAUSE: "pause_turn",
}
_REFUSAL_DETAILS: Final = {"type": "refusal", "category": None, "explanation": None}
_STOP: Final = sse.write(b'{"type":"message_stop"}', b"message_stop")
_BEFORE: Final = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":%b:'
_AFTER: Final = b"}}\n\n"
_DELTAS: Final[Mapping[BlockKind, bytes]] = {
    BlockKind.TEXT: b'"text_delta","text"',
    BlockKind.REFUSAL: b'"text_delta","text"',
    BlockKind.REASONING: b'"thinking_delta","thinking"',
    BlockKind.TOOL: b'"input_json_delta","partial_json"',
}
"""What the deltas of a block say, all alike."""
PING: Final = sse.write(b'{"type":"ping"}', b"ping")


def _sealed(value: rq.OpaqueValue | None, origin: str, stamp: Stamp) -> str:
    """What stands for the signature of reasoning: Anthropic's own, or a token of ours (mapping.md §6.3)."""
    if value is not None and value.format == NAME:
        return value.data
    return stamp.sealer.seal(origin, value)


class Encoder:
    """Events → message stream (`anthropic-messages.md` §7, the grammar). `Finish` is held until `End` brings usage."""

    media_type = "text/event-stream"
    tells_failure = True
    keep_alive = PING

    def __init__(self, request: rq.Request, stamp: Stamp) -> None:
        self._request = request
        self._stamp = stamp
        self._origin = ""
        self._needs_signature = False
        self._before = b""
        self._characters = 0
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
                self._characters += len(event.text)
                return self._before + orjson.dumps(event.text) + _AFTER
            case ev.ArgsDelta():
                self._characters += len(event.fragment)
                return self._before + orjson.dumps(event.fragment) + _AFTER
            case ev.ReasoningDelta():
                self._characters += len(event.text)
                return self._before + orjson.dumps(event.text) + _AFTER
            case ev.Start():
                return self._start(event)
            case ev.Usage():
                self._usage = self._usage.merged(event)
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
                return self._block_stop(event)
            case ev.ReasoningSignature():
                self._needs_signature = False
                return self._signature(event.index, event.value)
            case ev.Citation():
                return _citation(event)
            case ev.Finish():
                self._finish = event
                return b""
            case ev.End():
                return self._end()
            case ev.Ping():
                return PING
            case ev.Failed():
                return error_frame(event.error)
            case _:
                assert_never(event)

    def _start(self, start: ev.Start) -> bytes:
        """`message_start` needs a plausible prompt size: an estimate where the upstream tells none yet (pitfall 32)."""
        self._origin = start.origin
        self._usage = self._usage.merged(start.usage or ev.Usage())
        if not self._usage.input and self._request.wording.estimates_usage:
            self._usage = replace(self._usage, input=self._request.estimate_tokens())
        message: Json = {
            "id": f"msg_{self._stamp.token}",
            "type": "message",
            "role": "assistant",
            "model": self._request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": dump_usage(self._usage),
        }
        return _frame("message_start", {"type": "message_start", "message": message})

    def _block_start(self, event: ev.BlockStart) -> bytes:
        self._needs_signature = event.kind is BlockKind.REASONING
        self._before = _BEFORE % (event.index, _DELTAS.get(event.kind, b""))
        block = _spell_block(block_of(event), self._origin, self._stamp)
        body = {"type": "content_block_start", "index": event.index, "content_block": block}
        return _frame("content_block_start", body)

    def _block_stop(self, event: ev.BlockStop) -> bytes:
        seal = self._signature(event.index, None) if self._needs_signature else b""
        self._needs_signature = False
        return seal + _frame("content_block_stop", {"type": "content_block_stop", "index": event.index})

    def _signature(self, index: int, value: rq.OpaqueValue | None) -> bytes:
        return _delta(index, {"type": "signature_delta", "signature": _sealed(value, self._origin, self._stamp)})

    def _end(self) -> bytes:
        if self._finish is None:
            return b""
        usage = self._usage
        if usage.output is None and self._request.wording.estimates_usage:  # never told (mapping.md §7.2)
            usage = ev.Usage(output=max(1, self._characters // 4)).merged(usage)
        body = {
            "type": "message_delta",
            "delta": _spell_finish(self._finish, self._request),
            "usage": dump_usage(usage),
        }
        return _frame("message_delta", body) + _STOP


def _frame(event: str, body: Json) -> bytes:
    return sse.write(orjson.dumps(body), event.encode())


def _delta(index: int, delta: Json) -> bytes:
    return _frame("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta})


def _citation(event: ev.Citation) -> bytes:
    if event.dialect != NAME:
        return b""
    return _delta(event.index, {"type": "citations_delta", "citation": event.citation})


def _spell_finish(finish: ev.Finish, request: rq.Request) -> Json:
    is_plain = finish.reason is Reason.CONTEXT_WINDOW and not request.wording.tells_full_context
    reason = _REASONS[Reason.LENGTH if is_plain else finish.reason]
    if reason == "stop_sequence" and finish.stop_sequence is None:
        reason = "end_turn"
    matched = finish.stop_sequence if reason == "stop_sequence" else None
    spelled: Json = {"stop_reason": reason, "stop_sequence": matched}
    if reason == "refusal":
        is_told = finish.detail is not None and finish.detail.get("type") == "refusal"
        spelled["stop_details"] = finish.detail if is_told else _REFUSAL_DETAILS
    return spelled


def _spell_block(block: Block, origin: str, stamp: Stamp) -> Json:
    """A block as `content_block_start` has it; a tool's input stays empty there (pitfall 16)."""
    match block.kind:
        case BlockKind.TOOL:
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}
        case BlockKind.REASONING:
            return {"type": "thinking", "thinking": "", "signature": ""}
        case BlockKind.REDACTED if isinstance(block.payload, rq.OpaqueValue):
            return {"type": "redacted_thinking", "data": _sealed(block.payload, origin, stamp)}
        case BlockKind.OPAQUE if isinstance(block.payload, Mapping):
            return dict(block.payload)
        case _:
            return {"type": "text", "text": ""}


def dump_usage(usage: ev.Usage) -> Json:
    """mapping.md §7.2: three disjoint counters of the prompt."""
    read, write = usage.cache_read or 0, usage.cache_write or 0
    body: Json = {
        "input_tokens": max(0, (usage.input or 0) - read - write),
        "output_tokens": usage.output or 0,
        "cache_creation_input_tokens": write,
        "cache_read_input_tokens": read,
    }
    if usage.reasoning is not None:
        body["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return body


def dump(response: Response, request: rq.Request, stamp: Stamp) -> Json:
    """A whole answer as a message object."""
    return {
        "id": f"msg_{stamp.token}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [_dump_block(block, response.start.origin, stamp) for block in response.blocks],
        **_spell_finish(response.finish, request),
        "usage": dump_usage(_counted(response, request)),
    }


def _counted(response: Response, request: rq.Request) -> ev.Usage:
    """What the upstream counted; for the rest estimates, where they are wanted."""
    told = response.usage or ev.Usage()
    if not request.wording.estimates_usage:
        return told
    characters = sum(len(block.text) for block in response.blocks)
    return ev.Usage(request.estimate_tokens(), max(1, characters // 4)).merged(told)


def _dump_block(block: Block, origin: str, stamp: Stamp) -> Json:
    spelled = _spell_block(block, origin, stamp)
    match block.kind:
        case BlockKind.TOOL:
            spelled["input"] = arguments_object(block.text)[0]
        case BlockKind.REASONING:
            spelled |= {"thinking": block.text, "signature": _sealed(block.signature, origin, stamp)}
        case BlockKind.TEXT | BlockKind.REFUSAL:
            spelled["text"] = block.text
            citations = [c.citation for c in block.citations if c.dialect == NAME]
            spelled["citations"] = citations or None
    return spelled
