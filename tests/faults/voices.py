"""What upstreams of each dialect say, in bytes written by hand: our own encoders would share our own mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tests.faults.hostile_upstream import Peer, Play, Seen

TOKENS: Final = ("Salt ", "wind ", "combs ", "the ", "shore.")
TEXT: Final = "".join(TOKENS)


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; nothing for no data, which would be the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK: Final = b"0\r\n\r\n"


def head(status: int = 200, *fields: tuple[str, str]) -> bytes:
    """A response head."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def sized(body: bytes, status: int = 200, *fields: tuple[str, str], media_type: str = "application/json") -> bytes:
    """A whole response with its length."""
    return head(status, ("content-type", media_type), ("content-length", str(len(body))), *fields) + body


@dataclass(frozen=True, slots=True)
class Voice:
    """One way an upstream streams and answers.

    `upstream` is its name in the configuration, `opening` what comes before content, `ending` what makes it complete.
    `ping`, `gibberish` and `error` are empty where the wire has none.
    """

    name: str
    upstream: str
    media_type: str
    opening: bytes
    token: Callable[[str], bytes]
    finish: bytes
    terminator: bytes
    whole: Callable[[str], bytes]
    ping: bytes = b""
    gibberish: tuple[bytes, ...] = ()
    error: bytes = b""

    @property
    def is_framed(self) -> bool:
        """Whether the text comes in events."""
        return bool(self.ping)

    @property
    def head(self) -> bytes:
        return head(200, ("content-type", self.media_type), ("transfer-encoding", "chunked"))

    def first(self, tokens: int = 2) -> bytes:
        """Head, opening and the first tokens."""
        return self.head + chunk(self.opening) + b"".join(chunk(self.token(text)) for text in TOKENS[:tokens])

    def stream(self) -> bytes:
        """A whole stream, with its head."""
        return self.first(len(TOKENS)) + chunk(self.finish + self.terminator) + LAST_CHUNK

    def answer(self, seen: Seen) -> bytes:
        """What was asked for: a stream or a whole answer."""
        return self.stream() if orjson.loads(seen.body).get("stream") is True else sized(self.whole(TEXT))


def _event(name: str, body: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(body))


def _chat_chunk(delta: object, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: %s\n\n" % orjson.dumps(body)


def _completion(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    return orjson.dumps(
        {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    )


def _message(text: str) -> bytes:
    return orjson.dumps(
        {
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 5},
        }
    )


_START: Final[dict[str, Any]] = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 1},
}
_CHAT_GIBBERISH: Final = (b'data: {"choices": [oops\n\n', b"data: 5\n\n", b'data: {"choices": [{"delta": 7}]}\n\n')

OPENAI: Final = Voice(
    "openai",
    "openai",
    "text/event-stream",
    _chat_chunk({"role": "assistant", "content": ""}),
    lambda text: _chat_chunk({"content": text}),
    _chat_chunk({}, "stop"),
    b"data: [DONE]\n\n",
    _completion,
    ping=b": keep-alive\n\n",
    gibberish=_CHAT_GIBBERISH,
    error=b'data: {"error": {"message": "no more", "type": "server_error", "code": null}}\n\n',
)
ANTHROPIC: Final = Voice(
    "anthropic",
    "anthropic",
    "text/event-stream",
    _event("message_start", {"type": "message_start", "message": _START})
    + _event(
        "content_block_start",
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ),
    lambda text: _event(
        "content_block_delta",
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
    ),
    _event("content_block_stop", {"type": "content_block_stop", "index": 0})
    + _event(
        "message_delta",
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    ),
    _event("message_stop", {"type": "message_stop"}),
    _message,
    ping=_event("ping", {"type": "ping"}),
    gibberish=(
        b"event: content_block_delta\ndata: {oops\n\n",
        b"event: content_block_delta\ndata: []\n\n",
        _event("content_block_delta", {"type": "content_block_delta"}),
    ),
    error=_event("error", {"type": "error", "error": {"type": "api_error", "message": "no more"}}),
)
RAW: Final = Voice(
    "raw",
    "truss",
    "text/plain",
    b"",
    lambda text: text.encode(),
    b"",
    b"",
    orjson.dumps,
)
TRUSS_EVENTS: Final = Voice(
    "truss-events",
    "truss",
    "text/plain; charset=utf-8",
    OPENAI.opening,
    OPENAI.token,
    OPENAI.finish,
    OPENAI.terminator,
    _completion,
    OPENAI.ping,
    OPENAI.gibberish,
    OPENAI.error,
)


def _response(status: str, *output: Any, **fields: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": status,
        "output": output,
    } | fields


def _text_item(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}


def _response_event(name: str, **fields: Any) -> bytes:
    return _event(f"response.{name}", {"type": f"response.{name}", **fields})


def _completed(text: str) -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}
    return _response("completed", _text_item(text), usage=usage)


_IN_ITEM: Final[dict[str, Any]] = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
RESPONSES: Final = Voice(
    "responses",
    "responses",
    "text/event-stream",
    _response_event("created", response=_response("in_progress"))
    + _response_event("output_item.added", output_index=0, item={**_text_item(""), "content": []})
    + _response_event("content_part.added", **_IN_ITEM, part={"type": "output_text", "text": "", "annotations": []}),
    lambda text: _response_event("output_text.delta", **_IN_ITEM, delta=text),
    _response_event("output_text.done", **_IN_ITEM, text=TEXT)
    + _response_event("output_item.done", output_index=0, item=_text_item(TEXT)),
    _response_event("completed", response=_completed(TEXT)),
    lambda text: orjson.dumps(_completed(text)),
    ping=b": keep-alive\n\n",
    gibberish=(
        b"event: response.output_text.delta\ndata: {oops\n\n",
        b"event: response.output_text.delta\ndata: []\n\n",
        _response_event("output_text.delta", **_IN_ITEM, delta=7),
    ),
    error=_event("error", {"type": "error", "code": "server_error", "message": "no more", "param": None}),
)
VOICES: Final = (OPENAI, ANTHROPIC, RAW, TRUSS_EVENTS, RESPONSES)


def says(*parts: bytes) -> Play:
    """Sends these parts and keeps the connection."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(*parts)

    return play


def hangs_up_after(*parts: bytes) -> Play:
    """Sends these parts, then FIN."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(*parts)
        peer.close()

    return play


def hangs_after(*parts: bytes) -> Play:
    """Sends these parts, then nothing more until the peer leaves."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(*parts)
        await peer.gone()

    return play


def answers(voice: Voice) -> Play:
    """A good upstream: a stream or a whole answer, as asked."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.answer(seen))

    return play
