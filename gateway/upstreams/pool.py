"""Connections that are kept for the next call, by where they lead."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from gateway.upstreams.connection import Connection

_KEEP_ALIVE_S: Final = 30.0
"""Shorter than the idle limit of common servers, so that a connection is rarely closed under a request."""


class Origin(NamedTuple):
    """A server, as connections know it. The host has no brackets."""

    is_tls: bool
    host: str
    port: int


class Pool:
    """Keeps as many as there are; the one used last is used first, so that those not needed grow old."""

    def __init__(self) -> None:
        self._idle: dict[Origin, dict[Connection, float]] = {}  # with when it gets too old, the oldest first
        self._origins: dict[Connection, Origin] = {}  # of all that are open
        self._timer: asyncio.TimerHandle | None = None
        self._none_open = asyncio.Event()

    def add(self, connection: Connection, origin: Origin) -> None:
        """A new one, in use."""
        self._origins[connection] = origin

    def take(self, origin: Origin) -> Connection | None:
        """One to use, on which the peer has said nothing unasked; None if there is none."""
        idle = self._idle.get(origin)
        while idle:
            connection, _ = idle.popitem()
            if connection.is_quiet():
                return connection
            connection.discard()
        return None

    def freed(self, connection: Connection) -> None:
        """It can be used again."""
        loop = asyncio.get_running_loop()
        idle = self._idle.setdefault(self._origins[connection], {})
        idle[connection] = loop.time() + _KEEP_ALIVE_S
        if self._timer is None:
            self._timer = loop.call_later(_KEEP_ALIVE_S, self._retire)

    def lost(self, connection: Connection) -> None:
        """It is closed."""
        origin = self._origins.pop(connection, None)
        if origin is not None:
            self._idle.get(origin, {}).pop(connection, None)
        if not self._origins:
            self._none_open.set()

    def _retire(self) -> None:
        """Closes those that are too old, and comes back for the others."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for idle in self._idle.values():
            for connection in [connection for connection, until in idle.items() if until <= now]:
                del idle[connection]
                connection.retire()
        self._idle = {origin: idle for origin, idle in self._idle.items() if idle}
        nexts = [next(iter(idle.values())) for idle in self._idle.values()]
        self._timer = loop.call_at(min(nexts), self._retire) if nexts else None

    async def aclose(self) -> None:
        """Closes all of them, those in use too, and waits until they are."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._none_open.clear()
        for connection in list(self._origins):
            connection.discard()
        if self._origins:
            await self._none_open.wait()
