"""Two tries of one request at once, of which the client gets the one that has something to say first.

Each try has a lane: a client of its own, as far as the try can tell. A lane that wants to begin an answer claims the
race, synchronously, so that there is one winner; the loser is cancelled on the spot, which closes its connection. From
there on the winner writes to the client itself: nothing of the race is left on the way of a token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from gateway.attempt import Client
from gateway.departure import Departure
from gateway.errors import GatewayError
from gateway.neutral.events import Start
from gateway.relay.sink import Outlet, Tell
from gateway.telemetry.timeline import Timeline

Prepared = tuple[str, Callable[[], Mapping[str, str]], Callable[[], bytes]]
"""What `Client.prepare` was told."""
_UNPREPARED: Final[Prepared] = ("", dict, bytes)
Runner = Callable[["Lane"], Awaitable[GatewayError | None]]
"""One try on its lane: what failed before anything was sent, None where it answered."""


class Racer(Client, Protocol):
    """A client that takes over what the winner noted."""

    def adopt(self, timeline: Timeline) -> None:
        """The answer's own timeline, from here on."""


class Race:
    """Tries of one request, the second one started when the first is late."""

    def __init__(self, client: Racer) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[Lane, asyncio.Task[GatewayError | None]] = {}
        self.winner: Lane | None = None

    async def run(self, first: Lane, delay_s: float, second: Callable[[], Lane | None]) -> list[Lane]:
        """Until one answered, or all that were started have failed: these, in the order in which they did.

        `second` makes the lane to start after `delay_s`, or says that there is none.
        """
        self._start(first)
        try:
            done, _ = await asyncio.wait(self._tasks.values(), timeout=delay_s)
            if self.winner is None and not done and (other := second()) is not None:
                self._start(other)
            await self._decided()
        finally:
            lanes = await self._stopped()
        return sorted((lane for lane in lanes if lane.error is not None), key=lambda lane: lane.ended)

    def claim(self, lane: Lane) -> None:
        """The lane has something to say. Only one is heard: for any other this is the end."""
        if self.winner is lane:
            return
        if self.winner is not None:
            raise asyncio.CancelledError("another try was faster")
        self.winner = lane
        for other, task in self._tasks.items():
            if other is not lane:
                task.cancel("another try was faster")
        self._client.adopt(lane.timeline)
        self._client.prepare(*lane.prepared)
        lane.won()

    def _start(self, lane: Lane) -> None:
        self._tasks[lane] = asyncio.ensure_future(lane.run())

    async def _decided(self) -> None:
        """One that fails leaves the client to the other; once there is a winner, only its end counts."""
        pending = set(self._tasks.values())
        while pending and not (self.winner is not None and self._tasks[self.winner].done()):
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)

    async def _stopped(self) -> list[Lane]:
        """The lanes, none of which outlives the race. Raises what is nobody's failure but ours."""
        tasks, self._tasks = self._tasks, {}  # which hold the request, and would do so in a circle
        for task in tasks.values():
            task.cancel()
        await asyncio.wait(tasks.values())
        for task in tasks.values():
            if not task.cancelled():
                task.result()
        return list(tasks)


class Lane:
    """The client, as one try sees it (`attempt.Client`)."""

    def __init__(self, race: Race, client: Racer, runner: Runner, won: Callable[[], None]) -> None:
        """`won` is called once, before the client is sent anything of this try."""
        self._race: Race | None = race
        self._client = client
        self._runner = runner
        self._now = asyncio.get_running_loop().time
        self.won = won
        self.sink: Final = Gate(client.sink, self._claim)
        self.timeline: Final = Timeline(client.timeline.begun)
        self.prepared: Prepared = _UNPREPARED
        self.error: GatewayError | None = None
        self.ended = 0.0

    async def run(self) -> GatewayError | None:
        """The try, and how it ended."""
        runner, self._runner = self._runner, _run_already
        try:
            self.error = await runner(self)
            return self.error
        finally:
            self.ended = self._now()
            self.won, self.prepared = _forget, _UNPREPARED  # they hold the request, and would do so in a circle
            self.sink.let_go()
            self._race = None  # which knows the winner

    @property
    def departure(self) -> Departure:
        """The client's leaving, which ends both tries."""
        return self._client.departure

    def prepare(
        self, media_type: str, headers: Callable[[], Mapping[str, str]], keep_alive: Callable[[], bytes] = bytes
    ) -> None:
        """What the response head would say. A client that waits may get its signs of life from any of the lanes."""
        self.prepared = (media_type, headers, keep_alive)
        if self._race is not None and self._race.winner in (None, self):
            self._client.prepare(*self.prepared)

    async def whole(self, body: bytes) -> None:
        """A whole answer: the first that is complete wins."""
        self._claim()
        await self._client.whole(body)

    def _claim(self) -> None:
        assert self._race is not None, "a lane whose try is over has nothing to say"
        self._race.claim(self)


async def _run_already(_: Lane) -> GatewayError | None:
    raise AssertionError("a lane is for one try")


def _forget() -> None:
    """Nobody to tell any more."""


class Gate:
    """The client's sink for one lane (`relay.sink.Outlet`): whoever commits has claimed the race before."""

    def __init__(self, sink: Outlet, claim: Callable[[], None]) -> None:
        self._sink = sink
        self._claim = claim
        self._is_through = False
        self.take_over = sink.take_over
        self.write = sink.write
        self.write_at_once = sink.write_at_once
        self.drain = sink.drain
        self.close = sink.close
        self.abort = sink.abort

    def let_go(self) -> None:
        """The try is over, and claims nothing any more."""
        self._claim = _forget

    @property
    def has_head(self) -> bool:
        """Whether the client has a head, with signs of life behind it or an answer."""
        return self._sink.has_head

    @property
    def writes_at_once(self) -> bool:
        """Whether a piece can be written without waiting."""
        return self._sink.writes_at_once

    @property
    def is_committed(self) -> bool:
        """Whether this lane's answer has begun."""
        return self._is_through and self._sink.is_committed

    async def commit(self, start: Start | None, tell: Tell | None = None) -> None:
        """The commit point, for one of the lanes."""
        self._claim()
        self._is_through = True
        await self._sink.commit(start, tell)
