"""Errors, as a Truss server tells them and as a Truss client reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.dialects import refusals
from gateway.dialects.base import Json
from gateway.errors import (
    Denied,
    GatewayError,
    Kind,
    UpstreamError,
    upstream_error,
)

_KIND_OF_STATUS: Final[Mapping[int, Kind]] = {
    402: Kind.UPSTREAM,
    404: Kind.UPSTREAM,
    500: Kind.OVERLOADED,
    502: Kind.OVERLOADED,
    529: Kind.RATE_LIMIT,
}
_DENIALS: Final = (402, 404)
"""Credit and models that are not there: the operator's to mend, and no better the next time."""
_CALLERS_FAULT: Final = "700"
_MODELS_FAULT: Final = "04"


def load_error(status: int, body: bytes, headers: Mapping[str, str]) -> UpstreamError:
    """truss.md §2.5: the model's own 500 is its fault, one without a source is the platform's."""
    refusal = refusals.read(body)
    kind = _KIND_OF_STATUS.get(status) or refusals.kind_of(status, refusal, {})
    if status == 404 and headers.get("x-baseten-error-code") == _CALLERS_FAULT:
        kind = Kind.INVALID_REQUEST
    if status == 500 and headers.get("x-baseten-error-source") == _MODELS_FAULT:
        kind = Kind.UPSTREAM
    message = refusal.message or f"the upstream answered {status}"
    if status in _DENIALS and kind is Kind.UPSTREAM:
        return Denied(message)
    return upstream_error(kind, message, refusals.retry_after_s(headers))


_STATUSES: Final[Mapping[Kind, int]] = {
    Kind.INVALID_REQUEST: 400,
    Kind.UNSUPPORTED: 400,
    Kind.CONTEXT_LENGTH: 400,
    Kind.AUTH: 401,
    Kind.BILLING: 502,
    Kind.PERMISSION: 403,
    Kind.NOT_FOUND: 404,
    Kind.METHOD_NOT_ALLOWED: 405,
    Kind.CONFLICT: 409,
    Kind.TOO_LARGE: 413,
    Kind.RATE_LIMIT: 429,
    Kind.OVERLOADED: 503,
    Kind.TIMEOUT: 504,
    Kind.UPSTREAM: 502,
    Kind.INTERNAL: 500,
}


def dump_error(error: GatewayError, request_id: str) -> tuple[int, Json]:
    """`{"error": text}`, as the real server says it."""
    return error.status or _STATUSES[error.kind], {"error": error.message}
