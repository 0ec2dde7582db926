"""Errors and finish reasons, compared with the tables of the protocol (`tests/data`, copies of `protocol/*.json`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway import errors
from gateway.dialects import DIALECTS, refusals
from gateway.dialects.base import Stamp
from gateway.errors import (
    BadKey,
    BadRequest,
    ClientError,
    Denied,
    GatewayError,
    InternalError,
    Kind,
    Malformed,
    NoRoute,
    OutOfTime,
    Overloaded,
    Refused,
    TooLarge,
    TooMany,
    TooSlow,
    TooSlowToSend,
    Truncated,
    Unfit,
    Unreachable,
    Unsupported,
    UpstreamError,
    WrongMethod,
    upstream_error,
)
from gateway.neutral.events import End, Failed, Finish, Reason, Start
from gateway.neutral.pieces import Piece
from gateway.neutral.request import Request

DATA = Path(__file__).parent / "data"
ERRORS: dict[str, Any] = orjson.loads((DATA / "errors.json").read_bytes())
REASONS: dict[str, Any] = orjson.loads((DATA / "finish_reasons.json").read_bytes())
KINDS = pytest.mark.parametrize("kind", list(Kind))
SPOKEN = ("openai", "anthropic")


# -- the tree ------------------------------------------------------------------------------------------------------


def test_the_kinds_are_those_of_the_protocol() -> None:
    assert {kind.value for kind in Kind} == set(ERRORS["kinds"])


def test_the_tree_is_the_one_in_the_docstring() -> None:
    """Every class is drawn, and every name that is drawn exists."""
    drawn = set(
        re.findall(r"[A-Z]\w+", str(errors.__doc__).split("kind ·")[0] + str(errors.__doc__).split("├──", 1)[1])
    )
    classes = {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, GatewayError)
    }
    assert classes <= drawn


@pytest.mark.parametrize(
    ("error", "fault", "kind", "is_retryable"),
    [
        (BadRequest, ClientError, Kind.INVALID_REQUEST, False),
        (Unsupported, ClientError, Kind.UNSUPPORTED, False),
        (BadKey, ClientError, Kind.AUTH, False),
        (NoRoute, ClientError, Kind.NOT_FOUND, False),
        (WrongMethod, ClientError, Kind.METHOD_NOT_ALLOWED, False),
        (TooLarge, ClientError, Kind.TOO_LARGE, False),
        (TooMany, ClientError, Kind.RATE_LIMIT, False),
        (TooSlowToSend, ClientError, Kind.TIMEOUT, False),
        (Unreachable, UpstreamError, Kind.UPSTREAM, True),
        (Overloaded, UpstreamError, Kind.OVERLOADED, True),
        (Denied, UpstreamError, Kind.UPSTREAM, True),
        (Refused, UpstreamError, Kind.INVALID_REQUEST, False),
        (Malformed, UpstreamError, Kind.UPSTREAM, True),
        (Unfit, Malformed, Kind.UPSTREAM, True),
        (Truncated, UpstreamError, Kind.UPSTREAM, True),
        (TooSlow, UpstreamError, Kind.TIMEOUT, True),
        (OutOfTime, TooSlow, Kind.TIMEOUT, True),
        (InternalError, GatewayError, Kind.INTERNAL, False),
    ],
)
def test_a_class_says_whose_fault_it_was_and_whether_another_target_may_help(
    error: type[GatewayError], fault: type[GatewayError], kind: Kind, is_retryable: bool
) -> None:
    assert issubclass(error, fault)
    assert (error("x").kind, error.is_retryable) == (kind, is_retryable)


@KINDS
def test_what_an_upstream_says_becomes_an_error_of_the_upstream(kind: Kind) -> None:
    """Its kind is kept; only what the client itself can mend isn't tried elsewhere."""
    error = upstream_error(kind, "x", 2.5)
    mendable = (Kind.INVALID_REQUEST, Kind.UNSUPPORTED, Kind.CONTEXT_LENGTH, Kind.TOO_LARGE, Kind.CONFLICT)
    assert isinstance(error, UpstreamError)
    assert (error.kind, error.message, error.retry_after_s) == (kind, "x", 2.5)
    assert error.is_retryable is (kind not in mendable)


def test_errors_that_tell_the_same_are_equal() -> None:
    assert TooSlow("x", retry_after_s=1) == TooSlow("x", retry_after_s=1)
    assert len({TooSlow("x"), TooSlow("x"), TooSlow("y"), Truncated("x"), TooSlow("x", kind=Kind.UPSTREAM)}) == 4
    assert TooSlow("x") != "x"
    assert BadRequest("x", param="a") != BadRequest("x", param="b")
    assert repr(TooSlow("late")) == "TooSlow(timeout: late)"
    assert str(TooSlow("late")) == "late"


# -- to the client -------------------------------------------------------------------------------------------------


