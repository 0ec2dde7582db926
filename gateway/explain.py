"""What would become of a request, without asking anybody: its route, its targets in order, and what each would get."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from gateway.config import Config
from gateway.config.setting import Setting, settings
from gateway.dialects.base import Dialect, Inbound, Outbound
from gateway.dialects.sealing import Sealer
from gateway.errors import GatewayError
from gateway.rendering import Rendering, governed, tie
from gateway.routing.balancing import Moment, reasons
from gateway.routing.plan import candidates, plan
from gateway.routing.state import States
from gateway.routing.table import Route, Table
from gateway.routing.target import Target
from gateway.wire.json_body import decode

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
    """`model`: the name that found the route. `match`: how it did. `settings`: the route's own, each of them.

    `prompt_tokens` is an estimate, to hold against the contexts of the targets.
    """

    model: str
    dialect: str
    stream: bool
    is_strict: bool
    prompt_tokens: int
    route: str
    match: str
    settings: tuple[Setting, ...]
    steps: tuple[Step, ...]


def plain(explanation: Explanation) -> dict[str, Any]:
    """An explanation for scripts: settings as path → value, durations in seconds and sizes in bytes."""
    told = asdict(explanation)
    for part in (told, *told["steps"]):
        part["settings"] = {setting["path"]: setting["value"] for setting in part["settings"]}
    return told


def call(
    config: Config, dialect: Dialect, model: str, body: bytes | None, headers: Mapping[str, str], *, is_strict: bool
) -> Inbound:
    """A call as an endpoint of the dialect would get it; without a body, a least one. Raises `ClientError`.

    The model is asked for whatever the body says: by the path, and in bodies that name one.
    """
    sample = dialect.sample.body if dialect.sample else {}
    asked = dict(sample) if body is None else decode(body)
    if "model" in sample:
        asked["model"] = model
    read = {name: value for name, value in headers.items() if name in dialect.reads}
    return Inbound(asked, {"model": model}, read, Sealer(config.server.sealing), is_strict)


def explain(config: Config, dialect: Dialect, inbound: Inbound, headers: Mapping[str, str]) -> Explanation:
    """What a gateway that has just started would do with a call. Raises `ClientError`.

    `headers`: the client's, in lower case, for routes that go by one of them.
    """
    request = dialect.parse(inbound)
    names = (request.model, *request.aliases)
    route, name = Table(config).find(names, is_versioned=request.is_versioned)
    request = governed(request, route, config.server, is_strict=inbound.is_strict)
    key = tie(route, request, headers)
    moment = Moment(_likeliest(route), key=key, streams=request.stream)
    steps = [
        _step(Rendering(dialect, request, inbound.body, target), reason)
        for target, reason in _reasoned(route, name, moment)
    ]
    return Explanation(
        model=name,
        dialect=dialect.name,
        stream=request.stream,
        is_strict=request.is_strict,
        prompt_tokens=request.estimate_tokens(),
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
    balanced = candidates(route, name, states, moment.now)
    why = reasons(route.balance, balanced, moment)
    told: dict[tuple[str, str], str] = {}
    for candidate, reason in zip(balanced, why, strict=True):
        told.setdefault((candidate.target.name, candidate.target.model), reason)
    planned = plan(route, name, moment, states)
    for index, target in enumerate(planned):
        fallback = f"fallback {index + 1 - len(told)} of {len(planned) - len(told)}"
        yield target, told.get((target.name, target.model), fallback)


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
