"""The floor: a pipe of bytes, a process of its own: `python -m gateway.bench.pipe PORT UPSTREAM_PORT`.

It knows no HTTP and looks at nothing, so what it takes is what any proxy in Python takes on this machine, with the same
event loop. Measured as any other gateway, it says how much of a figure is not ours. It prints its port, and ends with
SIGTERM.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final, cast

import uvloop

_BACKLOG: Final = 4096


class _End(asyncio.Protocol):
    """One end of a pipe: what comes here is written at the other."""

    def __init__(self) -> None:
        self.other: _End | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    def join(self, other: _End) -> None:
        """The other end is there."""
        self.other, other.other = other, self
        for data in self._early:
            other.transport.write(data)
        self._early.clear()


class _Near(_End):
    """The client's end, which opens the other one."""

    def __init__(self, upstream_port: int) -> None:
        super().__init__()
        self._upstream_port = upstream_port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> None:
        try:
            _, far = await asyncio.get_running_loop().create_connection(_End, "127.0.0.1", self._upstream_port)
        except OSError:
            self.transport.abort()
        else:
            self.join(far)


async def _serve(port: int, upstream_port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Near(upstream_port), "127.0.0.1", port, backlog=_BACKLOG)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
