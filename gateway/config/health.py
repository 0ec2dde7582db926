"""When an upstream's targets are called, and when they are left alone: the breaker, and active checks."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, model_validator

from gateway.config.complaints import flaw, flaw_at
from gateway.config.section import Section, default
from gateway.config.units import Seconds

_OFF: Final = (False, "false", "no", "off")
_ON: Final = (None, True, "true", "yes", "on")


def unless_off(value: object) -> object:
    """`false` turns a section off, one left empty has its defaults. In a file every value is text."""
    if value in _OFF:
        return None
    return {} if value in _ON else value


def or_false(schema: dict[str, Any]) -> None:
    """The schema of such a section."""
    schema["anyOf"] = [{"type": "boolean"} if one == {"type": "null"} else one for one in schema["anyOf"]]


def _path(text: str) -> str:
    if not re.fullmatch(r"/[!-~]*", text) or "#" in text:
        raise flaw("{seen}: expected a path that begins with /, like /health")
    return text


class Breaker(Section):
    """When a target is left alone, and for how long."""

    failure_rate: Annotated[float, Field(gt=0, le=1)] = default(
        0.5, "Share of failures among a target's tries at which it is left alone. Half: worse than any other target."
    )
    window: Seconds = default(
        "30s", "Time over which tries are counted. Long enough for some, short enough to be news."
    )
    min_requests: Annotated[int, Field(ge=1)] = default(
        10, "Tries in the window below which nothing is concluded: a few unlucky ones are no outage."
    )
    open: Seconds = default(
        "5s", "Time a target is left alone first. It doubles each time; chance takes up to half of it away."
    )
    max_open: Seconds = default(
        "20s",
        "Longest time a target is left alone, and a probe is waited for before another may try. One that has recovered "
        "is back in less than 30s; one that is dead costs one request every 10 to 20s a failed try.",
    )
    max_cool_down: Seconds = default(
        "1m",
        "Longest time a target is left alone because it asked for it (Retry-After). Quotas of a day end early too.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.open > self.max_open:
            raise flaw_at(("open",), f"longer than max_open ({self.max_open:g}s), so it would never be reached")
        return self


class HealthCheck(Section):
    """A request of our own, again and again, that says whether an upstream can be used."""

    path: Annotated[str, AfterValidator(_path)] = Field(
        description="Path on the upstream's host, from its root: /health. It is fine if it answers 200 to 299."
    )
    every: Seconds = default("10s", "Time between two checks; a tenth of it is left to chance.")
    timeout: Seconds = default("2s", "Time for a check. A server that is up answers in far less.")
    unhealthy: Annotated[int, Field(ge=1)] = default(
        3, "Checks that must fail in a row before the upstream is left alone: a lost packet is no outage."
    )
    healthy: Annotated[int, Field(ge=1)] = default(
        2, "Checks that must be fine in a row before an upstream that was not is probed by a request."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.timeout > self.every:
            raise flaw_at(("timeout",), f"longer than every ({self.every:g}s), so that checks would pile up")
        return self