@KINDS
def test_openai_clients_are_told_by_the_table(kind: Kind) -> None:
    expected = ERRORS["kinds"][kind]["openai"]
    status, body = DIALECTS["openai"].dump_error(GatewayError("why", kind=kind, param="p"), "req_1")
    assert status == expected["status"]
    assert body == {"error": {"message": "why", "type": expected["type"], "param": "p", "code": expected["code"]}}


@KINDS
def test_anthropic_clients_are_told_by_the_table(kind: Kind) -> None:
    """mapping.md §9.2: an overflow begins as their clients expect it."""
    expected = ERRORS["kinds"][kind]["anthropic"]
    status, body = DIALECTS["anthropic"].dump_error(GatewayError("why", kind=kind), "req_1")
    message = "prompt is too long: why" if kind is Kind.CONTEXT_LENGTH else "why"
    assert status == expected["status"]
    assert body == {
        "type": "error",
        "error": {"type": expected["type"], "message": message},
        "request_id": "req_1",
    }


@KINDS
def test_truss_clients_get_a_status_and_a_sentence(kind: Kind) -> None:
    status, body = DIALECTS["truss"].dump_error(GatewayError("why", kind=kind), "req_1")
    assert 400 <= status < 600
    assert body == {"error": "why"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_status_of_its_own_goes_before_the_table(dialect: str) -> None:
    """415, 431 and the like are no kinds."""
    assert DIALECTS[dialect].dump_error(BadRequest("x", status=415), "")[0] == 415


# -- from the upstream ---------------------------------------------------------------------------------------------

STATUSES = [(int(status), kind) for status, kind in ERRORS["decode_status_default"].items()]


@pytest.mark.parametrize("dialect", SPOKEN)
@pytest.mark.parametrize(("status", "kind"), STATUSES)
def test_a_status_without_words_has_a_kind(dialect: str, status: int, kind: str) -> None:
    error = DIALECTS[dialect].load_error(status, b"", {})
    assert error == upstream_error(Kind(kind), f"the upstream answered {status}")


@pytest.mark.parametrize(("word", "kind"), ERRORS["decode_anthropic_type"].items())
def test_anthropic_types_are_understood(word: str, kind: str) -> None:
    """In a refusal of any status, and in an error event of a stream that began well."""
    body = {"type": "error", "error": {"type": word, "message": "why"}}
    assert DIALECTS["anthropic"].load_error(418, orjson.dumps(body), {}) == upstream_error(Kind(kind), "why")
    assert failure("anthropic", body) == upstream_error(Kind(kind), "why")


@pytest.mark.parametrize(("word", "kind"), ERRORS["decode_openai_code"].items())
def test_openai_codes_are_understood(word: str, kind: str) -> None:
    """In a refusal of any status, and in an error frame of a stream that began well."""
    body = {"error": {"code": word, "message": "why", "type": "invalid_request_error"}}
    assert DIALECTS["openai"].load_error(418, orjson.dumps(body), {}) == upstream_error(Kind(kind), "why")
    assert failure("openai", body) == upstream_error(Kind(kind), "why")


def failure(dialect: str, frame: Any) -> GatewayError:
    pieces = read(dialect, frame)
    assert isinstance(pieces[-1], Failed)
    return pieces[-1].error


def read(dialect: str, *frames: Any) -> list[Piece]:
    decoder = DIALECTS[dialect].decoder(DIALECTS[dialect].options())
    return [piece for frame in frames for piece in decoder.feed(b"data: %s\n\n" % orjson.dumps(frame))]


@pytest.mark.parametrize("dialect", SPOKEN)
@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8192 tokens",
        "Prompt is too long: 9 tokens > 8 maximum",
        "request exceeds the available context size",
        "Input is too long for requested model",
    ],
)
def test_an_overflow_is_known_by_its_words(dialect: str, message: str) -> None:
    """Servers rarely send the code; the sentences are those of the table's expression."""
    assert re.search(ERRORS["context_length_regex"], message)
    body = orjson.dumps({"error": {"message": message}})
    assert DIALECTS[dialect].load_error(400, body, {}).kind is Kind.CONTEXT_LENGTH
    assert DIALECTS[dialect].load_error(503, body, {}).kind is Kind.OVERLOADED


def test_the_expression_for_an_overflow_is_the_tables() -> None:
    expression, flag = refusals._CONTEXT_LENGTH, "(?i)"
    assert flag + expression.pattern == ERRORS["context_length_regex"]
    assert expression.flags & re.IGNORECASE


# -- finish reasons ------------------------------------------------------------------------------------------------


def test_the_reasons_are_those_of_the_protocol() -> None:
    """`error` is no reason here: it is `Failed`."""
    assert {reason.value for reason in Reason} | {"error"} == set(REASONS["neutral"])


