"""The composition root: Config → ASGI app."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.aside import Aside
from gateway.attempt import InForce, Services
from gateway.config import Config, HealthCheck
from gateway.counting import Count
from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect, Path
from gateway.dialects.sealing import Sealer
from gateway.endpoint import Endpoint, shutting_down
from gateway.entering import check_operator, entrance_of
from gateway.fixed import (
    ByMethod,
    Fixed,
    ForOperators,
    Models,
    NotServed,
    Ready,
    readable,
    refuse,
    tell,
    unknown_path,
)
from gateway.gauges import Gauges, MetricsPage, why_not_ready
from gateway.judging import health_checked
from gateway.routing.table import MayUse, Table
from gateway.running import Running
from gateway.simulator.app import SimulatorTransport
from gateway.telemetry.meter import COUNTING, Gauged, Unmetered
from gateway.upstreams.client import Upstreams
from gateway.upstreams.health import HealthChecks

__all__ = ["Gateway", "build", "refuse"]


class Gateway:
    """The gateway as an ASGI app. Opens its connection pools on start, closes them on stop."""

    def __init__(self, config: Config, meter: Gauged | None = None) -> None:
        """`meter`: what counts, where metrics are on; None: one of its own."""
        self._config = config
        if meter is None and config.server.metrics:
            from gateway.telemetry import prometheus

            meter = prometheus.alone()
        self.beside: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """What runs beside it from start to stop."""
        upstreams = Upstreams({"simulator": SimulatorTransport()})
        services = Services(
            config.server,
            Table(config),
            upstreams,
            Sealer(config.server.sealing),
            Aside(),
            entrance_of(config),
            meter=meter or Unmetered(),
        )
        self._in_force = InForce(services)
        self._gauges = None if meter is None else Gauges(self._in_force, meter)
        self._checks = HealthChecks(upstreams, self._note_check)
        routes = [*_operator_routes(self._in_force, self._gauges), *_client_routes(self._in_force)]
        otherwise = UntilDrained(self._in_force.running, unknown_path)
        self._direct = dict(_direct(routes))
        self._router = Router(routes, default=otherwise, lifespan=self._lifespan, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._direct.get(scope["path"]) if scope["type"] == "http" and not scope.get("root_path") else None
        if app is None:
            await self._router(scope, receive, send)
        else:
            scope["path_params"] = {}
            await app(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncIterator[None]:
        await self._checks.watch(self._config.upstreams)
        if self._gauges is not None:
            self._gauges.start()
        beside = [asyncio.ensure_future(run()) for run in self.beside]
        yield
        if self._gauges is not None:
            self._gauges.stop()
        await self._checks.aclose()
        for task in beside:
            task.cancel()
        if beside:
            await asyncio.wait(beside)
        services = self._in_force.services
        await services.upstreams.aclose()
        services.aside.close()

    async def take(self, config: Config) -> None:
        """Puts another configuration in force, all of it between two events of the loop.

        Requests under way go on with the one they began with. What is known of an upstream outlives the change, as
        long as it keeps its name and is still the same server, called with the same credential.
        """
        before, earlier = self._in_force.services, self._config.upstreams
        same = {name for name, upstream in config.upstreams.items() if upstream.is_same_server(earlier.get(name))}
        self._in_force.services = replace(
            before,
            settings=config.server,
            table=Table(config),
            sealer=Sealer(config.server.sealing),
            entrance=entrance_of(config, before.entrance),
            states=before.states.kept(same, config.routes),
        )
        self._config = config
        await self._checks.watch(config.upstreams)

    def _note_check(self, name: str, settings: HealthCheck, is_fine: bool) -> None:
        health_checked(self._in_force.services.states, name, settings, is_fine=is_fine)

    def drain(self) -> None:
        """From here on it isn't ready, and takes nothing new."""
        self._in_force.running.drain()

    def end(self) -> None:
        """Ends every request that is still under way, with an error in its client's dialect."""
        self._in_force.running.end(shutting_down)


