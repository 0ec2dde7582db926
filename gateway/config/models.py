"""routes.yaml → frozen values: every setting, its default with the reason, its unit and its limits.

`load` and `parse` are the only ways from a file to a `Config`; they report all problems at once, each with file, line
and path, and never the value of a key or of an environment variable. Nothing is read at import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from gateway.config import settings_file
from gateway.config.address import Address, HostSuffix, is_loopback
from gateway.config.complaints import flaw, flaw_at, hint, only, problems
from gateway.config.settings_file import ConfigError, Problem, Settings
from gateway.config.units import Bytes, Seconds, SecondsOrNone
from gateway.dialects import DIALECTS


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration in a file. Raises `ConfigError` with every problem found."""
    try:
        with path.open("rb") as file:
            document = file.read(settings_file.MAX_FILE_BYTES + 1)
    except OSError as failure:
        raise ConfigError([f"{path}: {(failure.strerror or 'unreadable').lower()}"]) from None
    return parse(document, str(path), environ)


def parse(text: str | bytes, source: str, environ: Mapping[str, str]) -> Config:
    """The configuration in a YAML text; `source` is what messages call it. Raises `ConfigError`."""
    settings = settings_file.read(text, source, environ)
    config, complaints = _validated(settings)
    if config is None or settings.problems:
        told = sorted([*settings.problems, *complaints], key=lambda problem: problem.line)
        raise ConfigError(problem.told(source) for problem in told)
    return config


def _validated(settings: Settings) -> tuple[Config | None, list[Problem]]:
    """Where a value couldn't be read, what else is wrong with it means nothing."""
    upstreams = settings.values.get("upstreams")
    names = list(upstreams) if isinstance(upstreams, dict) else []
    unread = {problem.path for problem in settings.problems}
    try:
        return Config.model_validate(settings.values, context={"upstreams": names}), []
    except ValidationError as caught:
        return None, [problem for problem in problems(caught, settings) if problem.path not in unread]


