"""Failures, as each client's own library reports them: before the stream by status, inside it as a broken stream."""

from __future__ import annotations

import time
from typing import Any

import anthropic
import openai
import pytest
import requests

from gateway.simulator.sayings import HAIKU
from tests.e2e.clients import (
    CLIENTS,
    PATIENCE_S,
    BrokenEvents,
    Client,
    FailedResponse,
    Heard,
    OpenAIClient,
    TrussError,
    anthropic_sdk,
    openai_sdk,
    predict_url,
)
from tests.e2e.gateway_process import KINDS, World, route_name
from tests.e2e.scripts import PROMPT, TOKENS, faulty

FRAMED_PAIRS = [(client, kind) for client in CLIENTS for kind in KINDS if kind != "raw"]
"""Pairs whose upstream answers in events, so that its end can be proven."""
FRAMED_PAIRS.remove(("truss", "truss"))  # a prompt is passed on, and answered with raw text

every_client = pytest.mark.parametrize("client", CLIENTS)
every_upstream = pytest.mark.parametrize("upstream", KINDS)
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


def ask(client: Client, gw: World, upstream: str, fault: str, *, stream: bool) -> Heard:
    call = client.stream if stream else client.whole
    return call(gw.url, route_name(upstream, faulty(fault)), PROMPT)


# -- before the stream ----------------------------------------------------------------------------------------------

# status of the upstream → what each client's library raises, and the status it shows
RAISED: dict[int, dict[str, tuple[type[Exception], int]]] = {
    400: {
        "openai": (openai.BadRequestError, 400),
        "anthropic": (anthropic.BadRequestError, 400),
        "responses": (openai.BadRequestError, 400),
        "truss": (TrussError, 400),
    },
    429: {
        "openai": (openai.RateLimitError, 429),
        "anthropic": (anthropic.RateLimitError, 429),
        "responses": (openai.RateLimitError, 429),
        "truss": (TrussError, 429),
    },
    503: {
        "openai": (openai.InternalServerError, 503),
        "anthropic": (anthropic.APIStatusError, 529),
        "responses": (openai.InternalServerError, 503),
        "truss": (TrussError, 503),
    },
}
TYPES = {
    ("openai", 400): "invalid_request_error",
    ("openai", 429): "rate_limit_error",
    ("openai", 503): "service_unavailable_error",
    ("responses", 400): "invalid_request_error",
    ("responses", 429): "rate_limit_error",
    ("responses", 503): "service_unavailable_error",
    ("anthropic", 400): "invalid_request_error",
    ("anthropic", 429): "rate_limit_error",
    ("anthropic", 503): "overloaded_error",
}


def status_of(error: Any) -> int:
    return int(error.status if isinstance(error, TrussError) else error.status_code)


@both_ways
@pytest.mark.parametrize("status", RAISED)
@every_client
@every_upstream
def test_an_error_before_the_stream_keeps_its_status_in_the_clients_own_words(
    gw: World, client: str, upstream: str, status: int, stream: bool
) -> None:
    dialect = client.partition("-")[0]
    kind, shown = RAISED[status][dialect]
    with pytest.raises(kind) as caught:
        ask(CLIENTS[client], gw, upstream, f"status@{status}", stream=stream)
    error: Any = caught.value
    assert status_of(error) == shown
    assert f"simulated: status {status}" in error.message
    if dialect != "truss":
        assert error.type == TYPES[dialect, status]
        assert error.request_id.startswith("req_")


@both_ways
@every_client
@every_upstream
def test_a_busy_upstreams_retry_after_reaches_the_client_and_the_next_call_works(
    gw: World, client: str, upstream: str, stream: bool
) -> None:
    with pytest.raises(RAISED[429][client.partition("-")[0]][0]) as caught:
        ask(CLIENTS[client], gw, upstream, "busy", stream=stream)
    error: Any = caught.value
    headers = error.headers if isinstance(error, TrussError) else error.response.headers
    assert headers["retry-after"] == "1"
    assert ask(CLIENTS[client], gw, upstream, "busy", stream=stream).text == HAIKU


def test_an_sdk_left_to_itself_waits_as_told_and_gets_its_answer(gw: World) -> None:
    begun = time.perf_counter()
    with openai_sdk(gw.url, max_retries=1) as client:
        answer = client.chat.completions.create(
            model=route_name("anthropic", faulty("busy")), messages=[{"role": "user", "content": PROMPT}]
        )
    assert answer.choices[0].message.content == HAIKU
    assert 1.0 <= time.perf_counter() - begun < 4


BROKEN_BEFORE = ("refused", "cut@0")


@both_ways
@pytest.mark.parametrize("fault", BROKEN_BEFORE)
@every_client
@every_upstream
def test_a_connection_that_breaks_before_the_first_token_is_an_error_status(
    gw: World, client: str, upstream: str, fault: str, stream: bool
) -> None:
    expected = (openai.InternalServerError, anthropic.InternalServerError, TrussError)
    with pytest.raises(expected) as caught:
        ask(CLIENTS[client], gw, upstream, fault, stream=stream)
    assert status_of(caught.value) == 502


@pytest.mark.parametrize(
    "fault", ["cut@3", *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("close@3", "error@3", "bad_json@3"))]
)
@every_client
@every_upstream
def test_a_whole_answer_that_broke_is_an_error_status(gw: World, client: str, upstream: str, fault: str) -> None:
    expected = (openai.InternalServerError, anthropic.InternalServerError, TrussError)
    with pytest.raises(expected) as caught:
        ask(CLIENTS[client], gw, upstream, fault, stream=False)
    assert status_of(caught.value) == 502


