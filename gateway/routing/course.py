"""Which try comes next when one has failed, after which delay, or none at all: the course of one request's tries.

What failed decides what may help (`REMEDIES`), and that decides what is looked for, in order (`MOVES`):

- *The same target once more*, where the connection or the server broke: what broke by accident seldom does twice. Not
  where it said when to come back, nor what it would only do again: answer too late, not in its dialect, or that it
  doesn't know us.
- *The same target when it said* (`Retry-After`), if that is soon (`short_retry_after`): the client gets what its route
  would rather give it, and caches stay warm.
- *The next target* of the plan, at once. A request that is too long for a target goes only to one that is configured as
  larger; where the first one's size isn't known, any known size may be larger, and an unknown one never is.
- *A target that said when to come back* (`Retry-After`), the soonest first, when no target is left that wasn't asked: a
  client gets an answer sooner from another target than from one that needs a rest.

What the request itself is at fault for is never tried again, and where the gateway's own limits leave no room another
target is asked at once, or the client told. Tries are counted as calls: what a target can't carry, or has no room for,
was never sent. A try of the same target is only made where enough tries are left for all that were not asked yet, and
where the upstream's budget has one. No delay reaches beyond the deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from gateway.config import Retries
from gateway.errors import (
    ClientError,
    Denied,
    GatewayError,
    Kind,
    Malformed,
    NoRoom,
    Overloaded,
    Refused,
    TooSlow,
    Truncated,
    Unreachable,
    UpstreamError,
)
from gateway.neutral.quick_value import quick_value
from gateway.routing.target import Target


class Remedy(Enum):
    """What may help after a failure."""

    AGAIN = auto()
    """The same target, then any other."""
    ELSEWHERE = auto()
    """Another target."""
    LARGER = auto()
    """Another target with a larger context."""
    ROOM = auto()
    """Another target, at once or not at all."""
    NOTHING = auto()
    """Nothing: the request is at fault."""


class Move(Enum):
    """Where the next try may go."""

    SAME = auto()
    SOON = auto()
    NEXT = auto()
    LATER = auto()


REMEDIES: Final[dict[type[GatewayError], Remedy]] = {
    Unreachable: Remedy.AGAIN,
    Truncated: Remedy.AGAIN,
    Overloaded: Remedy.AGAIN,
    UpstreamError: Remedy.AGAIN,  # a 5xx
    TooSlow: Remedy.ELSEWHERE,
    Malformed: Remedy.ELSEWHERE,
    Denied: Remedy.ELSEWHERE,
    ClientError: Remedy.ELSEWHERE,  # what this target can't carry, another may
    NoRoom: Remedy.ROOM,
    Refused: Remedy.NOTHING,
    GatewayError: Remedy.NOTHING,
}
"""By class; the nearest one decides."""
LEAST_TRIES: Final = 3
"""Tries of a request for which no limit is set; more only where its route has more targets (HARDENING.md §2)."""
_BY_KIND: Final[dict[Kind, Remedy]] = {
    Kind.RATE_LIMIT: Remedy.ELSEWHERE,  # nobody knows when a limit is over that doesn't say so
    Kind.CONTEXT_LENGTH: Remedy.LARGER,
}
"""Where the kind says more than the class of what an upstream said."""
MOVES: Final[dict[Remedy, tuple[Move, ...]]] = {
    Remedy.AGAIN: (Move.SAME, Move.SOON, Move.NEXT, Move.LATER),
    Remedy.ELSEWHERE: (Move.SOON, Move.NEXT, Move.LATER),
    Remedy.LARGER: (Move.NEXT, Move.LATER),
    Remedy.ROOM: (Move.NEXT,),
    Remedy.NOTHING: (),
}
"""What is looked for; the first that is possible wins."""
_NEVER: Final = float("inf")
_SHOULD_RETRY: Final = "x-should-retry"
"""What an upstream says to the SDKs of every vendor, and to us."""


@quick_value
class Try:
    """The target to try, and how long to wait before that. `is_again`: it was tried before."""

    target: Target
    delay_s: float = 0.0
    is_again: bool = False


@dataclass(slots=True)
class _Place:
    """A target on the course. `ready_at`: when it will take requests again, where it said so. `is_over`: it said not
    to come back with this one.
    """

    target: Target
    tries: int = 0
    ready_at: float = _NEVER
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class _Failure:
    """What failed where and when; `chance` spreads what many requests do about it."""

    place: _Place
    error: GatewayError
    now: float
    chance: float


class Course:
    """One request's tries. `told` is what the client hears if none of them answers."""

    def __init__(
        self,
        targets: Sequence[Target],
        retries: Retries,
        deadline: float,
        afford: Callable[[Target, float], bool],
        admit: Callable[[Sequence[Target], float], Sequence[Target]] = lambda targets, moment: targets,
    ) -> None:
        """`deadline`: until when the answer must be there. `afford`: takes a call beyond the first one, at a moment,
        out of the budget of a target's upstream; False where there is none left. `admit`: those of some targets that
        may be called at a moment, in the order to call them; never none of them.
        """
        self.told: GatewayError | None = None
        self._places = [_Place(target) for target in targets]
        self._retries = retries
        self._deadline = deadline
        self._afford = afford
        self._admit = admit
        self._left = retries.attempts or max(LEAST_TRIES, len(targets))
        self._too_small: int | None = None
        """The largest context that was too small for this request, 0 for one that isn't known; None: there was none."""

    def first(self) -> Try:
        """The first try."""
        return self._begun(self._places[0])

    def beside(self, under_way: Target, now: float, afford: Callable[[], bool]) -> Try | None:
        """A try beside the one under way: of the next target that wasn't asked and isn't left alone, if afforded."""
        admitted = [target for target in self._admit([under_way, *self._fresh()], now) if target != under_way]
        may = bool(admitted) and self._left > 0 and now < self._deadline and afford()
        return self._begun(self._place_of(admitted[0])) if may else None

    def failed(self, target: Target, error: GatewayError, now: float) -> None:
        """One of two tries failed, while the other one went on."""
        self._note(self._place_of(target), error, now)

    def after(self, failed: Target, error: GatewayError, now: float, chance: float) -> Try | None:
        """The next try after one that failed before the client was sent anything, or None. `chance` is in [0, 1)."""
        place = self._place_of(failed)
        self._note(place, error, now)
        failure = _Failure(place, error, now, chance)
        looks = (_LOOKS[move](self, failure) for move in MOVES[remedy_of(error)] if self._left)
        return next((found for found in looks if found is not None), None)

    def _note(self, place: _Place, error: GatewayError, now: float) -> None:
        if self.told is None or isinstance(error, UpstreamError) or _rank(error) > _rank(self.told):
            self.told = error
        if not isinstance(error, UpstreamError):
            self._left += 1
        if error.kind is Kind.CONTEXT_LENGTH:
            self._too_small = max(self._too_small or 0, place.target.context or 0)
        wait = None if isinstance(error, NoRoom) else error.retry_after_s
        place.ready_at = now + wait if wait is not None and wait <= self._retries.max_retry_after else _NEVER
        place.is_over = error.headers.get(_SHOULD_RETRY, "").lower() == "false"

    def may(self, target: Target, moment: float) -> bool:
        """Whether a target may be called again at a moment: one that is left alone only if no other is left to try."""
        return target in self._admit([target, *self._fresh()], moment)

    # -- where the next try may go; None where it may not ------------------------------------------------------------

    def _same(self, failure: _Failure) -> Try | None:
        if failure.error.retry_after_s is not None or not self._has_tries_to_spare(failure.now):
            return None
        return self._again(failure.place, self._backoff(failure), failure.now)

    def _soon(self, failure: _Failure) -> Try | None:
        """The same target, where it said that it needs no longer than the client will hardly notice."""
        wait = failure.error.retry_after_s
        if wait is None or wait > min(self._retries.short_retry_after, self._retries.max_retry_after):
            return None
        if not self._has_tries_to_spare(failure.now):
            return None
        return self._again(failure.place, wait + self._backoff(failure), failure.now)

    def _next(self, failure: _Failure) -> Try | None:
        if failure.now >= self._deadline or not (fresh := self._fresh()):
            return None
        return self._begun(self._place_of(self._admit(fresh, failure.now)[0]))

    def _later(self, failure: _Failure) -> Try | None:
        """Not sooner than it said, and spread: all who were told the same come back."""
        places = (place for place in self._places if self._may_again(place) and place.ready_at < _NEVER)
        soonest = min(places, key=lambda place: place.ready_at, default=None)
        if soonest is None:
            return None
        return self._again(soonest, max(0.0, soonest.ready_at - failure.now) + self._backoff(failure), failure.now)

    # -- their parts -------------------------------------------------------------------------------------------------

    def _again(self, place: _Place, delay_s: float, now: float) -> Try | None:
        may = self._may_again(place) and now + delay_s < self._deadline and self.may(place.target, now + delay_s)
        return self._begun(place, delay_s) if may and self._afford(place.target, now) else None

    def _has_tries_to_spare(self, now: float) -> bool:
        """Whether enough are left for all targets that were not asked yet."""
        return self._left > len(self._admit(self._fresh(), now))

    def _begun(self, place: _Place, delay_s: float = 0.0) -> Try:
        place.tries += 1
        self._left -= 1
        return Try(place.target, delay_s, is_again=place.tries > 1)

    def _backoff(self, failure: _Failure) -> float:
        """Full jitter: anything up to a limit that doubles from try to try of one target."""
        limit = self._retries.backoff * 2.0 ** (failure.place.tries - 1)
        return failure.chance * min(limit, self._retries.max_backoff)

    def _place_of(self, target: Target) -> _Place:
        return next(place for place in self._places if place.target == target)

    def _fresh(self) -> list[Target]:
        return [place.target for place in self._places if not place.tries and self._holds(place)]

    def _may_again(self, place: _Place) -> bool:
        return 0 < place.tries <= self._retries.same_target and not place.is_over and self._holds(place)

    def _holds(self, place: _Place) -> bool:
        """Whether the request may fit, as far as is known."""
        return self._too_small is None or (place.target.context or 0) > self._too_small


_LOOKS: Final = {
    Move.SAME: Course._same,
    Move.SOON: Course._soon,
    Move.NEXT: Course._next,
    Move.LATER: Course._later,
}


def remedy_of(error: GatewayError) -> Remedy:
    """What may help after an error: by the kind where it says more, else by the nearest class."""
    if isinstance(error, UpstreamError) and error.kind in _BY_KIND:
        return _BY_KIND[error.kind]
    return next(REMEDIES[kind] for kind in type(error).__mro__ if kind in REMEDIES)


def _rank(error: GatewayError) -> int:
    """Of several errors the client hears the highest: what an upstream says comes first, and the last of that; then
    that there was no room, which another time may bring."""
    return 2 if isinstance(error, UpstreamError) else int(isinstance(error, NoRoom))
