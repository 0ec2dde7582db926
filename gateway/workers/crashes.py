"""When a worker that ended by itself is started again, and when that is pointless. Pure: the clock is an argument."""

from __future__ import annotations

from typing import Final

STEADY_S: Final = 10.0
"""Who served for so long begins anew with a clean record."""
WAITS_S: Final = (0.0, 0.25, 0.5, 1.0)
"""Before each start in a row, the last one for all further ones: within the two seconds that are promised."""
FUTILE: Final = 4
"""Starts in a row that came to nothing, after which nobody need try again while no other worker serves."""


class Crashes:
    """The record of one worker's place."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._futile = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether it never served in all of its last starts."""
        return self._futile >= FUTILE

    def wait_s(self, lived_s: float, *, has_served: bool) -> float:
        """A worker ended after so long: seconds until the next one starts."""
        if has_served and lived_s >= STEADY_S:
            self._in_a_row = 0
        self._futile = 0 if has_served else self._futile + 1
        wait_s = WAITS_S[min(self._in_a_row, len(WAITS_S) - 1)]
        self._in_a_row += 1
        return wait_s
