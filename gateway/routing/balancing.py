"""Which of a route's targets is tried first. Pure: state, time and chance come in as arguments.

| balance           | first is                                              | what weights do                      |
| ----------------- | ----------------------------------------------------- | ------------------------------------ |
| `weighted`        | drawn by chance                                       | shares of requests                   |
| `least_in_flight` | of two drawn by chance, the one with less in flight   | the draw, and how much is much       |
| `fastest`         | the shortest wait lately times all in flight and one  | nothing                              |
| `prefix`          | by hash of the conversation's beginning, unless full  | shares of conversations, and of room |
| `sticky`          | by hash of a session or user                          | shares of sessions                   |

In all of them weight 0 stands by: such a target is never first. Nor is one that can't be called, by its breaker or
because it is full, while another can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, assert_never

from gateway.config.balance import Balance, Fastest, LeastInFlight, Prefix, Sticky, Weighted
from gateway.neutral.quick_value import quick_value
from gateway.routing.affinity import attraction
from gateway.routing.state import TargetState
from gateway.routing.target import Target

_GREATEST: Final = math.nextafter(1.0, 0.0)
"""The greatest chance there is."""


class Candidate(NamedTuple):
    """A target that may be first, its weight, and what is known of it.

    `is_ready`: whether it can be called just now. `is_on_probation`: whether one request is to find out if it can be
    used again.
    """

    target: Target
    weight: int
    state: TargetState
    is_ready: bool = True
    is_on_probation: bool = False

    @property
    def load(self) -> float:
        """Requests in flight for its weight."""
        return self.state.in_flight / self.weight


@quick_value
class Moment:
    """What a choice depends on besides the configuration and what is known of the targets.

    `chance` in [0, 1); `now` in seconds on the clock of the states; `key` ties the request to a target, empty where
    nothing does; `streams`: whether the client wants a stream.
    """

    chance: float
    now: float = 0.0
    key: bytes = b""
    streams: bool = True


Candidates = Sequence[Candidate]


def order(balance: Balance, candidates: Candidates, moment: Moment) -> list[Candidate]:
    """All candidates, the one to try first in front.

    Those that can't be called now don't take part: what was theirs is shared by all others, not left to the next.
    """
    sharing = [candidate for candidate in candidates if candidate.weight]
    ready = [candidate for candidate in sharing if candidate.is_ready]
    groups = (
        _ordered(balance, ready, moment),
        _ordered(balance, [candidate for candidate in sharing if not candidate.is_ready], moment),
        [candidate for candidate in candidates if not candidate.weight],
    )
    return [candidate for group in groups for candidate in group]


def _ordered(balance: Balance, sharing: Candidates, moment: Moment) -> Candidates:
    if len(sharing) < 2:
        return sharing
    match balance.way:
        case Weighted():
            return _by_weight(sharing, moment)
        case LeastInFlight():
            return _by_load(sharing, moment)
        case Fastest():
            return _by_wait(sharing, moment)
        case Prefix(max_load=max_load) if moment.key:
            return _with_room_first(_by_key(sharing, moment), max_load)
        case Sticky() if moment.key:
            return _by_key(sharing, moment)
        case Prefix() | Sticky():
            return _by_weight(sharing, moment)
        case way:
            assert_never(way)


def reasons(balance: Balance, candidates: Candidates, moment: Moment) -> list[str]:
    """What was weighed, in a few words for each candidate, in the order in which they came."""
    sharing = [candidate for candidate in candidates if candidate.weight]
    why = _why(balance, sharing, moment)
    return [why(candidate) if candidate.weight else "weight 0: stands by" for candidate in candidates]


def _why(balance: Balance, sharing: Candidates, moment: Moment) -> Callable[[Candidate], str]:
    match balance.way:
        case LeastInFlight():
            return lambda candidate: f"{candidate.state.in_flight} in flight, weight {candidate.weight}"
        case Fastest():
            return lambda candidate: _told_wait(candidate, moment)
        case Prefix(max_load=max_load) if moment.key:
            return lambda candidate: _told_room(candidate, sharing, moment, max_load)
        case Sticky() if moment.key:
            return lambda candidate: f"{_told_rank(candidate, sharing, moment)} of this session"
        case _:
            total = sum(candidate.weight for candidate in sharing)
            return lambda candidate: f"weight {candidate.weight}: first for {candidate.weight / total:.0%} of requests"


# --- by weight ---


def _by_weight(sharing: Candidates, moment: Moment) -> list[Candidate]:
    """The others follow by weight, equal ones as configured."""
    first, _ = _drawn(sharing, moment.chance)
    return [first, *_heaviest_first(sharing, first)]


def _drawn(sharing: Candidates, chance: float) -> tuple[Candidate, float]:
    """One candidate by weight, and the chance that is left: again in [0, 1), and independent of the draw."""
    point = chance * sum(candidate.weight for candidate in sharing)
    for candidate, upto in zip(sharing, accumulate(candidate.weight for candidate in sharing), strict=True):
        if point < upto:
            return candidate, min(1 - (upto - point) / candidate.weight, _GREATEST)
    raise ValueError(f"chance {chance} is not in [0, 1)")


def _heaviest_first(sharing: Candidates, first: Candidate) -> list[Candidate]:
    others = [candidate for candidate in sharing if candidate is not first]
    return sorted(others, key=lambda candidate: candidate.weight, reverse=True)


# --- least in flight ---


def _by_load(sharing: Candidates, moment: Moment) -> list[Candidate]:
    """Two choices keep the fullest target near the mean, and yet don't send all gateways to the same one."""
    one, rest = _drawn(sharing, moment.chance)
    others = _heaviest_first(sharing, one)
    other, _ = _drawn(others, rest)
    first = min(one, other, key=lambda candidate: candidate.load)
    behind = (candidate for candidate in (one, *others) if candidate is not first)
    return [first, *sorted(behind, key=lambda candidate: candidate.load)]


