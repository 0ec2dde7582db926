"""What is known of upstreams and targets from the requests before: plain values, no clock, kept across reloads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.config import HealthCheck
from gateway.routing import breaker, health
from gateway.routing.admission import Admission
from gateway.routing.breaker import Breaker
from gateway.routing.budget import Budget
from gateway.routing.health import Health
from gateway.routing.latency import PeakEwma
from gateway.routing.quantile import Recent
from gateway.routing.target import Target

_OFF: Final = Breaker()
_SPARE_HEDGES: Final = 1
"""Second tries beyond the share: a route with a request now and then may hedge at all."""
_HEDGE_WINDOW_S: Final = 60.0
"""Long, so that the share is one of steady traffic, not of the last moment's."""


@dataclass(slots=True)
class TargetState:
    """One model of one upstream."""

    in_flight: int = 0
    """Tries that are under way."""
    first_token: PeakEwma = field(default_factory=PeakEwma)
    """How long streams wait for their first content."""
    whole: PeakEwma = field(default_factory=PeakEwma)
    """How long answers take that come whole; never compared with the other."""
    recent_first_tokens: Recent = field(default_factory=Recent)
    recent_wholes: Recent = field(default_factory=Recent)
    breaker: Breaker = field(default_factory=Breaker)
    opened: int = 0
    """How often its tries opened the breaker."""

    def recent(self, *, streams: bool) -> Recent:
        """The last of what `wait` smooths, for hedging."""
        return self.recent_first_tokens if streams else self.recent_wholes

    def answered(self, seconds: float, now: float, *, streams: bool) -> None:
        """A client saw something `now`, so long after the call."""
        self.wait(streams=streams).answered(seconds, now)
        self.recent(streams=streams).note(seconds)

    def wait(self, *, streams: bool) -> PeakEwma:
        """How long a client waits until it sees something."""
        return self.first_token if streams else self.whole


@dataclass(slots=True)
class HedgeState:
    """Second tries of one route. `budget.spent` counts them, `budget.denied` those there was no budget for."""

    budget: Budget
    won: int = 0
    """How many of them were faster."""


@dataclass(slots=True)
class ContinuationState:
    """Answers of one route that broke after the commit point, where they may go on."""

    continued: int = 0
    """How many went on from another target."""
    given_up: int = 0
    """How many did not: there was no target for it, or none that said anything."""


@dataclass(slots=True)
class UpstreamState:
    """One upstream, whatever its models."""

    in_flight: int = 0
    """Tries that are under way."""
    health: Health = field(default_factory=Health)
    unseen: Breaker = field(default_factory=Breaker)
    """What a target of it is taken for that was never called."""
    retries: Budget = field(default_factory=lambda: Budget(0.2))
    """What it may get of repeated tries; the configuration has the ratio."""
    admission: Admission = field(default_factory=Admission)
    """Who calls it, and who waits for that."""


