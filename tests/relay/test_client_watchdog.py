"""Signs of life for a client that waits, and an end to one that takes nothing; times are short ones of the loop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import pytest

from gateway.neutral.events import Start
from gateway.relay.client_watchdog import ClientWatchdog, Patience, Uptake
from gateway.relay.sink import Sink
from gateway.wire.extensions import HANG_UP, UNSENT

PING = b": ping\n\n"
SOON = 0.02
LONG = 60.0

# -- whether a client takes anything -------------------------------------------------------------------------------


def idle(*looks: tuple[int, int, float]) -> list[float]:
    """Looks as (unsent, written, now), and since when nothing was taken at each of them."""
    uptake = Uptake(0.0)
    return [uptake.idle_s(*look) for look in looks]


def test_a_client_that_has_taken_everything_is_not_idle() -> None:
    assert idle((0, 0, 10.0), (0, 0, 20.0), (0, 500, 30.0)) == [0, 0, 0]


def test_a_client_that_takes_nothing_of_what_waits_is_idle() -> None:
    assert idle((0, 100, 10.0), (70, 100, 20.0), (70, 100, 30.0), (70, 100, 40.0)) == [0, 10, 20, 30]


def test_what_we_write_is_no_progress_of_the_client() -> None:
    """The buffer grows by what was written, and by its framing: nothing was taken."""
    assert idle((100, 100, 0.0), (205, 200, 10.0), (310, 300, 20.0)) == [0, 10, 20]


def test_a_client_that_takes_less_than_comes_is_not_idle() -> None:
    """What waits grows, by less than what was written."""
    assert idle((100, 100, 0.0), (150, 200, 10.0), (240, 300, 20.0)) == [0, 0, 0]


def test_taking_a_little_now_and_then_is_enough() -> None:
    assert idle((90, 90, 0.0), (90, 90, 10.0), (89, 90, 20.0), (89, 90, 30.0)) == [0, 10, 0, 10]


# -- on a loop -----------------------------------------------------------------------------------------------------


class Client:
    """What it got, and whether it was hung up on. `unsent` is what it has not taken."""

    def __init__(self, patience: Patience, **scope: Any) -> None:
        self.messages: list[Mapping[str, Any]] = []
        self.unsent = 0
        self.hung_up = asyncio.Event()
        self.asked = 0
        self.news = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()
        extensions = {HANG_UP: self.hung_up.set, UNSENT: lambda: self.unsent}
        self.sink = Sink({"extensions": extensions, **scope}, self.send, self.head, 1000)
        self.watchdog = ClientWatchdog(self.sink, extensions)
        self.watchdog.keep_alive = self.keep_alive
        self.patience = patience
        self.voice: Callable[[], bytes] = lambda: PING

    def head(self, start: Start | None) -> Mapping[str, str]:
        return {"content-type": "text/event-stream"}

    def keep_alive(self) -> bytes:
        self.asked += 1
        self.news.set()
        return self.voice()

    async def send(self, message: Mapping[str, Any]) -> None:
        await self.room.wait()
        self.messages.append(message)
        self.news.set()

    async def __aenter__(self) -> Client:
        self.watchdog.start(self.patience)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.watchdog.stop()

    async def until(self, is_so: Callable[[], bool]) -> None:
        with anyio.fail_after(10):
            while not is_so():
                self.news.clear()
                await self.news.wait()

    @property
    def body(self) -> list[bytes]:
        return [message["body"] for message in self.messages if message["type"] == "http.response.body"]


async def test_a_head_and_a_sign_of_life_end_the_hold_and_commit_nothing() -> None:
    """mapping.md §9.1: then one after each time of silence; another target may still be tried."""
    async with Client(Patience(SOON, SOON)) as client:
        assert client.messages == []
        await client.until(lambda: len(client.body) == 3)
        assert client.messages[0]["status"] == 200
        assert client.body == [PING] * 3
        assert client.sink.has_head
        assert not client.sink.is_committed
        await client.sink.commit(None)
        await client.sink.write(b"data: a\n\n")
    assert client.body[3:] == [b"data: a\n\n"]
    assert [message["type"] for message in client.messages].count("http.response.start") == 1


async def test_the_hold_is_not_the_time_between_signs_of_life() -> None:
    async with Client(Patience(LONG, SOON)) as client:
        await asyncio.sleep(5 * SOON)
        assert client.messages == []


async def test_an_answer_that_comes_is_not_silent() -> None:
    """Every write puts the next sign of life off by the whole time."""
    async with Client(Patience(LONG, 20 * SOON)) as client:
        await client.sink.commit(None)
        for _ in range(40):
            await client.sink.write(b"data\n\n")
            await asyncio.sleep(SOON)
        assert PING not in client.body
        await client.until(lambda: PING in client.body)


async def test_nothing_is_said_where_nothing_may_be_said() -> None:
    """In the middle of a frame, in raw text: it is asked for again."""
    async with Client(Patience(SOON, SOON)) as client:
        client.voice = bytes
        await client.until(lambda: client.asked == 2)
        assert client.messages == []
        client.voice = lambda: PING
        await client.until(lambda: client.body == [PING])


async def test_nothing_is_said_to_a_client_that_is_being_waited_for() -> None:
    """Backpressure: what it has not taken yet is enough."""
    async with Client(Patience(SOON, SOON)) as client:
        await client.sink.commit(None)
        client.room.clear()
        writing = asyncio.ensure_future(client.sink.write(b"large"))
        await asyncio.sleep(5 * SOON)
        assert client.asked == 0
        client.room.set()
        await writing
        client.unsent = 5
        await asyncio.sleep(5 * SOON)
        assert client.asked == 0
        client.unsent = 0
        await client.until(lambda: client.body == [b"large", PING])


@pytest.mark.parametrize("end", ["close", "whole"])
async def test_nothing_is_said_behind_the_end(end: str) -> None:
    async with Client(Patience(LONG, SOON)) as client:
        if end == "close":
            await client.sink.commit(None)
            await client.sink.close()
        else:
            await client.sink.whole(b"{}", {})
        told = len(client.messages)
        await asyncio.sleep(5 * SOON)
        assert len(client.messages) == told
        assert client.asked == 0


async def test_an_old_client_gets_no_sign_of_life() -> None:
    """HTTP/1.0: its answer goes out whole, with a status of its own."""
    async with Client(Patience(0.0, SOON), http_version="1.0") as client:
        await asyncio.sleep(5 * SOON)
        assert client.messages == []


async def test_without_signs_of_life_the_head_waits() -> None:
    async with Client(Patience(0.0, math.inf)) as client:
        await asyncio.sleep(5 * SOON)
        assert client.messages == []


async def test_after_the_stop_nothing_is_said() -> None:
    async with Client(Patience(SOON, SOON)) as client:
        pass
    await asyncio.sleep(5 * SOON)
    assert client.messages == []


async def test_a_client_that_takes_nothing_is_hung_up_on() -> None:
    async with Client(Patience(stall=5 * SOON)) as client:
        await client.sink.commit(None)
        await client.sink.write(b"x" * 100)
        client.unsent = 60
        begun = asyncio.get_running_loop().time()
        await asyncio.wait_for(client.hung_up.wait(), 10)
        assert asyncio.get_running_loop().time() - begun >= 5 * SOON
        assert client.watchdog.has_stalled


async def test_a_client_that_takes_a_little_is_waited_for() -> None:
    async with Client(Patience(stall=10 * SOON)) as client:
        await client.sink.commit(None)
        await client.sink.write(b"x" * 100)
        for client.unsent in range(100, 70, -1):
            await asyncio.sleep(SOON)
        assert not client.watchdog.has_stalled
        await asyncio.wait_for(client.hung_up.wait(), 10)


async def test_a_silent_upstream_is_not_a_client_that_stalls() -> None:
    async with Client(Patience(stall=2 * SOON)) as client:
        await client.sink.commit(None)
        await client.sink.write(b"x" * 100)
        await asyncio.sleep(10 * SOON)
        assert not client.hung_up.is_set()
