"""How Anthropic spells rate limits in response headers (`anthropic-messages.md` §1)."""

from __future__ import annotations

import re
from calendar import timegm
from typing import Final

from gateway.dialects.limits import LimitHeaders

_COUNTED: Final = ("requests", "tokens", "input-tokens", "output-tokens")
_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:Z|([+-])(\d\d):(\d\d))")
_DAY: Final = 86400


def read_time(value: str, now: int) -> float | None:
    """Seconds until an RFC 3339 time; 0 where it is past, None where it is none."""
    found = _TIME.fullmatch(value)
    if not found:
        return None
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    if not (year and 1 <= month <= 12 and 1 <= day <= 31):
        return None
    sign, hours, minutes = found.groups()[6:]
    offset = (int(hours) * 3600 + int(minutes) * 60) * (-1 if sign == "-" else 1) if sign else 0
    return max(0.0, float(timegm((year, month, day, hour, minute, second)) - offset - now))


def write_time(seconds: float, now: int) -> str:
    """The second at which it will have passed."""
    days, rest = divmod(now + int(-(-seconds // 1)), _DAY)
    return f"{_date(days)}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"


def _date(days: int) -> str:
    """The date so many days after 1970-01-01: years that begin in March have their odd day at the end."""
    era, of_era = divmod(days + 719468, 146097)
    years = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * years + years // 4 - years // 100)
    from_march = (5 * of_year + 2) // 153
    month = from_march + 3 if from_march < 10 else from_march - 9
    return f"{era * 400 + years + (month <= 2):04}-{month:02}-{of_year - (153 * from_march + 2) // 5 + 1:02}"


LIMITS: Final = LimitHeaders(
    {
        (what, part): f"anthropic-ratelimit-{what}-{part}"
        for what in _COUNTED
        for part in ("limit", "remaining", "reset")
    },
    read_time,
    write_time,
)