# --- fastest ---


def _by_wait(sharing: Candidates, moment: Moment) -> list[Candidate]:
    """Equal ones by weight and chance, so that a new target is not swamped by a route that is new as well."""
    return sorted(_by_weight(sharing, moment), key=lambda candidate: _cost(candidate, moment))


def _cost(candidate: Candidate, moment: Moment) -> tuple[int, float]:
    """What was never tried is tried, but by one request at a time; so is what failed, when it may have recovered."""
    busy = candidate.state.in_flight
    wait_s = candidate.state.wait(streams=moment.streams).seconds(moment.now)
    if candidate.is_on_probation:
        return 0, 0.0
    if wait_s is None:
        return (0, 0.0) if not busy else (2, busy)
    return 1, wait_s * (busy + 1)


def _told_wait(candidate: Candidate, moment: Moment) -> str:
    wait_s = candidate.state.wait(streams=moment.streams).seconds(moment.now)
    waited = "not tried yet" if wait_s is None else f"waited {wait_s * 1000:.0f} ms lately"
    return f"{waited}, {candidate.state.in_flight} in flight"


# --- affinity ---


def _by_key(sharing: Candidates, moment: Moment) -> list[Candidate]:
    """The key's own target, then the one it would have without that, and so on."""
    return sorted(sharing, key=lambda candidate: _attraction(candidate, moment), reverse=True)


def _attraction(candidate: Candidate, moment: Moment) -> float:
    return attraction(moment.key, "\n".join(candidate.target.key), candidate.weight)


def _with_room_first(ranked: Candidates, max_load: float) -> list[Candidate]:
    """Bounded load: one target always has room, because all together have room for more than there is."""
    has_room = [candidate.state.in_flight < _limit(candidate, ranked, max_load) for candidate in ranked]
    return [candidate for has in (True, False) for candidate, room in zip(ranked, has_room, strict=True) if room is has]


def _limit(candidate: Candidate, sharing: Candidates, max_load: float) -> float:
    """More than so much in flight is too much for a target, this request counted."""
    in_flight = sum(other.state.in_flight for other in sharing) + 1
    return max_load * in_flight * candidate.weight / sum(other.weight for other in sharing)


def _told_rank(candidate: Candidate, sharing: Candidates, moment: Moment) -> str:
    return f"choice {_by_key(sharing, moment).index(candidate) + 1}"


def _told_room(candidate: Candidate, sharing: Candidates, moment: Moment, max_load: float) -> str:
    busy, limit = candidate.state.in_flight, _limit(candidate, sharing, max_load)
    full = "" if busy < limit else ", full"
    rank = _told_rank(candidate, sharing, moment)
    return f"{rank} of this conversation{full}: {busy} in flight of at most {math.ceil(limit)}"
