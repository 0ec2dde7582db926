"""A peak EWMA: rises at once, falls bit by bit, fades with time."""

from __future__ import annotations

import math

import pytest

from gateway.routing.latency import DECAY_S, FAILED_S, PeakEwma

DAY_S = 86_400.0


def after(*waits: tuple[float, float]) -> PeakEwma:
    """Waits of so many seconds, each noted at its time."""
    ewma = PeakEwma()
    for seconds, now in waits:
        ewma.answered(seconds, now)
    return ewma


def test_nothing_is_known_before_the_first_answer() -> None:
    assert PeakEwma().seconds(DAY_S) is None


@pytest.mark.parametrize("now", [0.0, 7.0, DAY_S])
def test_the_first_wait_counts_as_it_is_whatever_the_clock_says(now: float) -> None:
    assert after((0.3, now)).seconds(now) == 0.3


def test_a_rise_counts_at_once() -> None:
    assert after((0.1, 1.0), (4.0, 1.001)).seconds(1.001) == 4.0


def test_a_fall_counts_bit_by_bit() -> None:
    falling = after((4.0, 0.0))
    seen = []
    for second in range(1, 181):
        falling.answered(0.1, float(second))
        seen.append(falling.seconds(float(second)) or 0.0)
    assert seen == sorted(seen, reverse=True)
    assert 3.8 < seen[0] < 4.0
    assert seen[29] == pytest.approx(4.0 / math.e, rel=0.02)
    assert seen[-1] == 0.1


def test_under_steady_traffic_it_tends_to_the_mean() -> None:
    """Calls that overlap leave no time to fade: then it is an EWMA as any other."""
    falling = after((4.0, 0.0))
    for tenth in range(1, 3001):
        falling.answered(1.0, tenth / 10)
    assert falling.seconds(300.0) == pytest.approx(1.0 + 3.0 * math.exp(-300 / DECAY_S))


def test_one_wait_after_a_long_rest_starts_from_what_had_faded() -> None:
    assert after((4.0, 0.0), (0.1, 300.0)).seconds(300.0) == 0.1


def test_many_answers_at_one_moment_forget_no_peak() -> None:
    """Time decides how much is forgotten, not how many calls there were."""
    assert after((4.0, 5.0), *[(0.1, 5.0)] * 1000).seconds(5.0) == 4.0


def test_what_nobody_confirms_fades() -> None:
    ewma = after((4.0, 0.0))
    assert ewma.seconds(DECAY_S) == pytest.approx(4.0 / math.e)
    assert (ewma.seconds(DAY_S) or 0.0) < 0.001


def test_a_clock_that_stands_still_or_goes_back_does_no_harm() -> None:
    assert after((2.0, 9.0)).seconds(3.0) == 2.0


def test_a_quick_failure_is_no_quick_answer() -> None:
    ewma = PeakEwma()
    ewma.failed(0.001, 1.0)
    assert ewma.seconds(1.0) == FAILED_S
    ewma.failed(60.0, 2.0)
    assert ewma.seconds(2.0) == 60.0


def test_an_answer_forgives_the_failures_before_it() -> None:
    """A server that is back is measured anew, not held to be slow for a minute because it had been away."""
    ewma = after((0.2, 0.0))
    ewma.failed(0.001, 1.0)
    assert ewma.seconds(1.0) == FAILED_S
    ewma.answered(0.3, 2.0)
    assert ewma.seconds(2.0) == 0.3


def test_a_failure_fades_too() -> None:
    ewma = PeakEwma()
    ewma.failed(0.001, 0.0)
    assert ewma.seconds(DECAY_S) == pytest.approx(FAILED_S / math.e)


@pytest.mark.parametrize(("known", "waited", "expected"), [(0.5, 3.0, 3.0), (0.5, 0.1, 0.5), (None, 0.1, 0.1)])
def test_a_wait_that_somebody_gave_up_was_at_least_so_long(known: float | None, waited: float, expected: float) -> None:
    ewma = PeakEwma() if known is None else after((known, 0.0))
    ewma.outwaited(waited, 0.0)
    assert ewma.seconds(0.0) == expected
