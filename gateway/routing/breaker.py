"""May this target be called? One small machine per target, pure: what its tries came to in, what may be called out.

CLOSED: in use; its tries are counted over a sliding window, and too many failures among them open it.
OPEN: left alone for a while, which grows from one opening to the next, or for as long as the upstream asked for.
HALF_OPEN: the while is over; the next request that wants it is its probe.
PROBING: the probe is on its way, and everybody else stays away, until it is answered, fails, is given up by its
client, or has held its place so long that the next one may try.
A pair that is not in the table does not exist.

A target that is all a request has is called even while it is open, and an answer it gives then closes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Final, TypeVar

from gateway.config import Breaker as Settings
from gateway.neutral.quick_value import quick_value
from gateway.routing.blame import Outcome, Verdict

_SLICES: Final = 10
"""The window moves in tenths of itself: a few numbers a target, however many requests it gets."""
_MOST_DOUBLINGS: Final = 30
_LEAST_JITTER: Final = 0.5
"""Share of a while that is always kept; the rest is chance, so that gateways and targets don't come back in step."""

Place = TypeVar("Place")


class State(Enum):
    CLOSED = auto()
    OPEN = auto()
    HALF_OPEN = auto()
    PROBING = auto()


class Input(Enum):
    """What happened, as far as the state is concerned."""

    ENTERED = auto()
    """A request is sent to the target."""
    ANSWERED = auto()
    FAILED = auto()
    """It failed, which changes nothing yet."""
    TRIPPED = auto()
    """Failures became too many, the probe failed, or the upstream asked to be left alone."""
    RELEASED = auto()
    """The probe came to nothing, for reasons that are not the target's."""
    RESTED = auto()
    """The while is over, or the time a probe may hold its place."""
    HEALTHY = auto()
    UNHEALTHY = auto()
    """What a health check found."""


TRANSITIONS: Final[dict[State, dict[Input, State]]] = {
    State.CLOSED: {
        Input.ENTERED: State.CLOSED,
        Input.ANSWERED: State.CLOSED,
        Input.FAILED: State.CLOSED,
        Input.TRIPPED: State.OPEN,
        Input.RELEASED: State.CLOSED,
        Input.HEALTHY: State.CLOSED,
        Input.UNHEALTHY: State.OPEN,
    },
    State.OPEN: {
        Input.ENTERED: State.OPEN,
        Input.ANSWERED: State.CLOSED,
        Input.FAILED: State.OPEN,
        Input.TRIPPED: State.OPEN,
        Input.RELEASED: State.OPEN,
        Input.RESTED: State.HALF_OPEN,
        Input.HEALTHY: State.HALF_OPEN,
        Input.UNHEALTHY: State.OPEN,
    },
    State.HALF_OPEN: {
        Input.ENTERED: State.PROBING,
        Input.ANSWERED: State.CLOSED,
        Input.FAILED: State.HALF_OPEN,
        Input.TRIPPED: State.OPEN,
        Input.RELEASED: State.HALF_OPEN,
        Input.HEALTHY: State.HALF_OPEN,
        Input.UNHEALTHY: State.OPEN,
    },
    State.PROBING: {
        Input.ENTERED: State.PROBING,
        Input.ANSWERED: State.CLOSED,
        Input.FAILED: State.PROBING,
        Input.TRIPPED: State.OPEN,
        Input.RELEASED: State.HALF_OPEN,
        Input.RESTED: State.HALF_OPEN,
        Input.HEALTHY: State.PROBING,
        Input.UNHEALTHY: State.OPEN,
    },
}


_RESTING: Final = tuple(state for state, row in TRANSITIONS.items() if Input.RESTED in row)


@quick_value
class Slice:
    """What the tries of a part of the window came to."""

    begun: float
    answered: int = 0
    failed: int = 0


@quick_value
class Breaker:
    """What is known of one target. `since`: when it got into its state; `until`: when OPEN and PROBING are over."""

    state: State = State.CLOSED
    since: float = 0.0
    until: float = 0.0
    is_told: bool = False
    """Whether the upstream itself said how long to stay away: then no health check shortens it."""
    openings: int = 0
    """How often it opened without having been closed for long in between."""
    era: int = 0
    """Changes whenever it opens or closes: what was sent before says nothing of what is now."""
    probes: int = 0
    slices: tuple[Slice, ...] = ()


