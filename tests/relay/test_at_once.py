"""What comes while an answer is waited for goes to the client at once: the same as by the loop, and no further."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import httpx
import pytest

from gateway.dialects import DIALECTS
from gateway.errors import GatewayError, Malformed, ShuttingDown, TooSlow, Truncated
from gateway.neutral.events import End, Event, Failed, Finish, Ping, Reason, Start, TextDelta, Usage
from gateway.neutral.sequencer import Sequencer
from gateway.relay.carrier import Batch, Carrier, Translation
from gateway.relay.machine import TRANSITIONS, Relay, Send, State, amounts_to
from gateway.relay.pump import Pump
from gateway.relay.sink import Sink
from gateway.relay.splice import Splice
from gateway.relay.watchdog import Deadlines
from tests.dialects.cases import CLIENTS, SPLITS, STAMP, STREAMS, Case, Split, asked
from tests.relay.wire import LONG_S, Body, Client, Live, answer, passing, pump_to, unchanged

TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
OPENAI = next(case for case in STREAMS if case.path.parent.name == "openai")

Make = Callable[[Case, str], Carrier]


def translating(case: Case, client: str, splice: Splice | None = None) -> Carrier:
    dialect = DIALECTS[client]
    encoder, guard = dialect.encoder(asked(client), STAMP), dialect.guard(asked(client))
    return Translation(case.dialect.decoder(case.options), Sequencer("seed"), encoder, unchanged, guard, splice)


def passing_through(case: Case, client: str) -> Carrier:
    return passing(case)


def spliced(case: Case, client: str) -> Carrier:
    return translating(case, client, Splice())


WAYS: list[tuple[Case, str, Make]] = [
    *((case, client, translating) for case in STREAMS for client in CLIENTS),
    *((case, case.path.parent.name, passing_through) for case in STREAMS),
    *((case, "anthropic", spliced) for case in STREAMS),
]


async def carried(make: Make, case: Case, whose: str, parts: Sequence[bytes], client: Client) -> tuple[object, ...]:
    """What the client saw in the end, and what was noted of it."""
    pump, raised = pump_to(client, make(case, whose)), None
    try:
        await pump.carry(answer(Body(parts), is_framed=case.is_framed))
    except GatewayError as error:
        raised = (type(error), error.message)
    timeline, broke = pump._timeline, pump.relay.error
    seen = client.received, client.is_complete, client.is_cut, [*client.messages[:1]], raised
    noted = timeline.content_events, timeline.usage, timeline.finish, pump.relay.state, broke and broke.message
    return (*seen, *noted)


IDS = [f"{case}-{whose}-{make.__name__}" for case, whose, make in WAYS]
ROOMS = (None, 3, 1)
"""Pieces that a client takes before it has to be waited for: ever so many, some, one."""


async def assert_same(make: Make, case: Case, whose: str, split: Split, rooms: Sequence[int | None]) -> None:
    """That the client can't tell, whenever it has to be waited for, and that the same is noted of it."""
    parts = list(split(case.input))
    slow = await carried(make, case, whose, parts, Client(is_quick=False))
    for room in rooms:
        assert await carried(make, case, whose, parts, Client(room=room)) == slow, room


