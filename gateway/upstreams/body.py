"""The body of an answer that is still coming."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import httpx

_READ_AHEAD: Final = 16 * 1024
"""Bytes that may wait here for their reader before no more are taken from the peer; and most that it gets at a time, as
what becomes of them may be a multiple. One read may bring more."""

AtOnce = Callable[[bytes], bool]
"""Takes what just came of a body, and says whether to go on waiting for more."""


class Source(Protocol):
    """Where a body comes from."""

    def pause_reading(self) -> None:
        """Takes no more from the peer for now."""

    def resume_reading(self) -> None:
        """Goes on, if it had paused."""

    def discard(self) -> None:
        """Nobody wants the rest."""


class Body(httpx.AsyncByteStream):
    """Fed by its source, read by one task. While nobody reads, the source is held back (HARDENING.md 1.10)."""

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop) -> None:
        self._source: Source | None = source
        self._loop = loop
        self._pieces: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[bool] | None = (
            None  # of the reader; the result is whether `at_once` ended the wait
        )
        self._at_once: AtOnce | None = None
        self._is_over = False
        self._error: Exception | None = None

    # -- for the reader

    async def next(self, at_once: AtOnce | None = None) -> bytes | None:
        """The next bytes, None at the end. Raises httpx.TransportError where it breaks off, or what `at_once` raised.

        What comes while this waits is given to `at_once` straight from the source, without a turn of the reader's
        task: all that one read brought at once, unless that is very much. It has always taken what it is given. True:
        the wait goes on; False: it is over, and b"" is returned.
        """
        if not self._pieces and not self._is_over and await self._told(at_once):
            return b""
        if self._pieces:
            return self._take()
        if self._error is not None:
            raise self._failure()
        return None

    async def _told(self, at_once: AtOnce | None) -> bool:
        """Waits for news. Whether `at_once` ended it."""
        self._at_once = at_once
        self._waiter = self._loop.create_future()
        if self._source is not None:
            self._source.resume_reading()
        try:
            return await self._waiter
        finally:
            self._waiter = self._at_once = None

    def _take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = max(len(data) - _READ_AHEAD, 0)
        if self._size:
            self._pieces.append(data[_READ_AHEAD:])
        elif self._source is not None:
            self._source.resume_reading()
        return data[:_READ_AHEAD]

    def _failure(self) -> Exception:
        """The error, once: kept here, its traceback would refer to us. Whoever reads on fails again."""
        error, self._error = self._error, httpx.ReadError("this body broke off before")
        assert error is not None
        return error

    @property
    def is_read(self) -> bool:
        """Whether it is over, properly, and all of it was read."""
        return self._is_over and not self._pieces and self._error is None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (data := await self.next()) is not None:
            yield data

    async def aclose(self) -> None:
        """What is still to come is not waited for: its connection is closed."""
        self.abandon()

    def abandon(self) -> None:
        """As `aclose`."""
        if self._source is not None:
            self._source.discard()

    # -- for the source

    def feed(self, data: bytes) -> None:
        """Some more of it, at least one byte."""
        if self._at_once is None or len(data) > _READ_AHEAD:
            self._keep(data)
            return
        try:
            goes_on = self._at_once(data)
        except Exception as error:  # the reader's own, who gets to see it
            self.fail(error)
        else:
            if not goes_on:
                self._at_once = None
                self._wake(by_at_once=True)

    def end(self) -> None:
        """That was all."""
        self._is_over = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """It breaks off here, unless it is over."""
        if not self._is_over:
            self._error, self._is_over = error, True
            self._at_once = None
            self._wake()

    def detach(self) -> None:
        """The source is done with it."""
        self._source = None

    def _keep(self, data: bytes) -> None:
        if self._error is not None:
            return
        self._pieces.append(data)
        self._size += len(data)
        self._at_once = None
        self._wake()
        if self._size >= _READ_AHEAD and self._source is not None:  # a reader that was woken has not read yet
            self._source.pause_reading()

    def _wake(self, *, by_at_once: bool = False) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(by_at_once)
