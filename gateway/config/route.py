"""Model names that clients use, where they lead, and what is promised on the way."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, ValidationInfo, field_validator, model_validator
from pydantic_core import CoreSchema

from gateway.config import settings_file
from gateway.config.balance import Balance
from gateway.config.complaints import flaw, flaw_at, hint
from gateway.config.hedge import P95, Hedge
from gateway.config.leaving import OnDisconnect
from gateway.config.section import Name, Section, default, filled
from gateway.config.units import Seconds, SecondsOrNone


class Target(Section):
    """An upstream plus the model name to use there."""

    upstream: Name = Field(description="Name of an upstream.")
    model: Name | None = default(None, "Model name to use there. None: the name the client asked for.")
    context: Annotated[int, Field(ge=1)] | None = default(
        None,
        "Tokens that fit, prompt and answer together. A prompt too long for one target is tried on one with a larger "
        "context. None: unknown, so that it is never taken for larger.",
    )

    @field_validator("upstream")
    @classmethod
    def _is_configured(cls, name: str, info: ValidationInfo) -> str:
        names = (info.context or {}).get("upstreams")
        if names is not None and name not in names:
            raise flaw(f"no upstream {{seen}}; {hint(name, names)}")
        return name


class WeightedTarget(Target):
    """A target with its share of the requests."""

    weight: Annotated[int, Field(ge=0, le=1_000_000)] = default(
        1, "Share of the requests that try this target first. 0: only tried after the others, before the fallback."
    )


_ORDER: Final = (
    ("connect", "headers"),
    ("connect", "first_token"),
    ("connect", "total"),
    ("headers", "first_token"),
    ("headers", "total"),
    ("first_token", "total"),
    ("idle", "total"),
)
"""Which time is part of which: one that is longer than the whole would never be reached."""


class Timeouts(Section):
    """The phases of one attempt, and of the whole request."""

    connect: Seconds = default("5s", "Time to connect, TLS included. A server that is up answers in far less.")
    headers: Seconds | None = default(
        None,
        "Time from the call to the upstream's response head, of a stream. None: as long as first_token, since many "
        "servers send both at once.",
    )
    first_token: Seconds = default(
        "60s", "Time from the call to the first content of a stream. Long prompts take tens of seconds to read."
    )
    idle: Seconds = default("60s", "Time between two events with content; keep-alives don't count.")
    total: Seconds = default(
        "10m", "Time for the whole request, all attempts included; the official SDKs wait as long."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        """Only what was written is held against the order: a default never makes a short `total` wrong."""
        written = {name for name in self.model_fields_set if getattr(self, name) is not None}
        for inner, outer in _ORDER:
            is_meant = inner in written and (outer in written or outer == "total" or inner == "headers")
            if is_meant and getattr(self, inner) > getattr(self, outer):
                raise flaw_at(
                    (inner,), f"longer than {outer} ({getattr(self, outer):g}s), so it would never be reached"
                )
        return self


_WAITS: Final = ("backoff", "max_backoff", "short_retry_after", "max_retry_after")


class Retries(Section):
    """Tries beyond the first one: never after the first content, nor of what the request itself is at fault for."""

    attempts: Annotated[int, Field(ge=1, le=100)] | None = default(
        None, "Most calls for one request. None: 3, or one for each target where there are more of them."
    )
    same_target: Annotated[int, Field(ge=0, le=10)] = default(
        1,
        "How often one target is tried again after a lost connection or a 5xx, where tries are left for all others. "
        "Once: what broke by accident seldom does twice, and the next target is a better bet.",
    )
    backoff: Seconds = default(
        "250ms",
        "Longest wait before the same target is tried again; any shorter one is as likely, and it doubles each time. "
        "Long enough for a restarted worker behind a load balancer, too short to be noticed before a first token.",
    )
    max_backoff: Seconds = default("5s", "What the wait is doubled up to.")
    short_retry_after: SecondsOrNone = default(
        "1s",
        "Longest Retry-After that is waited for although another target is left, within the retry_budget. The shortest "
        "that most servers can say: the client hardly notices, and gets the target that its route prefers. 0s: none.",
    )
    max_retry_after: SecondsOrNone = default(
        "10s",
        "Longest Retry-After that is waited for where no other target is left. As long as first_byte_hold: "
        "the client has no status so far. 0s: none, clients are told to come back themselves.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        given = self.model_fields_set
        if {"backoff", "max_backoff"} <= given and self.backoff > self.max_backoff:
            raise flaw_at(("backoff",), f"longer than max_backoff ({self.max_backoff:g}s), which it grows up to")
        if {"short_retry_after", "max_retry_after"} <= given and self.short_retry_after > self.max_retry_after:
            raise flaw_at(("short_retry_after",), f"longer than max_retry_after ({self.max_retry_after:g}s)")
        if self.attempts == 1 and "same_target" in given and self.same_target:
            raise flaw_at(("same_target",), "attempts is 1, so no target is ever tried again")
        for wait in _WAITS:
            if wait in given and not self.same_target:
                raise flaw_at((wait,), "same_target is 0, so no target is ever waited for")
        return self


class SlowClient(Section):
    """What becomes of a client that does not take its answer. One that takes it slowly is waited for."""

    stall: SecondsOrNone = default(
        "60s",
        "Time a client may take nothing of what waits for it before its connection is closed, and its upstream's. As "
        "nginx's send_timeout. 0s: it is waited for until the total is over.",
    )


class Route(Section):
    """A model name clients use, and its targets in order of preference."""

    targets: Annotated[tuple[WeightedTarget, ...], BeforeValidator(filled)] = Field(
        json_schema_extra={"minItems": 1},
        description="Where requests go, shared as `balance` says; those not chosen are tried after the chosen one.",
    )
    balance: Balance = default("weighted", "How the targets share the requests.")
    fallback: tuple[Target, ...] = default((), "Tried in this order after all targets failed.")
    timeouts: Timeouts = Field(default_factory=Timeouts, description="Deadlines of this route.")
    retries: Retries = Field(default_factory=Retries, description="What is tried after a failure.")
    slow_client: SlowClient = Field(
        default_factory=SlowClient, description="What becomes of a client that reads nothing."
    )
    on_disconnect: OnDisconnect = default(
        "cancel",
        "What becomes of the upstream's answer when its client leaves. cancel: nobody pays for what nobody reads. "
        "{drain: 10s}: it is read on for so long at most, so that its usage is known. finish: to its end. Either way "
        "nobody else is asked any more, and the client gets nothing.",
    )
    strict: bool = default(
        False,
        "Whether a request is refused where a target would drop something of it. A client may ask for that itself, by "
        "x-gateway-strict: 1.",
    )

    hedge: Hedge | None = default(
        None, "Whether the next target is asked too when one is late: costs a few requests more. None: never."
    )
    continue_after_cut: bool = default(
        False,
        "Whether a streamed answer of plain text that breaks goes on from a target that can be given the text so far "
        "as the beginning of its answer (`prefill` of its profile). Two models may speak in one answer, its prompt is "
        "paid for twice, and answers between the same dialect are spelled anew instead of relayed byte for byte. "
        "False: the client hears that the answer broke.",
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

    @model_validator(mode="after")
    def _has_to_balance(self) -> Self:
        """A balance that changes nothing, and a weight that means nothing, are slips."""
        if not self.balance.is_by_weight and sum(target.weight > 0 for target in self.targets) < 2:
            raise flaw_at(("balance",), f"{self.balance.name} needs two targets with a weight above 0 to choose from")
        for index, target in enumerate(self.targets):
            if target.weight > 1 and not self.balance.heeds_weights:
                where = ("targets", index, "weight")
                raise flaw_at(where, f"{self.balance.name} heeds no weights, except 0 for a target that stands by")
        return self

    @model_validator(mode="after")
    def _wait_within_total(self) -> Self:
        """Only what was written, as for the deadlines."""
        for wait in _WAITS:
            if wait in self.retries.model_fields_set and getattr(self.retries, wait) > self.timeouts.total:
                raise flaw_at(
                    ("retries", wait), f"longer than timeouts.total ({self.timeouts.total:g}s), so never waited for"
                )
        return self

    @model_validator(mode="after")
    def _drain_within_total(self) -> Self:
        drain, total = self.on_disconnect.drain, self.timeouts.total
        if total < drain < math.inf and "on_disconnect" in self.model_fields_set:
            why = f"longer than timeouts.total ({total:g}s), so it would never be reached; write finish"
            raise flaw_at(("on_disconnect", "drain"), why)
        return self

    @model_validator(mode="after")
    def _can_hedge(self) -> Self:
        if self.hedge is None:
            return self
        if len(self.targets) + len(self.fallback) < 2:
            raise flaw_at(("hedge",), "needs a second target, or a fallback, to ask")
        after, limit = self.hedge.after, self.timeouts.first_token
        if after != P95 and after >= limit:
            raise flaw_at(
                ("hedge", "after"), f"not before timeouts.first_token ({limit:g}s), so it would never be reached"
            )
        return self

    @property
    def upstreams(self) -> frozenset[str]:
        """The names of those it may lead to."""
        return frozenset(place.upstream for place in (*self.targets, *self.fallback))

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