@pytest.mark.parametrize("number", range(len(WAYS)), ids=IDS)
async def test_the_client_gets_the_same_either_way(number: int) -> None:
    """For every transcript and client, each with one of the splits and one of the clients' paces."""
    case, whose, make = WAYS[number]
    split = SPLITS[number % len(SPLITS)]
    await assert_same(make, case, whose, split, [ROOMS[number // len(SPLITS) % len(ROOMS)]])


@pytest.mark.slow
@pytest.mark.parametrize(("case", "whose", "make"), WAYS, ids=IDS)
async def test_the_client_gets_the_same_either_way_for_every_split(case: Case, whose: str, make: Make) -> None:
    for split in SPLITS:
        await assert_same(make, case, whose, split, ROOMS)


async def test_it_is_indeed_the_short_way_that_most_goes() -> None:
    """The head, the first content and the end are the loop's; all between is taken without it."""
    client, body = Client(), Body([TEXT, TEXT, TEXT, TEXT, FINISH + DONE])
    await pump_to(client, passing(OPENAI)).carry(answer(body))
    assert (client.written_at_once, body.taken_at_once) == (3, 4)
    assert client.received == TEXT * 4 + FINISH + DONE
    assert client.is_complete


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    "events",
    [
        [],
        [Ping()],
        [TextDelta(0, "a")],
        [Start("id"), TextDelta(0, "a")],
        [Usage(output=1)],
        [End()],
        [TextDelta(0, "a"), End()],
        [Failed(Truncated("x"))],
        [Finish(Reason.STOP)],
    ],
    ids=str,
)
def test_what_passes_is_what_the_table_would_pass_on_and_nothing_else(state: State, events: list[Event]) -> None:
    """The short way takes no decision of its own."""
    relay = Relay(state)
    following = TRANSITIONS[state].get(amounts_to(events))
    stays = following is not None and following[0] is state and [str(do) for do in following[1]] == ["_Do.PASS"]
    assert relay.passes(events) == stays
    if stays:
        assert relay.take(events, b"x") == [Send(b"x")]
        assert relay.state is state


# -- with a connection that speaks when it likes -----------------------------------------------------------------------


async def started(client: Client, deadlines: Deadlines | None = None) -> tuple[Pump, Live, asyncio.Task[None]]:
    """An answer in the middle of its text: its head is out, and more is waited for."""
    live, pump = Live(), pump_to(client, passing(OPENAI), deadlines)
    task = asyncio.ensure_future(pump.carry(answer(live)))
    await live.asked.wait()
    live.say(TEXT)
    await asyncio.sleep(0)
    await live.asked.wait()
    return pump, live, task


async def test_what_comes_is_written_before_anybody_else_has_a_turn() -> None:
    """One call from socket to socket: no task is woken for it."""
    client = Client()
    _, live, task = await started(client)
    live.say(TEXT)
    live.say(TEXT)
    assert client.received == TEXT * 3
    assert live.is_read
    live.say(DONE)
    assert not live.is_read  # what ends an answer is for the loop
    assert client.received == TEXT * 3
    await task
    assert client.received == TEXT * 3 + DONE
    assert client.is_complete


async def test_the_upstream_is_not_read_while_the_client_has_enough() -> None:
    """The same backpressure as by the loop, so that what is read beyond it stays with the connection."""
    client = Client(room=2)
    _, live, task = await started(client)
    client.takes.clear()
    live.say(TEXT)
    live.say(TEXT)  # the client's buffer is full
    assert not live.is_read
    live.say(TEXT)  # stays
    for _ in range(5):
        await asyncio.sleep(0)
    assert not live.is_read
    assert client.received == TEXT * 3
    client.takes.set()
    await live.asked.wait()
    assert client.received == TEXT * 4
    live.say(TEXT)
    assert client.received == TEXT * 5
    task.cancel()


async def test_waiting_for_a_client_that_has_enough_is_not_held_against_the_upstream() -> None:
    client = Client(room=1)
    pump, live, task = await started(client, Deadlines(LONG_S, 0.1, LONG_S))
    pump._watchdog.start()
    client.takes.clear()
    with pump._watchdog.scope:
        live.say(TEXT)
        await asyncio.sleep(0.25)
        assert pump._watchdog.is_waiting_for_client
        client.takes.set()
        await live.asked.wait()
        assert not pump._watchdog.is_waiting_for_client
    assert pump._watchdog.error is None
    pump._watchdog.stop()
    task.cancel()


async def test_progress_is_told_to_the_watchdog() -> None:
    """Deadlines run as ever: content begins the time between events anew, comments do not."""
    for said, is_late in ((TEXT, False), (b": wait\n\n", True)):
        client, live = Client(), Live()
        pump = pump_to(client, passing(OPENAI), Deadlines(LONG_S, 0.2, LONG_S))
        pump._watchdog.start()
        with pump._watchdog.scope:
            task = asyncio.ensure_future(pump.carry(answer(live)))
            for _ in range(8):
                await live.asked.wait()
                live.say(TEXT if not client.received else said)
                await asyncio.sleep(0.05)
        assert (pump._watchdog.error is not None) == is_late
        pump._watchdog.stop()
        task.cancel()


async def test_a_finish_that_comes_at_once_is_the_beginning_of_the_end() -> None:
    """mapping.md §9.1: from there on usage is waited for only shortly, and its absence is no failure."""
    client = Client()
    pump, live, task = await started(client)
    live.say(FINISH)
    assert pump._watchdog.is_after_finish
    task.cancel()
    await asyncio.wait([task])
    await pump.break_off(TooSlow("no end within 5 s"))
    assert client.received == TEXT + FINISH
    assert client.is_complete


async def test_signs_of_life_are_counted_from_what_was_written_at_once() -> None:
    client = Client()
    pump, live, task = await started(client)
    sink = pump._sink
    assert isinstance(sink, Sink)
    before = sink.written, sink.silent_since
    await asyncio.sleep(0.01)
    live.say(TEXT)
    assert sink.written == before[0] + len(TEXT)
    assert sink.silent_since > before[1]
    task.cancel()


async def test_nothing_is_sent_to_a_client_that_is_gone() -> None:
    """An answer that is read on for nobody is decoded and dropped, at any speed."""
    client = Client(room=1)
    pump, live, task = await started(client)
    sink = pump._sink
    assert isinstance(sink, Sink)
    sink.discard()
    live.say(TEXT)
    assert live.is_read
    assert client.received == TEXT
    live.say(FINISH + DONE)
    await task
    assert client.received == TEXT
    assert pump._timeline.finish is not None


class Defective:
    """A carrier that breaks in the middle."""

    def __init__(self, carrier: Carrier, error: Exception) -> None:
        self._carrier = carrier
        self._error = error
        self._fed = 0

    def feed(self, chunk: bytes) -> Batch:
        self._fed += 1
        if self._fed > 1:
            raise self._error
        return self._carrier.feed(chunk)

    def eof(self, *, is_framed: bool) -> Batch:
        return self._carrier.eof(is_framed=is_framed)

    def fail(self, error: GatewayError) -> Batch:
        return self._carrier.fail(error)


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), ValueError("x"), RuntimeError("x"), KeyError("x")], ids=repr)
async def test_a_defect_of_ours_is_not_taken_for_a_failure_of_the_upstream(error: Exception) -> None:
    for client in (Client(), Client(is_quick=False)):
        with pytest.raises(type(error)):
            await pump_to(client, Defective(passing(OPENAI), error)).carry(answer(Body([TEXT, TEXT])))
        assert client.received == TEXT


