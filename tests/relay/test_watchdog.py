"""Deadlines of an upstream, on a real loop. Limits are short; nothing sleeps longer than a limit says."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from gateway.errors import Kind
from gateway.relay.watchdog import Deadlines, Watchdog

LONG = 60.0
SHORT = 0.02


async def expiry(watchdog: Watchdog) -> str:
    """Waits until the scope is cancelled, and says why."""
    with watchdog.scope:
        await anyio.sleep(LONG)
    assert watchdog.scope.cancelled_caught
    assert watchdog.error is not None
    assert watchdog.error.kind is Kind.TIMEOUT
    return watchdog.error.message


def started(deadlines: Deadlines) -> Watchdog:
    watchdog = Watchdog(deadlines)
    watchdog.start()
    return watchdog


def deliver(watchdog: Watchdog, *, is_progress: bool = True, is_finished: bool = False) -> None:
    """A read that the client took at once."""
    watchdog.writing()
    watchdog.wrote(is_progress=is_progress, is_finished=is_finished)


@pytest.mark.parametrize(
    ("deadlines", "message"),
    [
        (Deadlines(SHORT, LONG, LONG), "the upstream was too slow: no first token within 0.02 s"),
        (Deadlines(LONG, SHORT, SHORT), "the upstream was too slow: the whole answer took longer than 0.02 s"),
        (Deadlines(LONG, LONG, SHORT), "the upstream was too slow: the whole answer took longer than 0.02 s"),
    ],
)
async def test_a_silent_upstream_is_given_up(deadlines: Deadlines, message: str) -> None:
    assert await expiry(started(deadlines)) == message


async def test_a_stall_between_events_is_noticed() -> None:
    """The limit on the first token is over with the first content, the one between events begins."""
    watchdog = started(Deadlines(LONG, SHORT, LONG))
    deliver(watchdog)
    assert await expiry(watchdog) == "the upstream was too slow: no next event within 0.02 s"


async def test_lifecycle_is_no_first_token() -> None:
    """A server that only says hello, or pings, is as slow as a silent one."""
    watchdog = started(Deadlines(SHORT, LONG, LONG))
    deliver(watchdog, is_progress=False)
    assert "no first token" in await expiry(watchdog)


async def test_usage_is_waited_for_only_shortly() -> None:
    """mapping.md §9.1: all content is there, so the answer is whole without it."""
    watchdog = started(Deadlines(LONG, LONG, LONG, after_finish=SHORT))
    deliver(watchdog)
    assert not watchdog.is_after_finish
    deliver(watchdog, is_finished=True)
    assert watchdog.is_after_finish
    assert "no end within 0.02 s" in await expiry(watchdog)


async def test_progress_begins_the_limit_anew() -> None:
    """An answer may take many times the limit between events."""
    watchdog = started(Deadlines(LONG, 0.4, LONG))
    with watchdog.scope:
        for _ in range(10):
            deliver(watchdog)
            await anyio.sleep(0.05)
    watchdog.stop()
    assert watchdog.error is None


async def test_waiting_for_the_client_does_not_count() -> None:
    """A reader slower than the limit is not the upstream's fault, whether or not its write was progress."""
    for is_progress in (True, False):
        watchdog = started(Deadlines(LONG, 0.2, LONG))
        deliver(watchdog)
        with watchdog.scope:
            watchdog.writing()
            await anyio.sleep(0.45)
            watchdog.wrote(is_progress=is_progress, is_finished=False)
            await anyio.sleep(0.01)
        watchdog.stop()
        assert watchdog.error is None


async def test_the_clients_time_is_given_back_to_the_upstream() -> None:
    """A write that ends just before the limit leaves the upstream what it had not used of it."""
    watchdog, begun = started(Deadlines(0.1, LONG, LONG)), asyncio.get_running_loop().time()
    watchdog.writing()
    await anyio.sleep(0.08)
    watchdog.wrote(is_progress=False, is_finished=False)
    assert "no first token" in await expiry(watchdog)
    assert asyncio.get_running_loop().time() - begun >= 0.18


async def test_the_upstreams_time_runs_again_after_a_slow_write() -> None:
    watchdog = started(Deadlines(LONG, SHORT, LONG))
    deliver(watchdog)
    watchdog.writing()
    await anyio.sleep(2 * SHORT)
    watchdog.wrote(is_progress=True, is_finished=False)
    assert "no next event" in await expiry(watchdog)


async def test_a_slow_client_cannot_stretch_the_whole() -> None:
    """`total` bounds a request, whoever is slow; the limit between events does not delay its alarm."""
    watchdog, begun = started(Deadlines(LONG, LONG, 0.05)), asyncio.get_running_loop().time()
    deliver(watchdog)
    watchdog.writing()
    assert "the whole answer" in await expiry(watchdog)
    assert asyncio.get_running_loop().time() - begun < LONG / 10


async def test_a_stopped_watchdog_is_silent() -> None:
    watchdog = started(Deadlines(SHORT, SHORT, SHORT))
    watchdog.stop()
    with watchdog.scope:
        await anyio.sleep(3 * SHORT)
    assert watchdog.error is None
    assert watchdog.now() == pytest.approx(asyncio.get_running_loop().time(), abs=1)
