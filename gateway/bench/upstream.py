"""The upstream of a benchmark, a process of its own: `python -m gateway.bench.upstream PORT PACE_MS`.

It prints its port, and ends with its standard input: whoever started it may die as it likes. How a path ends says in
which dialect it is asked, and `max_tokens` how many tokens it says. One token, one write, at the time that is due:
never several in one packet, unless the receiver was late.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from functools import lru_cache
from typing import Final, cast

import httptools
import uvloop

from gateway.bench.answers import Answer, answer
from gateway.dialects import DIALECTS
from gateway.dialects.base import Inbound
from gateway.errors import GatewayError
from gateway.wire.json_body import decode

_BACKLOG: Final = 4096


_SPOKEN: Final = sorted(DIALECTS.values(), key=lambda dialect: len(dialect.ending), reverse=True)
"""The longest ending first: an empty one takes what is left."""
_TOKENS: Final = 64
"""For who asks for no number."""


@lru_cache(maxsize=64)
def _asked(path: str, body: bytes) -> Answer:
    """What a call is answered with."""
    dialect = next(dialect for dialect in _SPOKEN if path.endswith(dialect.ending))
    request = dialect.parse(Inbound(decode(body)))
    return answer(dialect, request, request.max_tokens or _TOKENS)


_NO_CALL: Final = Answer(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


class _Connection(asyncio.Protocol):
    """Answers one request after the other."""

    def __init__(self, pace_s: float) -> None:
        self._pace_s = pace_s
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._path = self._body = b""
        self._frames: tuple[bytes, ...] = ()
        self._sent = 0
        self._begun = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        self._path, self._body = url, b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        try:
            asked = _asked(self._path.decode(), self._body)
        except GatewayError:  # somebody looks whether this is alive
            asked = _NO_CALL
        self._frames, self._sent, self._begun = asked.paced, 0, self._loop.time()
        self._transport.write(asked.at_once)
        self._wait()

    def _wait(self) -> None:
        self._timer = None
        if self._sent < len(self._frames) and not self._is_full:
            self._timer = self._loop.call_at(self._begun + (self._sent + 1) * self._pace_s, self._send)

    def _send(self) -> None:
        self._transport.write(self._frames[self._sent])
        self._sent += 1
        self._wait()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        if self._timer is None:
            self._wait()


async def _serve(port: int, pace_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(pace_s), "127.0.0.1", port, backlog=_BACKLOG)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    gc.collect()
    gc.freeze()
    gc.disable()  # nothing here makes circles, and a pause would be told as the gateway's
    is_over = asyncio.Event()
    await loop.connect_read_pipe(lambda: _Lifeline(is_over), sys.stdin)
    await is_over.wait()


class _Lifeline(asyncio.Protocol):
    """Standard input: nobody writes there, and its end is ours."""

    def __init__(self, is_over: asyncio.Event) -> None:
        self._is_over = is_over

    def eof_received(self) -> None:
        self._is_over.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over.set()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
