"""Errors: what an upstream's refusal is read as, and how a client hears of it."""

from __future__ import annotations

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.errors import BadRequest, GatewayError, Kind, Overloaded, Refused, TooSlow, UpstreamError
from gateway.neutral.events import Failed
from tests.dialects.wire_grammar import check_anthropic, check_openai

SHAPES: list[tuple[bytes, str]] = [
    (b'{"error":{"message":"boom","type":"server_error","code":null}}', "boom"),
    (b'{"type":"error","error":{"type":"api_error","message":"boom"}}', "boom"),
    (b'{"error":"boom"}', "boom"),
    (b'{"object":"error","message":"boom","type":"x","code":500}', "boom"),
    (b'{"message":"boom","type":"Bad Request","code":400}', "boom"),
    (b'{"detail":"boom"}', "boom"),
    (b'{"detail":[{"loc":["body"],"msg":"boom","type":"x"},{"msg":"bang"}]}', "boom; bang"),
    (b'[{"error":{"code":500,"message":"boom","status":"INTERNAL"}}]', "boom"),
    (b'{"error":{"code":500,"message":"boom","metadata":{"raw":"x"}}}', "boom"),
    (b'"boom"', "boom"),
    (b"boom\n", "boom"),
    (b"bo\x00om", "bo om"),
    (b"<html><body>boom</body></html>", "the upstream answered 500"),
    (b"", "the upstream answered 500"),
    (b"{}", "the upstream answered 500"),
    (b"[]", "the upstream answered 500"),
    (b"7", "the upstream answered 500"),
    (b'{"error":{}}', "the upstream answered 500"),
    (b'{"detail":[7]}', "the upstream answered 500"),
    (b"\xff\xfe", "\ufffd\ufffd"),
]


@pytest.mark.parametrize("name", sorted(DIALECTS))
@pytest.mark.parametrize(("body", "message"), SHAPES)
def test_every_shape_of_error_body_is_readable(name: str, body: bytes, message: str) -> None:
    """Pitfall 55."""
    error = DIALECTS[name].load_error(500, body, {})
    assert error.message == message
    assert error.kind in (Kind.UPSTREAM, Kind.OVERLOADED)


def test_a_message_is_cut() -> None:
    """mapping.md §9.2."""
    for body in (b"x" * 9000, orjson.dumps({"error": {"message": "x" * 9000}})):
        assert len(DIALECTS["openai"].load_error(500, body, {}).message) == 2000


