"""Two tries race, and the client hears one of them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import pytest

from gateway.departure import Departure
from gateway.errors import GatewayError, Overloaded, Truncated
from gateway.neutral.events import BlockKind, BlockStart, Start
from gateway.racing import Lane, Race
from gateway.relay import sink as relay
from gateway.relay.client_watchdog import ClientWatchdog
from gateway.relay.sink import Tell
from gateway.telemetry.timeline import Timeline

LONG_S = 60.0
START = Start()


class Sink:
    """What the client was sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.has_head = self.is_committed = False

    async def commit(self, start: Start | None, tell: Tell | None = None) -> None:
        self.is_committed = True
        self.sent.append("head")

    def take_over(self, tell: Tell) -> None:
        raise AssertionError("nothing goes on here")

    async def write(self, data: bytes) -> None:
        self.sent.append(data.decode())

    @property
    def writes_at_once(self) -> bool:
        return True

    def write_at_once(self, data: bytes, now: float) -> bool:
        self.sent.append(f"{data.decode()} at once")
        return True

    async def drain(self) -> None:
        raise AssertionError("there is always room")

    async def close(self, last: bytes = b"") -> None:
        self.sent.append("end")

    def abort(self) -> None:
        self.sent.append("cut")


async def _nowhere(message: MutableMapping[str, Any]) -> None:
    """As a server's `send`."""


class Client:
    """A client that notes whose answer it got."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.timeline = Timeline(7.0)
        outgoing = relay.Sink({}, _nowhere, lambda start: {}, 0)
        self.departure = Departure(outgoing, ClientWatchdog(outgoing, {}))
        self.media_type = ""
        self.body = b""

    def prepare(
        self, media_type: str, headers: Callable[[], Mapping[str, str]], keep_alive: Callable[[], bytes] = bytes
    ) -> None:
        self.media_type = media_type

    async def whole(self, body: bytes) -> None:
        self.body = body

    def adopt(self, timeline: Timeline) -> None:
        self.timeline = timeline


class Try:
    """A try that does as it is told, and notes whether it was cancelled."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.go = asyncio.Event()
        self.error: GatewayError | None = None
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.started, self.ended = asyncio.Event(), asyncio.Event()
        self.is_cancelled = False

    async def __call__(self, lane: Lane) -> GatewayError | None:
        self.started.set()
        try:
            lane.prepare(self.name, dict)
            await self.go.wait()
            if self.error is not None:
                return self.error
            lane.timeline.note([BlockStart(0, BlockKind.TEXT)], 9.0)
            await lane.sink.commit(START)
            await lane.sink.write(self.name.encode())
            await self.goes_on.wait()
            await lane.sink.close()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        finally:
            self.ended.set()
        return None


class Meeting:
    """A race of two tries that the test leads."""

    def __init__(self) -> None:
        self.client = Client()
        self.race = Race(self.client)
        self.first, self.second = Try("first"), Try("second")
        self.won: list[str] = []
        self.asked = 0

    def lane(self, runner: Try) -> Lane:
        return Lane(self.race, self.client, runner, lambda: self.won.append(runner.name))

    def another(self) -> Lane:
        self.asked += 1
        return self.lane(self.second)

    def run(self, delay_s: float = 0.0) -> Awaitable[list[Lane]]:
        return asyncio.wait_for(self.race.run(self.lane(self.first), delay_s, self.another), LONG_S)


async def running(*tries: Try) -> None:
    """Until these are under way."""
    for each in tries:
        await each.started.wait()


async def test_a_first_try_in_time_has_no_second_beside_it() -> None:
    meeting = Meeting()
    meeting.first.go.set()
    assert await meeting.run(LONG_S) == []
    assert (meeting.asked, meeting.won) == (0, ["first"])
    assert meeting.client.sink.sent == ["head", "first", "end"]


@pytest.mark.parametrize("faster", ["first", "second"])
async def test_the_first_to_say_something_is_heard_alone(faster: str) -> None:
    """The other one is cancelled at once, while the winner still goes on."""
    meeting = Meeting()
    winner, loser = (meeting.first, meeting.second)[:: 1 if faster == "first" else -1]
    winner.goes_on.clear()
    ended = asyncio.ensure_future(meeting.run())
    await running(winner, loser)
    winner.go.set()
    await loser.ended.wait()
    assert loser.is_cancelled
    assert not winner.ended.is_set()
    assert meeting.client.sink.sent == ["head", faster]
    winner.goes_on.set()
    assert await ended == []
    assert meeting.client.sink.sent == ["head", faster, "end"]
    assert meeting.won == [faster]


