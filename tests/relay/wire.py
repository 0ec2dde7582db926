"""Both ends of a pump: an upstream's body that is taken as it comes, and a client that can be written to at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

from gateway.errors import GatewayError
from gateway.neutral.events import Start
from gateway.neutral.sequencer import Sequencer
from gateway.relay.carrier import Carrier, PassThrough
from gateway.relay.pump import Pump
from gateway.relay.sink import Sink
from gateway.relay.watchdog import Deadlines, Watchdog
from gateway.telemetry.timeline import Timeline
from gateway.upstreams.client import Answer
from gateway.wire.extensions import ABORT, WRITE
from tests.dialects.cases import Case

LONG_S = 60.0
MAX_ANSWER = 1_000_000

Listener = Callable[[bytes], bool]


class Body:
    """What an upstream says: all of it has come when it is asked for, and what nobody waits for stays where it is."""

    def __init__(self, parts: Iterable[bytes | Exception]) -> None:
        self._parts: Iterator[bytes | Exception] = iter(parts)
        self.taken_at_once = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if (part := await self.next()) is None:
            raise StopAsyncIteration
        return part

    async def next(self, at_once: Listener | None = None) -> bytes | None:
        """As the contract of `Answer.next` has it."""
        for part in self._parts:
            if isinstance(part, Exception):
                raise part
            if at_once is None:
                return part
            self.taken_at_once += 1
            if not at_once(part):
                return b""
        return None


class Live(Body):
    """An upstream that a test lets speak, as a connection would: to whoever listens, else to a buffer."""

    def __init__(self) -> None:
        super().__init__(())
        self._buffer: list[bytes] = []
        self._waiter: asyncio.Future[bytes | None] | None = None
        self._at_once: Listener | None = None
        self.asked = asyncio.Event()

    @property
    def is_read(self) -> bool:
        """Whether anybody waits for what comes."""
        return self._waiter is not None and not self._waiter.done()

    def say(self, data: bytes) -> None:
        """Bytes from the socket."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._buffer.append(data)
        elif self._at_once is None:
            waiter.set_result(data)
        else:
            self.taken_at_once += 1
            try:
                if not self._at_once(data):
                    waiter.set_result(b"")
            except Exception as error:
                waiter.set_exception(error)

    async def next(self, at_once: Listener | None = None) -> bytes | None:
        if self._buffer:
            return self._buffer.pop(0)
        self._at_once, self._waiter = at_once, asyncio.get_running_loop().create_future()
        self.asked.set()
        try:
            return await self._waiter
        finally:
            self.asked.clear()


class Client:
    """What a client received, and how. With `room` it takes so many pieces at once before it has to be waited for."""

    def __init__(self, *, is_quick: bool = True, room: int | None = None, **scope: Any) -> None:
        self.received = b""
        self.written_at_once = 0
        self.waits = 0
        self.is_cut = self.is_complete = False
        self.messages: list[Mapping[str, Any]] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self._room = self._left = room
        extensions: dict[str, object] = {ABORT: self._cut}
        if is_quick:
            extensions[WRITE] = self._write
        self.scope: dict[str, Any] = {"extensions": extensions, **scope}

    async def send(self, message: Mapping[str, Any]) -> None:
        self.waits += 1
        await self.takes.wait()
        self._left = self._room
        self.messages.append(message)
        self.received += message.get("body", b"")
        self.is_complete = message.get("more_body") is False

    def _write(self, data: bytes) -> bool:
        self.received += data
        self.written_at_once += 1
        if self._left is not None:
            self._left -= 1
        return self._left is None or self._left > 0

    def _cut(self) -> None:
        self.is_cut = True


def head(start: Start | None) -> Mapping[str, str]:
    """A response head that says how it began."""
    return {"content-type": "text/event-stream", "x-start": start.id or "" if start else "none"}


def unchanged(error: GatewayError) -> GatewayError:
    """As `scrub`, where there is no credential."""
    return error


def passing(case: Case) -> Carrier:
    """As the upstream said it."""
    return PassThrough(case.dialect.decoder(case.options), Sequencer("seed"), unchanged)


def pump_to(client: Client, carrier: Carrier, deadlines: Deadlines | None = None) -> Pump:
    """All that is between the two ends."""
    sink = Sink(client.scope, client.send, head, MAX_ANSWER)
    return Pump(carrier, sink, Watchdog(deadlines or Deadlines(LONG_S, LONG_S, LONG_S)), Timeline(0))


def answer(body: Body, *, is_framed: bool = True) -> Answer:
    """A response with this body."""
    return Answer(200, {"transfer-encoding": "chunked"} if is_framed else {}, body)