@quick_value
class Ticket:
    """One try's place at a target. `probe` is its number if it is one, else 0."""

    era: int
    probe: int = 0


def standing(breaker: Breaker, now: float) -> State:
    """The state it is in by now."""
    return _rested(breaker, now).state


def admits(breaker: Breaker, now: float) -> bool:
    """Whether the next request may go there; where it is half-open, it will be the probe."""
    return standing(breaker, now) in (State.CLOSED, State.HALF_OPEN)


def admit(plan: Sequence[Place], of: Callable[[Place], Breaker], now: float) -> tuple[Place, ...]:
    """The targets of a plan that may be called, in its order. If none may, all: the one that is back soonest first.

    So no target is ever taken away from a request that has no other.
    """
    if len(plan) < 2:
        return tuple(plan)
    admitted = tuple(place for place in plan if admits(of(place), now))
    return admitted or tuple(sorted(plan, key=lambda place: _back_at(of(place))))


def enter(breaker: Breaker, settings: Settings, now: float) -> tuple[Breaker, Ticket]:
    """A request is sent to the target."""
    rested = _rested(breaker, now)
    if rested.state is not State.HALF_OPEN:
        return rested, Ticket(rested.era)
    probe = rested.probes + 1
    probing = _moved(rested, Input.ENTERED, now)
    return replace(probing, probes=probe, until=now + settings.max_open), Ticket(rested.era, probe)


def leave(breaker: Breaker, ticket: Ticket, outcome: Outcome, settings: Settings, now: float, chance: float) -> Breaker:
    """What a try came to. May be told twice of one that was ANSWERED first and BROKE then. `chance` is in [0, 1)."""
    breaker = _rested(breaker, now)
    counted = _counted(breaker, ticket, outcome, settings, now)
    match _amounts_to(counted, ticket, outcome, settings, now):
        case None:
            return counted
        case Input.TRIPPED:
            return _opened(counted, outcome, settings, now, chance)
        case Input.ANSWERED if counted.state is not State.CLOSED:
            return _closed(counted, now)
        case what:
            return _moved(counted, what, now)


def checked(breaker: Breaker, *, is_healthy: bool, now: float, valid_s: float) -> Breaker:
    """What a health check of the upstream found. A failed one holds for `valid_s`, should no other follow it."""
    breaker = _rested(breaker, now)
    if is_healthy:
        return breaker if breaker.is_told else _moved(breaker, Input.HEALTHY, now)
    era = breaker.era if breaker.state is State.OPEN else breaker.era + 1
    until = max(breaker.until, now + valid_s) if breaker.state is State.OPEN else now + valid_s
    return replace(_moved(breaker, Input.UNHEALTHY, now), until=until, era=era, slices=())


# -- what a try means ------------------------------------------------------------------------------------------------


def _amounts_to(breaker: Breaker, ticket: Ticket, outcome: Outcome, settings: Settings, now: float) -> Input | None:
    """None where it says nothing of the target as it is now."""
    is_current = ticket.era == breaker.era
    is_the_probe = is_current and ticket.probe == breaker.probes and breaker.state is State.PROBING
    match outcome.verdict:
        case Verdict.ASKED_TO_WAIT:  # said just now, whenever it was that we asked
            return Input.TRIPPED
        case Verdict.ANSWERED:
            return Input.ANSWERED if is_current else None
        case Verdict.NOTHING:
            return Input.RELEASED if is_the_probe else None
        case Verdict.BROKE if _closed_it(breaker, ticket) and now - breaker.since < settings.max_open:
            return Input.TRIPPED
        case Verdict.FAILED | Verdict.BROKE if is_current:
            is_over = breaker.state is State.CLOSED and _is_over_the_rate(breaker.slices, settings)
            return Input.TRIPPED if is_the_probe or is_over else Input.FAILED
        case Verdict.FAILED | Verdict.BROKE:
            return None


def _closed_it(breaker: Breaker, ticket: Ticket) -> bool:
    """Whether it is this probe's first words that closed the breaker."""
    is_last_probe = ticket.probe > 0 and ticket.probe == breaker.probes
    return breaker.state is State.CLOSED and is_last_probe and ticket.era == breaker.era - 1


