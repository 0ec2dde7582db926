"""Events → an OpenAI chat answer, streamed and whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, assert_never

import orjson

from gateway.dialects.base import Json, Stamp
from gateway.dialects.openai.failures import error_frame
from gateway.dialects.openai.reasoning import FORMATS
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
        self._after = b',"logprobs":null,"finish_reason":null}]' + usage + b"\n\n"
        self._finished = b',"logprobs":null,"finish_reason":"%s"}]' + usage + b"\n\n"
        self._calls = -1
        self._call_is_empty = True
        self._reasonings = -1
        self._characters = 0
        self._usage = ev.Usage()

    def encode(self, events: Iterable[ev.Event]) -> bytes:
        """The frames these events make."""
        return b"".join([self._encode(event) for event in events])

    def _encode(self, event: ev.Event) -> bytes:
        match event:
            case ev.TextDelta():
                self._characters += len(event.text)
                return b'%s{"content":%s}%s' % (self._before, orjson.dumps(event.text), self._after)
            case ev.ArgsDelta():
                self._call_is_empty = False
                self._characters += len(event.fragment)
                return self._tool_delta({"index": self._calls, "function": {"arguments": event.fragment}})
            case ev.ReasoningDelta():
                self._characters += len(event.text)
                return self._delta({"reasoning_content": event.text})
            case ev.RefusalDelta():
                self._characters += len(event.text)
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
                return self._detail(_signed(event.value))
            case ev.Citation():
                return b""
            case ev.Finish():
                return self._before + b"{}" + self._finished % _REASONS[event.reason].encode()
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
        if event.kind is BlockKind.REASONING:
            self._reasonings += 1
        if event.kind is BlockKind.REDACTED and isinstance(event.payload, rq.OpaqueValue):
            self._reasonings += 1
            return self._detail(_encrypted(event.payload))
        if event.kind is not BlockKind.TOOL:
            return b""
        self._calls += 1
        self._call_is_empty = True
        function = {"name": event.name, "arguments": ""}
        return self._tool_delta({"index": self._calls, "id": event.id, "type": "function", "function": function})

    def _block_stop(self) -> bytes:
        """A call without any arguments gets `{}`, which clients can parse (mapping.md §5.5)."""
        if self._calls < 0 or not self._call_is_empty:
            return b""
        self._call_is_empty = False
        return self._tool_delta({"index": self._calls, "function": {"arguments": "{}"}})

    def _detail(self, detail: Json) -> bytes:
        return self._delta({"reasoning_details": [{**detail, "index": self._reasonings}]})

    def _learn(self, usage: ev.Usage | None) -> None:
        if usage is not None:
            self._usage = self._usage.merged(usage)

    def _usage_chunk(self) -> bytes:
        if not self._request.include_usage:
            return b""
        usage = self._usage
        if usage.output is None:  # asked for, never told: an estimate (mapping.md §7.2)
            usage = ev.Usage(self._request.estimate_tokens(), max(1, self._characters // 4)).merged(usage)
        return sse.write(orjson.dumps({**self._head, "choices": [], "usage": dump_usage(usage)}))


def _signed(value: rq.OpaqueValue) -> Json:
    """A seal without the text it seals, which is in `reasoning_content` (mapping.md §6.2)."""
    return {"type": "reasoning.text", "text": "", "signature": value.data, "format": _format(value)}


def _encrypted(value: rq.OpaqueValue) -> Json:
    return {"type": "reasoning.encrypted", "data": value.data, "format": _format(value)}


def _format(value: rq.OpaqueValue) -> str:
    return FORMATS.get(value.format, value.format)


def dump_usage(usage: ev.Usage) -> Json:
    """mapping.md §7.2; the total is always recomputed."""
    cached = (usage.cache_read or 0) + (usage.cache_write or 0)
    prompt, completion = max(usage.input or 0, cached), usage.output or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read or 0,
            "cache_write_tokens": usage.cache_write or 0,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
    }


def dump(response: Response, request: rq.Request, stamp: Stamp) -> Json:
    """A whole answer as a chat completion object."""
    calls = [_dump_call(block) for block in response.blocks if block.kind is BlockKind.TOOL]
    text, reasoning = response.text(), response.text(BlockKind.REASONING)
    message: Json = {
        "role": "assistant",
        "content": None if calls and not text else text,
        "refusal": response.text(BlockKind.REFUSAL) or None,
    }
    if reasoning:
        message["reasoning_content"] = reasoning
    if details := _details(response):
        message["reasoning_details"] = details
    if calls:
        message["tool_calls"] = calls
    finish = _REASONS[response.finish.reason]
    body: Json = {
        "id": f"chatcmpl-{stamp.token}",
        "object": "chat.completion",
        "created": stamp.created,
        "model": request.model,
        "system_fingerprint": None,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
    }
    if response.usage is not None and response.usage.output is not None:
        body["usage"] = dump_usage(response.usage)
    return body


def _details(response: Response) -> list[Json]:
    """The seals of reasoning, numbered as a stream numbers them: by blocks of reasoning, sealed or not."""
    thoughts = [block for block in response.blocks if block.kind in (BlockKind.REASONING, BlockKind.REDACTED)]
    details: list[Json] = []
    for index, block in enumerate(thoughts):
        if block.signature is not None:
            details.append({**_signed(block.signature), "index": index})
        elif isinstance(block.payload, rq.OpaqueValue):
            details.append({**_encrypted(block.payload), "index": index})
    return details


def _dump_call(block: Block) -> Json:
    function = {"name": block.name, "arguments": block.text or "{}"}
    return {"id": block.id, "type": "function", "function": function}
