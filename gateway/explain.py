"""What would become of a request, without asking anybody: its route, its targets in order, and what each would get."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.config import Config
from gateway.config.setting import Setting, settings
from gateway.dialects.base import Dialect, Inbound, Json, Outbound
from gateway.dialects.sealing import Sealer
from gateway.errors import GatewayError
from gateway.neutral.request import Request
from gateway.rendering import Rendering, governed
from gateway.routing import affinity
from gateway.routing.balancing import Moment, reasons
from gateway.routing.plan import candidates, plan
from gateway.routing.state import States
from gateway.routing.table import Route, Table
from gateway.routing.target import Target

_ELSEWHERE: Final = ("targets", "fallback")
"""Settings of a route that are told as its targets."""
_IDENTITY: Final = ("dialect", "url", "key", "auth", "options")
"""Settings of an upstream that are no policies."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a target is not sent a request: another is tried, or the client hears of it. `param`: the client's path."""

    kind: str
    message: str
    param: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """One target of the plan. `passes`: whether its answer is relayed as it is; else it is translated.

    `dropped` and `adapted` are what the client would be told in headers.
    """

    upstream: str
    model: str
    dialect: str
    url: str
    context: int | None
    reason: str
    passes: bool
    path: str
    dropped: tuple[str, ...]
    adapted: tuple[str, ...]
    refused: Refused | None
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """`model`: the name that found the route. `match`: how it did. `settings`: the route's own, each of them."""

    model: str
    dialect: str
    stream: bool
    is_strict: bool
    route: str
    match: str
    settings: tuple[Setting, ...]
    steps: tuple[Step, ...]


def sample(dialect: Dialect, model: str) -> Json:
    """A least body of a dialect. Raises ValueError where it has none."""
    if dialect.sample is None:
        raise ValueError(f"{dialect.name} has no sample of a body")
    return {name: model if value == "{model}" else value for name, value in dialect.sample.body.items()}


def inbound(dialect: Dialect, model: str, body: Json, headers: Mapping[str, str], sealer: Sealer) -> Inbound:
    """A call for a model, whatever the body says: in its path, and in its body where this dialect's clients name it."""
    if dialect.sample is not None and "model" in dialect.sample.body:
        body = {**body, "model": model}
    read = {name: headers.get(name, "") for name in ("accept", "content-type", *dialect.reads)}
    return Inbound(body, {"model": model}, read, sealer)


def explain(
    config: Config, dialect: Dialect, request: Request, body: Json, headers: Mapping[str, str] | None = None
) -> Explanation:
    """What a gateway that has just started would do with a request. Raises `NoRoute`.

    `body`: what the request was read from. `headers`: the client's, in lower case, for routes that go by one of them.
    """
    names = (request.model, *request.aliases)
    route, name = Table(config).find(names, is_versioned=request.is_versioned)
    request = governed(request, route, config.server, is_strict=request.is_strict)
    key = affinity.key(route.balance, request, headers or {})
    moment = Moment(_likeliest(route), key=key, streams=request.stream)
    steps = [
        _step(Rendering(dialect, request, body, target), reason) for target, reason in _reasoned(route, name, moment)
    ]
    return Explanation(
        model=name,
        dialect=dialect.name,
        stream=request.stream,
        is_strict=request.is_strict,
        route=route.name,
        match=_match(route),
        settings=tuple(settings(config.routes[route.name], besides=_ELSEWHERE)),
        steps=tuple(steps),
    )


def _match(route: Route) -> str:
    if not route.is_pattern:
        return "exact name"
    return f"pattern with {len(route.name.replace('*', ''))} literal characters; no exact name, no longer pattern fits"


def _likeliest(route: Route) -> float:
    """The chance that draws the heaviest target, the first of several."""
    weights = [target.weight for target in route.targets]
    return sum(weights[: weights.index(max(weights))]) / sum(weights)


def _reasoned(route: Route, name: str, moment: Moment) -> Iterator[tuple[Target, str]]:
    """The plan, and for each target why it stands where it does."""
    states = States()
    balanced = candidates(route, name, states)
    why = reasons(route.balance, balanced, moment)
    told: dict[tuple[str, str], str] = {}
    for candidate, reason in zip(balanced, why, strict=True):
        told.setdefault((candidate.target.name, candidate.target.model), reason)
    for target in plan(route, name, moment, states):
        yield target, told.get((target.name, target.model), "fallback")


def _step(rendering: Rendering, reason: str) -> Step:
    target = rendering.target
    outbound, refused = _outbound(rendering)
    return Step(
        upstream=target.name,
        model=target.model,
        dialect=target.upstream.dialect,
        url=target.upstream.url,
        context=target.context,
        reason=reason,
        passes=rendering.passes(is_whole=not rendering.request.stream),
        path=outbound.path,
        dropped=outbound.dropped,
        adapted=outbound.adapted,
        refused=refused,
        settings=tuple(settings(target.upstream, besides=_IDENTITY)),
    )


def _outbound(rendering: Rendering) -> tuple[Outbound, Refused | None]:
    try:
        return rendering.outbound(), None
    except GatewayError as error:
        return Outbound({}), Refused(str(error.kind), error.message, error.param)
