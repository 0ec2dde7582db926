"""The requests under way, and how one of them is ended from outside: its client left, or the time to drain is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self


class Interruption:
    """Ends what one task does, for the first reason given: the block under it raises that."""

    def __init__(self, *, is_late: bool, among: set[Interruption] | None = None) -> None:
        """`is_late`: whether the request began when nothing new was taken any more. `among`: where it is listed as
        long as the block lasts.
        """
        self.is_late = is_late
        self._among: set[Interruption] = set() if among is None else among
        self._reason: Exception | None = None
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        """From here on it can be interrupted. A cancellation by anybody else passes through as it came.

        The task itself is cancelled, not a scope: anyio's reach a task only where it waits, which one that relays a
        fast upstream to nobody may not do for a long time.
        """
        self._task = asyncio.current_task()
        self._among.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        task, self._task = self._task, None
        self._among.discard(self)
        if kind is not asyncio.CancelledError or self._reason is None:
            return
        assert task is not None
        if not task.uncancel():
            raise self._given_up() from None

    @property
    def is_under_way(self) -> bool:
        """Whether there is still something to interrupt."""
        return self._task is not None

    def _given_up(self) -> Exception:
        """The reason, kept no longer: it will hold the frames it passes, and one of them holds this."""
        reason, self._reason = self._reason, None
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

    def one(self) -> Interruption:
        """One request from its first byte to its last, as a block."""
        return Interruption(is_late=self.is_draining, among=self._interruptions)

    def drain(self) -> None:
        """From here on requests that begin are late."""
        self.is_draining = True

    def end(self, reason: Callable[[], Exception]) -> None:
        """Ends every request that is still under way."""
        for interruption in list(self._interruptions):
            interruption.strike(reason())
