"""What is known of upstreams and targets from the requests before: plain values, no clock, kept across reloads."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.routing.latency import PeakEwma
from gateway.routing.target import Target


@dataclass(slots=True)
class TargetState:
    """One model of one upstream."""

    in_flight: int = 0
    """Tries that are under way."""
    first_token: PeakEwma = field(default_factory=PeakEwma)
    """How long streams wait for their first content."""
    whole: PeakEwma = field(default_factory=PeakEwma)
    """How long answers take that come whole; never compared with the other."""

    def wait(self, *, streams: bool) -> PeakEwma:
        """How long a client waits until it sees something."""
        return self.first_token if streams else self.whole


@dataclass(slots=True)
class UpstreamState:
    """One upstream, whatever its models."""

    in_flight: int = 0
    """Tries that are under way."""


class States:
    """The state of each target and upstream, made when first asked for. Only configured names ever ask."""

    def __init__(self) -> None:
        self._targets: dict[tuple[str, str], TargetState] = {}
        self._upstreams: dict[str, UpstreamState] = {}

    def target(self, target: Target) -> TargetState:
        """The state of a target, by its upstream and its model as configured."""
        if (state := self._targets.get(target.key)) is None:
            state = self._targets[target.key] = TargetState()
        return state

    def upstream(self, name: str) -> UpstreamState:
        """The state of an upstream."""
        if (state := self._upstreams.get(name)) is None:
            state = self._upstreams[name] = UpstreamState()
        return state
