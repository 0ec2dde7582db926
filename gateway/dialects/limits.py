"""Rate limits and when to come back, in response headers: from one API's spelling to another's (mapping.md §9.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

_COMMON: Final = ("retry-after", "retry-after-ms", "x-should-retry")
"""What the SDKs of every vendor read under the same names."""
_RESET: Final = "reset"
_DURATION: Final = re.compile(
    r"(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?"
)
_SECONDS: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})?")
_UNITS: Final = (3600.0, 60.0, 1.0, 0.001)


@dataclass(frozen=True, slots=True)
class LimitHeaders:
    """How an API spells its limits: (what is counted, limit | remaining | reset) → the header.

    `read_reset`: (value, now in epoch s) → seconds until the count begins anew, None if it can't be read;
    `write_reset`: (seconds, now) → value.
    """

    names: Mapping[tuple[str, str], str]
    read_reset: Callable[[str, int], float | None]
    write_reset: Callable[[float, int], str]

    def told(self, what: str, limit: int, remaining: int, reset_s: float, now: int) -> dict[str, str]:
        """A limit of our own, in headers. `now` in epoch seconds."""
        said = {"limit": str(limit), "remaining": str(remaining), _RESET: self.write_reset(reset_s, now)}
        return {self.names[what, part]: value for part, value in said.items() if (what, part) in self.names}


def carried(headers: Mapping[str, str], upstream: LimitHeaders, client: LimitHeaders, now: int) -> dict[str, str]:
    """What an upstream says of its limits, as the client's API spells it; counts that has no word for are left out."""
    told = {name: headers[name] for name in _COMMON if name in headers}
    for key, name in upstream.names.items():
        value, spelled = headers.get(name), client.names.get(key)
        if value is None or spelled is None:
            continue
        if key[1] == _RESET and upstream is not client:
            seconds = upstream.read_reset(value, now)
            if seconds is None:
                continue
            value = client.write_reset(seconds, now)
        told[spelled] = value
    return told


def read_duration(value: str, now: int) -> float | None:
    """`1h2m3.5s`, `120ms`, or plain seconds."""
    if _SECONDS.fullmatch(value):
        return float(value)
    found = _DURATION.fullmatch(value)
    if not found or not any(found.groups()):
        return None
    return sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS, strict=True) if part)


def write_duration(seconds: float, now: int) -> str:
    """Whole milliseconds below a second, else minutes and seconds, as `6m0s`."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:g}s"


X_RATELIMIT: Final = LimitHeaders(
    {
        (what, part): f"x-ratelimit-{part}-{what}"
        for what in ("requests", "tokens")
        for part in ("limit", "remaining", _RESET)
    },
    read_duration,
    write_duration,
)
"""The spelling that OpenAI's APIs and most servers that follow them share."""
