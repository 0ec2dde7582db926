"""Answers that need no upstream: fixed values, the list of models, and errors in the dialect of a path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.config import is_loopback
from gateway.dialects import DIALECTS, Dialect, owner_of
from gateway.dialects.base import Absent
from gateway.errors import GatewayError, NoRoute, WrongMethod
from gateway.routing.table import MayUse, Table

_CREATED: Final = 1_700_000_000
"""`created` of every model in the list: a name in a configuration has no birthday."""
_CREATED_AT: Final = "2023-11-14T22:13:20Z"
_FORWARDED: Final = frozenset((b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"))
"""What proxies say of the client they speak for."""
_MAX_SHOWN: Final = 200
"""Characters of a path that an answer repeats."""


def refuse(path: str, error: GatewayError) -> tuple[int, bytes]:
    """An error in the dialect of the path: status and body. Also for what the server refuses before any app."""
    return _told(owner_of(path), error)


async def unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    """404 in the dialect that would have had the path."""
    if scope["type"] == "http":
        await tell(scope, send, NoRoute(f"no such path: {scope['path'][:_MAX_SHOWN]}"))


async def tell(scope: Scope, send: Send, error: GatewayError) -> None:
    """An error instead of an answer, in the dialect of the path."""
    await _tell(send, owner_of(scope["path"]), error)


class Fixed:
    """A JSON value that never changes."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self._body = orjson.dumps(value)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _respond(send, 200, self._body)


class Ready:
    """Whether to send requests here: 503 where not, for whatever watches."""

    def __init__(self, why_not: Callable[[], Mapping[str, Any]]) -> None:
        """`why_not`: what stands against it; empty where nothing does."""
        self._why_not = why_not

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        against = self._why_not()
        await _respond(send, 503 if against else 200, orjson.dumps(against or {"status": "ok"}))


class ForOperators:
    """An app for operators only: on this machine, or with a key for it."""

    def __init__(self, app: ASGIApp, check: Callable[[Scope], None]) -> None:
        """`check` raises what others are told."""
        self._app = app
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if not _is_here(scope):
                self._check(scope)
        except GatewayError as error:
            await tell(scope, send, error)
        else:
            await self._app(scope, receive, send)


def _is_here(scope: Scope) -> bool:
    """Whether the client itself is on this machine: what a proxy here passes on is of anywhere."""
    host, _ = scope.get("client") or ("", 0)
    return is_loopback(host) and not any(name in _FORWARDED for name, _ in scope["headers"])


class ByMethod:
    """An app for each method, and 405 for the others unless there is one for them too."""

    def __init__(self, apps: Mapping[str, ASGIApp], otherwise: ASGIApp | None = None) -> None:
        self._apps = apps
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._apps.get(scope["method"], self._otherwise)
        if app is not None:
            await app(scope, receive, send)
            return
        allowed = ", ".join(self._apps)
        error = WrongMethod(f"{scope['path'][:_MAX_SHOWN]} takes {allowed}, got {scope['method']}")
        await _respond(send, *refuse(scope["path"], error), ((b"allow", allowed.encode()),))


def readable(app: ASGIApp) -> ByMethod:
    """For GET and HEAD only; the server leaves the body of an answer to HEAD out."""
    return ByMethod({"GET": app, "HEAD": app})


class NotServed:
    """The answer of a call that a dialect has declared absent."""

    def __init__(self, absent: Absent) -> None:
        self._absent = absent
        self._body = orjson.dumps(absent.body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = self._body
        for name, value in {"path": scope["path"], **scope["path_params"]}.items():
            body = body.replace(b"{%s}" % name.encode(), orjson.dumps(value[:_MAX_SHOWN])[1:-1])
        await _respond(send, self._absent.status, body)


# -- models --------------------------------------------------------------------------------------------------------


class Models:
    """The list of models, and one model of it, for the clients of every vendor that has such a list."""

    def __init__(self, table: Callable[[], Table], rights: Callable[[Scope], MayUse]) -> None:
        """`table`: the one in force, asked for with every request. `rights`: of a client; raises BadKey."""
        self._table = table
        self._rights = rights

    async def list(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The names that can be listed: patterns can't. In pages where the client's dialect has them."""
        client, query = _client(scope), parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        try:
            may_use = self._rights(scope)
            known = tuple(name for name in self._table().names if may_use(name))
            names, has_more = (client.page or _one_page)(known, dict(query))
        except GatewayError as error:
            await _tell(send, client, error)
            return
        ends = {"first_id": names[0], "last_id": names[-1]} if names else {"first_id": None, "last_id": None}
        models = [_model(name) for name in names]
        await _respond(send, 200, orjson.dumps({"object": "list", "data": models, "has_more": has_more, **ends}))

    async def one(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whatever name a call may use; also one that a pattern takes."""
        name = scope["path_params"]["model"]
        try:
            self._table().find((name,), may_use=self._rights(scope))
        except GatewayError as error:
            await _tell(send, _client(scope), error)
            return
        await _respond(send, 200, orjson.dumps(_model(name)))


def _one_page(names: Sequence[str], query: Mapping[str, str]) -> tuple[Sequence[str], bool]:
    return names, False


def _client(scope: Scope) -> Dialect:
    """Models are listed under one path for several vendors: the headers tell which (anthropic-messages.md §9)."""
    names = {name.decode("latin-1") for name, _ in scope["headers"]}
    told = (dialect for dialect in DIALECTS.values() if not names.isdisjoint(dialect.told_by))
    return next(told, owner_of(scope["path"]))


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


# -- sending -------------------------------------------------------------------------------------------------------


def _told(dialect: Dialect, error: GatewayError) -> tuple[int, bytes]:
    status, body = dialect.dump_error(error, "")
    return status, orjson.dumps(body)


async def _tell(send: Send, dialect: Dialect, error: GatewayError) -> None:
    more = {name.encode(): value.encode() for name, value in error.headers.items()}
    if error.retry_after_s is not None:
        more[b"retry-after"] = b"%g" % error.retry_after_s
    await _respond(send, *_told(dialect, error), tuple(more.items()))


async def _respond(send: Send, status: int, body: bytes, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
