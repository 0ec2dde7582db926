"""How much a key may ask for: what counts its requests, and what they counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Count:
    """What is left of a limit. `reset_s`: until there is more of it. `is_over`: this request was one too many."""

    limit: int
    remaining: int
    reset_s: float
    is_over: bool = False


class Rates(Protocol):
    """Counts requests within a minute. One that is too many isn't counted, so that who keeps asking is served in time.

    In the memory of this process, or in a store that several share: that it may take a while is why this is awaited.
    """

    async def count(self, who: str, per_minute: int) -> Count:
        """Counts one request. A limit that has changed since goes on from what was counted."""


class InFlight:
    """How many requests of each key are under way."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def __getitem__(self, who: str) -> int:
        return self._counts[who]

    def enter(self, who: str, limit: int | None) -> bool:
        """Counts one more, if there may be one."""
        if limit is not None and self._counts[who] >= limit:
            return False
        self._counts[who] += 1
        return True

    def leave(self, who: str) -> None:
        """One that had entered is over; of a key that has none nothing is kept."""
        self._counts[who] -= 1
        if not self._counts[who]:
            del self._counts[who]
