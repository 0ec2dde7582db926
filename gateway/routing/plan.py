"""Route and chance → the targets to try, in order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from gateway.config import Target as Place
from gateway.config import Upstream, WeightedTarget
from gateway.routing.table import Route


@dataclass(frozen=True, slots=True)
class Target:
    """One upstream to try, by its name in the configuration, and the model name to use there."""

    name: str
    upstream: Upstream
    model: str


def plan(route: Route, name: str, chance: float) -> tuple[Target, ...]:
    """The targets of a request for `name`, in the order to try them, each once.

    `chance`, in [0, 1), chooses the first by weight. The other weighted targets follow, the heavier first, equal ones
    as configured; so one of weight 0 is never first and comes last of them. Then comes the fallback.
    """
    chosen = _chosen(route.targets, chance)
    others = [target for target in route.targets if target is not chosen]
    others.sort(key=lambda target: target.weight, reverse=True)
    asked = name if route.is_pattern else route.name
    ordered = (_target(route, place, asked) for place in (chosen, *others, *route.fallback))
    return tuple({(target.name, target.model): target for target in ordered}.values())


def _chosen(targets: tuple[WeightedTarget, ...], chance: float) -> WeightedTarget:
    point = chance * sum(target.weight for target in targets)
    for target, upto in zip(targets, accumulate(target.weight for target in targets), strict=True):
        if point < upto:
            return target
    raise ValueError(f"chance {chance} is not in [0, 1)")


def _target(route: Route, place: Place, asked: str) -> Target:
    return Target(place.upstream, route.upstreams[place.upstream], place.model or asked)
