"""A configuration as others see it: what the command line prints, and the schema for editors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from gateway.config import settings_file
from gateway.config.address import is_loopback
from gateway.config.keys import ClientKey
from gateway.config.models import Config
from gateway.config.route import Route
from gateway.config.upstream import Upstream
from gateway.dialects import DIALECTS


def warnings(config: Config) -> tuple[str, ...]:
    """What works, but should not stay so; each line begins with the path of its setting."""
    return (*_readable_keys(config), *_unreached_targets(config))


def _readable_keys(config: Config) -> Iterator[str]:
    for name, upstream in config.upstreams.items():
        is_plain = upstream.url.startswith("http://") and not is_loopback(urlsplit(upstream.url).hostname or "")
        if upstream.key and is_plain:
            where = settings_file.spelled(("upstreams", name, "url"))
            yield f"{where}: the key is sent over plain http to another machine"


def _unreached_targets(config: Config) -> Iterator[str]:
    for name, route in config.routes.items():
        attempts, places = route.retries.attempts, len(route.targets) + len(route.fallback)
        if attempts is not None and attempts < places:
            where = settings_file.spelled(("routes", name, "retries", "attempts"))
            yield f"{where}: {attempts} calls for a request don't reach all of its {places} targets if they fail"


def summary(config: Config) -> dict[str, Any]:
    """What was understood, as plain values and without keys: `server`, `upstreams`, `routes`, `keys`."""
    return {
        "server": {"host": config.server.host, "port": config.server.port},
        "upstreams": [_told_upstream(name, upstream) for name, upstream in config.upstreams.items()],
        "routes": [_told_route(name, route) for name, route in config.routes.items()],
        "keys": [_told_key(name, key) for name, key in config.keys.items()],
    }


def _told_key(name: str, key: ClientKey) -> dict[str, Any]:
    return {"id": name, **key.model_dump(exclude={"sha256"})}


def _told_upstream(name: str, upstream: Upstream) -> dict[str, Any]:
    told = {"name": name, "dialect": upstream.dialect, "url": upstream.url}
    return {**told, "auth": upstream.auth, "has_key": upstream.key is not None}


def _told_route(name: str, route: Route) -> dict[str, Any]:
    return {
        "name": name,
        "targets": [target.model_dump() for target in route.targets],
        "fallback": [target.model_dump() for target in route.fallback],
        "balance": route.balance.model_dump(),
        "timeouts": route.timeouts.model_dump(),
        "on_disconnect": route.on_disconnect.model_dump(),
        "retries": route.retries.model_dump(),
        "hedge": route.hedge.model_dump() if route.hedge else None,
        "continue_after_cut": route.continue_after_cut,
        "strict": route.strict,
    }


def schema() -> dict[str, Any]:
    """JSON Schema of routes.yaml, for editors; a reference like `${PORT}` fits wherever a number does."""
    whole = Config.model_json_schema()
    whole["$defs"]["Upstream"]["allOf"] = [_options_schema(name) for name in sorted(DIALECTS)]
    _admit_references(whole)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


def _options_schema(dialect: str) -> dict[str, Any]:
    options = TypeAdapter(DIALECTS[dialect].options).json_schema()
    for name, meaning in DIALECTS[dialect].meanings.items():
        options["properties"][name]["description"] = meaning
    return {
        "if": {"properties": {"dialect": {"const": dialect}}},
        "then": {"properties": {"options": {**options, "additionalProperties": False}}},
    }


def _admit_references(part: object) -> None:
    if isinstance(part, dict):
        if part.get("type") in ("integer", "number", "boolean"):
            part |= {"type": [part["type"], "string"], "pattern": r"\$\{"}
        part = list(part.values())
    for inner in part if isinstance(part, list) else ():
        _admit_references(inner)
