"""How many calls beyond the first ones an upstream may get: a share of its traffic, over a sliding window.

Retries and hedges are extra load, and they come when an upstream has least use for it. A budget ties them to the
traffic there is: within any `window_s`, at most `ratio` of the calls that were counted, and `minimum` more, so that a
gateway with a request a minute may retry at all. An upstream that fails everything gets 1.2 times its requests for a
`ratio` of 0.2, and never a storm. A ratio of 0 allows nothing; it may be set anew at any time, as by a reload.

    budget = Budget(ratio=0.2)
    budget.count(now)              # a call that would be made in any case
    if budget.spend(now): ...      # one call more; False says that there is nothing left, and nothing is taken

One upstream has one budget for its retries; hedges have their own, with their own ratio. `now` is any clock that
does not go back, in seconds.
"""

from __future__ import annotations

from collections import deque
from typing import Final

MINIMUM: Final = 3
"""Extra calls in any window, however little traffic there is: for a few unlucky requests, too few for a storm."""
WINDOW_S: Final = 10.0
"""Long enough to see some traffic, short enough that yesterday's does not pay for today's storm."""
_SLOTS: Final = 10
"""Parts of a window: counts are kept by part, so a window is exact to a tenth of it."""


class Budget:
    """Extra calls of one kind to one upstream. `spent` and `denied` count them since the start."""

    def __init__(self, ratio: float, minimum: int = MINIMUM, window_s: float = WINDOW_S) -> None:
        self.ratio = ratio
        self.minimum = minimum
        self.spent = 0
        self.denied = 0
        self._slot_s = window_s / _SLOTS
        self._slots: deque[_Slot] = deque()

    def count(self, now: float) -> None:
        """A call that is made in any case, and so allows for a share of another one."""
        self._slot(now).calls += 1

    def spend(self, now: float) -> bool:
        """Whether one call more is allowed; then it is taken as made."""
        slot = self._slot(now)
        calls = sum(slot.calls for slot in self._slots)
        extra = sum(slot.extra for slot in self._slots)
        if not self.ratio or extra + 1 > calls * self.ratio + self.minimum:
            self.denied += 1
            return False
        slot.extra += 1
        self.spent += 1
        return True

    def _slot(self, now: float) -> _Slot:
        """The part of the window that is now, without those that are over."""
        number = int(now // self._slot_s)
        while self._slots and self._slots[0].number <= number - _SLOTS:
            self._slots.popleft()
        if not self._slots or self._slots[-1].number != number:
            self._slots.append(_Slot(number))
        return self._slots[-1]


class _Slot:
    __slots__ = ("calls", "extra", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls = 0
        self.extra = 0
