"""What our connection offers beyond ASGI for writing: the same bytes as `send`, without waiting. Over real sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gateway.connection import UNSENT
from gateway.server import Server
from gateway.wire.extensions import BEGIN, WRITE
from tests.sockets import PATIENCE_S, connected
from tests.test_server import LIMITS, refuse

ASK = b"POST / HTTP/1.1\r\nhost: gw\r\ncontent-length: 0\r\n\r\n"
PIECES = [b"a", b"", b"{}" * 100, bytes(5000)]
LONG = bytes(16 * 1024)


class App:
    """Answers with pieces, written by `send` to the first request and at once to the second."""

    def __init__(self) -> None:
        self.asked = 0
        self.room: list[bool] = []
        self.is_over = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        self.asked += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.answer(scope["extensions"][WRITE], receive, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        self.is_over.set()

    async def answer(self, write: Any, receive: Any, send: Any) -> None:
        for piece in PIECES:
            if self.asked == 1:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            else:
                self.room.append(write(piece))


class Heads(App):
    """Answers twice in each way, with the head by `send` first and at once the second time; keeps what `begin` said."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        self.asked += 1
        status, length = (503, 2) if scope["path"] == "/whole" else (200, None)
        if self.asked % 2:
            told = [] if length is None else [(b"content-length", b"%d" % length)]
            await send({"type": "http.response.start", "status": status, "headers": [(b"x-a", b"b"), *told]})
        else:
            begin = scope["extensions"][BEGIN]
            self.room += [begin(status, b"x-a: b\r\n", length), begin(status, b"", length)]
        await send({"type": "http.response.body", "body": b"{}", "more_body": False})
        if self.asked == 6:
            self.is_over.set()


class Filling(App):
    """Writes until there is no room, and then by `send`, which waits for it."""

    async def answer(self, write: Any, receive: Any, send: Any) -> None:
        while write(LONG):
            self.room.append(True)
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        self.room.append(write(b"there was room again"))


class Persistent(App):
    """Goes on writing to a client that is gone."""

    async def answer(self, write: Any, receive: Any, send: Any) -> None:
        write(LONG)
        while (await receive())["type"] != "http.disconnect":
            pass
        self.room = [write(LONG) for _ in range(1000)]


@contextmanager
def serving(app: App) -> Iterator[int]:
    with Server(app, LIMITS, refuse).in_thread() as running:
        yield running.port


def test_a_piece_written_at_once_is_framed_as_one_that_is_sent() -> None:
    app = App()
    with serving(app) as port, connected(port) as client:
        answers = []
        for _ in range(2):
            client.send(ASK)
            answers.append(client.read_until(b"\r\n0\r\n\r\n"))
    assert answers[0] == answers[1]
    assert b"\r\n1\r\na\r\nc8\r\n{}{}" in answers[0]
    assert app.room == [True] * len(PIECES)


def test_who_writes_is_told_when_the_client_has_enough_and_send_waits_for_it() -> None:
    app = Filling()
    with serving(app) as port, connected(port, receive_buffer=4096) as client:
        client.send(ASK)
        client.read_until(b"\r\n\r\n")
        assert not app.is_over.wait(0.3)
        assert client.read_until(b"0\r\n\r\n").endswith(b"14\r\nthere was room again\r\n0\r\n\r\n")
    assert app.room[-1]
    kernel = 8 * 1024 * 1024
    assert len(app.room) * len(LONG) < UNSENT + kernel


def test_what_is_written_to_a_client_that_is_gone_goes_nowhere() -> None:
    app = Persistent()
    with serving(app) as port:
        with connected(port) as client:
            client.send(ASK)
            client.read_until(b"\r\n\r\n")
        assert app.is_over.wait(PATIENCE_S)
    assert app.room == [True] * 1000


def test_a_head_written_at_once_is_the_one_that_is_sent() -> None:
    """Streamed and whole, on a connection that is kept and on one that is not; and there is one head in any case."""
    app = Heads()
    with serving(app) as port:
        for head in (b"POST / HTTP/1.1", b"POST /whole HTTP/1.1", b"POST /whole HTTP/1.1\r\nconnection: close"):
            sent, begun = (_read(port, head + b"\r\nhost: gw\r\ncontent-length: 0\r\n\r\n") for _ in range(2))
            assert begun == sent
            assert sent.count(b"HTTP/1.1") == 1
        assert app.is_over.wait(PATIENCE_S)
    assert app.room == [True, False] * 3


def _read(port: int, request: bytes) -> bytes:
    """The answer to a request, head and body."""
    with connected(port) as client:
        client.send(request)
        return client.read_until(b"{}" if b"/whole" in request else b"0\r\n\r\n")
