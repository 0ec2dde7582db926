"""One timer per request for its client: signs of life in a silent answer, and an end to one that nobody takes.

Nothing here counts for or against an upstream: a sign of life is no progress of the answer, and a client that has
stopped reading is nobody's fault but its own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.relay.sink import Sink
from gateway.wire.extensions import HANG_UP, UNSENT

_LOOKS: Final = 8
"""Looks at a client during the time it may take nothing, so that it is let go at most an eighth of that late."""
_RETRY_S: Final = 1.0
"""Until the next try of a sign of life that could not be given: in the middle of a frame, say."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. `hold`: for how long a head waits for content. `silence`: between signs of life. `stall`: how long a
    client may take nothing of what waits for it. Without `silence` there are no signs of life, and the head waits.
    """

    hold: float = math.inf
    silence: float = math.inf
    stall: float = math.inf


class Uptake:
    """Since when a client has taken nothing though there was something to take. Pure: numbers in, a time out."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._unsent = self._written = 0

    def idle_s(self, unsent: int, written: int, now: float) -> float:
        """`unsent` bytes wait for the client, `written` were written to it so far, framing not counted.

        It has taken some if less is waiting than it would be otherwise; how much we write says nothing.
        """
        if unsent == 0 or unsent < self._unsent + written - self._written:
            self._since = now
        self._unsent, self._written = unsent, written
        return now - self._since


class ClientWatchdog:
    """Looks after the client of one request, from its `start` to its `stop`."""

    def __init__(self, sink: Sink, extensions: Mapping[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._sink = sink
        self._unsent: Callable[[], int] = extensions.get(UNSENT, int)
        self._hang_up: Callable[[], None] = extensions.get(HANG_UP, sink.abort)
        self._patience = Patience()
        self._begun = self._loop.time()
        self._uptake = Uptake(self._begun)
        self._timer: asyncio.TimerHandle | None = None
        self._speaking: asyncio.Future[None] | None = None
        self.keep_alive: Callable[[], bytes] = bytes
        """What may be written now as a sign of life, asked for when it is due; nothing while nothing may."""
        self.has_stalled = False
        """Whether the client took nothing for so long that it was hung up on."""

    def start(self, patience: Patience) -> None:
        """From now on; also with another patience than before."""
        self._patience = patience
        self._begun = self._loop.time()
        self._arm(self._begun)

    def stop(self) -> None:
        for handle in (self._timer, self._speaking):
            if handle is not None:
                handle.cancel()
        self._timer = None

    def _arm(self, now: float, retry_s: float = 0.0) -> None:
        patience = self._patience
        wait_s = min(max(self._due_in(now), retry_s), patience.silence, patience.stall / _LOOKS)
        if self._timer is not None:
            if self._timer.when() <= now + wait_s:  # it rings soon enough, and looks again then
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(wait_s, self._fire) if wait_s < math.inf else None

    def _due_in(self, now: float) -> float:
        """Seconds until a sign of life is due, if nothing is written before."""
        patience, sink = self._patience, self._sink
        if patience.silence == math.inf or not sink.can_be_kept_alive:
            return math.inf
        if not sink.has_head:
            return self._begun + patience.hold - now
        return min(sink.silent_since, now) + patience.silence - now

    def _fire(self) -> None:
        self._timer = None
        now = self._loop.time()
        if self._uptake.idle_s(self._unsent(), self._sink.written, now) >= self._patience.stall:
            self.has_stalled = True
            self._hang_up()
            return
        is_due = self._due_in(now) <= 0
        if is_due:
            self._speaking = asyncio.ensure_future(self._speak())
        self._arm(now, _RETRY_S if is_due else 0.0)

    async def _speak(self) -> None:
        """Looks again, as a write may have begun since; where the server tells what is unsent, it never waits."""
        if self._due_in(self._loop.time()) <= 0 and not self._unsent() and (data := self.keep_alive()):
            await self._sink.keep_alive(data)
