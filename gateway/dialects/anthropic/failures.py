"""Errors, as an Anthropic server tells them and as an Anthropic client reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import orjson

from gateway.dialects import refusals
from gateway.dialects.base import Json
from gateway.errors import GatewayError, Kind, UpstreamError, upstream_error
from gateway.wire import sse

_ERRORS: Final[Mapping[Kind, tuple[int, str]]] = {
    Kind.INVALID_REQUEST: (400, "invalid_request_error"),
    Kind.UNSUPPORTED: (400, "invalid_request_error"),
    Kind.CONTEXT_LENGTH: (400, "invalid_request_error"),
    Kind.AUTH: (401, "authentication_error"),
    Kind.BILLING: (402, "billing_error"),
    Kind.PERMISSION: (403, "permission_error"),
    Kind.NOT_FOUND: (404, "not_found_error"),
    Kind.METHOD_NOT_ALLOWED: (405, "invalid_request_error"),
    Kind.CONFLICT: (409, "conflict_error"),
    Kind.TOO_LARGE: (413, "request_too_large"),
    Kind.RATE_LIMIT: (429, "rate_limit_error"),
    Kind.OVERLOADED: (529, "overloaded_error"),
    Kind.TIMEOUT: (504, "timeout_error"),
    Kind.UPSTREAM: (502, "api_error"),
    Kind.INTERNAL: (500, "api_error"),
}
_DECODED_TYPES: Final[Mapping[str, Kind]] = {
    "invalid_request_error": Kind.INVALID_REQUEST,
    "authentication_error": Kind.AUTH,
    "billing_error": Kind.BILLING,
    "permission_error": Kind.PERMISSION,
    "not_found_error": Kind.NOT_FOUND,
    "conflict_error": Kind.CONFLICT,
    "request_too_large": Kind.TOO_LARGE,
    "rate_limit_error": Kind.RATE_LIMIT,
    "timeout_error": Kind.TIMEOUT,
    "api_error": Kind.UPSTREAM,
    "overloaded_error": Kind.OVERLOADED,
}


_TOO_LONG: Final = "prompt is too long"
"""How Anthropic's message begins, on which Claude Code compacts its conversation (pitfall 56)."""
_DIGITS: Final = r"(\d[\d,]{0,11})"
_MAXIMUM: Final = tuple(
    re.compile(words + r"\D{0,40}?" + _DIGITS, re.IGNORECASE)
    for words in (r"context[ _](?:length|window|size)", r"(?:maximum|limit)", r">")
)
_TOKENS: Final = re.compile(_DIGITS + r"\s{0,3}(?:\w{1,20}\s)?tokens", re.IGNORECASE)


def dump_error(error: GatewayError, request_id: str) -> tuple[int, Json]:
    """Status and body of an error, also the data of an error frame. Clients key on how an overflow begins."""
    status, kind = _ERRORS[error.kind]
    message = error.message
    if error.kind is Kind.CONTEXT_LENGTH and not message.startswith(_TOO_LONG):
        message = f"{_TOO_LONG}: {_counted(message) or message}"
    body: Json = {"type": "error", "error": {"type": kind, "message": message}}
    if request_id:
        body["request_id"] = request_id
    return error.status or status, body


def _counted(message: str) -> str:
    """What an overflow says in Anthropic's words, which agents read the numbers from; empty if it names none."""
    found = next((found for pattern in _MAXIMUM if (found := pattern.search(message))), None)
    if found is None:
        return ""
    maximum = _number(found.group(1))
    asked = next((n for n in map(_number, _TOKENS.findall(message)) if n > maximum), None)
    return f"{asked} tokens > {maximum} maximum" if asked else ""


def _number(digits: str) -> int:
    return int(digits.replace(",", ""))


def error_frame(error: GatewayError) -> bytes:
    """An error in mid-stream; nothing follows it."""
    return sse.write(orjson.dumps(dump_error(error, "")[1]), b"error")


def load_error(status: int, body: bytes, headers: Mapping[str, str]) -> UpstreamError:
    """An upstream's refusal, in whatever shape it came."""
    refusal = refusals.read(body)
    kind = refusals.kind_of(status, refusal, _DECODED_TYPES)
    message = refusal.message or f"the upstream answered {status}"
    return upstream_error(kind, message, refusals.retry_after_s(headers))


def error_in(body: Json) -> UpstreamError:
    """The error that a frame, or a body under status 200, turns out to be."""
    refusal = refusals.from_json(body)
    kind = refusals.kind_in_answer(refusal, _DECODED_TYPES)
    return upstream_error(kind, refusal.message or "the upstream sent an error")
