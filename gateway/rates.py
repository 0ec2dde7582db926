"""Requests within a minute, counted in the memory of this process by the `limits` library."""

from __future__ import annotations

import time
from typing import Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from gateway.access.limits import Count

_BEHIND_S: Final = 0.001
"""At the moment that the library tells, the window is still as full; just behind it there is room."""


class _PerMinute(RateLimitItemPerMinute):
    """Known by whose it is alone: a limit that a reload has changed counts on."""

    def key_for(self, *identifiers: bytes | str | int | float) -> str:
        return "/".join((self.namespace, *map(str, identifiers)))


class MemoryRates:
    """A sliding window of two counters: as good as exact, and as cheap for a million requests as for one."""

    def __init__(self) -> None:
        self._window = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def count(self, who: str, per_minute: int) -> Count:
        """Counts one request."""
        limit = _PerMinute(per_minute)
        is_counted = await self._window.hit(limit, who)
        stats = await self._window.get_window_stats(limit, who)
        reset_s = max(0.0, stats.reset_time - time.time()) + _BEHIND_S  # noqa: TID251  the library's clock
        return Count(per_minute, max(0, stats.remaining), reset_s, is_over=not is_counted)
