"""The client's side of one relay: ASGI messages, in the order that HTTP wants them."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from starlette.types import Message, Scope, Send

from gateway.errors import GatewayError, Unfit
from gateway.neutral.events import Start
from gateway.wire.extensions import ABORT, BEGIN, IS_FULL, WRITE

Headers = Mapping[str, str]
Tell = Callable[[GatewayError], Awaitable[None]]
"""Ends an answer under way with an error, in the words of its dialect."""

_PIECE: Final = 32 * 1024
"""Bytes of a whole answer written at a time: what a client does not take waits with us, not in its connection."""

_PAUSE_S: Final = 0.005
"""A write that takes less has waited for its turn in the event loop, if for anything, and not for its client."""


_LINES: Final = re.compile(rb"(?:[!-9;-~]+: [\t -~\x80-\xff]*\r\n)*")
"""Header lines in order; whatever else there is, the server has to judge."""


class Aborted(Exception):
    """Raised through a server that lacks our extension: it closes the connection without the last chunk."""


class Outlet(Protocol):
    """Where one answer is written to. Before it is committed, nothing is."""

    @property
    def has_head(self) -> bool: ...

    @property
    def is_committed(self) -> bool: ...

    @property
    def writes_at_once(self) -> bool: ...

    async def commit(self, start: Start | None, tell: Tell | None = None) -> None: ...

    def take_over(self, tell: Tell) -> None: ...

    async def write(self, data: bytes) -> None: ...

    def write_at_once(self, data: bytes, now: float) -> bool: ...

    async def drain(self) -> None: ...

    async def close(self, last: bytes = b"") -> None: ...

    def abort(self) -> None: ...


class Sink:
    """Sends one response. A client of HTTP/1.0 can't see a missing last chunk, so it gets the body whole or not.

    `has_head`: the response head is out, maybe with signs of life behind it. `is_committed`: content is; only from
    there on no other target can be tried.
    """

    def __init__(self, scope: Scope, send: Send, head: Callable[[Start | None], Headers], max_answer: int) -> None:
        """`head` makes the response's headers once the answer begins. `max_answer`: bytes collected at most."""
        extensions = scope.get("extensions", {})
        self._send = send
        self._abort = extensions.get(ABORT)
        self._is_full: Callable[[], bool] = extensions.get(IS_FULL, bool)
        self._begin: Callable[[int, bytes, int | None], bool] = extensions.get(BEGIN, _not_begun)
        self._head = head
        self._collected: list[bytes] | None = [] if scope.get("http_version") == "1.0" else None
        self._write: Callable[[bytes], bool] = _never
        if self._collected is None:
            self._write = extensions.get(WRITE, _never)
        self._max_answer = self._room = max_answer
        self._start: Start | None = None
        self._tell: Tell | None = None
        self._now = asyncio.get_running_loop().time
        self.has_head = False
        self.is_committed = False
        self.is_over = False
        self.written = 0
        """Bytes of the body that the server took from us."""
        self.pause_s = 0.0
        """How long the answer stood still until its client took more of it, in all."""
        self.silent_since = math.inf
        """When the last write was done, on the loop's clock; never while one waits for the client, nor before any."""

    @property
    def can_be_kept_alive(self) -> bool:
        """Whether a sign of life could be written: not after the end, nor where the answer goes out whole."""
        return self._collected is None and not self.is_over

    async def commit(self, start: Start | None, tell: Tell | None = None) -> None:
        """The commit point: from here on the client has status 200. `tell`: how it hears that the answer breaks off."""
        self._start = start
        self._tell = tell
        if self._collected is None:
            self.is_committed = True
            if not self.has_head:
                await self._send_head(self._head(start))
        else:
            self._collected.clear()  # of an earlier attempt that broke
            self._room = self._max_answer

    def take_over(self, tell: Tell) -> None:
        """Another upstream goes on with the answer: how the client hears from now on that it breaks off."""
        self._tell = tell

    async def keep_alive(self, data: bytes) -> None:
        """A sign of life, behind a head if there was none. It does not commit."""
        if not self.has_head:
            await self._send_head(self._head(None))
        await self.write(data)

    async def write(self, data: bytes) -> None:
        if self._collected is not None:
            self._collected.append(data)
            self._room -= len(data)
            if self._room < 0:
                raise Unfit(f"the answer exceeds {self._max_answer} bytes, and HTTP/1.0 can't have it streamed")
        else:
            self.silent_since = math.inf
            await self._put(data, is_last=False)
            self.written += len(data)
            self.silent_since = self._now()

    @property
    def writes_at_once(self) -> bool:
        """Whether `write_at_once` may be used once the head is out: a matter of the server and of HTTP's version."""
        return self._write is not _never

    def write_at_once(self, data: bytes, now: float) -> bool:
        """Writes without waiting for the client; whether more may be written so, or it should be waited for first."""
        self.written += len(data)
        self.silent_since = now
        return self._write(data)

    async def drain(self) -> None:
        """Until the client has taken enough for more to be written."""
        await self.write(b"")

    async def close(self, last: bytes = b"") -> None:
        """The body is complete, with this as the last of it: what is not large leaves in one piece with the end."""
        if self._collected is not None or len(last) > _PIECE:
            await self.write(last)
            last = b""
        if self._collected is None:
            await self._end(last)
        else:
            await self.whole(b"".join(self._collected), self._head(self._start))

    async def whole(self, body: bytes, headers: Headers, status: int = 200) -> None:
        """A response in one piece, with its length; written no faster than the client takes it."""
        self.is_committed = True
        self._collected = None
        await self._send_head(headers, status, len(body))
        last = max(0, (len(body) - 1) // _PIECE * _PIECE)
        for begin in range(0, last, _PIECE):
            await self.write(body[begin : begin + _PIECE])
        await self._end(body[last:])

    async def break_off(self, error: GatewayError) -> None:
        """The answer under way ends here, for a reason that lies outside of it, and is told where that can be."""
        if self._tell is None:
            self.abort()
        else:
            await self._tell(error)

    def discard(self) -> None:
        """The client is gone: what is written from here on goes nowhere, at any speed."""
        self._collected = None
        self._send, self._abort, self._begin, self._is_full = _nowhere, _nothing, _not_begun, bool
        if self.writes_at_once:
            self._write = _taken

    def let_go(self) -> None:
        """All is written that ever will be: keeps nothing of the request, nor of who wrote."""
        self.discard()
        self._head, self._start, self._tell = _no_head, None, None

    def abort(self) -> None:
        """Cuts the connection; what was written before still arrives."""
        if self._abort is None:
            raise Aborted("the answer broke after its head was sent")
        self.is_over = True
        self._abort()

    async def _send_head(self, headers: Headers, status: int = 200, length: int | None = None) -> None:
        self.has_head = True
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode("latin-1")
        if _LINES.fullmatch(lines) and self._begin(status, lines, length):
            return
        if length is not None:
            headers = {**headers, "content-length": str(length)}
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    async def _end(self, data: bytes) -> None:
        self.is_over = True
        await self._put(data, is_last=True)

    async def _put(self, data: bytes, *, is_last: bool) -> None:
        """Waits as long as the client has enough for now, and counts that, also if nothing comes of it."""
        begun = self._now() if self._is_full() else math.inf
        try:
            await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})
        finally:
            if (waited_s := self._now() - begun) >= _PAUSE_S:
                self.pause_s += waited_s


def _not_begun(status: int, lines: bytes, length: int | None) -> bool:
    """As a server's way to write a head at once, where it has none."""
    return False


async def _nowhere(message: Message) -> None:
    """As a server's `send`."""


def _never(data: bytes) -> bool:
    """As a server's way to write at once, where it has none."""
    raise AssertionError("nothing is written at once here")


def _taken(data: bytes) -> bool:
    """As a server's way to write at once."""
    return True


def _nothing() -> None:
    """As a server's way to cut a connection."""


def _no_head(start: Start | None) -> Headers:
    """As what makes the headers."""
    return {}
