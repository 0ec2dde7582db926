"""What becomes of an upstream's answer when its client leaves."""

from __future__ import annotations

import math
from typing import Any, Final

from pydantic import Field, GetJsonSchemaHandler, model_serializer, model_validator
from pydantic_core import CoreSchema

from gateway.config.complaints import flaw
from gateway.config.section import Section
from gateway.config.units import SecondsOrNone

_WORDS: Final = {"cancel": 0.0, "finish": math.inf}


class OnDisconnect(Section):
    """`cancel`, `finish`, or `drain` with a time; all three are seconds for which the answer is read on."""

    drain: SecondsOrNone = Field(description="Time to read on at most, so that the usage is known.")

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, data: object) -> object:
        if not isinstance(data, str):
            return data
        if data not in _WORDS:
            raise flaw("{seen}: expected cancel, finish, or a time to drain, like drain: 10s")
        return {"drain": _WORDS[data]}

    @model_serializer(mode="plain")
    def _as_written(self) -> str | dict[str, float]:
        return next((word for word, drain in _WORDS.items() if drain == self.drain), {"drain": self.drain})

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(_WORDS)}, handler.resolve_ref_schema(handler(core))]}
