"""The servers we call."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from gateway.config import settings_file
from gateway.config.address import Address
from gateway.config.complaints import flaw, flaw_at, hint, only
from gateway.config.health import Breaker, HealthCheck, or_false, unless_off
from gateway.config.section import Section, default, sendable
from gateway.config.units import Seconds
from gateway.dialects import DIALECTS

Auth = Literal["bearer", "api-key", "x-api-key", "none"]

_CLIENTS_OWN: Final = "client"
_IDENTITY: Final = ("dialect", "url", "key", "auth")
"""By what a server is known; the credential too, as limits go by it. Everything else says how we treat it."""


def _dialect(text: str) -> str:
    if text not in DIALECTS:
        raise flaw(f"no dialect {{seen}}; {hint(text, DIALECTS, 'known')}")
    return text


def _default_auth(given: dict[str, Any]) -> Any:
    return DIALECTS[given["dialect"]].auth


def _default_options(given: dict[str, Any]) -> Any:
    return DIALECTS[given["dialect"]].options()


class Queue(Section):
    """Requests that wait while an upstream has as many as it is given at a time."""

    size: Annotated[int, Field(ge=0, le=100_000)] = default(
        100,
        "How many may wait, each in memory with its request; beyond that requests are refused at once. Enough for a "
        "burst. 0: nobody waits.",
    )
    timeout: Seconds = default(
        "10s",
        "How long one may wait, total permitting. As long as first_byte_hold: the client has heard nothing so far.",
    )

    @model_validator(mode="after")
    def _somebody_waits(self) -> Self:
        if not self.size and "timeout" in self.model_fields_set:
            raise flaw_at(("timeout",), "size is 0, so nobody ever waits")
        return self


class Upstream(Section):
    """A server we call: address, dialect, credential."""

    dialect: Annotated[str, AfterValidator(_dialect), WithJsonSchema({"enum": sorted(DIALECTS)})] = Field(
        description="The API the server speaks."
    )
    url: Address = Field(
        description="Base URL, as its SDK takes it: https://, http://, or simulator:// for the built-in one."
    )
    key: Annotated[SecretStr | None, BeforeValidator(sendable)] = default(
        None,
        "Credential, best as ${NAME} from the environment. None: the server asks for no key. Never shown. "
        "`client`: each client's own; where the gateway has keys of its own, the credential it sends beside that.",
    )
    auth: Auth = Field(
        default_factory=_default_auth,
        validate_default=True,
        description="How the key is sent; where not given, as the dialect's own SDK sends it.",
    )
    max_in_flight: Annotated[int, Field(ge=1, le=1_000_000)] | None = default(
        None,
        "Most calls at a time, from all workers together, each with its share; an answer counts until its last byte. "
        "Further ones go to another target of the route that has room, or wait in the queue, by turns of the clients' "
        "keys. None: any number.",
    )
    queue: Queue = Field(default_factory=Queue, description="Who may wait for one of max_in_flight.")
    retry_budget: Annotated[float, Field(ge=0, le=1)] = default(
        0.2,
        "Most calls for repeated tries, as a share of the others (within 10s, and 3 more for quiet times), so that an "
        "upstream that fails everything gets a fifth more load and no storm. 0: no target of it is tried twice.",
    )
    options: Any = Field(
        default_factory=_default_options,
        repr=False,
        description="What this server accepts and how: the options of its dialect.",
    )
    breaker: Annotated[Breaker | None, BeforeValidator(unless_off)] = Field(
        default_factory=Breaker,
        json_schema_extra=or_false,
        description="When a model of this upstream is left alone, as long as requests have another. false: never.",
    )
    health_check: HealthCheck | None = default(
        None, "Requests of our own that say whether this upstream can be used. None: only clients' requests say so."
    )

    @property
    def takes_client_key(self) -> bool:
        """Whether it is called with the client's own credential."""
        return self.key is not None and self.key.get_secret_value() == _CLIENTS_OWN

    def shared(self, number: int, workers: int) -> Self:
        """As one of several workers has it, `number` from 1: each knows its own calls only, so a limit is shared out.

        Calls at a time come out exactly; queues may be up to a place for each worker longer.
        """
        if self.max_in_flight is None:
            return self
        each, rest = divmod(self.max_in_flight, workers)
        queue = self.queue.model_copy(update={"size": -(-self.queue.size // workers)})
        return self.model_copy(update={"max_in_flight": each + (number <= rest), "queue": queue})

    def is_same_server(self, other: Upstream | None) -> bool:
        """Whether what is known of the other one is true of this one: as busy, as fast, as willing."""
        return other is not None and all(getattr(self, name) == getattr(other, name) for name in _IDENTITY)

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

    @model_validator(mode="after")
    def _check_matters(self) -> Self:
        if self.health_check is not None and self.url.startswith("simulator://"):
            raise flaw_at(("health_check",), "the built-in simulator is always there; only servers can be checked")
        if self.health_check is not None and self.breaker is None:
            raise flaw_at(("health_check",), "checks work by the breaker, which is turned off here")
        return self

    @model_validator(mode="after")
    def _queue_is_used(self) -> Self:
        if self.max_in_flight is None and "queue" in self.model_fields_set:
            raise flaw_at(("queue",), "without max_in_flight nothing ever waits")
        return self

    def takes_prefix(self, text: str) -> bool:
        """Whether the server can be given exactly this text as the beginning of its answer."""
        prefixing = DIALECTS[self.dialect].prefixing
        return prefixing is not None and prefixing.takes(text, self.options)
