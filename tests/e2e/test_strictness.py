"""Nothing lost, or refused: what clients and operators ask for by `strict`, over sockets (mapping.md §3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import openai
import pytest
import requests

from gateway.simulator.sayings import HAIKU
from tests.e2e.clients import PATIENCE_S, anthropic_sdk, openai_sdk
from tests.e2e.gateway_process import World, config_of, gateway, simulators, upstream
from tests.e2e.scripts import PROMPT, QUICK

ASK: list[Any] = [{"role": "user", "content": PROMPT}]
STRICT = {"x-gateway-strict": "1"}
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@pytest.fixture(scope="module")
def routed() -> Iterator[World]:
    with simulators() as (ports, scripted):
        upstreams = {kind: upstream(ports, kind, QUICK) for kind in ("openai", "anthropic")}
        routes: dict[str, Any] = dict(zip(upstreams, upstreams, strict=True))
        for first, second in (("openai", "anthropic"), ("anthropic", "openai")):
            targets = {"targets": [{"upstream": first}]}
            routes[f"strict-{first}"] = {**targets, "strict": True}
            routes[f"strict-{first}-then-{second}"] = {**targets, "fallback": [{"upstream": second}], "strict": True}
        with gateway(config_of(upstreams, routes)) as port:
            yield World(port, ports, scripted)


def by_openai(world: World, model: str, headers: dict[str, str], *, stream: bool) -> str:
    """A call with a field that Anthropic's API has no word for."""
    with openai_sdk(world.url) as client:
        answer: Any = client.chat.completions.create(
            model=model, messages=ASK, seed=7, stream=stream, extra_headers=headers
        )
        if not stream:
            return str(answer.choices[0].message.content)
        return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


def by_anthropic(world: World, model: str, headers: dict[str, str], *, stream: bool) -> str:
    """A call with a field that OpenAI's API has no word for."""
    with anthropic_sdk(world.url) as client:
        answer: Any = client.messages.create(
            model=model, messages=ASK, max_tokens=99, inference_geo="eu", stream=stream, extra_headers=headers
        )
        if not stream:
            return "".join(block.text for block in answer.content)
        return "".join(event.delta.text for event in answer if event.type == "content_block_delta")


CLIENTS: dict[str, Any] = {"openai": by_openai, "anthropic": by_anthropic}
OTHER = {"openai": "anthropic", "anthropic": "openai"}
FIELD = {"openai": "seed", "anthropic": "inference_geo"}
REFUSED = (openai.BadRequestError, anthropic.BadRequestError)
every_client = pytest.mark.parametrize("client", CLIENTS)


@both_ways
@every_client
@pytest.mark.parametrize("how", ["header", "route"])
def test_a_field_that_would_be_dropped_is_refused_by_name(routed: World, client: str, how: str, stream: bool) -> None:
    model, headers = (OTHER[client], STRICT) if how == "header" else (f"strict-{OTHER[client]}", {})
    with pytest.raises(REFUSED) as caught:
        CLIENTS[client](routed, model, headers, stream=stream)
    assert FIELD[client] in str(caught.value)
    if isinstance(caught.value, openai.BadRequestError):
        assert (caught.value.param, caught.value.code) == ("seed", "unsupported_parameter")


@both_ways
@every_client
def test_the_same_call_is_answered_where_nobody_is_strict(routed: World, client: str, stream: bool) -> None:
    assert CLIENTS[client](routed, OTHER[client], {}, stream=stream) == HAIKU
    assert CLIENTS[client](routed, OTHER[client], {"x-gateway-strict": "0"}, stream=stream) == HAIKU


@both_ways
@every_client
def test_a_strict_call_is_answered_where_nothing_is_lost(routed: World, client: str, stream: bool) -> None:
    assert CLIENTS[client](routed, client, STRICT, stream=stream) == HAIKU


@both_ways
@every_client
def test_a_target_that_carries_everything_is_found_behind_one_that_can_not(
    routed: World, client: str, stream: bool
) -> None:
    assert CLIENTS[client](routed, f"strict-{OTHER[client]}-then-{client}", {}, stream=stream) == HAIKU


@every_client
def test_a_client_can_not_talk_a_strict_route_out_of_it(routed: World, client: str) -> None:
    with pytest.raises(REFUSED):
        CLIENTS[client](routed, f"strict-{OTHER[client]}", {"x-gateway-strict": "no"}, stream=True)


