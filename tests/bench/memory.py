"""An event loop that counts what is asked of it, and transports whose other end is the test: no kernel, no waiting."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final, NamedTuple, TypeVarTuple

_Ts = TypeVarTuple("_Ts")
_ADDRESS: Final = ("127.0.0.1", 1)
_STEP_S: Final = 0.0001
"""From one read to the next."""


class Asked(NamedTuple):
    """What a loop was asked for. `wakes`: callbacks to be run soon, steps of tasks among them."""

    wakes: float = 0
    tasks: float = 0
    timers: float = 0

    def since(self, before: Asked) -> Asked:
        """What was asked for after that."""
        return Asked(*(now - then for now, then in zip(self, before, strict=True)))

    def per(self, times: int) -> Asked:
        """The share of one of so many."""
        return Asked(*(each / times for each in self))


class Memory(asyncio.Transport):
    """One connection, as its protocol sees it. `written`: what the protocol wrote since it was last taken."""

    def __init__(self, loop: asyncio.AbstractEventLoop, extra: dict[str, Any] | None = None) -> None:
        super().__init__({"sockname": _ADDRESS, "peername": _ADDRESS, **(extra or {})})
        self._loop = loop
        self._protocol: asyncio.BaseProtocol | None = None
        self._is_closing = False
        self.written = bytearray()
        self.is_paused = False

    def take(self) -> bytes:
        """What was written since the last time."""
        written = bytes(self.written)
        self.written.clear()
        return written

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._loop.call_soon(self._lose)

    abort = close

    def _lose(self) -> None:
        self.get_protocol().connection_lost(None)
        if isinstance(its_socket := self.get_extra_info("socket"), socket.socket):
            its_socket.close()

    def is_reading(self) -> bool:
        return not self.is_paused

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.written += data

    def can_write_eof(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """All is taken at once."""

    def get_write_buffer_size(self) -> int:
        return 0


class Loop(asyncio.SelectorEventLoop):
    """Runs until nothing is left to do; `connections` are those that were asked for, with what speaks on them."""

    def __init__(self) -> None:
        super().__init__()
        self.set_debug(False)
        self._wakes = self._tasks = self._timers = 0
        self._now = 0.0
        self.connections: list[Memory] = []
        self._peers: list[socket.socket] = []

    def close(self) -> None:
        super().close()
        for peer in self._peers:
            peer.close()

    @property
    def asked(self) -> Asked:
        """What it was asked for so far."""
        return Asked(self._wakes, self._tasks, self._timers)

    def time(self) -> float:
        """A clock that goes on with what happens, so that the same timers are due in every run."""
        return self._now

    def perform(self, callback: Callable[..., object], *args: Any) -> None:
        """Calls it from the loop, as a selector would, and all that follows."""
        self._now += _STEP_S
        super().call_soon(callback, *args)
        while True:
            before = self._wakes
            super().call_soon(self.stop)
            self.run_forever()
            if self._wakes == before:
                return

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self._wakes += 1
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._timers += 1
        return super().call_at(when, callback, *args, context=context)

    def create_task(self, coro: Any, **options: Any) -> Any:
        self._tasks += 1
        return super().create_task(coro, **options)

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """Each host is its own address."""
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Nobody is called: the connection is there."""

    async def create_connection(self, protocol_factory: Callable[[], Any], *args: Any, **options: Any) -> Any:
        """A connection whose other end is the test."""
        if (given := options.get("sock")) is not None:
            given.close()
        ours, peer = socket.socketpair()  # a kept connection is asked whether its peer is still there, and silent
        self._peers.append(peer)
        transport, protocol = Memory(self, {"socket": ours}), protocol_factory()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        self.connections.append(transport)
        return transport, protocol
