"""A share of the traffic, over a sliding window, without a clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.budget import Budget


def spent(budget: Budget, now: float, asked: int) -> int:
    return sum(budget.spend(now) for _ in range(asked))


@pytest.mark.parametrize(
    ("calls", "ratio", "minimum", "allowed"),
    [
        (0, 0.2, 3, 3),
        (0, 0.2, 0, 0),
        (4, 0.2, 3, 3),
        (5, 0.2, 3, 4),
        (200, 0.2, 3, 43),
        (200, 0.0, 3, 0),
        (200, 0.05, 0, 10),
        (200, 1.0, 0, 200),
    ],
)
def test_extra_calls_are_a_share_of_the_traffic_and_a_few_more(
    calls: int, ratio: float, minimum: int, allowed: int
) -> None:
    budget = Budget(ratio, minimum)
    for _ in range(calls):
        budget.count(5.0)
    assert spent(budget, 5.0, calls + minimum + 1) == allowed
    assert (budget.spent, budget.denied) == (allowed, calls + minimum + 1 - allowed)


def test_what_left_the_window_neither_pays_nor_costs() -> None:
    budget = Budget(0.2, minimum=1)
    for _ in range(50):
        budget.count(100.0)
    assert spent(budget, 100.5, 20) == 11
    assert spent(budget, 109.9, 20) == 0, "the traffic still counts, and so does what was spent"
    assert spent(budget, 110.0, 20) == 1, "of both nothing is left but the minimum"


def test_a_quiet_gateway_may_always_retry() -> None:
    """A request a minute, each of them retried."""
    budget = Budget(0.2)
    for minute in range(100):
        budget.count(minute * 60.0)
        assert budget.spend(minute * 60.0 + 1)


def test_a_clock_may_begin_anywhere() -> None:
    budget = Budget(0.5, minimum=0, window_s=1.0)
    budget.count(-7.0)
    budget.count(-6.95)
    assert spent(budget, -6.9, 2) == 1


@given(
    steps=st.lists(
        st.tuples(st.floats(0, 3), st.integers(0, 20), st.integers(0, 20)),
        max_size=40,
    ),
    ratio=st.sampled_from([0.0, 0.05, 0.2, 1.0]),
    minimum=st.integers(0, 5),
)
def test_no_window_ever_holds_more_than_its_share(
    steps: list[tuple[float, int, int]], ratio: float, minimum: int
) -> None:
    """Whatever comes when: of any stretch as long as a window, at each moment that something was spent."""
    budget, now, log = Budget(ratio, minimum, window_s=10.0), 0.0, []
    for pause, calls, asked in steps:
        now += pause
        for _ in range(calls):
            budget.count(now)
        taken = spent(budget, now, asked)
        log.append((now, calls, taken))
        begin = now // 1.0 * 1.0 - 9.0
        recent = [entry for entry in log if entry[0] >= begin]
        if taken:
            assert sum(entry[2] for entry in recent) <= (sum(entry[1] for entry in recent) * ratio + minimum) * bool(
                ratio
            )
