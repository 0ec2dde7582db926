"""mapping.md §9.2: every error, told to every client in its own words, before an answer and in the middle of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from gateway.config import Upstream
from gateway.dialects import DIALECTS
from gateway.errors import BadRequest, Denied, GatewayError, Kind, UpstreamError
from gateway.neutral.events import BlockKind, BlockStart, Event, Failed, Start, TextDelta
from gateway.upstreams.client import scrub
from tests.dialects.cases import STAMP, asked
from tests.dialects.wire_grammar import check_anthropic, check_openai, check_responses
from tests.pitfalls.wires import chunk, event, events, failure, frame, frames, message_start, streamed

KINDS: dict[str, Any] = orjson.loads((Path(__file__).parents[1] / "data" / "errors.json").read_bytes())["kinds"]
UNSPOKEN = (Kind.UNSUPPORTED, Kind.METHOD_NOT_ALLOWED)
"""What nobody can be told in mid-stream, where the table has no code for Responses."""
BEGUN: list[Event] = [Start("up", "theirs"), BlockStart(0, BlockKind.TEXT), TextDelta(0, "Hi")]


@pytest.mark.parametrize("kind", list(Kind))
def test_before_an_answer_a_responses_client_is_told_as_a_chat_client(kind: Kind) -> None:
    """§9.2: one column for both, `param` included."""
    error = GatewayError("why", kind=kind, param="input.3.content.0")
    told = {name: KINDS[kind]["openai"][name] for name in ("type", "code")}
    expected = {"error": {"message": "why", "param": "input.3.content.0", **told}}
    assert DIALECTS["responses"].dump_error(error, "r") == (KINDS[kind]["openai"]["status"], expected)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in UNSPOKEN])
@pytest.mark.parametrize("is_begun", [True, False])
def test_in_mid_stream_every_kind_has_the_words_of_its_table(kind: Kind, is_begun: bool) -> None:
    """§9.2, all columns: one frame, the last, also where nothing came before it."""
    told = [*(BEGUN if is_begun else BEGUN[:1]), Failed(UpstreamError("why", kind=kind))]
    sent = {
        name: DIALECTS[name].encoder(asked(name), STAMP).encode(told) for name in ("openai", "anthropic", "responses")
    }
    assert check_openai(sent["openai"], include_usage=True) == "error"
    assert check_anthropic(sent["anthropic"]) == "error"
    assert check_responses(sent["responses"]) == "error"
    last = {name: frames(data)[-1] for name, data in sent.items()}
    for field in ("type", "code"):
        assert last["openai"]["error"][field] == KINDS[kind]["openai"][field]
    assert last["anthropic"]["error"]["type"] == KINDS[kind]["anthropic"]["type"]
    assert last["responses"]["response"]["error"]["code"] == KINDS[kind]["responses_stream_code"]


def test_a_limit_in_mid_stream_says_when_to_come_back() -> None:
    """§9.2, Responses: agents read how long to wait from the message (openai-responses.md §5)."""
    error = UpstreamError("slow down", kind=Kind.RATE_LIMIT, retry_after_s=1.5)
    sent = DIALECTS["responses"].encoder(asked("responses"), STAMP).encode([Start(), Failed(error)])
    assert frames(sent)[-1]["response"]["error"]["message"] == "slow down Please try again in 1.5s."


def test_a_failed_response_holds_what_came_of_it() -> None:
    """§9.2, Responses: the partial output, what was cut marked as incomplete."""
    sent = DIALECTS["responses"].encoder(asked("responses"), STAMP).encode([*BEGUN, Failed(UpstreamError("why"))])
    (item,) = frames(sent)[-1]["response"]["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "Hi")


@pytest.mark.parametrize(
    ("upstream", "status", "seen"),
    [
        ("openai", 400, {"openai": 400, "anthropic": 400, "responses": 400, "truss": 400}),
        ("openai", 402, {"openai": 429, "anthropic": 402, "responses": 429, "truss": 502}),
        ("openai", 404, {"openai": 404, "anthropic": 404, "responses": 404, "truss": 404}),
        ("openai", 408, {"openai": 504, "anthropic": 504, "responses": 504, "truss": 504}),
        ("openai", 409, {"openai": 409, "anthropic": 409, "responses": 409, "truss": 409}),
        ("openai", 413, {"openai": 413, "anthropic": 413, "responses": 413, "truss": 413}),
        ("openai", 422, {"openai": 400, "anthropic": 400, "responses": 400, "truss": 400}),
        ("openai", 429, {"openai": 429, "anthropic": 429, "responses": 429, "truss": 429}),
        ("openai", 500, {"openai": 502, "anthropic": 502, "responses": 502, "truss": 502}),
        ("openai", 501, {"openai": 502, "anthropic": 502, "responses": 502, "truss": 502}),
        ("openai", 503, {"openai": 503, "anthropic": 529, "responses": 503, "truss": 503}),
        ("openai", 504, {"openai": 504, "anthropic": 504, "responses": 504, "truss": 504}),
        ("openai", 520, {"openai": 502, "anthropic": 502, "responses": 502, "truss": 502}),
        ("anthropic", 529, {"openai": 503, "anthropic": 529, "responses": 503, "truss": 503}),
        ("responses", 503, {"openai": 503, "anthropic": 529, "responses": 503, "truss": 503}),
    ],
)
def test_a_status_becomes_the_clients_own(upstream: str, status: int, seen: dict[str, int]) -> None:
    """§9.2, rules: 529 ↔ 503, 408 → 504, 422 → 400, other 5xx → 502."""
    error = DIALECTS[upstream].load_error(status, b'{"error":{"message":"why"}}', {})
    assert {name: dialect.dump_error(error, "")[0] for name, dialect in DIALECTS.items()} == seen


def test_a_quota_is_a_bill_to_anthropic_clients_and_back() -> None:
    """§9.2, row billing: 402 there, 429 here, the same thing."""
    quota = orjson.dumps({"error": {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"}})
    error = DIALECTS["openai"].load_error(429, quota, {})
    assert DIALECTS["anthropic"].dump_error(error, "")[0] == 402
    bill = orjson.dumps({"type": "error", "error": {"type": "billing_error", "message": "m"}})
    status, body = DIALECTS["openai"].dump_error(DIALECTS["anthropic"].load_error(402, bill, {}), "")
    assert (status, body["error"]["code"]) == (429, "insufficient_quota")


# -- our own credential ----------------------------------------------------------------------------------------------

KEY = "sk-the-gateways-own"
HELD = Upstream(dialect="openai", url="http://localhost", key=SecretStr(KEY))
NO_KEY = [
    ("openai", chunk({"content": "Hi"}) + frame({"error": {"message": f"no {KEY}", "code": "invalid_api_key"}})),
    ("openai", chunk({"content": "Hi"}) + frame({"error": {"message": f"no {KEY}", "code": 403}})),
    ("anthropic", message_start() + event("error", error={"type": "authentication_error", "message": f"no {KEY}"})),
    ("anthropic", message_start() + event("error", error={"type": "permission_error", "message": f"no {KEY}"})),
    ("responses", event("error", error={"message": f"no {KEY}", "code": "invalid_api_key"})),
]


@pytest.mark.parametrize(("upstream", "data"), NO_KEY)
def test_a_refused_credential_of_ours_is_the_gateways_fault_in_mid_stream_too(upstream: str, data: bytes) -> None:
    """§9.2: 401 and 403 on a server-held key → 502, wherever an upstream says so."""
    told = scrub(HELD, failure(upstream, data))
    assert isinstance(told, Denied)
    assert KEY not in told.message
    assert {dialect.dump_error(told, "")[0] for dialect in DIALECTS.values()} == {502}


def test_a_clients_own_missing_key_is_its_own_fault() -> None:
    """§9.2: only what an upstream says of a key is ours."""
    error = BadRequest("no key", kind=Kind.AUTH)
    assert scrub(HELD, error) is error


# -- too long a prompt -----------------------------------------------------------------------------------------------

WORDS = "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens."
OVERFLOWS = [
    (WORDS, "5000 tokens > 4096 maximum"),
    (
        "This model's maximum context length is 4096 tokens. However, you requested 5001 tokens (4000 in the messages,"
        " 1001 in the completion). Please reduce the length.",
        "5001 tokens > 4096 maximum",
    ),
    (
        "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
        "5000 tokens > 4096 maximum",
    ),
    (
        "The input (131,080 tokens) is longer than the model's context length (131,072 tokens).",
        "131080 tokens > 131072 maximum",
    ),
    ("prompt is too long: 5000 tokens > 4096 maximum", "5000 tokens > 4096 maximum"),
    ("Input is too long for requested model.", "Input is too long for requested model."),
    (
        "The maximum context length is 4096 tokens and your request has 4000 input tokens (1000 > 4096 - 4000).",
        "The maximum context length is 4096 tokens and your request has 4000 input tokens (1000 > 4096 - 4000).",
    ),
]


@pytest.mark.parametrize(("words", "told"), OVERFLOWS)
def test_an_overflow_says_its_numbers_as_anthropics_clients_read_them(words: str, told: str) -> None:
    """§9.2: `prompt is too long: <n> tokens > <m> maximum` when numbers are present; never made up."""
    error = DIALECTS["openai"].load_error(400, orjson.dumps({"error": {"message": words}}), {})
    body = DIALECTS["anthropic"].dump_error(error, "")[1]
    assert body["error"]["message"] == f"prompt is too long: {told}"


@pytest.mark.parametrize(
    ("upstream", "data"),
    [
        ("openai", chunk({"content": "Hi"}) + frame({"error": {"message": WORDS, "type": "BadRequestError"}})),
        ("openai", chunk({"content": "Hi"}) + frame({"object": "error", "message": WORDS, "code": 400})),
        ("anthropic", message_start() + event("error", error={"type": "invalid_request_error", "message": WORDS})),
        ("responses", event("error", code="server_error", message=WORDS)),
        (
            "responses",
            event("response.failed", response={"error": {"code": "context_length_exceeded", "message": "m"}}),
        ),
    ],
)
def test_an_overflow_in_mid_stream_is_one_for_every_client(upstream: str, data: bytes) -> None:
    """§9.2: by code or by words. Codex and Claude Code compact their history on it, and give up otherwise."""
    assert failure(upstream, data).kind is Kind.CONTEXT_LENGTH
    assert frames(streamed(upstream, "openai", data))[-1]["error"]["code"] == "context_length_exceeded"
    assert frames(streamed(upstream, "anthropic", data))[-1]["error"]["message"].startswith("prompt is too long")
    last = frames(streamed(upstream, "responses", data))[-1]
    assert last["response"]["error"]["code"] == "context_length_exceeded"


def test_words_about_the_context_do_not_outweigh_a_status() -> None:
    """§9.2: a busy server that speaks of its context length is busy."""
    frame_of_503 = frame({"error": {"message": f"{WORDS} Try again", "code": 503}})
    assert failure("openai", chunk({"content": "Hi"}) + frame_of_503).kind is Kind.OVERLOADED
    assert DIALECTS["openai"].load_error(503, WORDS.encode(), {}).kind is Kind.OVERLOADED


# -- shapes of errors in answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        frame({"error": {"message": "boom", "type": "server_error", "code": None}}),
        frame({"error": {"message": "boom", "code": 500}}),
        frame({"error": "boom"}),
        frame({"object": "error", "message": "boom", "type": "X", "code": 500}),
        event("error", error={"type": "api_error", "message": "boom"}),
        b"event: error\n" + frame({"message": "boom"}),
    ],
)
@pytest.mark.parametrize("upstream", ["openai", "anthropic", "responses"])
def test_an_error_frame_of_any_vendor_is_understood_by_every_decoder(upstream: str, data: bytes) -> None:
    """§9.1 and §11: OpenAI-shaped errors from A-compatible servers, numeric codes, and the other way round."""
    error = failure(upstream, data)
    assert (error.message, error.kind) == ("boom", Kind.UPSTREAM)


@pytest.mark.parametrize("upstream", ["openai", "anthropic", "responses"])
def test_an_error_under_status_200_has_the_kind_it_says(upstream: str) -> None:
    """§9.2 and pitfall 41: a whole body that is an error, for a stream or not."""
    dialect = DIALECTS[upstream]
    with pytest.raises(UpstreamError) as caught:
        dialect.load({"error": {"message": "busy", "code": 429, "type": "rate_limit_error"}}, dialect.options())
    assert (caught.value.kind, caught.value.message) == (Kind.RATE_LIMIT, "busy")


def test_a_message_in_mid_stream_is_cut_too() -> None:
    """§9.2: 2000 characters."""
    assert len(failure("openai", frame({"error": {"message": "x" * 9000}})).message) == 2000


def test_nothing_follows_an_error() -> None:
    """§9.1: data behind it is ignored."""
    assert isinstance(events("openai", frame({"error": "boom"}) + chunk({"content": "more"}))[-1], Failed)
