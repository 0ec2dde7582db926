"""An upstream's error body, whatever its shape, → one readable message (`openai-chat.md` §6, pitfall 55).

Servers of one dialect answer in the error shapes of others, so this reading is shared; what a type or code means is
each dialect's own table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from typing import Any, Final

import orjson

from gateway.errors import KIND_OF_STATUS, Kind

MAX_MESSAGE: Final = 2000
"""Characters of an upstream's message that a client gets to see (mapping.md §9.2)."""

# `errors.json`, context_length_regex: alternatives only, linear.
_CONTEXT_LENGTH: Final = re.compile(
    r"maximum context length|context length|prompt is too long|exceeds the (available )?context|input is too long",
    re.IGNORECASE,
)
_DATE: Final = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")
FLAGGED: Final = "content_filter"
"""The code of a prompt, or an answer, that a filter of content objects to."""
FLAGGED_KINDS: Final[Mapping[str, Kind]] = {
    FLAGGED: Kind.INVALID_REQUEST,
    "content_policy_violation": Kind.INVALID_REQUEST,
}
_WITHOUT_STATUS: Final[Mapping[str, Kind]] = {"invalid_request_error": Kind.INVALID_REQUEST}
"""Types that say more than no status does, and less than any: they come with 401 and 404 too."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the body says: `type` and `code` are the vendor's words, empty where it gave none."""

    message: str
    type: str = ""
    code: str = ""


def read(body: bytes) -> Refusal:
    """The refusal in a body; markup and unreadable bodies give an empty message."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body[: 4 * MAX_MESSAGE].decode("utf-8", "replace").strip()
        return Refusal("" if text.startswith("<") else _clean(text))
    return from_json(value)


def from_json(value: Any) -> Refusal:
    """The refusal in a decoded body or frame."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str):
        return Refusal(_clean(value))
    if not isinstance(value, dict):
        return Refusal("")
    inner = value.get("error")
    if isinstance(inner, dict):
        value = inner
    elif isinstance(inner, str) and inner:
        return Refusal(_clean(inner), code=_word(value.get("code")))
    message = value.get("message") or _detail(value.get("detail"))
    return Refusal(_clean(str(message or "")), _word(value.get("type")), _code(value))


def is_error(body: Mapping[str, Any]) -> bool:
    """Whether a body under status 200, or a frame, is an error, in the nested or the flat form of any vendor."""
    return bool(body.get("error")) or body.get("object") == "error"


def kind_of(status: int, refusal: Refusal, words: Mapping[str, Kind]) -> Kind:
    """The neutral kind: the vendor's code or type where its table knows it, the message for an overflow, the status."""
    if _CONTEXT_LENGTH.search(refusal.message) and status in (400, 413, 422):
        return Kind.CONTEXT_LENGTH
    for word in (refusal.code, refusal.type):
        if word in words:
            return words[word]
    return KIND_OF_STATUS.get(status, Kind.UPSTREAM if status >= 500 else Kind.INVALID_REQUEST)


def kind_in_answer(refusal: Refusal, words: Mapping[str, Kind]) -> Kind:
    """As `kind_of`, for an error in a stream or under status 200: its status may be its code, or it has none."""
    status = int(refusal.code) if refusal.code.isdecimal() and len(refusal.code) == 3 else None
    words = words if status else {**_WITHOUT_STATUS, **words}
    kind = kind_of(status or 500, refusal, words)
    is_vague = status is None and kind in (Kind.INVALID_REQUEST, Kind.UPSTREAM)
    return Kind.CONTEXT_LENGTH if is_vague and _CONTEXT_LENGTH.search(refusal.message) else kind


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`retry-after-ms` or `retry-after` in seconds. A date is taken from the answer's own, for clocks differ."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        if value.isascii() and value.replace(".", "", 1).isdigit() and len(value) < 12:
            return float(value) * unit
    told, now = _date(headers.get("retry-after", "")), _date(headers.get("date", ""))
    return None if told is None or now is None else max(0.0, told - now)


def _date(value: str) -> float | None:
    """An HTTP date (RFC 9110 §5.6.7), in epoch seconds."""
    parts = parsedate_tz(value) if _DATE.fullmatch(value) else None
    return None if parts is None else float(mktime_tz(parts))


def _detail(detail: Any) -> str:
    """FastAPI: a string, or a list of `{loc, msg}`."""
    if isinstance(detail, list):
        return "; ".join(str(item.get("msg", "")) for item in detail if isinstance(item, dict))
    return detail if isinstance(detail, str) else ""


def _code(value: Mapping[str, Any]) -> str:
    """OpenRouter gives a status for its code, and says in `metadata` that its moderation flagged the prompt."""
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and "flagged_input" in metadata:
        return FLAGGED
    return _word(value.get("code"))


def _word(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", text)[:MAX_MESSAGE]