STATUSES = {
    400: Kind.INVALID_REQUEST,
    401: Kind.AUTH,
    402: Kind.BILLING,
    403: Kind.PERMISSION,
    404: Kind.NOT_FOUND,
    408: Kind.TIMEOUT,
    409: Kind.CONFLICT,
    413: Kind.TOO_LARGE,
    418: Kind.INVALID_REQUEST,
    422: Kind.INVALID_REQUEST,
    429: Kind.RATE_LIMIT,
    500: Kind.UPSTREAM,
    502: Kind.UPSTREAM,
    503: Kind.OVERLOADED,
    504: Kind.TIMEOUT,
    529: Kind.OVERLOADED,
}


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
@pytest.mark.parametrize("name", ["openai", "anthropic", "responses"])
def test_a_status_alone_says_its_kind(name: str, status: int, kind: Kind) -> None:
    """`errors.json`, decode_status_default."""
    assert DIALECTS[name].load_error(status, b"", {}).kind is kind


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("context_length_exceeded", 400, Kind.CONTEXT_LENGTH),
        ("invalid_api_key", 401, Kind.AUTH),
        ("insufficient_quota", 429, Kind.BILLING),
        ("slow_down", 503, Kind.RATE_LIMIT),
        ("model_not_found", 403, Kind.NOT_FOUND),
        ("server_is_overloaded", 500, Kind.OVERLOADED),
    ],
)
@pytest.mark.parametrize("name", ["openai", "responses"])
def test_openais_codes(name: str, code: str, status: int, kind: Kind) -> None:
    body = orjson.dumps({"error": {"message": "m", "type": "t", "code": code}})
    assert DIALECTS[name].load_error(status, body, {}).kind is kind


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("authentication_error", Kind.AUTH),
        ("billing_error", Kind.BILLING),
        ("request_too_large", Kind.TOO_LARGE),
        ("overloaded_error", Kind.OVERLOADED),
        ("timeout_error", Kind.TIMEOUT),
        ("api_error", Kind.UPSTREAM),
    ],
)
def test_anthropics_types(type_: str, kind: Kind) -> None:
    body = orjson.dumps({"type": "error", "error": {"type": type_, "message": "m"}})
    assert DIALECTS["anthropic"].load_error(418, body, {}).kind is kind


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens",
        "prompt is too long: 5000 tokens > 4096 maximum",
        "the request exceeds the available context size",
        "Input is too long for requested model",
    ],
)
@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_an_overflow_is_known_by_its_words(name: str, message: str) -> None:
    """Pitfall 56: Claude Code keys on how the message begins."""
    error = DIALECTS[name].load_error(400, orjson.dumps({"error": {"message": message}}), {})
    assert error.kind is Kind.CONTEXT_LENGTH
    assert isinstance(error, Refused)
    assert DIALECTS["anthropic"].dump_error(error, "")[1]["error"]["message"].startswith("prompt is too long")
    assert DIALECTS["openai"].dump_error(error, "")[1]["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Fri, 01 Jan 2027 00:00:00 GMT"}, None),
        ({"retry-after": "Fri, 01 Jan 2027 00:00:07 GMT", "date": "Thu, 31 Dec 2026 23:59:59 GMT"}, 8.0),
        ({"retry-after": "Fri, 01 Jan 2027 00:00:00 GMT", "date": "Fri, 01 Jan 2027 00:01:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 99 Jan 0000 99:99:99 GMT", "date": "Fri, 01 Jan 2027 00:01:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 01 Foo 2027 00:00:00 GMT", "date": "Fri, 01 Jan 2027 00:01:00 GMT"}, None),
        ({"retry-after": "tomorrow", "date": "Fri, 01 Jan 2027 00:01:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after": "9" * 400}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_when_to_come_back(name: str, headers: dict[str, str], seconds: float | None) -> None:
    """Pitfall 53."""
    assert DIALECTS[name].load_error(429, b"", headers).retry_after_s == seconds


@pytest.mark.parametrize(
    ("status", "headers", "kind", "openai", "anthropic", "truss"),
    [
        (400, {}, Kind.INVALID_REQUEST, 400, 400, 400),
        (422, {}, Kind.INVALID_REQUEST, 400, 400, 400),
        (413, {}, Kind.TOO_LARGE, 413, 413, 413),
        (404, {"x-baseten-error-code": "700"}, Kind.INVALID_REQUEST, 400, 400, 400),
        (404, {}, Kind.UPSTREAM, 502, 502, 502),
        (402, {}, Kind.UPSTREAM, 502, 502, 502),
        (429, {}, Kind.RATE_LIMIT, 429, 429, 429),
        (529, {}, Kind.RATE_LIMIT, 429, 429, 429),
        (500, {"x-baseten-error-source": "04"}, Kind.UPSTREAM, 502, 502, 502),
        (500, {}, Kind.OVERLOADED, 503, 529, 503),
        (502, {}, Kind.OVERLOADED, 503, 529, 503),
        (503, {}, Kind.OVERLOADED, 503, 529, 503),
        (504, {}, Kind.TIMEOUT, 504, 504, 504),
    ],
)
def test_statuses_of_a_truss_upstream(
    status: int, headers: dict[str, str], kind: Kind, openai: int, anthropic: int, truss: int
) -> None:
    """truss.md §2.5; pitfalls 51 and 52."""
    error = DIALECTS["truss"].load_error(status, b'{"error":"boom"}', headers)
    assert (error.kind, error.message) == (kind, "boom")
    seen = {name: dialect.dump_error(error, "")[0] for name, dialect in DIALECTS.items()}
    assert seen == {"openai": openai, "responses": openai, "anthropic": anthropic, "truss": truss}


@pytest.mark.parametrize(("status", "kind"), [(401, Kind.AUTH), (403, Kind.PERMISSION)])
def test_a_truss_upstream_can_refuse_our_credential(status: int, kind: Kind) -> None:
    """truss.md §2.5: a 502 for every client, once `upstreams.client.scrub` has taken the upstream's words out of it."""
    assert DIALECTS["truss"].load_error(status, b'{"error":"bad key"}', {}).kind is kind


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"Internal Server Error (in model/chainlet)."}', "Internal Server Error (in model/chainlet)."),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"error":{"message":"bad","type":"x"}}', "bad"),
    ],
)
def test_bodies_of_a_truss_server(body: bytes, message: str) -> None:
    """truss.md §1.5."""
    assert DIALECTS["truss"].load_error(400, body, {}).message == message


@pytest.mark.parametrize(
    ("kind", "class_"),
    [
        (Kind.RATE_LIMIT, Overloaded),
        (Kind.OVERLOADED, Overloaded),
        (Kind.TIMEOUT, TooSlow),
        (Kind.INVALID_REQUEST, Refused),
        (Kind.UPSTREAM, UpstreamError),
    ],
)
def test_the_class_decides_whether_another_target_is_tried(kind: Kind, class_: type[UpstreamError]) -> None:
    error = next(found for status in STATUSES if (found := DIALECTS["openai"].load_error(status, b"", {})).kind is kind)
    assert type(error) is class_
    assert error.is_retryable is (class_ is not Refused)


