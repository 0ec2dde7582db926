"""A worker that crashes is back at once, one that goes on crashing a little later, and a hopeless case is known."""

from __future__ import annotations

from gateway.workers.crashes import FUTILE, STEADY_S, WAITS_S, Crashes


def test_the_first_start_is_at_once_and_none_takes_longer_than_a_second() -> None:
    crashes = Crashes()
    waits = [crashes.wait_s(0.5, has_served=True) for _ in range(20)]
    assert waits[0] == 0
    assert waits == sorted(waits)
    assert set(waits) == set(WAITS_S)
    assert max(waits) <= 1


def test_who_served_for_long_begins_with_a_clean_record() -> None:
    crashes = Crashes()
    for _ in range(5):
        crashes.wait_s(0.5, has_served=True)
    assert crashes.wait_s(STEADY_S, has_served=True) == 0
    assert crashes.wait_s(0.5, has_served=True) == WAITS_S[1]


def test_it_is_hopeless_only_when_all_of_the_last_starts_came_to_nothing() -> None:
    crashes = Crashes()
    for _ in range(FUTILE - 1):
        crashes.wait_s(0.1, has_served=False)
    assert not crashes.is_hopeless
    crashes.wait_s(0.1, has_served=True)
    for _ in range(FUTILE - 1):
        crashes.wait_s(0.1, has_served=False)
    assert not crashes.is_hopeless
    crashes.wait_s(100, has_served=False)
    assert crashes.is_hopeless
