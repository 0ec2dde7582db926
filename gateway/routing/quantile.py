"""How high most of the recent values of a figure are: a quantile over a small window, exact, for p95 and the like."""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import Final

WINDOW: Final = 128
"""Values kept: enough for a p95 that isn't one unlucky value; few enough to be sorted in ten microseconds, and to
follow a server whose load changes."""
LEAST: Final = 20
"""Values needed before anything is said: of fewer, the highest is all that a p95 could be."""


class Recent:
    """The last values of one figure."""

    __slots__ = ("_values",)

    def __init__(self, window: int = WINDOW) -> None:
        self._values: deque[float] = deque(maxlen=window)

    def note(self, value: float) -> None:
        """One more value; the oldest makes room for it."""
        self._values.append(value)

    def quantile(self, share: float, least: int = LEAST) -> float | None:
        """The lowest value that at least this share of all do not exceed. None: too few to tell."""
        if len(self._values) < least:
            return None
        rank = max(1, ceil(share * len(self._values) - 1e-9))  # 0.95 · 20 is a bit more than 19 in binary
        return sorted(self._values)[rank - 1]
