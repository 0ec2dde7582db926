"""How the targets of a route share its requests."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Self

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from gateway.config.complaints import flaw, hint
from gateway.config.section import Section, default
from gateway.config.units import Bytes

_USER: Final = "user"


class Weighted(Section):
    """By chance, as many requests as the weights say."""


class LeastInFlight(Section):
    """Of two targets drawn by weight, the one with fewer requests in flight for its weight (power of two choices)."""


class Fastest(Section):
    """The target with the shortest time to first token lately, times its requests in flight and one (peak EWMA)."""


class Prefix(Section):
    """Conversations that begin alike go to the same target: consistent hashing with bounded load."""

    max_load: Annotated[float, Field(ge=1.05, le=10)] = default(
        1.25,
        "Requests in flight at a target, as a multiple of its share of all that are in flight; what would be more goes "
        "to the conversation's next target. Nearer to 1 spreads better, farther from it keeps more caches warm.",
    )
    read: Bytes = default(
        "16KiB",
        "How much is read of the system prompt, of the names of tools and of the first user message, each. Tells "
        "conversations apart even behind a long preamble, and costs less than 0.1 ms.",
    )


def _header_name(text: object) -> object:
    if isinstance(text, str) and not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}", text):
        raise flaw("{seen}: not the name of a header; write it like x-session-id")
    return text.lower() if isinstance(text, str) else text


class Sticky(Section):
    """A session stays with its target, as long as that one answers; requests without a session go by weight."""

    header: Annotated[str | None, BeforeValidator(_header_name)] = default(
        None, "Request header that names the session, like x-session-id. None: the user that the body names."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, data: object) -> object:
        if data == _USER:
            return {}
        if isinstance(data, str) or not data or data == {"header": None}:
            raise flaw("sticky goes by `user` or by a header; write sticky: user, or sticky: {header: x-session-id}")
        return data

    @model_serializer(mode="plain")
    def _as_written(self) -> str | dict[str, str]:
        return {"header": self.header} if self.header else _USER

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        header = {"type": "string", "minLength": 1, "description": cls.model_fields["header"].description}
        by_header = {
            "type": "object",
            "properties": {"header": header},
            "required": ["header"],
            "additionalProperties": False,
        }
        return {"anyOf": [{"const": _USER, "description": "By the user that the body names."}, by_header]}


Way = Weighted | LeastInFlight | Fastest | Prefix | Sticky


class Balance(Section):
    """The one way in which a route shares its requests: a name, or a name with its settings."""

    weighted: Weighted | None = Field(None, description=f"{Weighted.__doc__} Needs no state.")
    least_in_flight: LeastInFlight | None = Field(
        None, description=f"{LeastInFlight.__doc__} For servers of our own, where one may be busier than others."
    )
    fastest: Fastest | None = Field(
        None,
        description=f"{Fastest.__doc__} A target that was not tried yet is tried. Weights don't count, except that 0 "
        "stands by.",
    )
    prefix: Prefix | None = Field(
        None,
        description=f"{Prefix.__doc__} So that prefix caches are used again. The hash is made of system, tools and the "
        "first user message, or of the cache key that the client gives. Weights are shares of all conversations.",
    )
    sticky: Sticky | None = Field(
        None, description=f"{Sticky.__doc__} By `user`, or by `{{header: NAME}}`. Weights are shares of all sessions."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, data: object) -> object:
        if isinstance(data, str):
            if data not in cls.model_fields:
                raise flaw(f"{{seen}}: no way to balance; {hint(data, cls.model_fields, 'known')}")
            return {data: {}}
        if isinstance(data, dict):
            return {name: {} if settings is None else settings for name, settings in data.items()}
        return data

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise flaw(f"expected one way to balance, one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def name(self) -> str:
        """What the way is called in the file."""
        (name,) = self.model_fields_set
        return name

    @property
    def way(self) -> Way:
        """The way, with its settings."""
        way: Way = getattr(self, self.name)
        return way

    @property
    def is_by_weight(self) -> bool:
        """Whether nothing but weights and chance decides."""
        return self.weighted is not None

    @property
    def heeds_weights(self) -> bool:
        """Whether a weight above 0 means anything."""
        return self.fastest is None

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> str | dict[str, Any]:
        settings = handler(self)[self.name]
        return {self.name: settings} if settings else self.name

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        whole = handler.resolve_ref_schema(handler(core))
        names = {"enum": [name for name in cls.model_fields if name != "sticky"]}
        return {"anyOf": [names, {**whole, "minProperties": 1, "maxProperties": 1}]}
