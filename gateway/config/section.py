"""What every section of the file has in common: unknown settings are refused, and defaults say why they are so."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    WithJsonSchema,
    model_validator,
)

from gateway.config.complaints import flaw, only


class Section(BaseModel):
    """A part of the file: frozen, and complaints never show a value."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_unknown(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Any:
        return only(cls.model_fields, data, handler)


def default(value: object, reason: str) -> Any:
    """A default as one would write it in the file; `reason` also says what the setting is for."""
    return Field(default=value, validate_default=True, description=reason)


def _name(text: str) -> str:
    if not re.fullmatch(r"[!-~]{1,256}", text):
        raise flaw("a name is 1 to 256 printable ASCII characters without spaces")
    return text


def sendable(value: object) -> object:
    """A credential that fits a header; an empty one is none."""
    if isinstance(value, str) and not re.fullmatch(r"[!-~]*", value):
        raise flaw("a key is printable ASCII without spaces and line ends; this one can't be sent in a header")
    return value or None


def filled(value: object) -> object:
    """At least one. Not `min_length`, which counts what is left after a wrong entry and complains a second time."""
    if value in (None, [], {}):
        raise flaw("at least one is needed")
    return value


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": "^[!-~]{1,256}$"})]
