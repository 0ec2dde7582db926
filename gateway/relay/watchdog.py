"""One timer per relay, re-armed only when it fires: deadlines cost a timestamp per read, not a timer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from gateway.errors import OutOfTime, TooSlow

_FIRST_TOKEN: Final = "first token"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. `first_token`: from the call to the first content. `idle`: between events. `total`: the whole answer.

    `after_finish`: how long usage is waited for once the model is done (mapping.md §9.1). `head`: from the call to the
    response head; None where only the first content counts.
    """

    first_token: float
    idle: float
    total: float
    after_finish: float = 5.0
    head: float | None = None


class Scope:
    """A block that is cancelled from outside, and then ends here; every other cancellation passes through it.

    What `asyncio.timeout` does, without a timer of its own.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._is_cancelled = False
        self.cancelled_caught = False
        """Whether the block ended because it was cancelled from here."""

    def __enter__(self) -> None:
        task = self._task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()
        if self._is_cancelled:
            task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> bool:
        task, self._task = self._task, None
        if self._is_cancelled and task is not None:
            is_alone = task.uncancel() <= self._cancelling
            self.cancelled_caught = is_alone and kind is asyncio.CancelledError
        return self.cancelled_caught

    def cancel(self) -> None:
        """Once; does nothing behind the block's end."""
        if not self._is_cancelled:
            self._is_cancelled = True
            if self._task is not None:
                self._task.cancel()


class Watchdog:
    """Cancels its scope when the upstream goes over a deadline. Waiting for the client does not count."""

    def __init__(self, deadlines: Deadlines, begun: float | None = None) -> None:
        """`begun`: since when the total runs, on the loop's clock, where earlier attempts count too; None: now."""
        self._loop = asyncio.get_running_loop()
        self._deadlines = deadlines
        self._phase, self._limit = _FIRST_TOKEN, deadlines.first_token
        if deadlines.head is not None and deadlines.head < deadlines.first_token:
            self._phase, self._limit = "response head", deadlines.head
        self._called = self._since = self._writing_since = self._loop.time()
        self._begun = self._since if begun is None else begun
        self._is_reading = True
        self._timer: asyncio.TimerHandle | None = None
        self.scope = Scope()
        self.error: TooSlow | None = None

    def start(self) -> None:
        """The call begins now: what was waited for before it is not the upstream's doing, but counts in the total."""
        self._since = self._loop.time()
        self._look_at(self._since + self._limit)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def got_head(self) -> None:
        """The response head is there; the time that it took is part of that for the first content."""
        if self._phase != _FIRST_TOKEN:
            self._phase, self._limit = _FIRST_TOKEN, self._deadlines.first_token

    def wrote(self, *, is_progress: bool, is_finished: bool) -> None:
        """The client took what came: the upstream's time runs again, anew if there was progress."""
        now = self._loop.time()
        self._is_reading = True
        self._since += now - self._writing_since
        self.passed(now, is_progress=is_progress, is_finished=is_finished)

    def passed(self, now: float, *, is_progress: bool, is_finished: bool) -> None:
        """What came at `now` went to the client without waiting for it."""
        if is_finished and self._phase != "end":
            self._enter("end", min(self._deadlines.idle, self._deadlines.after_finish))
        elif is_progress and self._phase == _FIRST_TOKEN:
            self._enter("next event", self._deadlines.idle)
        elif is_progress:
            self._since = now

    def progressed(self, now: float) -> None:
        """As `passed`, behind other content."""
        self._since = now

    def now(self) -> float:
        """The loop's clock."""
        return self._loop.time()

    def writing(self) -> None:
        """From here on the client is waited for."""
        self._is_reading = False
        self._writing_since = self._loop.time()

    @property
    def is_waiting_for_client(self) -> bool:
        return not self._is_reading

    @property
    def is_after_finish(self) -> bool:
        return self._phase == "end"

    def _enter(self, phase: str, limit: float) -> None:
        self._phase, self._limit, self._since = phase, limit, self._loop.time()
        self._look_at(self._since + limit)

    def _look_at(self, when: float) -> None:
        """At that time, or at the end of the total if that comes first. A timer that rings before is left alone."""
        when = min(when, self._begun + self._deadlines.total)
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self._loop.time()
        if now >= self._begun + self._deadlines.total:
            self._expire(f"the whole answer took longer than {self._deadlines.total:g} s", self._whose_fault())
        elif not self._is_reading:
            self._look_at(now + self._limit)
        elif now >= self._since + self._limit:
            self._expire(f"no {self._phase} within {self._limit:g} s")
        else:
            self._look_at(self._since + self._limit)

    def _whose_fault(self) -> type[TooSlow]:
        """At the end of the total: this upstream's, if most of it was spent in waiting for its first content."""
        waited = self._loop.time() - self._called
        is_its = self._is_reading and self._phase == _FIRST_TOKEN and waited > self._deadlines.total / 2
        return TooSlow if is_its else OutOfTime

    def _expire(self, what: str, error: type[TooSlow] = TooSlow) -> None:
        self.error = error(f"the upstream was too slow: {what}")
        self.scope.cancel()
