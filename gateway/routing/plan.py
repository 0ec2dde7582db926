"""Route, chance and what is known of its targets → the targets to try, in order."""

from __future__ import annotations

from gateway.config import Target as Place
from gateway.routing.balancing import Candidate, Moment, order
from gateway.routing.state import States
from gateway.routing.table import Route
from gateway.routing.target import Target

__all__ = ["Target", "candidates", "plan"]


def plan(route: Route, name: str, moment: Moment, states: States) -> tuple[Target, ...]:
    """The targets of a request for `name`, in the order to try them, each once.

    The route's balance puts the first in front and the others behind it, as if those were not there that can't be
    called just now; they follow. Those of weight 0 are never first and come last of them. Then comes the fallback.
    """
    places = (*route.targets, *route.fallback)
    if len(places) == 1:
        return (_target(route, places[0], name),)
    shared = order(route.balance, candidates(route, name, states, moment.now), moment)
    balanced = (candidate.target for candidate in shared)
    fallback = (_target(route, place, name) for place in route.fallback)
    return tuple({(target.name, target.model): target for target in (*balanced, *fallback)}.values())


def candidates(route: Route, name: str, states: States, now: float) -> list[Candidate]:
    """The targets that share a route's requests, with what is known of each."""
    targets = ((_target(route, place, name), place.weight) for place in route.targets)
    return [_candidate(target, weight, states, now) for target, weight in targets]


def _candidate(target: Target, weight: int, states: States, now: float) -> Candidate:
    is_ready = states.admits(target, now) and states.has_room(target)
    return Candidate(target, weight, states.target(target), is_ready, states.is_on_probation(target, now))


def _target(route: Route, place: Place, name: str) -> Target:
    asked = name if route.is_pattern else route.name
    model = place.model or asked
    return Target(place.upstream, route.upstreams[place.upstream], model, place.model or route.name, place.context)
