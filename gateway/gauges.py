"""How things stand, for `/readyz` and for metrics: what is under way, breakers, health, queues, the loop's lag.

A meter is told twice a second; requests pay nothing for it. Whoever is asked for `/metrics` tells its own anew, so
that only other workers' figures are half a second old.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from gateway.aside import LARGE
from gateway.attempt import InForce
from gateway.routing import breaker
from gateway.routing.breaker import State
from gateway.telemetry import metrics
from gateway.telemetry.meter import Gauged
from gateway.telemetry.metrics import Metric

BEAT_S: Final = 0.5
_NUMBER: Final = {State.CLOSED: 0, State.HALF_OPEN: 1, State.PROBING: 1, State.OPEN: 2}
_AT_REST: Final = {metrics.UPSTREAM_HEALTHY: 1.0}
"""What a gauge stands at whose route or upstream is gone; others at 0."""
_UNHEALTHY: Final = "its health checks fail"
_OPEN: Final = "all its breakers are open"

Place = tuple[Metric, tuple[str, ...]]
"""A metric and the labels of one of its series."""


class Gauges:
    """Tells a meter how one gateway stands, from its `start` to its `stop`."""

    def __init__(self, in_force: InForce, meter: Gauged) -> None:
        self._in_force = in_force
        self.meter = meter
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._set: set[Place] = set()
        self._totals: dict[Place, int] = {}

    def start(self) -> None:
        """From now on, on the running loop."""
        self.meter.set(metrics.BUILD_INFO, (version("triglot"),), 1)
        self.tell()
        self._wind()

    def stop(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()

    def tell(self) -> None:
        """How things stand now. What is no longer configured comes to rest."""
        told = dict(self._levels())
        for place in self._set - told.keys():
            self.meter.set(*place, _AT_REST.get(place[0], 0.0))
        for place, value in told.items():
            self.meter.set(*place, value)
        self._set |= told.keys()
        for place, total in self._counted():
            before = self._totals.get(place, 0)
            self._totals[place] = total
            if total != before:  # less than before: it was counted anew, for another server of that name
                self.meter.add(*place, total - before if total > before else total)

    def _wind(self) -> None:
        self._due = time.perf_counter() + BEAT_S
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _beat(self) -> None:
        self.meter.observe(metrics.LOOP_LAG, max(0.0, time.perf_counter() - self._due))
        self.tell()
        self._wind()

    def _levels(self) -> Iterator[tuple[Place, float]]:
        services, now = self._in_force.services, asyncio.get_running_loop().time()
        yield (metrics.REQUESTS_IN_FLIGHT, ()), len(self._in_force.running)
        for route, streams in self.meter.streams.items():
            yield (metrics.STREAMS_IN_FLIGHT, (route,)), streams
        for name in services.table.upstreams:
            state = services.states.upstream(name)
            yield (metrics.ATTEMPTS_IN_FLIGHT, (name,)), state.in_flight
            yield (metrics.QUEUE_LENGTH, (name,)), state.admission.waiting
            yield (metrics.UPSTREAM_HEALTHY, (name,)), state.health.is_healthy
        for key in services.table.targets:
            standing = breaker.standing(services.states.breaker_of(key), now)
            yield (metrics.BREAKER_STATE, key), _NUMBER[standing]

    def _counted(self) -> Iterator[tuple[Place, int]]:
        table, states = self._in_force.services.table, self._in_force.services.states
        for name in table.upstreams:
            yield (metrics.QUEUE_REFUSALS, (name,)), states.upstream(name).admission.refused
        for key in table.targets:
            yield (metrics.BREAKER_OPENINGS, key), states.openings_of(key)


def why_not_ready(in_force: InForce) -> dict[str, Any]:
    """Why no requests should be sent here, in words for whoever watches; nothing where they should.

    One upstream that may be called is enough: what it can't answer, others could not either.
    """
    if in_force.running.is_draining:
        return {"status": "draining"}
    services, now = in_force.services, asyncio.get_running_loop().time()
    table, states = services.table, services.states
    if states.is_any_usable(table.upstreams, now):
        return {}
    why = {name: _UNHEALTHY if not states.upstream(name).health.is_healthy else _OPEN for name in table.upstreams}
    return {"status": "no usable upstream", "upstreams": why}


class MetricsPage:
    """`/metrics`, as an ASGI app for GET. It is written beside the loop, as it may be long; no stream waits for it."""

    def __init__(self, in_force: InForce, gauges: Gauges) -> None:
        self._in_force = in_force
        self._gauges = gauges

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._gauges.tell()
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
        page, media_type = await self._in_force.services.aside.run(LARGE, partial(self._gauges.meter.page, accept))
        headers = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(page))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": page})
