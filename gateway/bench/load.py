"""The load of a benchmark: so many streams at a time through one address, and what was seen of each."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, cast

import httptools

from gateway.bench.answers import MARK
from gateway.bench.calls import Address, Call

PATIENCE_S: Final = 30.0
"""For an answer, beside the time its tokens take: what takes longer counts as broken."""


@dataclass(slots=True)
class Seen:
    """One answer as it arrived. Times in seconds; `fault` says why it has no end."""

    status: int = 0
    ttft_s: float | None = None
    gaps_s: list[float] = field(default_factory=list)
    """Between two reads, from the first token on."""
    body: list[bytes] = field(default_factory=list)
    fault: str = ""


class _Client(asyncio.Protocol):
    """One connection: parses no more of an answer than where it ends."""

    def __init__(self) -> None:
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> tuple[Seen, asyncio.Future[None]]:
        """Sends it; the future is done with the answer's end, whatever that is."""
        self._done = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._seen = Seen()
        self._begun = self._last = time.perf_counter()
        self.transport.write(request)
        return self._seen, self._done

    def on_status(self, status: bytes) -> None:
        self._seen.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        now, seen = time.perf_counter(), self._seen
        if seen.ttft_s is not None:
            seen.gaps_s.append(now - self._last)
        elif MARK in data:
            seen.ttft_s = now - self._begun
        self._last = now
        seen.body.append(data)

    def on_message_complete(self) -> None:
        self._end()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"not HTTP: {error}")
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the connection was closed before the answer's end")

    def _end(self, fault: str = "") -> None:
        if self._done is not None and not self._done.done():
            self._seen.fault = fault
            self._done.set_result(None)


class Load:
    """Calls, over connections that are kept from run to run. For one event loop."""

    def __init__(self) -> None:
        self._idle: dict[Address, list[_Client]] = {}

    async def one_by_one(self, call: Call, count: int) -> list[Seen]:
        """The next begins when the one before has ended."""
        with _undisturbed():
            return [await self._ask(call, PATIENCE_S) for _ in range(count)]

    async def at_a_time(self, call: Call, streams: int, ramp_s: float, stream_s: float) -> list[Seen]:
        """So many, which begin evenly over the ramp."""
        with _undisturbed():
            async with asyncio.TaskGroup() as group:
                delays = (ramp_s * number / streams for number in range(streams))
                tasks = [group.create_task(self._later(delay, call, stream_s)) for delay in delays]
        return [task.result() for task in tasks]

    async def _later(self, delay_s: float, call: Call, stream_s: float) -> Seen:
        await asyncio.sleep(delay_s)
        return await self._ask(call, stream_s + PATIENCE_S)

    async def _ask(self, call: Call, patience_s: float) -> Seen:
        try:
            client = await self._client(call.address)
        except OSError as error:
            return Seen(fault=f"no connection: {error.strerror or error}")
        seen, done = client.ask(call.request)
        try:
            async with asyncio.timeout(patience_s):
                await done
        except TimeoutError:
            seen.fault = f"no end after {patience_s:g} s"
        if seen.fault:
            client.transport.abort()
        else:
            self._idle[call.address].append(client)
        return seen

    async def _client(self, address: Address) -> _Client:
        idle = self._idle.setdefault(address, [])
        while idle:
            client = idle.pop()
            if not client.transport.is_closing():
                return client
        _, client = await asyncio.get_running_loop().create_connection(_Client, address.host, address.port)
        return client

    def close(self) -> None:
        """Closes what is kept."""
        for clients in self._idle.values():
            for client in clients:
                client.transport.abort()
        self._idle.clear()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No pause of ours is to be told as one of the gateway's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
