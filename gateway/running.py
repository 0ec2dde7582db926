"""The requests under way, and how one of them is ended from outside: its client left, or the time to drain is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interruption:
    """Ends what one task does, for the first reason given: the block under `within` raises it."""

    def __init__(self, *, is_late: bool) -> None:
        """`is_late`: whether the request began when nothing new was taken any more."""
        self.is_late = is_late
        self._reason: Exception | None = None
        self._task: asyncio.Task[object] | None = None

    @contextmanager
    def within(self) -> Iterator[None]:
        """What can be interrupted. A cancellation by anybody else passes through as it came.

        The task itself is cancelled, not a scope: anyio's reach a task only where it waits, which one that relays a
        fast upstream to nobody may not do for a long time.
        """
        task = self._task = asyncio.current_task()
        assert task is not None
        try:
            yield
        except asyncio.CancelledError:
            if self._reason is None or task.uncancel():
                raise
            raise self._given_up() from None
        finally:
            self._task = None

    def _given_up(self) -> Exception:
        """The reason, kept no longer: it will hold the frames it passes, and one of them holds this."""
        reason, self._reason, self._task = self._reason, None, None
        assert reason is not None
        return reason

    def strike(self, reason: Exception) -> None:
        """Ends the block, wherever it waits. Does nothing behind its end, or a second time."""
        if self._task is not None and self._reason is None:
            self._reason = reason
            self._task.cancel(str(reason))


class Running:
    """All requests under way. Costs each of them an entry in a set, and its tokens nothing."""

    def __init__(self) -> None:
        self.is_draining = False
        self._interruptions: set[Interruption] = set()

    def __len__(self) -> int:
        return len(self._interruptions)

    @contextmanager
    def one(self) -> Iterator[Interruption]:
        """One request from its first byte to its last."""
        interruption = Interruption(is_late=self.is_draining)
        self._interruptions.add(interruption)
        try:
            with interruption.within():
                yield interruption
        finally:
            self._interruptions.discard(interruption)

    def drain(self) -> None:
        """From here on requests that begin are late."""
        self.is_draining = True

    def end(self, reason: Callable[[], Exception]) -> None:
        """Ends every request that is still under way."""
        for interruption in list(self._interruptions):
            interruption.strike(reason())
