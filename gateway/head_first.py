"""One write for the head of an answer and what follows it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_INTERIM: Final = b"HTTP/1.1 100 "


class HeadFirst(asyncio.Transport):
    """A connection as one answer sees it: the head waits for what is written in the same turn of the loop, if anything.

    Else each answer would begin with two calls of the kernel and two packets.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = b""
        """None once it is written."""

    def write(self, data: Any) -> None:
        """The first is the head, unless it is an interim one."""
        if self._head == b"" and not data.startswith(_INTERIM):
            self._head = data
            self._loop.call_soon(self.flush)
        elif self._head:
            head, self._head = self._head, None
            self._transport.write(head + data)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Nothing followed the head, or goes another way."""
        if self._head:
            head, self._head = self._head, None
            self._transport.write(head)

    def close(self) -> None:
        """Behind all that was written."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """As the connection says."""
        return self._transport.is_closing()
