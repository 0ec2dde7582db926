"""What is counted of a key."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from gateway.access.limits import InFlight, Rates
from gateway.dialects import DIALECTS
from gateway.rates import MemoryRates


def test_as_many_as_the_limit_are_under_way_at_a_time() -> None:
    counts = InFlight()
    assert [counts.enter("a", 2) for _ in range(3)] == [True, True, False]
    assert counts.enter("b", 2)
    counts.leave("a")
    assert counts.enter("a", 2)
    assert (counts["a"], counts["b"]) == (2, 1)


def test_of_a_key_that_is_not_there_nothing_is_kept() -> None:
    counts = InFlight()
    for number in range(1000):
        assert counts.enter(str(number), None)
        counts.leave(str(number))
    assert not counts._counts


def test_a_limit_that_was_lowered_holds_for_those_who_come_next() -> None:
    counts = InFlight()
    assert [counts.enter("a", 5) for _ in range(4)] == [True] * 4
    assert not counts.enter("a", 2)


class Clock:
    """The wall clock of the library, which a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(time, "time", moved)
    return moved


async def test_requests_of_a_minute_are_counted_for_each_key(clock: Clock) -> None:
    rates: Rates = MemoryRates()
    counted = [await rates.count("a", 3) for _ in range(4)]
    assert [count.remaining for count in counted] == [2, 1, 0, 0]
    assert [count.is_over for count in counted] == [False, False, False, True]
    assert not (await rates.count("b", 3)).is_over


@pytest.mark.parametrize("per_minute", [1, 2, 7, 60, 1000])
@pytest.mark.parametrize("offset", [0.1, 13.7, 59.9])
async def test_who_comes_back_when_told_is_served(clock: Clock, per_minute: int, offset: float) -> None:
    """Whole seconds are told, as by Retry-After: never too few, and never more than a minute."""
    clock.now += offset
    rates = MemoryRates()
    for _ in range(per_minute):
        assert not (await rates.count("a", per_minute)).is_over
    for _ in range(5):
        refused = await rates.count("a", per_minute)
        while not refused.is_over:
            refused = await rates.count("a", per_minute)
        wait_s = max(1, math.ceil(refused.reset_s))
        assert wait_s <= 62
        clock.now += wait_s
        assert not (await rates.count("a", per_minute)).is_over


async def test_no_more_than_the_limit_pass_in_a_minute_and_they_do_pass(clock: Clock) -> None:
    """Asked ten times a second for ten minutes; a sliding window of two counters is exact to a few in a hundred."""
    rates, passed = MemoryRates(), list[float]()
    for _ in range(6000):
        clock.now += 0.1
        if not (await rates.count("a", 30)).is_over:
            passed.append(clock.now)
    assert 10 * 30 - 30 <= len(passed) <= 10 * 30 + 30


async def test_a_limit_that_a_reload_has_changed_counts_on(clock: Clock) -> None:
    rates = MemoryRates()
    for _ in range(5):
        await rates.count("a", 10)
    assert (await rates.count("a", 3)).is_over
    assert (await rates.count("a", 20)).remaining == 14


async def test_counters_of_minutes_that_are_over_are_let_go(clock: Clock) -> None:
    rates = MemoryRates()
    for _ in range(500):
        clock.now += 30
        await rates.count("a", 10)
        await asyncio.sleep(0)  # the library tidies up in a task
    assert len(rates._window.storage.storage) < 10  # type: ignore[attr-defined]


def test_each_dialect_spells_a_limit_in_its_own_headers() -> None:
    told = {name: dialect.limits.told("requests", 60, 0, 5, 1_800_000_000) for name, dialect in DIALECTS.items()}
    assert told["openai"] == told["responses"] == told["truss"]
    assert told["openai"] == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "5s",
    }
    assert told["anthropic"] == {
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2027-01-15T08:00:05Z",
    }
