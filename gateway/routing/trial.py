"""One try, as its target's breaker sees it: counted once, whichever way it ends."""

from __future__ import annotations

from typing import Protocol

from gateway.config import Breaker as Settings
from gateway.routing import breaker
from gateway.routing.blame import Outcome, Verdict, outcome
from gateway.routing.breaker import Breaker, State


class Guarded(Protocol):
    """Whatever has a breaker."""

    breaker: Breaker


class Trial:
    """Begins when the request is sent to the target, is told when content comes, and when it is over.

    Both return the state the breaker got into if this opened or closed it: what an operator wants to know.
    """

    def __init__(self, target: Guarded, settings: Settings | None, now: float) -> None:
        """`settings`: None where the breaker is turned off; nothing is counted then."""
        self._target = target
        self._settings = settings
        self._is_answered = False
        if settings is not None:
            target.breaker, self._ticket = breaker.enter(target.breaker, settings, now)

    def answered(self, now: float) -> State | None:
        """The first content came, or a whole answer."""
        if self._is_answered:
            return None
        self._is_answered = True
        return self._leave(Outcome(Verdict.ANSWERED), now, 0.0)

    def ended(self, error: BaseException | None, now: float, chance: float) -> State | None:
        """It is over: `error` broke it, or it was no news of the target, or everything had been told before."""
        if error is None and self._is_answered:
            return None
        if error is None:
            return self._leave(Outcome(Verdict.NOTHING), now, chance)
        return self._leave(outcome(error, is_answered=self._is_answered), now, chance)

    def _leave(self, came_to: Outcome, now: float, chance: float) -> State | None:
        if self._settings is None:
            return None
        before = self._target.breaker
        after = self._target.breaker = breaker.leave(before, self._ticket, came_to, self._settings, now, chance)
        return after.state if after.era != before.era else None
