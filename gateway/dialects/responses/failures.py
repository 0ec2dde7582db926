"""Errors in OpenAI's Responses API: bodies are those of its chat API, broken streams end in `response.failed`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.dialects import refusals
from gateway.dialects.base import Json
from gateway.dialects.openai.failures import dump_error
from gateway.errors import GatewayError, Kind, UpstreamError, upstream_error

_STREAM_CODES: Final[Mapping[Kind, str]] = {
    Kind.INVALID_REQUEST: "invalid_prompt",
    Kind.CONTEXT_LENGTH: "context_length_exceeded",
    Kind.BILLING: "insufficient_quota",
    Kind.RATE_LIMIT: "rate_limit_exceeded",
}
"""`errors.json`, responses_stream_code; `server_error` is what the others are called."""
_DECODED_CODES: Final[Mapping[str, Kind]] = {
    **refusals.FLAGGED_KINDS,
    "context_length_exceeded": Kind.CONTEXT_LENGTH,
    "invalid_api_key": Kind.AUTH,
    "insufficient_quota": Kind.BILLING,
    "usage_not_included": Kind.BILLING,
    "rate_limit_exceeded": Kind.RATE_LIMIT,
    "slow_down": Kind.RATE_LIMIT,
    "model_not_found": Kind.NOT_FOUND,
    "server_is_overloaded": Kind.OVERLOADED,
    "invalid_prompt": Kind.INVALID_REQUEST,
    "bio_policy": Kind.INVALID_REQUEST,
    "invalid_image": Kind.INVALID_REQUEST,
    "invalid_image_format": Kind.INVALID_REQUEST,
    "invalid_base64_image": Kind.INVALID_REQUEST,
    "invalid_image_url": Kind.INVALID_REQUEST,
    "image_too_large": Kind.INVALID_REQUEST,
    "image_parse_error": Kind.INVALID_REQUEST,
    "image_content_policy_violation": Kind.INVALID_REQUEST,
    "unsupported_image_media_type": Kind.INVALID_REQUEST,
}


def stream_error(error: GatewayError) -> Json:
    """The `error` of a failed response. Agents read how long to wait from the message (openai-responses.md §5)."""
    message = error.message
    if error.retry_after_s is not None and "try again in" not in message:
        message = f"{message} Please try again in {error.retry_after_s:g}s."
    return {"code": _STREAM_CODES.get(error.kind, "server_error"), "message": message}


def load_error(status: int, body: bytes, headers: Mapping[str, str]) -> UpstreamError:
    """An upstream's refusal, in whatever shape it came."""
    refusal = refusals.read(body)
    kind = refusals.kind_of(status, refusal, _DECODED_CODES)
    message = refusal.message or f"the upstream answered {status}"
    return upstream_error(kind, message, refusals.retry_after_s(headers))


def error_in(body: Json) -> UpstreamError:
    """The error that an event, flat or nested, or a failed response turns out to be."""
    refusal = refusals.from_json(body)
    kind = refusals.kind_in_answer(refusal, _DECODED_CODES)
    unsaid = "the upstream cancelled its answer" if body.get("status") == "cancelled" else "the upstream sent an error"
    return upstream_error(kind, refusal.message or unsaid)


__all__ = ["dump_error", "error_in", "load_error", "stream_error"]
