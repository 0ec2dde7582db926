"""The composition root: Config → ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.attempt import Services
from gateway.config import Config
from gateway.dialects import DIALECTS, owner_of
from gateway.dialects.base import Path
from gateway.dialects.sealing import Sealer
from gateway.endpoint import Endpoint
from gateway.errors import GatewayError, Kind, NoRoute
from gateway.routing.table import Table
from gateway.simulator.app import SimulatorTransport
from gateway.upstreams.client import Upstreams

_CREATED: Final = 1_700_000_000
"""`created` of every model in the list: a name in a configuration has no birthday."""
_CREATED_AT: Final = "2023-11-14T22:13:20Z"


def build(config: Config) -> ASGIApp:
    """The gateway. Opens its connection pools on start, closes them on stop."""
    upstreams = Upstreams({"simulator://": SimulatorTransport()})
    services = Services(config.server, Table(config), upstreams, Sealer(_seal_key(config)))

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        yield
        await services.upstreams.aclose()

    routes = [*_operator_routes(services), *_dialect_routes(services)]
    return Router(routes, default=_unknown_path, lifespan=lifespan, redirect_slashes=False)


def _seal_key(config: Config) -> bytes:
    key = config.server.seal_key
    return key.get_secret_value().encode() if key else b""


def refuse(path: str, error: GatewayError) -> tuple[int, bytes]:
    """An error in the dialect of the path: status and body. Also for what the server refuses before any app."""
    status, body = owner_of(path).dump_error(error, "")
    return status, orjson.dumps(body)


def _dialect_routes(services: Services) -> Iterator[BaseRoute]:
    """Every dialect's own paths first, then those that a dialect lends to another, then those not served."""
    for dialect in reversed(tuple(DIALECTS.values())):
        for path in dialect.paths:
            yield _route(path, Endpoint(services, dialect, path.params))
    for lender in DIALECTS.values():
        for name, paths in lender.lends.items():
            for path in paths:
                yield _route(path, Endpoint(services, DIALECTS[name], path.params))
        for path in lender.unbuilt:
            yield _route(path, _Unbuilt())


def _route(path: Path, app: ASGIApp) -> Route:
    return Route(path.template, app)


# -- what is answered without an upstream --------------------------------------------------------------------------


def _operator_routes(services: Services) -> Iterator[BaseRoute]:
    yield Route("/livez", _Fixed({"status": "ok"}))
    yield Route("/readyz", _Fixed({"status": "ok"}))
    yield Route("/", _Fixed({"name": "triglot", "models": "/v1/models"}))
    models = [_model(name) for name in services.table.names]
    yield Route("/v1/models", _Fixed(_list(models)))
    for model in models:
        yield Route(f"/v1/models/{model['id']}", _Fixed(model))


class _Fixed:
    """A JSON value that never changes, for GET and HEAD."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self._body = orjson.dumps(value)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            error = GatewayError(f"{scope['path']} takes GET, got {scope['method']}", kind=Kind.METHOD_NOT_ALLOWED)
            await _respond(send, *refuse(scope["path"], error))
            return
        await _respond(send, 200, self._body)


def _model(name: str) -> dict[str, Any]:
    """A model in the shapes of both vendors at once, which both official SDKs accept (openai-chat.md §7)."""
    return {
        "id": name,
        "object": "model",
        "created": _CREATED,
        "owned_by": "triglot",
        "type": "model",
        "display_name": name,
        "created_at": _CREATED_AT,
        "lifecycle": "active",
    }


def _list(models: list[dict[str, Any]]) -> dict[str, Any]:
    ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"]} if models else {"first_id": None, "last_id": None}
    return {"object": "list", "data": models, "has_more": False, **ends}


async def _unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        error = NoRoute(f"no such path: {scope['path'][:200]}")
        await _respond(send, *refuse(_path_of_dialect(scope), error))


def _path_of_dialect(scope: Scope) -> str:
    """Models are listed under one path for two vendors: the headers tell which (anthropic-messages.md §9)."""
    is_anthropic = any(name in (b"anthropic-version", b"x-api-key") for name, _ in scope["headers"])
    path: str = scope["path"]
    return "/v1/messages" if path.startswith("/v1/models/") and is_anthropic else path


class _Unbuilt:
    """Answers 501 with a sentence."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"{scope['path'][:200]} is part of this API and not served by this gateway"
        await _respond(send, *refuse(scope["path"], GatewayError(message, kind=Kind.UNSUPPORTED, status=501)))


async def _respond(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
