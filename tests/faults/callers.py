"""Clients of each dialect on raw sockets: what they send, and how they tell a finished answer from a broken one."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tests.faults.hostile_upstream import PATIENCE_S
from tests.faults.voices import RAW, Voice


@dataclass(frozen=True, slots=True)
class Reply:
    """Everything that came back on a connection. `is_whole`: the body ended by its length or its last chunk."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_whole: bool
    is_reset: bool = False

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.headers}


def read_reply(raw: bytes, *, is_reset: bool = False) -> Reply:
    """The reply in all the bytes of a connection that carried one request."""
    top, _, rest = raw.partition(b"\r\n\r\n")
    line, *fields = top.decode("latin-1").split("\r\n")
    assert line.startswith("HTTP/1."), f"not a response: {raw[:200]!r}, reset: {is_reset}"
    headers = tuple((name.lower(), value) for name, _, value in (field.partition(": ") for field in fields))
    by_name = dict(headers)
    if by_name.get("transfer-encoding") == "chunked":
        body, is_whole = _unchunked(rest)
    else:
        body = rest
        is_whole = "content-length" in by_name and len(rest) == int(by_name["content-length"])
    return Reply(int(line.split()[1]), headers, body, is_whole, is_reset)


def _unchunked(rest: bytes) -> tuple[bytes, bool]:
    body: list[bytes] = []
    at = 0
    while (end := rest.find(b"\r\n", at)) >= 0:
        size, at = int(rest[at:end], 16), end + 2
        if size == 0:
            return b"".join(body), rest[at:] == b"\r\n"
        body.append(rest[at : at + size])
        at += size + 2
    return b"".join(body), False


class Call:
    """One request on a connection of its own. Every read ends after `PATIENCE_S`."""

    def __init__(self, port: int, request: bytes, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        try:
            if receive_buffer is not None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.socket.settimeout(PATIENCE_S)
            self.socket.connect(("127.0.0.1", port))
            self.socket.sendall(request)
        except OSError:
            self.socket.close()
            raise
        self.received = b""

    def read_until(self, mark: bytes) -> None:
        while mark not in self.received:
            data = self.socket.recv(65536)
            assert data, f"closed before {mark!r}: {self.received[-500:]!r}"
            self.received += data

    def read_reply(self) -> Reply:
        """Until the connection closes."""
        is_reset = False
        parts = [self.received]
        try:
            while data := self.socket.recv(1 << 20):
                parts.append(data)
        except ConnectionResetError:
            is_reset = True
        self.received = b"".join(parts)
        return read_reply(self.received, is_reset=is_reset)

    def leave(self) -> float:
        """Closes; when."""
        left_at = time.perf_counter()
        self.socket.close()
        return left_at


@contextmanager
def calling(port: int, request: bytes, receive_buffer: int | None = None) -> Iterator[Call]:
    call = Call(port, request, receive_buffer)
    with call.socket:
        yield call


def ask(port: int, request: bytes) -> Reply:
    """Sends a request that closes its connection, and reads all that comes back."""
    with calling(port, request) as call:
        return call.read_reply()


def post(path: str, body: bytes, *fields: str, version: str = "1.1", close: bool = True) -> bytes:
    """A POST of JSON."""
    lines = [f"POST {path} HTTP/{version}", "host: gateway", "content-type: application/json"]
    lines += [f"content-length: {len(body)}", *fields, *(["connection: close"] if close else [])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@dataclass(frozen=True, slots=True)
class Caller:
    """A client of one dialect. `template` has what every body of it needs besides `stream` and `model`."""

    name: str
    dialect: str
    template: dict[str, Any]

    def path(self, model: str) -> str:
        return {
            "openai": "/v1/chat/completions",
            "anthropic": "/v1/messages",
            "responses": "/v1/responses",
            "truss": f"/model-{model}/production/predict",
        }[self.dialect]

    def body(self, model: str, *, stream: bool = True, **fields: Any) -> dict[str, Any]:
        named = {} if self.dialect == "truss" else {"model": model}
        return {**named, **self.template, "stream": stream, **fields}

    def request(self, model: str, *headers: str, stream: bool = True, version: str = "1.1", **fields: Any) -> bytes:
        body = orjson.dumps(self.body(model, stream=stream, **fields))
        return post(self.path(model), body, *headers, version=version)

    def form(self, voice: Voice) -> str:
        """The form a stream of this voice takes at this client: between Truss and Truss it passes as it is."""
        if self.dialect == "truss" and voice.upstream == "truss":
            return "raw" if voice is RAW else "openai"
        return {"truss": "raw", "truss-chat": "openai"}.get(self.name, self.name)


_CHAT: Final = {"messages": [{"role": "user", "content": "Hello there"}]}
CALLERS: Final = (
    Caller("openai", "openai", _CHAT),
    Caller("anthropic", "anthropic", {**_CHAT, "max_tokens": 64}),
    Caller("truss", "truss", {"prompt": "Hello there"}),
    Caller("truss-chat", "truss", _CHAT),
    Caller("responses", "responses", {"input": "Hello there"}),
)
OPENAI_CALLER, ANTHROPIC_CALLER, TRUSS_CALLER, CHAT_CALLER, RESPONSES_CALLER = CALLERS
FOUR: Final = (OPENAI_CALLER, ANTHROPIC_CALLER, TRUSS_CALLER, RESPONSES_CALLER)
"""One per dialect."""

TERMINATORS: Final = {"openai": b"[DONE]", "anthropic": b'"message_stop"', "responses": b'"response.completed"'}
STREAM_ERRORS: Final = {
    "openai": b'data: {"error":{',
    "anthropic": b'event: error\ndata: {"type":"error"',
    "responses": b'event: response.failed\ndata: {"type":"response.failed"',
}


def assert_broken(reply: Reply, form: str) -> None:
    """The client can tell that this stream, which had begun, did not finish."""
    assert reply.status == 200
    assert b"Salt" in reply.body
    if form == "raw":
        assert not reply.is_whole, "raw text with a last chunk looks finished"
        return
    assert TERMINATORS[form] not in reply.body
    assert b'finish_reason":"' not in reply.body
    assert b'"message_delta"' not in reply.body
    last_frame = reply.body.rstrip(b"\n").rpartition(b"\n\n")[2]
    assert last_frame.startswith(STREAM_ERRORS[form]), last_frame
    assert reply.is_whole


def assert_finished(reply: Reply, form: str) -> None:
    """A stream that is complete in every way."""
    assert reply.status == 200
    assert reply.is_whole
    assert b"Salt" in reply.body
    if form != "raw":
        assert TERMINATORS[form] in reply.body
        assert STREAM_ERRORS[form] not in reply.body


def told_error(reply: Reply, caller: Caller) -> str:
    """The message of an error answer, after checking that it has the shape of the caller's dialect."""
    assert reply.is_whole, reply
    assert reply.header("content-type") == "application/json"
    assert len(reply.body) <= 2200 or reply.status < 500
    body = orjson.loads(reply.body)
    if caller.dialect == "truss":
        assert set(body) == {"error"}
        message = body["error"]
    elif caller.dialect == "anthropic":
        assert body["type"] == "error"
        assert set(body["error"]) == {"type", "message"}
        message = body["error"]["message"]
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}
        message = body["error"]["message"]
    assert isinstance(message, str)
    return message