TABLE = {
    Kind.INVALID_REQUEST: ((400, "invalid_request_error", None), (400, "invalid_request_error"), 400),
    Kind.UNSUPPORTED: ((400, "invalid_request_error", "unsupported_parameter"), (400, "invalid_request_error"), 400),
    Kind.CONTEXT_LENGTH: (
        (400, "invalid_request_error", "context_length_exceeded"),
        (400, "invalid_request_error"),
        400,
    ),
    Kind.AUTH: ((401, "invalid_request_error", "invalid_api_key"), (401, "authentication_error"), 401),
    Kind.BILLING: ((429, "insufficient_quota", "insufficient_quota"), (402, "billing_error"), 502),
    Kind.PERMISSION: ((403, "permission_error", None), (403, "permission_error"), 403),
    Kind.NOT_FOUND: ((404, "invalid_request_error", "model_not_found"), (404, "not_found_error"), 404),
    Kind.METHOD_NOT_ALLOWED: (
        (405, "invalid_request_error", "method_not_allowed"),
        (405, "invalid_request_error"),
        405,
    ),
    Kind.CONFLICT: ((409, "invalid_request_error", "conflict"), (409, "conflict_error"), 409),
    Kind.TOO_LARGE: ((413, "invalid_request_error", "request_too_large"), (413, "request_too_large"), 413),
    Kind.RATE_LIMIT: ((429, "rate_limit_error", "rate_limit_exceeded"), (429, "rate_limit_error"), 429),
    Kind.OVERLOADED: ((503, "service_unavailable_error", "server_is_overloaded"), (529, "overloaded_error"), 503),
    Kind.TIMEOUT: ((504, "server_error", "timeout"), (504, "timeout_error"), 504),
    Kind.UPSTREAM: ((502, "server_error", "upstream_error"), (502, "api_error"), 502),
    Kind.INTERNAL: ((500, "server_error", None), (500, "api_error"), 500),
}


@pytest.mark.parametrize("kind", list(Kind))
def test_how_a_kind_is_told(kind: Kind) -> None:
    """`errors.json`; pitfall 50: always in the client's dialect."""
    (status, type_, code), (message_status, message_type), truss_status = TABLE[kind]
    error = GatewayError("boom", kind=kind, param="messages.0")
    told = {"message": "boom", "type": type_, "param": "messages.0", "code": code}
    assert DIALECTS["openai"].dump_error(error, "r") == (status, {"error": told})
    begin = "prompt is too long: " if kind is Kind.CONTEXT_LENGTH else ""
    body = {"type": "error", "error": {"type": message_type, "message": f"{begin}boom"}, "request_id": "r"}
    assert DIALECTS["anthropic"].dump_error(error, "r") == (message_status, body)
    assert DIALECTS["truss"].dump_error(error, "r") == (truss_status, {"error": "boom"})


@pytest.mark.parametrize("kind", list(Kind))
def test_an_error_frame_is_one_frame_of_its_dialect(kind: Kind) -> None:
    """Pitfalls 46 and 47."""
    error = UpstreamError("line one\nline two", kind=kind)
    chat, messages = (DIALECTS[name].decoder(DIALECTS[name].options()) for name in ("openai", "anthropic"))
    assert check_openai(chat.tell(error), include_usage=True) == "error"
    assert check_anthropic(messages.tell(error)) == "error"


def test_a_status_of_its_own_wins() -> None:
    error = BadRequest("too much", status=431)
    assert {dialect.dump_error(error, "")[0] for dialect in DIALECTS.values()} == {431}


FLAGGED = [
    (400, {"message": "why", "code": "content_filter"}),
    (400, {"message": "why", "type": "invalid_request_error", "code": "content_policy_violation"}),
    (403, {"message": "why", "code": 403, "metadata": {"reasons": ["violence"], "flagged_input": "…"}}),
]


@pytest.mark.parametrize("name", ["openai", "responses"])
@pytest.mark.parametrize(("status", "error"), FLAGGED)
def test_what_a_filter_objects_to_is_the_requests_fault(name: str, status: int, error: dict[str, object]) -> None:
    """Not the upstream's, and not our credential's, so that no other client is the worse for it."""
    assert isinstance(DIALECTS[name].load_error(status, orjson.dumps({"error": error}), {}), Refused)


@pytest.mark.parametrize("name", ["openai", "responses"])
@pytest.mark.parametrize(
    "error",
    [{"message": "why", "code": "content_filter"}, {"message": "why", "type": "invalid_request_error", "code": None}],
)
def test_the_requests_fault_is_known_without_a_status_too(name: str, error: dict[str, object]) -> None:
    dialect = DIALECTS[name]
    decoder = dialect.decoder(dialect.options(), 1 << 20)
    data = b"data: %s\n\n" % orjson.dumps({"type": "error", "error": error})
    failed = next(piece for piece in decoder.feed(data) if isinstance(piece, Failed))
    assert isinstance(failed.error, Refused)