def test_error_bodies_are_exactly_what_each_vendor_documents(gw: World) -> None:
    model = route_name("truss", faulty("status@429"))
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 9, "stream": True}
    message = "simulated: status 429"
    told = requests.post(f"{gw.url}/v1/chat/completions", json=body, timeout=PATIENCE_S)
    assert told.json() == {
        "error": {"message": message, "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    }
    assert told.headers["x-request-id"] == told.headers["x-gateway-request-id"]
    told = requests.post(f"{gw.url}/v1/messages", json=body, timeout=PATIENCE_S)
    assert told.json() == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": message},
        "request_id": told.headers["request-id"],
    }
    told = requests.post(predict_url(gw.url, model), json={"prompt": PROMPT, "stream": True}, timeout=PATIENCE_S)
    assert told.json() == {"error": message}


# -- in the stream --------------------------------------------------------------------------------------------------

BROKEN: dict[str, type[Exception]] = {
    "openai": openai.APIError,
    "anthropic": anthropic.APIStatusError,
    "responses": FailedResponse,
    "truss": requests.exceptions.ChunkedEncodingError,
    "truss-chat": BrokenEvents,
}


def broken(client: str, gw: World, upstream: str, fault: str) -> Exception:
    """What the client's library raises, after it handed out the tokens before the fault and nothing else."""
    heard = Heard()
    with pytest.raises(BROKEN[client]) as caught:
        CLIENTS[client].stream(gw.url, route_name(upstream, faulty(fault)), PROMPT, heard)
    assert heard.text == "".join(TOKENS[:3])
    assert heard.finish is None
    return caught.value


@pytest.mark.parametrize("fault", ["error@3", "cut@3", "close@3", "bad_json@3"])
@pytest.mark.parametrize(("client", "upstream"), FRAMED_PAIRS)
def test_a_stream_that_breaks_never_looks_finished(gw: World, client: str, upstream: str, fault: str) -> None:
    error = broken(client, gw, upstream, fault)
    if isinstance(error, openai.APIError):
        assert not isinstance(error, openai.APIConnectionError)  # it was told, not merely cut
        assert error.type == "server_error"
    if isinstance(error, FailedResponse):
        assert error.code == "server_error"
    if isinstance(error, anthropic.APIStatusError):
        assert error.type == "api_error"
    if fault == "error@3" and client != "truss":
        assert "simulated failure" in str(error)


@pytest.mark.parametrize("fault", ["error@3", "cut@3"])
@pytest.mark.parametrize("client", ["openai", "anthropic", "responses", "truss"])
def test_raw_text_that_is_cut_is_reported_by_every_client(gw: World, client: str, fault: str) -> None:
    broken(client, gw, "raw", fault)


@pytest.mark.parametrize("client", ["openai", "anthropic", "responses", "truss"])
def test_raw_text_that_ends_early_looks_complete_and_says_that_this_proves_nothing(gw: World, client: str) -> None:
    model = route_name("raw", faulty("close@3"))
    assert CLIENTS[client].stream(gw.url, model, PROMPT).text == "".join(TOKENS[:3])
    told = requests.post(predict_url(gw.url, model), json={"prompt": PROMPT, "stream": True}, timeout=PATIENCE_S)
    assert told.headers["x-gateway-completeness"] == "unverifiable"


def test_events_say_nothing_of_completeness_as_they_prove_it(gw: World) -> None:
    body = {"prompt": PROMPT, "stream": True}
    told = requests.post(predict_url(gw.url, route_name("anthropic", faulty("no_done"))), json=body, timeout=PATIENCE_S)
    assert "x-gateway-completeness" not in told.headers


def test_openai_clients_own_helper_reports_a_broken_stream(gw: World) -> None:
    with (
        openai_sdk(gw.url) as client,
        pytest.raises(openai.APIError, match="simulated failure"),
        client.chat.completions.stream(
            model=route_name("anthropic", faulty("error@3")), messages=[{"role": "user", "content": PROMPT}]
        ) as events,
    ):
        events.until_done()


def test_anthropic_clients_raw_iteration_reports_a_broken_stream(gw: World) -> None:
    with anthropic_sdk(gw.url) as client:
        stream = client.messages.create(
            model=route_name("openai", faulty("error@3")),
            max_tokens=99,
            messages=[{"role": "user", "content": PROMPT}],
            stream=True,
        )
        with pytest.raises(anthropic.APIStatusError, match="simulated failure"):
            list(stream)


def test_the_next_call_after_a_broken_one_works(gw: World) -> None:
    with pytest.raises(openai.APIError):
        OpenAIClient().stream(gw.url, route_name("openai", faulty("cut@3")), PROMPT)
    assert OpenAIClient().stream(gw.url, route_name("openai", faulty("no_done")), PROMPT).text == HAIKU


@pytest.mark.parametrize(("client", "is_told"), [("openai", True), ("anthropic", True), ("truss", False)])
def test_a_client_of_raw_text_is_told_that_its_token_counts_are_estimates(
    gw: World, client: str, is_told: bool
) -> None:
    model, messages = route_name("raw", faulty("close@3")), [{"role": "user", "content": PROMPT}]
    url, body = {
        "openai": (f"{gw.url}/v1/chat/completions", {"model": model, "messages": messages, "stream": True}),
        "anthropic": (f"{gw.url}/v1/messages", {"model": model, "messages": messages, "max_tokens": 9, "stream": True}),
        "truss": (predict_url(gw.url, model), {"prompt": PROMPT, "stream": True}),
    }[client]
    told = requests.post(url, json=body, timeout=PATIENCE_S)
    assert (told.headers.get("x-gateway-usage") == "estimated") is is_told