async def test_the_client_takes_over_what_the_winner_noted() -> None:
    """The request's beginning, the winner's first content, the winner's headers."""
    meeting = Meeting()
    ended = asyncio.ensure_future(meeting.run())
    await running(meeting.first, meeting.second)
    meeting.second.go.set()
    await ended
    assert meeting.client.media_type == "second"
    assert (meeting.client.timeline.begun, meeting.client.timeline.ttft_s) == (7.0, 2.0)


async def test_nobody_who_lost_is_heard_even_if_both_are_ready_at_once() -> None:
    meeting = Meeting()
    ended = asyncio.ensure_future(meeting.run())
    await running(meeting.first, meeting.second)
    meeting.first.go.set()
    meeting.second.go.set()
    await ended
    assert len(meeting.won) == 1
    assert meeting.client.sink.sent == ["head", meeting.won[0], "end"]


async def test_a_try_that_fails_in_time_is_the_courses_business() -> None:
    """A retry may wait, or go elsewhere; hedging is for answers that are late."""
    meeting = Meeting()
    meeting.first.error = Overloaded("busy")
    meeting.first.go.set()
    (failed,) = await meeting.run(LONG_S)
    assert failed.error is meeting.first.error
    assert meeting.asked == 0


@pytest.mark.parametrize("failing", ["first", "second"])
async def test_one_that_fails_leaves_the_client_to_the_other(failing: str) -> None:
    meeting = Meeting()
    loser, winner = (meeting.first, meeting.second)[:: 1 if failing == "first" else -1]
    loser.error = Overloaded("busy")
    ended = asyncio.ensure_future(meeting.run())
    await running(meeting.first, meeting.second)
    loser.go.set()
    await loser.ended.wait()
    assert not ended.done()
    winner.go.set()
    assert [lane.error for lane in await ended] == [loser.error]
    assert meeting.client.sink.sent == ["head", winner.name, "end"]


async def test_where_both_fail_both_are_told_in_their_order() -> None:
    meeting = Meeting()
    meeting.first.error, meeting.second.error = Overloaded("busy"), Truncated("cut")
    ended = asyncio.ensure_future(meeting.run())
    await running(meeting.first, meeting.second)
    meeting.second.go.set()
    await meeting.second.ended.wait()
    meeting.first.go.set()
    assert [lane.error for lane in await ended] == [meeting.second.error, meeting.first.error]
    assert meeting.client.sink.sent == []


async def test_without_a_second_the_first_is_waited_for() -> None:
    """There is no target left, or no budget."""
    meeting = Meeting()
    ended = asyncio.ensure_future(meeting.race.run(meeting.lane(meeting.first), 0.0, lambda: None))
    await running(meeting.first)
    meeting.first.go.set()
    assert await ended == []
    assert meeting.won == ["first"]


async def test_whole_answers_race_too() -> None:
    """The first that is complete."""
    meeting = Meeting()

    async def whole(lane: Lane) -> GatewayError | None:
        await lane.whole(b"all of it")
        return None

    lane = Lane(meeting.race, meeting.client, whole, lambda: meeting.won.append("whole"))
    await meeting.race.run(meeting.lane(meeting.first), 0.0, lambda: lane)
    assert meeting.client.body == b"all of it"
    assert meeting.first.is_cancelled
    assert meeting.won == ["whole"]


async def test_a_client_that_leaves_takes_both_tries_with_it() -> None:
    meeting = Meeting()
    ended = asyncio.ensure_future(meeting.race.run(meeting.lane(meeting.first), 0.0, meeting.another))
    await running(meeting.first, meeting.second)
    ended.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ended
    assert meeting.first.is_cancelled
    assert meeting.second.is_cancelled


async def test_a_defect_of_ours_is_not_taken_for_a_failure() -> None:
    meeting = Meeting()

    async def defective(lane: Lane) -> GatewayError | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await meeting.race.run(Lane(meeting.race, meeting.client, defective, lambda: None), LONG_S, meeting.another)


async def test_a_race_that_is_over_holds_nothing() -> None:
    """A request may be large: its memory is given back when it ends, not when the garbage collector comes by."""
    meeting = Meeting()
    ended = asyncio.ensure_future(meeting.run())
    await running(meeting.first, meeting.second)
    meeting.second.go.set()
    await ended
    held = [weakref.ref(held) for held in (meeting.first, meeting.second, meeting.client)]
    gc.disable()
    try:
        del meeting, ended
        assert [ref() for ref in held] == [None, None, None]
    finally:
        gc.enable()