def build(config: Config, meter: Gauged | None = None) -> Gateway:
    """The gateway that a configuration describes. `meter`: of one that is a worker among several."""
    return Gateway(config, meter)


def _operator_routes(in_force: InForce, gauges: Gauges | None) -> Iterator[Route]:
    yield Route("/livez", readable(Fixed({"status": "ok"})))
    yield Route("/readyz", readable(Ready(partial(why_not_ready, in_force))))
    if gauges is not None:
        yield Route("/metrics", for_operators(in_force, readable(MetricsPage(in_force, gauges))))
    yield Route("/", readable(Fixed({"name": "triglot", "models": "/v1/models"})))


def _client_routes(in_force: InForce) -> Iterator[Route]:
    """The models behind the dialects' own: names may hold slashes, so the path of one model takes all that is left."""
    yield from _dialect_routes(in_force)
    models = Models(lambda: in_force.services.table, partial(_rights, in_force))
    yield Route("/v1/models", UntilDrained(in_force.running, readable(models.list)))
    yield Route("/v1/models/{model:path}", UntilDrained(in_force.running, readable(models.one)))


def _rights(in_force: InForce, scope: Scope) -> MayUse:
    """What a client may use. Raises BadKey."""
    entrance = in_force.services.entrance
    return entrance.visit(scope["headers"], _now()).may_use if entrance else lambda name: True


def for_operators(in_force: InForce, app: ASGIApp) -> ASGIApp:
    """An app that only operators may use: clients on this machine, and those with a key that is marked `admin`."""

    def check(scope: Scope) -> None:
        check_operator(in_force.services.entrance, scope["headers"], _now())

    return ForOperators(app, check)


def _direct(routes: Sequence[Route]) -> Iterator[tuple[str, ASGIApp]]:
    """Paths without parameters and what the router finds for them, so that nothing is searched for most requests."""
    for i, route in enumerate(routes):
        if not route.param_convertors and not any(earlier.path_regex.match(route.path) for earlier in routes[:i]):
            yield route.path, route.app


def _now() -> float:
    return time.time()  # noqa: TID251  keys expire by the calendar


class UntilDrained:
    """An app that refuses what comes once the gateway drains."""

    def __init__(self, running: Running, app: ASGIApp) -> None:
        self._running = running
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._running.is_draining and scope["type"] == "http":
            await tell(scope, send, shutting_down())
        else:
            await self._app(scope, receive, send)


def _dialect_routes(in_force: InForce) -> Iterator[Route]:
    """What is served, and what is declared absent on the same paths; then what is only absent."""
    served = dict(_served(in_force))
    absent: dict[str, dict[str, ASGIApp]] = {}
    for dialect in DIALECTS.values():
        for call in dialect.absent:
            absent.setdefault(call.template, {}).update(dict.fromkeys(call.methods, NotServed(call)))
    for template in {**served, **absent}:
        yield Route(template, ByMethod(absent.get(template, {}), served.get(template)))


def _served(in_force: InForce) -> Iterator[tuple[str, ASGIApp]]:
    """Every dialect's own calls first, then those on paths that a dialect lends to the others."""
    for dialect in reversed(tuple(DIALECTS.values())):
        yield from _calls(in_force, dialect, Path(""))
    for lender in DIALECTS.values():
        for base in lender.lends:
            for dialect in DIALECTS.values():
                if dialect is not lender:
                    yield from _calls(in_force, dialect, base)


def _calls(in_force: InForce, dialect: Dialect, base: Path) -> Iterator[tuple[str, ASGIApp]]:
    """All calls of a dialect, on paths that begin with the base."""
    for called in (dialect, *dialect.relayed):
        for path in called.paths:
            yield base.template + path.template, Endpoint(in_force, called, {**base.params, **path.params})
    if (counts := dialect.counts) is not None:
        asked = replace(dialect, parse=counts.parse, operation=COUNTING)
        yield base.template + counts.path.template, Endpoint(in_force, asked, base.params, Count)
