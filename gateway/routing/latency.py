"""How soon a target answers, as a peak EWMA: a rise counts at once, a fall bit by bit, what nobody confirms fades."""

from __future__ import annotations

import math
from typing import Final

DECAY_S: Final = 30.0
"""In this time what was learned falls to 37 %. Finagle's 10 s is meant for thousands of calls a second; answers of
models are fewer, and the load of their servers changes over minutes."""
FAILED_S: Final = 5.0
"""What a failure counts as, at least: a server that refuses within a millisecond is not a fast one. As bad as a bad
wait for a first token, and forgotten like one, so that the target is tried again within a minute or two."""


class PeakEwma:
    """Seconds from a call to what is waited for."""

    __slots__ = ("_at", "_failed_at", "_failed_s", "_peak_s")

    def __init__(self) -> None:
        self._peak_s: float | None = None
        self._at = 0.0
        self._failed_s = 0.0
        self._failed_at = 0.0

    def answered(self, seconds: float, now: float) -> None:
        """What was waited for came just `now`, so long after the call. Failures before it are forgiven.

        Until the call, time only let fade what was known; from the call on, it weighs the new wait in.
        """
        weight = 1 - _kept(min(seconds, now - self._at))
        faded = (self._peak_s or 0.0) * _kept(now - self._at)
        self._peak_s, self._at = max(seconds, faded + seconds * weight), now
        self._failed_s = 0.0

    def failed(self, seconds: float, now: float) -> None:
        """It did not come, by the target's fault, so long after the call."""
        self._failed_s = max(seconds, FAILED_S, self._failed_s * _kept(now - self._failed_at))
        self._failed_at = now

    def outwaited(self, seconds: float, now: float) -> None:
        """Nobody waited any longer: it would have taken at least so long."""
        if seconds > (self.seconds(now) or 0.0):
            self._peak_s, self._at = seconds, now

    def seconds(self, now: float) -> float | None:
        """What to reckon with. None: never tried."""
        if self._peak_s is None and not self._failed_s:
            return None
        return max((self._peak_s or 0.0) * _kept(now - self._at), self._failed_s * _kept(now - self._failed_at))


def _kept(seconds: float) -> float:
    """How much of what was known counts still after a time. It fades by time, not by calls."""
    return math.exp(-max(0.0, seconds) / DECAY_S)