# --- what a section is ---


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_unknown(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Any:
        return only(cls.model_fields, data, handler)


def _default(value: object, reason: str) -> Any:
    """A default as one would write it in the file; `reason` also says what the setting is for."""
    return Field(default=value, validate_default=True, description=reason)


def _name(text: str) -> str:
    if not re.fullmatch(r"[!-~]{1,256}", text):
        raise flaw("a name is 1 to 256 printable ASCII characters without spaces")
    return text


def _key(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"[!-~]*", value):
        raise flaw("a key is printable ASCII without spaces and line ends; this one can't be sent in a header")
    return value or None


def _filled(value: object) -> object:
    """Not `min_length`, which counts what is left after a wrong entry and then complains a second time."""
    if value in (None, [], {}):
        raise flaw("at least one is needed")
    return value


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": "^[!-~]{1,256}$"})]


# --- server ---


class Server(_Section):
    """Where the gateway listens, and its limits (figures: HARDENING.md §2)."""

    host: Name = _default(
        "127.0.0.1", "Address to listen on. Loopback, so that nobody publishes a gateway by accident."
    )
    port: Annotated[int, Field(ge=0, le=65535)] = _default(
        8080, "Port to listen on; 0 takes any free one. 8080 needs no root, and leaves 8000 to vLLM."
    )
    max_body: Bytes = _default(
        "32MiB", "Largest request body. Anthropic takes 32 MB; a long context with a few images fits."
    )
    max_head: Bytes = _default("64KiB", "Largest request head, 431 beyond it. nginx passes on 32 KiB; twice that.")
    max_fields: Annotated[int, Field(ge=1)] = _default(
        100, "Most header fields of a request, 431 beyond it. SDKs send about 20; Apache allows as many."
    )
    head_timeout: Seconds = _default("10s", "Time to receive a whole request head, against slow senders.")
    body_timeout: Seconds = _default("15s", "Time to wait for the next bytes of a request body, against slow senders.")
    idle_timeout: Seconds = _default(
        "75s",
        "Time a connection may wait for its next request. Above the 60s of common load balancers, so they close first.",
    )
    max_event: Bytes = _default(
        "8MiB", "Largest single event from an upstream. Far above any token, enough for an image in base64."
    )
    max_answer: Bytes = _default(
        "32MiB", "Largest whole answer from an upstream, streamed or not; as large as a request."
    )
    drain: SecondsOrNone = _default(
        "30s",
        "Time running streams get to end on shutdown. As long as Kubernetes' default grace period: raise that one too.",
    )
    first_byte_hold: SecondsOrNone = _default(
        "10s",
        "How long the response head waits for the first content, so that a failure before it keeps its HTTP status. "
        "Proxies in front wait 60s for a head (nginx, AWS); 10s is far below and covers most prompts' reading.",
    )
    seal_key: Annotated[SecretStr | None, BeforeValidator(_key)] = _default(
        None,
        "Secret that signs the gateway's own signature tokens of reasoning, best as ${NAME}; the same on every "
        "replica. None: tokens are not signed, so a client could make up what a model thought earlier.",
    )
    reveal_model: bool = _default(
        False,
        "Whether translated answers name the upstream's model. False: the name the client asked for. Relayed answers "
        "always hold what the upstream says of itself.",
    )
    expose_reasoning: bool = _default(
        True, "Whether clients get to see reasoning where a model shows it; its token count stays in any case."
    )
    model_hosts: tuple[HostSuffix, ...] = _default(
        (),
        "Host suffixes below which a first label model-{id} names the model of a Truss call. None: the path names it.",
    )

    @model_validator(mode="after")
    def _event_fits_answer(self) -> Self:
        if self.max_event > self.max_answer:
            raise flaw_at(("max_event",), "an event may not be larger than max_answer")
        return self


# --- upstreams ---

Auth = Literal["bearer", "api-key", "x-api-key", "none"]


def _dialect(text: str) -> str:
    if text not in DIALECTS:
        raise flaw(f"no dialect {{seen}}; {hint(text, DIALECTS, 'known')}")
    return text


def _default_auth(given: dict[str, Any]) -> Any:
    return DIALECTS[given["dialect"]].auth


def _default_options(given: dict[str, Any]) -> Any:
    return DIALECTS[given["dialect"]].options()


class Upstream(_Section):
    """A server we call: address, dialect, credential."""

    dialect: Annotated[str, AfterValidator(_dialect), WithJsonSchema({"enum": sorted(DIALECTS)})] = Field(
        description="The API the server speaks."
    )
    url: Address = Field(
        description="Base URL, as its SDK takes it: https://, http://, or simulator:// for the built-in one."
    )
    key: Annotated[SecretStr | None, BeforeValidator(_key)] = _default(
        None, "Credential, best as ${NAME} from the environment. None: the server asks for no key. Never shown."
    )
    auth: Auth = Field(
        default_factory=_default_auth,
        validate_default=True,
        description="How the key is sent; where not given, as the dialect's own SDK sends it.",
    )
    options: Any = Field(
        default_factory=_default_options,
        repr=False,
        description="What this server accepts and how: the options of its dialect.",
    )

    @field_validator("options", mode="before")
    @classmethod
    def _as_the_dialect_has_them(cls, value: object, info: ValidationInfo) -> Any:
        dialect = info.data.get("dialect")
        if dialect is None:
            return value
        kind = DIALECTS[dialect].options
        names = [setting.name for setting in fields(kind)]
        options = only(names, {} if value is None else value, TypeAdapter(kind).validate_python)
        return replace(options, **{name: settings_file.meant(getattr(options, name)) for name in names})

    @model_validator(mode="after")
    def _key_is_sent(self) -> Self:
        if self.key and self.auth == "none":
            raise flaw_at(("auth",), "a key is given, but auth none would never send it")
        return self


# --- routes ---


class Target(_Section):
    """An upstream plus the model name to use there."""

    upstream: Name = Field(description="Name of an upstream.")
    model: Name | None = _default(None, "Model name to use there. None: the name the client asked for.")

    @field_validator("upstream")
    @classmethod
    def _is_configured(cls, name: str, info: ValidationInfo) -> str:
        names = (info.context or {}).get("upstreams")
        if names is not None and name not in names:
            raise flaw(f"no upstream {{seen}}; {hint(name, names)}")
        return name


class WeightedTarget(Target):
    """A target with its share of the requests."""

    weight: Annotated[int, Field(ge=0, le=1_000_000)] = _default(
        1, "Share of the requests that try this target first. 0: only tried after the others, before the fallback."
    )


class Timeouts(_Section):
    """The phases of one attempt, and of the whole request."""

    connect: Seconds = _default("5s", "Time to connect, TLS included. A server that is up answers in far less.")
    first_token: Seconds = _default(
        "60s", "Time from the request sent to the first content. Long prompts take tens of seconds to read."
    )
    idle: Seconds = _default("60s", "Time between two events with content; keep-alives don't count.")
    total: Seconds = _default(
        "10m", "Time for the whole request, all attempts included; the official SDKs wait as long."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        """Only what was written is held against the order: a default never makes a short `total` wrong."""
        for inner, outer in (
            ("connect", "first_token"),
            ("connect", "total"),
            ("first_token", "total"),
            ("idle", "total"),
        ):
            is_meant = inner in self.model_fields_set and (outer == "total" or outer in self.model_fields_set)
            if is_meant and getattr(self, inner) > getattr(self, outer):
                raise flaw_at(
                    (inner,), f"longer than {outer} ({getattr(self, outer):g}s), so it would never be reached"
                )
        return self


class Route(_Section):
    """A model name clients use, and its targets in order of preference."""

    targets: Annotated[tuple[WeightedTarget, ...], BeforeValidator(_filled)] = Field(
        json_schema_extra={"minItems": 1},
        description="Where requests go, shared by weight; those not chosen are tried after the chosen one.",
    )
    fallback: tuple[Target, ...] = _default((), "Tried in this order after all targets failed.")
    timeouts: Timeouts = Field(default_factory=Timeouts, description="Deadlines of this route.")
    strict: bool = _default(
        False,
        "Whether a request is refused where a target would drop something of it. A client may ask for that itself, by "
        "x-gateway-strict: 1.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, data: object) -> object:
        if data is None:
            raise flaw("a route needs targets, or the name of an upstream")
        return {"targets": [{"upstream": data}]} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _can_choose(self) -> Self:
        if not any(target.weight for target in self.targets):
            raise flaw_at(("targets",), "all weights are 0; at least one target needs a weight above 0")
        self.refuse_repeats(None)
        return self

    def refuse_repeats(self, asked: str | None, path: settings_file.Path = ()) -> None:
        """Two places that are the same one, given the name `asked`, are a slip: one of them would never matter."""
        seen: dict[tuple[str, str | None], str] = {}
        for part, places in (("targets", self.targets), ("fallback", self.fallback)):
            for index, place in enumerate(places):
                first = seen.setdefault((place.upstream, place.model or asked), f"{part}[{index}]")
                if first != f"{part}[{index}]":
                    raise flaw_at((*path, part, index), f"the same upstream and model as {first}")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        short = {"type": "string", "description": "Short form: one upstream, same model name."}
        return {"anyOf": [short, handler(core)]}


class Config(_Section):
    """A whole routes.yaml."""

    server: Server = Field(default_factory=Server, description="Where the gateway listens, and its limits.")
    upstreams: Mapping[Name, Upstream] = Field(description="The servers we call, by name.")
    routes: Annotated[Mapping[Name, Route], BeforeValidator(_filled)] = Field(
        json_schema_extra={"minProperties": 1},
        description="Model names clients use. A name may hold * for any text: exact names win, then the pattern "
        "with the most other characters, then the one that comes first.",
    )

    @field_validator("server", "upstreams", mode="before")
    @classmethod
    def _empty_if_all_is_commented_out(cls, value: object) -> object:
        return {} if value is None else value

    @field_validator("routes")
    @classmethod
    def _no_repeats(cls, routes: Mapping[str, Route]) -> Mapping[str, Route]:
        for name, route in routes.items():
            route.refuse_repeats(None if "*" in name else name, (name,))
        return routes


# --- what the command line prints ---


def warnings(config: Config) -> tuple[str, ...]:
    """What works, but should not stay so; each line begins with the path of its setting."""
    return tuple(
        f"{settings_file.spelled(('upstreams', name, 'url'))}: the key is sent over plain http to another machine"
        for name, upstream in config.upstreams.items()
        if upstream.key
        and upstream.url.startswith("http://")
        and not is_loopback(urlsplit(upstream.url).hostname or "")
    )


def summary(config: Config) -> dict[str, Any]:
    """What was understood, as plain values and without keys: `server`, `upstreams`, `routes`."""
    return {
        "server": {"host": config.server.host, "port": config.server.port},
        "upstreams": [_told_upstream(name, upstream) for name, upstream in config.upstreams.items()],
        "routes": [_told_route(name, route) for name, route in config.routes.items()],
    }


def _told_upstream(name: str, upstream: Upstream) -> dict[str, Any]:
    told = {"name": name, "dialect": upstream.dialect, "url": upstream.url}
    return {**told, "auth": upstream.auth, "has_key": upstream.key is not None}


def _told_route(name: str, route: Route) -> dict[str, Any]:
    return {
        "name": name,
        "targets": [target.model_dump() for target in route.targets],
        "fallback": [target.model_dump() for target in route.fallback],
        "timeouts": route.timeouts.model_dump(),
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
