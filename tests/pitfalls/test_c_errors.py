"""Pitfalls 43 to 57: failures, in the client's own words, at the right moment."""

from __future__ import annotations

from collections.abc import Mapping

import anthropic
import openai
import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.errors import Kind, Truncated, UpstreamError
from gateway.neutral.events import Failed
from tests.dialects.cases import STAMP, asked
from tests.e2e.clients import anthropic_sdk, openai_sdk
from tests.faults.callers import ANTHROPIC_CALLER, CALLERS, FOUR, OPENAI_CALLER, Caller, ask, post, told_error
from tests.faults.harness import KEY, Gateway
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen
from tests.faults.voices import sized
from tests.pitfalls.wires import (
    call,
    chat,
    chunk,
    event,
    events,
    failure,
    frame,
    frames,
    message_start,
    named,
    streamed,
    text_block,
)

OVERLOADED = event("error", error={"type": "overloaded_error", "message": "busy"})
FAILED = message_start() + text_block(0, "Hi") + OVERLOADED


def answering(body: bytes, status: int, *fields: tuple[str, str], media_type: str = "application/json") -> Play:
    """A play that gives one answer."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(sized(body, status, *fields, media_type=media_type))

    return play


def load(dialect: str, status: int, body: object, headers: Mapping[str, str] | None = None) -> UpstreamError:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return DIALECTS[dialect].load_error(status, data, headers or {})


@pytest.mark.parametrize(
    ("upstream", "data"),
    [
        ("openai", chat({"content": "Hi"}, finish=None, done=False) + frame({"error": {"message": "gone"}})),
        ("anthropic", FAILED),
    ],
)
def test_an_error_inside_a_stream_is_no_end(upstream: str, data: bytes) -> None:
    """Pitfall 43."""
    sent = streamed(upstream, "anthropic", data)
    assert frames(sent)[-1]["type"] == "error"
    assert b"end_turn" not in sent


def test_the_error_comes_instead_of_the_end() -> None:
    """Pitfall 44: also when a deadline breaks the answer behind its finish."""
    encoder = DIALECTS["anthropic"].encoder(asked("anthropic"), STAMP)
    told = events("openai", chat({"content": "Hi"}, call(0, "a", "f", "{}"), finish="tool_calls"))[:-1]
    sent = encoder.encode([*told, Failed(Truncated("cut"))])
    assert named(sent, "message_delta") == []
    assert named(sent, "message_stop") == []
    assert frames(sent)[-1]["type"] == "error"


def test_an_error_event_is_recognised_and_told_to_openai() -> None:
    """Pitfall 45."""
    last = frames(streamed("anthropic", "openai", FAILED))[-1]
    assert last["error"]["code"] == "server_is_overloaded"
    assert failure("anthropic", FAILED).kind is Kind.OVERLOADED


def test_an_error_event_has_its_line_and_an_official_type() -> None:
    """Pitfall 46: the grammar of `streamed` checks the type against the official list."""
    sent = streamed("openai", "anthropic", chat({"content": "Hi"}, finish=None, done=False))
    assert b'\n\nevent: error\ndata: {"type":"error","error":{"type":"api_error"' in sent


def test_a_flat_error_frame_is_an_error_and_ours_is_nested() -> None:
    """Pitfall 47."""
    data = chunk({"content": "Hi"}) + frame({"object": "error", "message": "engine died", "code": 500})
    sent = streamed("openai", "openai", data)
    assert frames(sent)[-1]["error"]["message"] == "engine died"
    assert b"[DONE]" not in sent


def test_a_response_that_fails_says_so_under_its_own_id() -> None:
    """Pitfall 48."""
    sent = frames(streamed("openai", "responses", chat({"content": "Hi"}, finish=None, done=False)))
    assert sent[-1]["type"] == "response.failed"
    assert sent[-1]["response"]["id"] == sent[0]["response"]["id"]
    assert sent[-1]["response"]["status"] == "failed"


def test_a_broken_connection_is_not_the_clients_fault() -> None:
    """Pitfall 49."""
    for client, kind in (("anthropic", "api_error"), ("openai", "server_error")):
        encoder = DIALECTS[client].encoder(asked(client), STAMP)
        (told,) = frames(encoder.encode([Failed(Truncated("the connection broke"))]))
        assert told["error"]["type"] == kind


UNKNOWN = {"/completions": "/nothing", "/messages": "/messages/nothing", "/responses": "/responses/1/2"}
WRONG: Mapping[str, tuple[bytes, int]] = {
    "an unknown path": (b"", 404),
    "a wrong method": (b"", 405),
    "malformed JSON": (b"{", 400),
    "an unknown model": (b"", 404),
}


@pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
@pytest.mark.parametrize("what", WRONG)
def test_errors_are_in_the_dialect_of_the_path(gateway: Gateway, caller: Caller, what: str) -> None:
    """Pitfall 50."""
    body, status = WRONG[what]
    path = caller.path("openai")
    if what == "an unknown model":
        request = caller.request("nobody")
    elif what == "a wrong method":
        request = f"PUT {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
    else:
        for known, unknown in UNKNOWN.items():
            path = path if body else path.replace(known, unknown)
        request = post(path if body or caller.dialect != "truss" else "/production/nothing/predict", body or b"{}")
    reply = ask(gateway.port, request)
    assert reply.status == status
    assert told_error(reply, caller)


@pytest.mark.parametrize(("status", "caller", "told"), [(529, OPENAI_CALLER, 503), (503, ANTHROPIC_CALLER, 529)])
def test_overload_has_the_status_of_the_dialect(
    upstream: HostileUpstream, gateway: Gateway, status: int, caller: Caller, told: int
) -> None:
    """Pitfall 51."""
    other = "anthropic" if caller is OPENAI_CALLER else "openai"
    upstream.perform(answering(b'{"error":{"message":"busy"}}', status))
    reply = ask(gateway.port, caller.request(other))
    assert reply.status == told
    expected = "server_is_overloaded" if caller is OPENAI_CALLER else "overloaded_error"
    assert expected.encode() in reply.body


@pytest.mark.parametrize("status", [401, 403])
def test_our_own_key_failing_is_a_bad_gateway(upstream: HostileUpstream, gateway: Gateway, status: int) -> None:
    """Pitfall 52."""
    upstream.perform(answering(b'{"error":{"message":"bad key ' + KEY.encode() + b'"}}', status))
    for caller in CALLERS:
        reply = ask(gateway.port, caller.request("openai"))
        assert reply.status == 502
        assert KEY.encode() not in reply.body


def test_retry_after_is_carried(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Pitfall 53: also one so long that the SDK gives up, which is the SDK's to decide."""
    for seconds in ("7", "600"):
        for status in (429, 503):
            upstream.perform(answering(b'{"error":{"message":"later"}}', status, ("retry-after", seconds)))
            for caller in (OPENAI_CALLER, ANTHROPIC_CALLER):
                assert ask(gateway.port, caller.request("openai")).header("retry-after") == seconds


