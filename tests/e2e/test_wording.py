"""What an operator decides about the wording of translated answers, over sockets (mapping.md §6.2, §7.1, §7.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Final

import anthropic
import openai
import pytest
import requests

from tests.e2e.clients import PATIENCE_S, anthropic_sdk, openai_sdk
from tests.e2e.gateway_process import config_of, gateway
from tests.faults.hostile_upstream import HostileUpstream, hostile_upstream
from tests.faults.voices import LAST_CHUNK, chunk, head, says
from tests.pitfalls.wires import block, message, text_block

SETTINGS: Final[Mapping[str, dict[str, Any]]] = {
    "default": {},
    "other": {"estimate_usage": False, "context_window_stop": "max_tokens", "reasoning_field": "reasoning"},
}
ROUTES: Final = {"messages": ("anthropic", ""), "model": ("truss", "/predict")}
THOUGHT: Final = block(
    0, {"type": "thinking", "thinking": "", "signature": ""}, {"type": "thinking_delta", "thinking": "Hm."}
)
ANSWER: Final = message(THOUGHT, text_block(1, "Salt wind"), reason="model_context_window_exceeded")
ASK: Final[list[Any]] = [{"role": "user", "content": "What is the weather in Oslo?"}]


def streamed(media_type: str, body: bytes) -> bytes:
    return head(200, ("content-type", media_type), ("transfer-encoding", "chunked")) + chunk(body) + LAST_CHUNK


EVENTS: Final = streamed("text/event-stream", ANSWER)
TEXT: Final = streamed("text/plain", b"Salt wind")
both_settings = pytest.mark.parametrize("settings", SETTINGS)
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@pytest.fixture(scope="module")
def the_upstream() -> Iterator[HostileUpstream]:
    with hostile_upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(the_upstream: HostileUpstream) -> Iterator[HostileUpstream]:
    yield the_upstream
    the_upstream.reset()


@pytest.fixture(scope="module")
def urls(the_upstream: HostileUpstream) -> Iterator[dict[str, str]]:
    """A gateway for each of the settings, before the same upstreams."""
    upstreams = {
        route: {"dialect": dialect, "url": f"http://127.0.0.1:{the_upstream.port}{path}"}
        for route, (dialect, path) in ROUTES.items()
    }
    with ExitStack() as stack:
        configs = {
            name: config_of(upstreams, {name: name for name in ROUTES}, **given) for name, given in SETTINGS.items()
        }
        ports = {name: stack.enter_context(gateway(config)) for name, config in configs.items()}
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}


def told_message(url: str, model: str, *, stream: bool) -> anthropic.types.Message:
    with anthropic_sdk(url) as client:
        if not stream:
            return client.messages.create(model=model, max_tokens=99, messages=ASK)
        with client.messages.stream(model=model, max_tokens=99, messages=ASK) as answer:
            return answer.get_final_message()


@both_ways
@both_settings
def test_a_model_s_full_context_window_is_told_in_the_word_the_operator_chose(
    upstream: HostileUpstream, urls: dict[str, str], settings: str, stream: bool
) -> None:
    """By a model behind another API that answers in these events; its own API is relayed byte for byte."""
    word = {"default": "model_context_window_exceeded", "other": "max_tokens"}[settings]
    upstream.perform(says(EVENTS))
    assert told_message(urls[settings], "model", stream=stream).stop_reason == word
    body = {"model": "messages", "max_tokens": 99, "messages": ASK, "stream": True}
    relayed = requests.post(f"{urls[settings]}/v1/messages", json=body, timeout=PATIENCE_S)
    assert relayed.content == ANSWER


@both_ways
@both_settings
def test_chat_clients_read_reasoning_in_the_field_the_operator_chose(
    upstream: HostileUpstream, urls: dict[str, str], settings: str, stream: bool
) -> None:
    upstream.perform(says(EVENTS))
    with openai_sdk(urls[settings]) as client:
        answer: Any = client.chat.completions.create(model="messages", messages=ASK, stream=stream)
        said = [part.choices[0].delta for part in answer if part.choices] if stream else [answer.choices[0].message]
    found: dict[str, str] = {}
    for each in said:
        found |= {name: text for name, text in (each.model_extra or {}).items() if name.startswith("reasoning")}
    assert found == {{"default": "reasoning_content", "other": "reasoning"}[settings]: "Hm."}


@both_settings
def test_what_nobody_counted_is_estimated_only_where_the_operator_lets_it_be(
    upstream: HostileUpstream, urls: dict[str, str], settings: str
) -> None:
    """Raw text counts nothing, and the head says what the counts are worth."""
    upstream.perform(says(TEXT))
    is_estimated = settings == "default"
    for stream in (True, False):
        usage = told_message(urls[settings], "model", stream=stream).usage
        assert (usage.input_tokens > 0, usage.output_tokens > 0) == (is_estimated, is_estimated)
    body = {"model": "model", "messages": ASK, "stream": True, "stream_options": {"include_usage": True}}
    told = requests.post(f"{urls[settings]}/v1/chat/completions", json=body, timeout=PATIENCE_S)
    assert told.headers["x-gateway-usage"] == {"default": "estimated", "other": "unknown"}[settings]
    assert (b'"usage":{' in told.content) is is_estimated
    assert told.content.endswith(b"data: [DONE]\n\n")


@both_settings
def test_calls_that_count_are_answered_whatever_is_estimated(
    upstream: HostileUpstream, urls: dict[str, str], settings: str
) -> None:
    with anthropic_sdk(urls[settings]) as client:
        assert client.messages.count_tokens(model="model", messages=ASK).input_tokens > 0


@both_settings
def test_chat_clients_of_the_sdk_take_a_stream_without_usage(
    upstream: HostileUpstream, urls: dict[str, str], settings: str
) -> None:
    upstream.perform(says(TEXT))
    with openai_sdk(urls[settings]) as client:
        answer: openai.Stream[Any] = client.chat.completions.create(
            model="model", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
        assert "".join(part.choices[0].delta.content or "" for part in answer if part.choices) == "Salt wind"