def spoken(dialect: str, finish: Finish) -> list[dict[str, Any]]:
    """The frames that tell a finish."""
    encoder = DIALECTS[dialect].encoder(Request("m", (), stream=True), Stamp("t", 0))
    lines = encoder.encode([Start(), finish, End()]).split(b"\n")
    return [orjson.loads(line[6:]) for line in lines if line.startswith(b"data: {")]


@pytest.mark.parametrize("reason", list(Reason))
def test_openai_clients_are_told_why_it_stopped(reason: Reason) -> None:
    frames = spoken("openai", Finish(reason, stop_sequence="END"))
    told = [choice["finish_reason"] for frame in frames for choice in frame["choices"] if choice["finish_reason"]]
    assert told == [REASONS["encode"][reason]["openai_chat"]]
    assert told[0] in REASONS["strict_sdk_values"]["openai_chat"]


@pytest.mark.parametrize("reason", list(Reason))
def test_anthropic_clients_are_told_why_it_stopped(reason: Reason) -> None:
    told = [frame["delta"] for frame in spoken("anthropic", Finish(reason, stop_sequence="END")) if "delta" in frame]
    assert [delta["stop_reason"] for delta in told] == [REASONS["encode"][reason]["anthropic"]]
    assert told[0]["stop_reason"] in REASONS["strict_sdk_values"]["anthropic"]


def test_a_stop_sequence_nobody_names_is_an_end_of_turn() -> None:
    """mapping.md §7.1: it is never guessed, and Anthropic's clients expect one with that reason."""
    told = [frame["delta"] for frame in spoken("anthropic", Finish(Reason.STOP_SEQUENCE)) if "delta" in frame]
    assert told == [{"stop_reason": "end_turn", "stop_sequence": None}]


def chat_finish(raw: str, **choice: Any) -> Piece:
    frame = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": raw, **choice}]}
    return read("openai", frame)[-1]


OPENAI_WORDS: dict[str, str] = REASONS["decode"]["openai_chat"] | REASONS["decode"]["openai_chat_nonstandard"]
SAID = {raw: reason for raw, reason in OPENAI_WORDS.items() if raw}
"""A blank word is a stop too, but only at the end of everything: tests/dialects/test_mapping_tolerance.py."""


@pytest.mark.parametrize(("raw", "reason"), SAID.items())
def test_openai_words_are_understood(raw: str, reason: str) -> None:
    """`stop_sequence` without the sequence is a stop: which one it was is unknown, and never guessed (§7.1)."""
    piece = chat_finish(raw)
    if reason == "error":
        assert isinstance(piece, Failed)
        assert piece.error.kind is (Kind.OVERLOADED if raw == "insufficient_system_resource" else Kind.UPSTREAM)
    else:
        assert piece == Finish(Reason("stop" if reason == "stop_sequence" else reason), raw=raw)


@pytest.mark.parametrize("field", ["stop_reason", "matched_stop"])
def test_a_matched_stop_sequence_is_told(field: str) -> None:
    """vLLM and SGLang; a number there is a token id, which is no sequence."""
    assert chat_finish("stop", **{field: "END"}) == Finish(Reason.STOP_SEQUENCE, stop_sequence="END", raw="stop")
    assert chat_finish("stop", **{field: 128009}) == Finish(Reason.STOP, raw="stop")


def message_finish(delta: dict[str, Any]) -> list[Piece]:
    frames = [{"type": "message_start", "message": {}}, {"type": "message_delta", "delta": delta}]
    return [piece for piece in read("anthropic", *frames, {"type": "message_stop"}) if isinstance(piece, Finish)]


@pytest.mark.parametrize(("raw", "reason"), REASONS["decode"]["anthropic"].items())
def test_anthropic_words_are_understood(raw: str, reason: str) -> None:
    sequence = "END" if raw == "stop_sequence" else None
    told = message_finish({"stop_reason": raw, "stop_sequence": sequence})
    assert told == [Finish(Reason(reason), stop_sequence=sequence, raw=raw)]


def test_an_unknown_word_is_a_stop_and_kept() -> None:
    """The log can tell what it was."""
    assert REASONS["unknown_string"] == "stop"
    assert chat_finish("tired") == Finish(Reason.STOP, raw="tired")
    assert message_finish({"stop_reason": "tired"}) == [Finish(Reason.STOP, raw="tired")]


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (Unreachable("x"), "unreachable"),
        (Malformed("x"), "malformed"),
        (Denied("x"), "denied"),
        (UpstreamError("x"), "upstream"),
        (Overloaded("x"), "overloaded"),
        (Overloaded("x", kind=Kind.RATE_LIMIT), "rate_limit"),
        (TooSlow("x"), "timeout"),
        (Unsupported("x"), "unsupported"),
    ],
)
def test_an_operator_reads_one_word(error: GatewayError, word: str) -> None:
    assert error.word == word