def _counted(breaker: Breaker, ticket: Ticket, outcome: Outcome, settings: Settings, now: float) -> Breaker:
    """With this try in the window: each counts once, as a failure if it broke after it had been answered."""
    if breaker.state is not State.CLOSED or ticket.era != breaker.era or outcome.verdict is Verdict.NOTHING:
        return breaker
    kept = tuple(part for part in breaker.slices if now - part.begun < settings.window)
    if not kept or now - kept[-1].begun >= settings.window / _SLICES:
        kept = (*kept, Slice(now))
    if outcome.verdict is Verdict.BROKE:
        kept = _taken_back(kept)
    last = kept[-1]
    if outcome.verdict is Verdict.ANSWERED:
        last = Slice(last.begun, last.answered + 1, last.failed)
    else:
        last = Slice(last.begun, last.answered, last.failed + 1)
    # As `replace`, which would take as long as all the rest of a try.
    state, since, until, is_told = breaker.state, breaker.since, breaker.until, breaker.is_told
    return Breaker(state, since, until, is_told, breaker.openings, breaker.era, breaker.probes, (*kept[:-1], last))


def _taken_back(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    """Without one answer, the latest there is; an answer that left the window is forgotten anyhow."""
    for index in reversed(range(len(slices))):
        if (part := slices[index]).answered:
            return (*slices[:index], replace(part, answered=part.answered - 1), *slices[index + 1 :])
    return slices


def _is_over_the_rate(slices: Sequence[Slice], settings: Settings) -> bool:
    failed = sum(part.failed for part in slices)
    tries = failed + sum(part.answered for part in slices)
    return tries >= settings.min_requests and failed >= settings.failure_rate * tries


# -- changes ---------------------------------------------------------------------------------------------------------


def _moved(breaker: Breaker, what: Input, now: float) -> Breaker:
    state = TRANSITIONS[breaker.state][what]
    return breaker if state is breaker.state else replace(breaker, state=state, since=now, until=0.0, is_told=False)


def _rested(breaker: Breaker, now: float) -> Breaker:
    is_over = breaker.state in _RESTING and now >= breaker.until
    return _moved(breaker, Input.RESTED, breaker.until) if is_over else breaker


def _closed(breaker: Breaker, now: float) -> Breaker:
    return replace(_moved(breaker, Input.ANSWERED, now), era=breaker.era + 1, slices=())


def _opened(breaker: Breaker, outcome: Outcome, settings: Settings, now: float, chance: float) -> Breaker:
    """For as long as the upstream asked for, or a while that doubles each time; both have a limit."""
    if outcome.verdict is Verdict.ASKED_TO_WAIT:
        return _rest(breaker, now + min(outcome.wait_s, settings.max_cool_down), breaker.openings, now, is_told=True)
    openings = _openings(breaker, settings, now)
    share = _LEAST_JITTER + (1 - _LEAST_JITTER) * chance
    doubled = settings.open * 2.0 ** min(openings - 1, _MOST_DOUBLINGS)
    begun = breaker.since if breaker.state is State.PROBING else now  # a probe may have hung for most of the while
    until = max(begun + min(settings.max_open, doubled) * share, now + settings.open * share)
    return _rest(breaker, until, openings, now, is_told=False)


def _rest(breaker: Breaker, until: float, openings: int, now: float, *, is_told: bool) -> Breaker:
    if breaker.state is State.OPEN:
        return replace(breaker, until=max(breaker.until, until), is_told=is_told or breaker.is_told)
    opened = _moved(breaker, Input.TRIPPED, now)
    return replace(opened, until=until, is_told=is_told, openings=openings, era=breaker.era + 1, slices=())


def _openings(breaker: Breaker, settings: Settings, now: float) -> int:
    """One that was closed for as long as it may stay open begins anew."""
    is_well = breaker.state is State.CLOSED and now - breaker.since >= settings.max_open
    return 1 if is_well else breaker.openings + 1


def _back_at(breaker: Breaker) -> float:
    """When others may call it again; one whose probe is on its way may be back any moment."""
    return breaker.since if breaker.state is State.PROBING else breaker.until
