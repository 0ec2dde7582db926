"""One answer as upstreams of each dialect send it: its opening, a frame for each piece of text, its closing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Final

import orjson

_TOKENS: Final = (
    " the",
    " answer",
    " is",
    " that",
    " it",
    " works",
    ",",
    " naïve",
    "\n\n",
    ' "so"',
    " 東京",
    " 42",
    ".",
)
"""Most need no escaping, as in real answers; some do."""
_EVENT_STREAM: Final = "text/event-stream"
_CREATED: Final = 1_763_800_000


@dataclass(frozen=True, slots=True)
class Voice:
    """How an upstream of one dialect says it. `whole`: the answer to a call that asked for no stream."""

    media_type: str
    opening: bytes
    text: Callable[[str], bytes]
    closing: bytes
    whole: bytes

    def texts(self, count: int) -> list[bytes]:
        """So many frames of text, no two alike."""
        return [self.text(f"{token}{number}") for number, token in enumerate(islice(cycle(_TOKENS), count))]


def _chat(delta: dict[str, Any], finish: str | None = None) -> bytes:
    body = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": "upstream-model",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    }
    return b"data: " + orjson.dumps(body) + b"\n\n"


def _frame(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"


def _frames(*frames: tuple[str, dict[str, Any]]) -> bytes:
    return b"".join(_frame(kind, **fields) for kind, fields in frames)


def _chat_voice() -> Voice:
    usage = {"prompt_tokens": 12, "completion_tokens": 100, "total_tokens": 112}
    counted = {"id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "choices": [], "usage": usage}
    message = {"role": "assistant", "content": "It works."}
    return Voice(
        _EVENT_STREAM,
        _chat({"role": "assistant", "content": ""}),
        lambda text: _chat({"content": text}),
        _chat({}, "stop") + b"data: " + orjson.dumps(counted) + b"\n\ndata: [DONE]\n\n",
        orjson.dumps(
            {
                "id": "chatcmpl-0123456789abcdef",
                "object": "chat.completion",
                "created": _CREATED,
                "model": "upstream-model",
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
                "usage": usage,
            }
        ),
    )


def _messages_voice() -> Voice:
    message: dict[str, Any] = {
        "id": "msg_0123456789abcdef",
        "type": "message",
        "role": "assistant",
        "model": "upstream-model",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 1},
    }
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    whole = {**message, **ended, "content": [{"type": "text", "text": "It works."}]}
    return Voice(
        _EVENT_STREAM,
        _frames(
            ("message_start", {"message": message}),
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        ),
        lambda text: _frame("content_block_delta", index=0, delta={"type": "text_delta", "text": text}),
        _frames(
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": ended, "usage": {"output_tokens": 100}}),
            ("message_stop", {}),
        ),
        orjson.dumps(whole),
    )


def _responses_voice() -> Voice:
    response = {
        "id": "resp_0123456789abcdef",
        "object": "response",
        "created_at": _CREATED,
        "status": "in_progress",
        "model": "upstream-model",
        "output": [],
        "usage": None,
    }
    usage = {"input_tokens": 12, "output_tokens": 100, "total_tokens": 112}
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    said = {**item, "status": "completed", "content": [{**part, "text": "It works."}]}
    completed = {**response, "status": "completed", "output": [said], "usage": usage}
    return Voice(
        _EVENT_STREAM,
        _frames(
            ("response.created", {"response": response, "sequence_number": 0}),
            ("response.output_item.added", {"output_index": 0, "item": item, "sequence_number": 1}),
            ("response.content_part.added", {**place, "part": part, "sequence_number": 2}),
        ),
        lambda text: _frame("response.output_text.delta", **place, delta=text, logprobs=[], sequence_number=3),
        _frame("response.completed", response={**completed, "output": []}, sequence_number=4),
        orjson.dumps(completed),
    )


def _raw_voice() -> Voice:
    return Voice("text/plain; charset=utf-8", b"", str.encode, b"", orjson.dumps("It works."))


VOICES: Final = {
    "openai": _chat_voice(),
    "anthropic": _messages_voice(),
    "responses": _responses_voice(),
    "truss": _raw_voice(),
}
"""By the dialect's name."""


def chunked(data: bytes) -> bytes:
    """As one chunk of a body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def streamed_head(voice: Voice) -> bytes:
    """The head of a response whose body comes in chunks."""
    return f"HTTP/1.1 200 OK\r\ncontent-type: {voice.media_type}\r\ntransfer-encoding: chunked\r\n\r\n".encode()


def whole_answer(voice: Voice) -> bytes:
    """A response that isn't streamed."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(voice.whole)}\r\n\r\n"
    return head.encode() + voice.whole


def joined(frames: Iterable[bytes]) -> bytes:
    """Frames as one chunk each, in one read."""
    return b"".join(map(chunked, frames))
