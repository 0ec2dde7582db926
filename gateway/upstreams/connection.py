"""One connection to an upstream: one exchange at a time, straight from the socket to whoever reads the answer."""

from __future__ import annotations

import asyncio
import select
from typing import Final, NamedTuple, Protocol

import httpx

from gateway.upstreams.body import Body
from gateway.upstreams.failures import Dropped
from gateway.upstreams.response import BODY, Phase, ResponseParser

_PIECE: Final = 256 * 1024
"""Bytes of a request written in one go: a large one written at once would hold up every stream meanwhile."""


class Reply(NamedTuple):
    """A response's head, and its body to be read."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: Body


class Owner(Protocol):
    """Who a connection belongs to while it is idle."""

    def freed(self, connection: Connection) -> None:
        """It can be used again."""

    def lost(self, connection: Connection) -> None:
        """It is closed."""


class Connection(asyncio.Protocol):
    """Makes one exchange after the other.

    It is freed as soon as an answer's last byte came, whoever has still to read it; and only if the answer ended where
    it said it would, the request was sent whole, and nothing came that was not asked for (HARDENING.md 1.1).
    """

    _transport: asyncio.Transport

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._poll = select.poll()
        self._parser: ResponseParser | None = None
        self._body: Body | None = None
        self._waiter: asyncio.Future[None] | None = None  # of who waits for a head
        self._unsent = memoryview(b"")
        self._is_full = self._is_paused = self._is_lost = False

    # -- for the caller

    def is_quiet(self) -> bool:
        """Whether the peer has neither closed nor said anything, as far as this machine knows by now."""
        return not self._is_lost and not self._poll.poll(0)

    async def exchange(self, head: bytes, content: bytes, *, has_body: bool = True) -> Reply:
        """Sends a request; the response once its head is there. The request may still be under way then.

        `has_body`: whether the response has one, if it says so. Raises Dropped if the peer closes without a word,
        another httpx.ReadError if it does so later, and httpx.RemoteProtocolError if what it says is no HTTP.
        """
        if self._is_lost:
            raise Dropped("the peer closed the connection at once")
        self._parser = parser = ResponseParser(has_body=has_body)
        self._body = body = Body(self, self._loop)
        self._waiter = waiter = self._loop.create_future()
        self._send(head, content)
        try:
            await waiter
        except asyncio.CancelledError:
            body.abandon()
            raise
        return Reply(parser.status, parser.fields, body)

    # -- for the body

    def pause_reading(self) -> None:
        """Takes no more from the peer for now."""
        if not self._is_paused and not self._is_lost:
            self._is_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Goes on, if it had paused."""
        if self._is_paused and not self._is_lost:
            self._is_paused = False
            self._transport.resume_reading()

    def discard(self) -> None:
        """Closes at once, whatever is under way."""
        self._let_go()
        self._is_lost = True
        self._transport.abort()

    def retire(self) -> None:
        """Closes an idle one, politely."""
        self._is_lost = True
        self._transport.close()

    def _let_go(self) -> None:
        """Of the exchange, which refers to us."""
        if self._parser is not None:
            self._parser.close()
        if self._body is not None:
            self._body.fail(httpx.ReadError("the connection was given up"))
            self._body.detach()
        self._parser = self._body = self._waiter = None
        self._unsent = memoryview(b"")

    # -- asyncio's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """It is there."""
        self._transport = transport
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Some of the answer; or what nobody asked for."""
        parser, body = self._parser, self._body
        if parser is None or body is None:
            self.discard()
            return
        piece = parser.feed(data)
        if self._waiter is not None and parser.has_head:
            self._got_head(self._waiter)
        if piece:
            body.feed(piece)
        if parser.phase > BODY and parser is self._parser:
            self._finish(parser, body)

    def _got_head(self, waiter: asyncio.Future[None]) -> None:
        self._waiter = None
        if not waiter.done():
            waiter.set_result(None)

    def _finish(self, parser: ResponseParser, body: Body) -> None:
        """The answer is over, in one way or the other."""
        if parser.phase is Phase.BROKEN:
            self._fail(httpx.RemoteProtocolError(parser.fault), body)
        elif parser.may_reuse and not self._unsent and not self._transport.get_write_buffer_size():
            body.end()
            self._let_go()
            self.resume_reading()
            self._owner.freed(self)
        else:
            body.end()
            self.discard()

    def _fail(self, error: Exception, body: Body) -> None:
        if self._waiter is None:
            body.fail(error)
        elif not self._waiter.done():
            self._waiter.set_exception(error)
        self.discard()

    def eof_received(self) -> None:
        """The peer closed its side; that is the end of ours too."""
        self._lose(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._lose(exc)
        self._owner.lost(self)

    def _lose(self, error: Exception | None) -> None:
        parser, body = self._parser, self._body
        if parser is None or body is None:
            self.discard()
            return
        parser.eof()
        if parser.phase is Phase.OVER and error is None:
            body.end()
            self.discard()
        else:
            kind = httpx.ReadError if parser.has_begun else Dropped
            self._fail(kind(parser.fault or "the connection broke"), body)

    # -- the request

    def _send(self, head: bytes, content: bytes) -> None:
        if len(content) <= _PIECE:
            self._transport.write(head + content)
        else:
            self._transport.write(head)
            self._unsent = memoryview(content)
            self._send_more()

    def _send_more(self) -> None:
        """No faster than the peer takes it."""
        while self._unsent and not self._is_full:
            piece, self._unsent = self._unsent[:_PIECE], self._unsent[_PIECE:]
            self._transport.write(piece)

    def pause_writing(self) -> None:
        """The peer does not take what was written."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It has taken most of it."""
        self._is_full = False
        self._send_more()