class States:
    """The state of each target and upstream, made when first asked for. Only configured names ever ask."""

    def __init__(self) -> None:
        self._targets: dict[tuple[str, str], TargetState] = {}
        self._upstreams: dict[str, UpstreamState] = {}
        self._hedges: dict[str, HedgeState] = {}
        self._continuations: dict[str, ContinuationState] = {}

    def target(self, target: Target) -> TargetState:
        """The state of a target, by its upstream and its model as configured."""
        if (state := self._targets.get(target.key)) is None:
            state = self._targets[target.key] = TargetState(breaker=self.upstream(target.name).unseen)
        return state

    def with_room_first(self, targets: Sequence[Target]) -> tuple[Target, ...]:
        """Those that would be called at once before those that have to be waited for; else in their order."""
        if len(targets) < 2:
            return tuple(targets)
        return tuple(sorted(targets, key=lambda target: not self.has_room(target)))

    def has_room(self, target: Target) -> bool:
        """Whether a call of a target would not have to wait for others to end."""
        return self.upstream(target.name).admission.has_room(target.upstream.max_in_flight)

    def upstream(self, name: str) -> UpstreamState:
        """The state of an upstream."""
        if (state := self._upstreams.get(name)) is None:
            state = self._upstreams[name] = UpstreamState()
        return state

    def kept(self, names: Collection[str], routes: Collection[str] = ()) -> States:
        """What is known of these upstreams and routes, in common with them from here on, and nothing of any other."""
        kept = States()
        kept._hedges = {name: state for name, state in self._hedges.items() if name in routes}
        kept._continuations = {name: state for name, state in self._continuations.items() if name in routes}
        kept._targets = {key: state for key, state in self._targets.items() if key[0] in names}
        kept._upstreams = {name: state for name, state in self._upstreams.items() if name in names}
        return kept

    def breaker(self, target: Target) -> Breaker:
        """The breaker of a target; a closed one where it is turned off."""
        return _OFF if target.upstream.breaker is None else self.target(target).breaker

    def admits(self, target: Target, now: float) -> bool:
        """Whether the next request may be sent to a target."""
        return breaker.admits(self.breaker(target), now)

    def is_on_probation(self, target: Target, now: float) -> bool:
        """Whether the next request sent to a target decides if others follow."""
        return breaker.standing(self.breaker(target), now) is breaker.State.HALF_OPEN

    def admit(self, plan: Sequence[Target], now: float) -> tuple[Target, ...]:
        """The targets of a plan that may be called, in its order; if none may, all, the one back soonest first.

        Those with room for a call come before those that have to be waited for.
        """
        return self.with_room_first(breaker.admit(plan, self.breaker, now))

    def checked(self, name: str, settings: HealthCheck, now: float, *, is_fine: bool) -> bool | None:
        """A health check of an upstream came to this. Whether it is healthy now, if that is news."""
        upstream = self.upstream(name)
        before, upstream.health = upstream.health, health.noted(upstream.health, settings, is_fine=is_fine)
        is_healthy = upstream.health.is_healthy
        if is_fine is is_healthy:
            valid_s = 2 * (settings.every + settings.timeout)  # should no other check ever come
            for state in self._targets_of(name):
                state.breaker = breaker.checked(state.breaker, is_healthy=is_healthy, now=now, valid_s=valid_s)
            upstream.unseen = breaker.checked(Breaker(), is_healthy=is_healthy, now=now, valid_s=valid_s)
        return is_healthy if is_healthy is not before.is_healthy else None

    def is_usable(self, name: str, now: float) -> bool:
        """Whether a request may be sent to an upstream: it is healthy, and has a target that is not open."""
        known = [state.breaker for state in self._targets_of(name)]
        return any(breaker.admits(one, now) for one in known or [self.upstream(name).unseen])

    def is_any_usable(self, names: Iterable[str], now: float) -> bool:
        """Whether any of these upstreams is usable."""
        return any(self.is_usable(name, now) for name in names)

    def _targets_of(self, name: str) -> list[TargetState]:
        return [state for (upstream, _), state in self._targets.items() if upstream == name]

    def hedges(self, route: str, ratio: float) -> HedgeState:
        """The state of a route's second tries, at most this share of its requests: a reload may have changed it."""
        if (state := self._hedges.get(route)) is None:
            state = self._hedges[route] = HedgeState(Budget(ratio, _SPARE_HEDGES, _HEDGE_WINDOW_S))
        state.budget.ratio = ratio
        return state

    def breaker_of(self, key: tuple[str, str]) -> Breaker:
        """The breaker of a target by its upstream and its model as configured, whether it was ever called or not."""
        state = self._targets.get(key)
        return self.upstream(key[0]).unseen if state is None else state.breaker

    def openings_of(self, key: tuple[str, str]) -> int:
        """How often its tries opened that breaker."""
        state = self._targets.get(key)
        return 0 if state is None else state.opened

    def continuations(self, route: str) -> ContinuationState:
        """The state of a route's answers that broke."""
        return self._continuations.setdefault(route, ContinuationState())