def test_a_failure_before_the_first_byte_keeps_its_status(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Pitfall 54: for both SDKs, whose exceptions are chosen by it."""
    upstream.perform(answering(b'{"error":{"message":"slow down"}}', 429))
    url = f"http://127.0.0.1:{gateway.port}"
    with openai_sdk(url) as client, pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="anthropic", messages=[{"role": "user", "content": "Hi"}], stream=True)
    with anthropic_sdk(url) as other, pytest.raises(anthropic.RateLimitError):
        other.messages.create(model="openai", max_tokens=9, messages=[{"role": "user", "content": "Hi"}], stream=True)


SHAPES: list[tuple[int, object, str, Kind]] = [
    (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, "field required", Kind.INVALID_REQUEST),
    (404, {"detail": "Not Found"}, "Not Found", Kind.NOT_FOUND),
    (500, b"upstream exploded", "upstream exploded", Kind.UPSTREAM),
    (502, b"<html><h1>Bad Gateway</h1></html>", "the upstream answered 502", Kind.UPSTREAM),
    (503, b"", "the upstream answered 503", Kind.OVERLOADED),
    (400, {"error": "no such thing"}, "no such thing", Kind.INVALID_REQUEST),
    (429, [{"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}], "quota", Kind.RATE_LIMIT),
]


@pytest.mark.parametrize(("status", "body", "text", "kind"), SHAPES)
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_error_bodies_of_any_shape(dialect: str, status: int, body: object, text: str, kind: Kind) -> None:
    """Pitfall 55."""
    error = load(dialect, status, body)
    assert error.message == text
    assert error.kind is kind


def test_a_context_overflow_in_the_words_that_clients_look_for() -> None:
    """Pitfall 56."""
    text = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    error = load("openai", 400, {"error": {"message": text, "type": "invalid_request_error"}})
    assert error.kind is Kind.CONTEXT_LENGTH
    _, to_anthropic = DIALECTS["anthropic"].dump_error(error, "")
    assert to_anthropic["error"]["message"].startswith("prompt is too long")
    _, to_openai = DIALECTS["openai"].dump_error(error, "")
    assert to_openai["error"]["code"] == "context_length_exceeded"
    sent = DIALECTS["responses"].encoder(asked("responses"), STAMP).encode([Failed(error)])
    assert frames(sent)[-1]["response"]["error"]["code"] == "context_length_exceeded"


def test_a_404_on_counting_is_no_news_of_the_model(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Pitfall 57: the count is estimated, and the next message goes to the same upstream."""
    upstream.perform(answering(b'{"error":{"message":"no such path"}}', 404))
    body = orjson.dumps({"model": "anthropic", "messages": [{"role": "user", "content": "Hi"}]})
    reply = ask(gateway.port, post("/v1/messages/count_tokens", body))
    assert reply.status == 200
    assert orjson.loads(reply.body)["input_tokens"] > 0
    assert "input_tokens=estimated" in reply.header("x-gateway-adapted")
    upstream.perform(answering(b'{"error":{"message":"busy"}}', 429))
    assert ask(gateway.port, ANTHROPIC_CALLER.request("anthropic")).status == 429