async def test_what_a_carrier_holds_against_the_upstream_is_told_to_the_client() -> None:
    client = Client()
    await pump_to(client, Defective(passing(OPENAI), Malformed("odd"))).carry(answer(Body([TEXT, TEXT])))
    assert client.received.startswith(TEXT + b'data: {"error":')
    assert client.is_complete


async def test_a_connection_that_breaks_while_it_is_listened_to_is_told() -> None:
    client = Client()
    await pump_to(client, passing(OPENAI)).carry(answer(Body([TEXT, TEXT, httpx.ReadError("reset")])))
    assert client.received.startswith(TEXT + TEXT + b'data: {"error":')
    assert client.is_complete


@pytest.mark.parametrize("error", [TooSlow("no next event"), ShuttingDown("over")], ids=lambda error: str(error.kind))
async def test_an_end_that_came_in_the_last_moment_counts(error: GatewayError) -> None:
    """It was kept for the loop, which was cancelled before it could deliver it."""
    client = Client()
    pump, live, task = await started(client)
    live.say(TEXT + FINISH + DONE)
    task.cancel()
    await asyncio.wait([task])
    assert client.received == TEXT
    await pump.break_off(error)
    assert client.received == TEXT + TEXT + FINISH + DONE
    assert client.is_complete
    assert pump.relay.state is State.DONE


async def test_an_answer_cut_in_the_last_moment_is_told() -> None:
    """It might have gone on elsewhere, but for its time, which is over."""
    client, live = Client(), Live()
    pump = pump_to(client, translating(OPENAI, "anthropic", Splice()))
    task = asyncio.ensure_future(pump.carry(answer(live)))
    await live.asked.wait()
    live.say(TEXT)
    await asyncio.sleep(0)
    await live.asked.wait()
    live.say(TEXT + b"data: {odd\n\n")
    assert b"error" not in client.received
    task.cancel()
    await asyncio.wait([task])
    await pump.break_off(ShuttingDown("over"))
    assert client.received.count(b'"text":"a"') == 2
    assert b"event: error" in client.received
    assert pump.relay.state is State.BROKEN


async def test_nothing_is_taken_at_once_from_a_cancelled_loop() -> None:
    client = Client()
    _, live, task = await started(client)
    task.cancel()
    live.say(TEXT)
    await asyncio.wait([task])
    assert client.received == TEXT


async def test_old_clients_and_other_servers_are_written_to_by_the_loop() -> None:
    """HTTP/1.0 gets its answer whole, and what is no server of ours has nothing to write at once with."""
    for client in (Client(http_version="1.0"), Client(is_quick=False)):
        body = Body([TEXT, TEXT, FINISH + DONE])
        await pump_to(client, passing(OPENAI)).carry(answer(body))
        assert (client.written_at_once, body.taken_at_once) == (0, 0)
        assert client.received == TEXT * 2 + FINISH + DONE
