"""routes.yaml → frozen values: every setting, its default with the reason, its unit and its limits.

`load` and `parse` are the only ways from a file to a `Config`; they report all problems at once, each with file, line
and path, and never the value of a key or of an environment variable. Nothing is read at import.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as File
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from gateway.config import keys as client_keys
from gateway.config import settings_file
from gateway.config.address import is_loopback
from gateway.config.complaints import flaw_at, problems
from gateway.config.keys import ClientKey, KeyId
from gateway.config.route import Route
from gateway.config.section import Name, Section, filled
from gateway.config.server import Server
from gateway.config.settings_file import ConfigError, NoFile, Path, Problem, Settings
from gateway.config.upstream import Upstream


def load(path: File, environ: Mapping[str, str]) -> Config:
    """The configuration in a file. Raises `ConfigError` with every problem found."""
    try:
        with path.open("rb") as file:
            document = file.read(settings_file.MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise NoFile([f"{path}: no such file; --config names another"]) from None
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


class Config(Section):
    """A whole routes.yaml."""

    server: Server = Field(default_factory=Server, description="Where the gateway listens, and its limits.")
    upstreams: Mapping[Name, Upstream] = Field(description="The servers we call, by name.")
    routes: Annotated[Mapping[Name, Route], BeforeValidator(filled)] = Field(
        json_schema_extra={"minProperties": 1},
        description="Model names clients use. A name may hold * for any text: exact names win, then the pattern "
        "with the most other characters, then the one that comes first.",
    )
    keys: Annotated[Mapping[KeyId, ClientKey], BeforeValidator(filled)] = Field(
        default_factory=dict,
        description="Who may call the gateway, by the id that logs have. Not given: whoever reaches it, so that it "
        "listens on loopback only, unless told --open.",
    )

    @field_validator("server", "upstreams", mode="before")
    @classmethod
    def _empty_if_all_is_commented_out(cls, value: object) -> object:
        return {} if value is None else value

    @model_validator(mode="after")
    def _can_continue(self) -> Self:
        """Some target has to be able to go on, at least with a text that makes it easy."""
        for name, route in self.routes.items():
            places = (self.upstreams.get(place.upstream) for place in (*route.targets, *route.fallback))
            if route.continue_after_cut and not any(upstream and upstream.takes_prefix("x") for upstream in places):
                why = "no target can be given the beginning of an answer; that is `prefill` of an upstream's options"
                raise flaw_at(("routes", name, "continue_after_cut"), why)
        return self

    @field_validator("routes")
    @classmethod
    def _no_repeats(cls, routes: Mapping[str, Route]) -> Mapping[str, Route]:
        for name, route in routes.items():
            route.refuse_repeats(None if "*" in name else name, (name,))
        return routes

    @model_validator(mode="after")
    def _retries_are_affordable(self) -> Self:
        """Only what was written, as for the deadlines of a route."""
        for name, route in self.routes.items():
            budgets = {self.upstreams[place.upstream].retry_budget for place in (*route.targets, *route.fallback)}
            is_meant = "same_target" in route.retries.model_fields_set and route.retries.same_target
            if is_meant and not any(budgets):
                where = ("routes", name, "retries", "same_target")
                raise flaw_at(where, "its upstreams have a retry_budget of 0, so no target is ever tried again")
        return self

    @model_validator(mode="after")
    def _workers_have_their_share(self) -> Self:
        for path, why in self.unshared():
            raise flaw_at(path, why)
        return self

    def unshared(self) -> Iterator[tuple[Path, str]]:
        """What can't be shared out among as many workers, and why."""
        workers = self.server.workers
        for name, upstream in self.upstreams.items():
            if upstream.max_in_flight is not None and upstream.max_in_flight < workers:
                why = f"each of {workers} workers needs one of them at least: raise it, or set server.workers lower"
                yield ("upstreams", name, "max_in_flight"), why
        yield from client_keys.unshared(self.keys, workers)

    def shared(self, number: int) -> Self:
        """The configuration as one of `server.workers` has it, `number` from 1."""
        upstreams = {name: each.shared(number, self.server.workers) for name, each in self.upstreams.items()}
        keys = {name: each.shared(number, self.server.workers) for name, each in self.keys.items()}
        return self.model_copy(update={"upstreams": upstreams, "keys": keys})

    @property
    def is_exposed(self) -> bool:
        """Whether others can reach it, and anybody of them may use it."""
        return not self.keys and not is_loopback(self.server.host)

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        for path, why in client_keys.unfit(self.keys, self.routes):
            raise flaw_at(path, why)
        return self

    @model_validator(mode="after")
    def _turns_come_in_time(self) -> Self:
        """Only what was written, as for the deadlines of a route."""
        for name, upstream in self.upstreams.items():
            totals = [route.timeouts.total for route in self.routes.values() if name in route.upstreams]
            if totals and "timeout" in upstream.queue.model_fields_set and upstream.queue.timeout > max(totals):
                why = f"longer than the total of any route to it ({max(totals):g}s), so it would never be reached"
                raise flaw_at(("upstreams", name, "queue", "timeout"), why)
        return self
