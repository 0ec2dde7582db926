"""The composition root: Config → ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp

from gateway.aside import Aside
from gateway.attempt import Services
from gateway.config import Config
from gateway.counting import Count
from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect, Path
from gateway.dialects.sealing import Sealer
from gateway.endpoint import Endpoint
from gateway.fixed import ByMethod, Fixed, Models, NotServed, readable, refuse, unknown_path
from gateway.routing.table import Table
from gateway.simulator.app import SimulatorTransport
from gateway.upstreams.client import Upstreams

__all__ = ["build", "refuse"]


def build(config: Config) -> ASGIApp:
    """The gateway. Opens its connection pools on start, closes them on stop."""
    upstreams = Upstreams({"simulator://": SimulatorTransport()})
    services = Services(config.server, Table(config), upstreams, Sealer(_seal_key(config)), Aside())

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        yield
        await services.upstreams.aclose()
        services.aside.close()

    routes = [*_operator_routes(), *_dialect_routes(services), *_model_routes(services)]
    return Router(routes, default=unknown_path, lifespan=lifespan, redirect_slashes=False)


def _seal_key(config: Config) -> bytes:
    key = config.server.seal_key
    return key.get_secret_value().encode() if key else b""


def _operator_routes() -> Iterator[BaseRoute]:
    yield Route("/livez", readable(Fixed({"status": "ok"})))
    yield Route("/readyz", readable(Fixed({"status": "ok"})))
    yield Route("/", readable(Fixed({"name": "triglot", "models": "/v1/models"})))


def _model_routes(services: Services) -> Iterator[BaseRoute]:
    """Behind the dialects' own: names may hold slashes, so that the path of one model takes all that is left."""
    models = Models(services.table)
    yield Route("/v1/models", readable(models.list))
    yield Route("/v1/models/{model:path}", readable(models.one))


def _dialect_routes(services: Services) -> Iterator[BaseRoute]:
    """What is served, and what is declared absent on the same paths; then what is only absent."""
    served = dict(_served(services))
    absent: dict[str, dict[str, ASGIApp]] = {}
    for dialect in DIALECTS.values():
        for call in dialect.absent:
            absent.setdefault(call.template, {}).update(dict.fromkeys(call.methods, NotServed(call)))
    for template in {**served, **absent}:
        yield Route(template, ByMethod(absent.get(template, {}), served.get(template)))


def _served(services: Services) -> Iterator[tuple[str, ASGIApp]]:
    """Every dialect's own calls first, then those on paths that a dialect lends to the others."""
    for dialect in reversed(tuple(DIALECTS.values())):
        yield from _calls(services, dialect, Path(""))
    for lender in DIALECTS.values():
        for base in lender.lends:
            for dialect in DIALECTS.values():
                if dialect is not lender:
                    yield from _calls(services, dialect, base)


def _calls(services: Services, dialect: Dialect, base: Path) -> Iterator[tuple[str, ASGIApp]]:
    """All calls of a dialect, on paths that begin with the base."""
    for called in (dialect, *dialect.relayed):
        for path in called.paths:
            yield base.template + path.template, Endpoint(services, called, {**base.params, **path.params})
    if (counts := dialect.counts) is not None:
        asked = replace(dialect, parse=counts.parse)
        yield base.template + counts.path.template, Endpoint(services, asked, base.params, Count)
