"""The quantile of a window is exact, and silent until it means something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.quantile import LEAST, WINDOW, Recent


def recent(*values: float) -> Recent:
    figure = Recent()
    for value in values:
        figure.note(value)
    return figure


def test_nothing_is_said_of_too_few_values() -> None:
    assert recent().quantile(0.95) is None
    assert recent(*range(LEAST - 1)).quantile(0.95) is None
    assert recent(*range(LEAST)).quantile(0.95) is not None


@pytest.mark.parametrize(("share", "expected"), [(0.95, 95), (0.5, 50), (1.0, 100), (0.0, 1), (0.951, 96)])
def test_a_quantile_is_the_lowest_value_that_enough_do_not_exceed(share: float, expected: int) -> None:
    assert recent(*range(100, 0, -1)).quantile(share) == expected


def test_the_least_number_of_values_tells_a_p95_that_is_not_the_highest() -> None:
    """Else one unlucky answer would put hedging off until it leaves the window."""
    assert recent(*[0.05] * (LEAST - 1), 5.0).quantile(0.95) == 0.05


def test_old_values_make_room() -> None:
    """A server that has become slow is not hedged for ever by what it once was."""
    figure = recent(*[0.05] * WINDOW)
    for _ in range(WINDOW):
        figure.note(1.0)
    assert figure.quantile(0.0) == 1.0


@given(st.lists(st.floats(0, 100), min_size=LEAST, max_size=WINDOW), st.floats(0.01, 1))
def test_the_definition(values: list[float], share: float) -> None:
    found = recent(*values).quantile(share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values)