def told(world: World, asked: str) -> requests.Response:
    body = {"model": "anthropic", "messages": ASK, "seed": 7}
    headers = {"x-gateway-strict": asked}
    return requests.post(f"{world.url}/v1/chat/completions", json=body, headers=headers, timeout=PATIENCE_S)


@pytest.mark.parametrize("yes", ["1", "true", "YES"])
def test_strictness_can_be_said_in_several_words(routed: World, yes: str) -> None:
    assert told(routed, yes).status_code == 400


@pytest.mark.parametrize("no", ["0", "false", "No"])
def test_without_strictness_what_was_dropped_is_named(routed: World, no: str) -> None:
    answer = told(routed, no)
    assert (answer.status_code, answer.headers["x-gateway-dropped"]) == (200, "seed")


@pytest.mark.parametrize("word", ["maybe", "2", "strict"])
def test_a_word_that_may_mean_either_is_refused(routed: World, word: str) -> None:
    answer = told(routed, word)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-gateway-strict")
    assert "1, true, yes, 0, false, no" in answer.json()["error"]["message"]


# -- reasoning that an operator keeps ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thinking() -> Iterator[dict[bool, World]]:
    """The same thinking upstreams behind a gateway that shows reasoning, and one that does not."""
    with simulators() as (ports, scripted), ExitStack() as stack:
        upstreams = {kind: upstream(ports, kind, f"{QUICK}&say=reasoning") for kind in ("openai", "anthropic")}
        routes = {kind: kind for kind in upstreams}
        yield {
            shown: World(
                stack.enter_context(gateway(config_of(upstreams, routes, expose_reasoning=shown))), ports, scripted
            )
            for shown in (True, False)
        }


def thought_and_said(world: World, client: str, model: str, *, stream: bool) -> tuple[bool, bool]:
    """Whether an answer holds a thought, and whether it holds its text: a word of each, looked for in its bytes."""
    path = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}[client]
    body: dict[str, Any] = {"model": model, "messages": ASK, "max_tokens": 4000, "stream": stream}
    answer = requests.post(world.url + path, json=body, timeout=PATIENCE_S)
    assert answer.status_code == 200
    return b"needs" in answer.content, b"said" in answer.content


@both_ways
@every_client
@pytest.mark.parametrize("model", ["openai", "anthropic"])
def test_reasoning_is_shown_unless_the_operator_keeps_it(
    thinking: dict[bool, World], client: str, model: str, stream: bool
) -> None:
    """Also between client and upstream of one dialect, whose bytes otherwise pass as they are (mapping.md §6.2)."""
    assert thought_and_said(thinking[True], client, model, stream=stream) == (True, True)
    assert thought_and_said(thinking[False], client, model, stream=stream) == (False, True)


def test_calls_that_are_only_relayed_pass_where_reasoning_is_kept(thinking: dict[bool, World]) -> None:
    for path, body in (("completions", {"prompt": PROMPT}), ("embeddings", {"input": PROMPT})):
        told = requests.post(f"{thinking[False].url}/v1/{path}", json={"model": "openai", **body}, timeout=PATIENCE_S)
        assert (told.status_code, told.json()["object"]) == (200, {"completions": "text_completion"}.get(path, "list"))


def test_where_reasoning_is_kept_several_answers_are_refused_and_lost_probabilities_named(
    thinking: dict[bool, World],
) -> None:
    """mapping.md §10: such an answer is spelled anew, also for a client of its own dialect; nothing goes in silence."""
    body: dict[str, Any] = {"model": "openai", "messages": ASK}
    several = requests.post(f"{thinking[False].url}/v1/chat/completions", json={**body, "n": 2}, timeout=PATIENCE_S)
    assert (several.status_code, several.json()["error"]["param"]) == (400, "n")
    likely = requests.post(
        f"{thinking[False].url}/v1/chat/completions", json={**body, "logprobs": True}, timeout=PATIENCE_S
    )
    assert likely.headers["x-gateway-dropped"] == "logprobs"
    assert requests.post(f"{thinking[True].url}/v1/chat/completions", json={**body, "n": 2}, timeout=PATIENCE_S).ok
