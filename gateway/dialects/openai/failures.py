"""Errors, as an OpenAI chat server tells them and as an OpenAI chat client reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from gateway.dialects import refusals
from gateway.dialects.base import Json
from gateway.errors import GatewayError, Kind, UpstreamError, upstream_error
from gateway.wire import sse

_ERRORS: Final[Mapping[Kind, tuple[int, str, str | None]]] = {
    Kind.INVALID_REQUEST: (400, "invalid_request_error", None),
    Kind.UNSUPPORTED: (400, "invalid_request_error", "unsupported_parameter"),
    Kind.CONTEXT_LENGTH: (400, "invalid_request_error", "context_length_exceeded"),
    Kind.AUTH: (401, "invalid_request_error", "invalid_api_key"),
    Kind.BILLING: (429, "insufficient_quota", "insufficient_quota"),
    Kind.PERMISSION: (403, "permission_error", None),
    Kind.NOT_FOUND: (404, "invalid_request_error", "model_not_found"),
    Kind.METHOD_NOT_ALLOWED: (405, "invalid_request_error", "method_not_allowed"),
    Kind.CONFLICT: (409, "invalid_request_error", "conflict"),
    Kind.TOO_LARGE: (413, "invalid_request_error", "request_too_large"),
    Kind.RATE_LIMIT: (429, "rate_limit_error", "rate_limit_exceeded"),
    Kind.OVERLOADED: (503, "service_unavailable_error", "server_is_overloaded"),
    Kind.TIMEOUT: (504, "server_error", "timeout"),
    Kind.UPSTREAM: (502, "server_error", "upstream_error"),
    Kind.INTERNAL: (500, "server_error", None),
}
_DECODED_CODES: Final[Mapping[str, Kind]] = {
    **refusals.FLAGGED_KINDS,
    "context_length_exceeded": Kind.CONTEXT_LENGTH,
    "invalid_api_key": Kind.AUTH,
    "insufficient_quota": Kind.BILLING,
    "rate_limit_exceeded": Kind.RATE_LIMIT,
    "slow_down": Kind.RATE_LIMIT,
    "model_not_found": Kind.NOT_FOUND,
    "server_is_overloaded": Kind.OVERLOADED,
}


def dump_error(error: GatewayError, request_id: str) -> tuple[int, Json]:
    """Status and body of an error, also the data of an error frame."""
    status, kind, code = _ERRORS[error.kind]
    body = {"message": error.message, "type": kind, "param": error.param, "code": code}
    return error.status or status, {"error": body}


def error_frame(error: GatewayError) -> bytes:
    """An error in mid-stream; no `[DONE]` follows it."""
    return sse.write(orjson.dumps(dump_error(error, "")[1]))


def load_error(status: int, body: bytes, headers: Mapping[str, str]) -> UpstreamError:
    """An upstream's refusal, in whatever shape it came."""
    refusal = refusals.read(body)
    kind = refusals.kind_of(status, refusal, _DECODED_CODES)
    message = refusal.message or f"the upstream answered {status}"
    return upstream_error(kind, message, refusals.retry_after_s(headers))


def raise_error_in(body: Json) -> None:
    """Raises the error that a frame, or a body under status 200, turns out to be (pitfalls 41, 47)."""
    if not refusals.is_error(body):
        return
    refusal = refusals.from_json(body)
    kind = refusals.kind_in_answer(refusal, _DECODED_CODES)
    raise upstream_error(kind, refusal.message or "the upstream sent an error")
