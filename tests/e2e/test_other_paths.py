"""What clients call beside their main path: counts, models, completions, embeddings; by official SDKs, over sockets."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from struct import pack
from typing import Any

import anthropic
import openai
import orjson
import pytest
import requests
from starlette.types import Receive, Scope, Send

from gateway import app
from gateway.config import Server as Settings
from gateway.dialects import DIALECTS
from gateway.server import Server
from gateway.simulator.sayings import HAIKU
from tests.e2e.clients import PATIENCE_S, anthropic_sdk, openai_sdk
from tests.e2e.gateway_process import ONCE, World, config_of, free_port, gateway, simulators, upstream
from tests.e2e.scripts import PROMPT, QUICK, TOKENS, faulty
from tests.faults.hostile_upstream import until

FAULTS = (
    "refused",
    "status@503",
    "status@404",
    "status@405",
    "status@501",
    "status@400",
    "cut@3",
    "close@3",
    "error@3",
)
ESTIMATED = "input_tokens=estimated"
MESSAGES: list[Any] = [{"role": "user", "content": "one two three"}]
TOOLS: list[Any] = [{"name": "weather", "description": "says the weather", "input_schema": {"type": "object"}}]


@pytest.fixture(scope="module")
def routed() -> Iterator[World]:
    """A route to each kind of upstream, alone and behind ones that fail."""
    with simulators() as (ports, scripted):
        upstreams: dict[str, Any] = {
            kind: upstream(ports, kind, QUICK) for kind in ("openai", "anthropic", "responses", "raw")
        }
        upstreams["nobody"] = {"dialect": "openai", "url": f"http://127.0.0.1:{free_port()}/v1"}
        for kind in ("openai", "anthropic"):
            upstreams |= {f"{kind}:{fault}": upstream(ports, kind, faulty(fault)) for fault in FAULTS}
        routes: dict[str, Any] = {name: name for name in upstreams}
        for kind in ("openai", "anthropic"):
            for fault in FAULTS:
                routes[f"{kind}:{fault}-then-good"] = chain(f"{kind}:{fault}", kind)
        routes["nobody-then-good"] = chain("nobody", "openai")
        routes["anthropic-then-openai"] = chain("anthropic", "openai")
        routes["pat-*"] = "openai"
        routes["vendor/model-1"] = "openai"
        with gateway(config_of(upstreams, routes)) as port:
            yield World(port, ports, scripted)


def chain(first: str, second: str) -> dict[str, Any]:
    return {"targets": [{"upstream": first}], "fallback": [{"upstream": second}], "retries": ONCE}


# -- counting tokens ------------------------------------------------------------------------------------------------


def count(world: World, model: Any, **body: Any) -> requests.Response:
    body = {"model": model, "messages": MESSAGES, **body}
    url = f"{world.url}/v1/messages/count_tokens?beta=true"
    return requests.post(url, json=body, headers={"x-api-key": "k"}, timeout=PATIENCE_S)


def test_tokens_are_counted_by_the_upstream_where_it_can(routed: World) -> None:
    """Pitfall 120: as many as the same upstream then says that it read."""
    with anthropic_sdk(routed.url) as client:
        counted = client.messages.count_tokens(model="anthropic", messages=MESSAGES, system="four five", tools=TOOLS)
        answered = client.messages.create(
            model="anthropic", messages=MESSAGES, system="four five", tools=TOOLS, max_tokens=9
        )
    assert counted.input_tokens == answered.usage.input_tokens == 3 + 2 + 4
    assert "x-gateway-adapted" not in count(routed, "anthropic").headers


@pytest.mark.parametrize("model", ["openai", "raw"])
def test_tokens_are_estimated_where_no_upstream_counts_and_the_client_is_told(routed: World, model: str) -> None:
    """Pitfall 120: system, tools and messages count, each of them, and never nothing."""
    with anthropic_sdk(routed.url) as client:
        bare = client.messages.count_tokens(model=model, messages=MESSAGES).input_tokens
        longer = client.messages.count_tokens(model=model, messages=[*MESSAGES, *MESSAGES]).input_tokens
        led = client.messages.count_tokens(model=model, messages=MESSAGES, system="x" * 40).input_tokens
        tooled = client.messages.count_tokens(model=model, messages=MESSAGES, tools=TOOLS).input_tokens
    assert bare == len("one two three") // 4
    assert min(longer, led, tooled) > bare
    assert led == (40 + len("one two three")) // 4
    told = count(routed, model, messages=[{"role": "user", "content": ""}])
    assert (told.status_code, told.json()) == (200, {"input_tokens": 1})
    assert told.headers["x-gateway-adapted"] == "input_tokens=estimated"


@pytest.mark.parametrize("status", ["404", "405", "501"])
def test_an_upstream_without_a_counter_is_asked_for_answers_all_the_same(routed: World, status: str) -> None:
    """Pitfall 57: one 404 on count_tokens does not mark the model unavailable, and is not told either."""
    told = count(routed, f"anthropic:status@{status}-then-good")
    assert (told.status_code, told.json()) == (200, {"input_tokens": 3})
    assert told.headers["x-gateway-adapted"] == "input_tokens=estimated"
    assert told.headers["x-gateway-upstream"] == f"anthropic:status@{status}"
    assert told.headers["x-gateway-attempts"] == "1"


PROMPT_OF: dict[str, dict[str, Any]] = {
    "/v1/messages/count_tokens": {"messages": MESSAGES},
    "/v1/responses/input_tokens": {"input": "one two three"},
}


@pytest.mark.parametrize("path", PROMPT_OF)
@pytest.mark.parametrize(("model", "how"), [("anthropic", None), ("responses", None), ("openai", ESTIMATED)])
def test_every_client_that_counts_gets_the_count_of_any_upstream_that_does(
    routed: World, path: str, model: str, how: str | None
) -> None:
    """Pitfall 120. What the call for an answer would have made up (a limit, say) is nothing to tell of a count."""
    told = requests.post(routed.url + path, json={"model": model, **PROMPT_OF[path]}, timeout=PATIENCE_S)
    assert (told.status_code, told.json()["input_tokens"]) == (200, 3)
    assert told.headers.get("x-gateway-adapted") == how


def test_responses_are_counted_by_the_sdk_in_strict_mode(routed: World) -> None:
    with openai_sdk(routed.url) as client:
        for model in ("anthropic", "openai", "responses"):
            assert client.responses.input_tokens.count(model=model, input="one two three").input_tokens == 3


@pytest.mark.parametrize("fault", ["refused", "status@503", "cut@3"])
def test_a_counter_that_fails_is_replaced_by_the_next_target(routed: World, fault: str) -> None:
    told = count(routed, f"anthropic:{fault}-then-good")
    assert (told.status_code, told.headers["x-gateway-upstream"]) == (200, "anthropic")
    assert "x-gateway-adapted" not in told.headers
    alone = count(routed, f"anthropic:{fault}")
    assert alone.status_code == (529 if fault == "status@503" else 502)
    assert alone.json()["type"] == "error"


def test_what_an_upstream_says_against_a_prompt_is_told_in_the_clients_words(routed: World) -> None:
    with anthropic_sdk(routed.url) as client, pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.count_tokens(model="anthropic:status@400-then-good", messages=MESSAGES)
    assert caught.value.type == "invalid_request_error"
    assert "simulated: status 400" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": []}, "messages: expected a non-empty array"),
        ({"tools": [{"type": "custom"}]}, "tools.0.name"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
    ],
)
def test_a_prompt_that_is_none_is_400_in_anthropics_words(routed: World, body: dict[str, Any], message: str) -> None:
    told = count(routed, "openai", **body)
    assert (told.status_code, told.json()["error"]["type"]) == (400, "invalid_request_error")
    assert message in told.json()["error"]["message"]


def test_what_only_answers_need_is_ignored_when_counting(routed: World) -> None:
    """Also where it would be wrong for an answer: extras are accepted (anthropic-messages.md §9)."""
    told = count(routed, "anthropic", max_tokens=0, stream=True, metadata=3, stop_sequences=4)
    assert (told.status_code, told.json()) == (200, {"input_tokens": 3})


def test_counting_for_an_unknown_model_is_404_and_by_get_405(routed: World) -> None:
    told = count(routed, "nope")
    assert (told.status_code, told.json()["error"]["type"]) == (404, "not_found_error")
    told = requests.get(f"{routed.url}/v1/messages/count_tokens", timeout=PATIENCE_S)
    assert (told.status_code, told.headers["allow"]) == (405, "POST")


ODD: dict[str, bytes] = {
    "zero": b'{"input_tokens":0}',
    "negative": b'{"input_tokens":-3}',
    "words": b'{"input_tokens":"many"}',
    "nothing": b"{}",
}


class OddCounter:
    """Answers every call with the body that its path names, and remembers what it was sent."""

    def __init__(self) -> None:
        self.heads: list[dict[bytes, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        while (await receive()).get("more_body"):
            pass
        self.heads.append(dict(scope["headers"]))
        body = ODD.get(scope["path"].split("/")[1], b"<html>")
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def odd() -> Iterator[tuple[str, OddCounter]]:
    """A gateway in front of counters that can't count."""
    counter = OddCounter()
    with Server(counter, Settings(port=0), app.refuse).in_thread() as running:
        base = f"http://127.0.0.1:{running.port}"
        upstreams = {
            name: {"dialect": "anthropic", "url": f"{base}/{name}", "key": "sk-ours"} for name in (*ODD, "page")
        }
        with gateway(config_of(upstreams, {name: name for name in upstreams})) as port:
            yield f"http://127.0.0.1:{port}", counter


def count_oddly(url: str, model: str, **headers: str) -> requests.Response:
    body = {"model": model, "messages": MESSAGES}
    return requests.post(f"{url}/v1/messages/count_tokens", json=body, headers=headers, timeout=PATIENCE_S)


@pytest.mark.parametrize("model", ODD)
def test_a_count_that_can_not_be_true_is_replaced_by_an_estimate(odd: tuple[str, OddCounter], model: str) -> None:
    """Pitfall 120: never 200 with 0, whoever says so."""
    told = count_oddly(odd[0], model)
    assert (told.status_code, told.json()) == (200, {"input_tokens": 3})
    assert told.headers["x-gateway-adapted"] == "input_tokens=estimated"


def test_a_counter_that_answers_in_markup_is_broken(odd: tuple[str, OddCounter]) -> None:
    told = count_oddly(odd[0], "page")
    assert (told.status_code, told.json()["error"]["type"]) == (502, "api_error")


@pytest.mark.parametrize("name", ["x-api-key", "authorization"])
def test_a_clients_key_is_taken_in_either_header_and_never_sent_on(odd: tuple[str, OddCounter], name: str) -> None:
    """Pitfalls 122 and 123: what the upstream gets is the gateway's own key, and only that."""
    count_oddly(odd[0], "zero", **{name: "Bearer sk-the-clients-own"})
    head = odd[1].heads[-1]
    assert head[b"x-api-key"] == b"sk-ours"
    assert not any(b"the-clients-own" in value for value in head.values())


# -- models ---------------------------------------------------------------------------------------------------------


def test_both_sdks_list_the_same_models_in_strict_mode(routed: World) -> None:
    """Pitfall 123, the half that lists."""
    with openai_sdk(routed.url) as client:
        listed = [model.id for model in client.models.list()]
    with anthropic_sdk(routed.url) as messages:
        assert [model.id for model in messages.models.list()] == listed
    assert "pat-*" not in listed
    assert {"openai", "anthropic", "vendor/model-1"} <= set(listed)


def test_models_come_in_pages_of_the_size_asked_for_and_none_is_lost(routed: World) -> None:
    with anthropic_sdk(routed.url) as client:
        everything = [model.id for model in client.models.list()]
        first = client.models.list(limit=4)
        assert [model.id for model in first.data] == everything[:4]
        assert (first.has_more, first.first_id, first.last_id) == (True, everything[0], everything[3])
        assert [model.id for model in client.models.list(limit=4)] == everything  # the SDK turns the pages
        assert [model.id for model in client.models.list(after_id=everything[-2])] == everything[-1:]
        before = client.models.list(before_id=everything[3], limit=2)
        assert ([model.id for model in before.data], before.has_more) == (everything[1:3], True)
        assert client.models.list(before_id=everything[0]).data == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=1001", "after_id=nope", "after_id=openai&before_id=raw"]
)
def test_a_page_that_can_not_be_is_400_in_anthropics_words(routed: World, query: str) -> None:
    told = requests.get(f"{routed.url}/v1/models?{query}", headers={"x-api-key": "k"}, timeout=PATIENCE_S)
    assert (told.status_code, told.json()["type"]) == (400, "error")
    assert query.partition("=")[0].removeprefix("after_id&") in told.json()["error"]["message"] or "&" in query
    told = requests.get(f"{routed.url}/v1/models?{query}", timeout=PATIENCE_S)
    assert told.status_code == 200  # the other vendor's list knows no pages


@pytest.mark.parametrize("model", ["openai", "vendor/model-1", "pat-7", "openai:status@503"])
def test_every_name_that_can_be_called_can_be_looked_up(routed: World, model: str) -> None:
    with openai_sdk(routed.url) as client:
        assert client.models.retrieve(model).id == model
    with anthropic_sdk(routed.url) as messages:
        assert messages.models.retrieve(model).display_name == model
    assert requests.head(f"{routed.url}/v1/models/{model}?x=1", timeout=PATIENCE_S).status_code == 200


def test_an_unknown_model_is_404_in_the_words_of_who_asks(routed: World) -> None:
    with openai_sdk(routed.url) as client, pytest.raises(openai.NotFoundError) as openai_error:
        client.models.retrieve("opnai")
    assert openai_error.value.code == "model_not_found"
    assert 'did you mean "openai"' in openai_error.value.message
    with anthropic_sdk(routed.url) as messages, pytest.raises(anthropic.NotFoundError) as anthropic_error:
        messages.models.retrieve("opnai")
    assert anthropic_error.value.type == "not_found_error"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/openai", "/", "/livez"])
def test_what_can_only_be_read_says_so(routed: World, path: str) -> None:
    told = requests.post(routed.url + path, timeout=PATIENCE_S)
    assert (told.status_code, told.headers["allow"]) == (405, "GET, HEAD")
    assert "takes GET, HEAD, got POST" in told.json()["error"]["message"]


# -- completions ----------------------------------------------------------------------------------------------------


def test_a_completion_is_relayed_whole(routed: World) -> None:
    with openai_sdk(routed.url) as client:
        answer = client.completions.create(model="openai", prompt=PROMPT, extra_query={"x": "1"})
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (HAIKU, "stop")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len(TOKENS)


def lenient(world: World) -> openai.OpenAI:
    """Not strict: the SDK's own type forbids the null that every genuine frame has (openai-chat.md §8)."""
    return openai.OpenAI(base_url=f"{world.url}/v1", api_key="unused", max_retries=0, timeout=PATIENCE_S)


def test_a_completion_is_relayed_as_it_streams_with_its_usage(routed: World) -> None:
    with lenient(routed) as client:
        frames = list(
            client.completions.create(
                model="openai", prompt=PROMPT, stream=True, stream_options={"include_usage": True}
            )
        )
    assert "".join(frame.choices[0].text for frame in frames if frame.choices) == HAIKU
    assert len(frames) == len(TOKENS) + 2
    assert frames[-1].usage is not None
    assert frames[-1].usage.completion_tokens == len(TOKENS)


def complete(world: World, model: Any, **body: Any) -> requests.Response:
    body = {"model": model, "prompt": PROMPT, **body}
    return requests.post(f"{world.url}/v1/completions?x=1", json=body, timeout=PATIENCE_S)


def test_a_completion_comes_byte_for_byte_as_the_upstream_wrote_it(routed: World) -> None:
    for stream in (True, False):
        body = {"model": "openai", "prompt": PROMPT, "stream": stream}
        direct = requests.post(routed.upstream_url("openai", QUICK) + "/completions", json=body, timeout=PATIENCE_S)
        assert complete(routed, "openai", stream=stream).content == direct.content


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("failing", ["nobody", "openai:refused", "openai:status@503"])
def test_a_completion_is_taken_over_before_its_first_byte(routed: World, failing: str, stream: bool) -> None:
    told = complete(routed, f"{failing}-then-good", stream=stream)
    assert (told.status_code, told.headers["x-gateway-upstream"]) == (200, "openai")


@pytest.mark.parametrize("fault", ["cut@3", "close@3", "error@3"])
def test_a_completion_that_broke_never_looks_finished(routed: World, fault: str) -> None:
    heard: list[Any] = []
    with lenient(routed) as client:
        frames = client.completions.create(model=f"openai:{fault}-then-good", prompt=PROMPT, stream=True)
        with pytest.raises(openai.APIError) as caught:
            heard.extend(frame.choices[0] for frame in frames)
    assert "".join(choice.text for choice in heard) == "".join(TOKENS[:3])
    assert all(choice.finish_reason is None for choice in heard)
    assert not isinstance(caught.value, openai.APIConnectionError)  # it was told, not merely cut
    told = complete(routed, f"openai:{fault}", stream=True)
    assert b"[DONE]" not in told.content
    assert complete(routed, f"openai:{fault}").status_code == 502


# -- embeddings -----------------------------------------------------------------------------------------------------


def test_embeddings_are_relayed_in_base64_as_the_sdk_asks_and_in_numbers(routed: World) -> None:
    """Strict mode looks at what came before the SDK unpacks it, so that it takes no genuine base64."""
    with lenient(routed) as unpacking, openai_sdk(routed.url) as client:
        packed = unpacking.embeddings.create(model="openai", input=["one", "two", "one"])
        plain = client.embeddings.create(model="openai", input="one", encoding_format="float")
    assert [item.index for item in packed.data] == [0, 1, 2]
    assert packed.data[0].embedding == packed.data[2].embedding != packed.data[1].embedding
    assert plain.data[0].embedding == pytest.approx(packed.data[0].embedding, rel=1e-6)
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 0


def embed(world: World, model: Any, **body: Any) -> requests.Response:
    body = {"model": model, "input": [1, 2, 3], **body}
    return requests.post(f"{world.url}/v1/embeddings?x=1", json=body, timeout=PATIENCE_S)


def test_embeddings_come_byte_for_byte_as_the_upstream_wrote_them(routed: World) -> None:
    body = {"model": "openai", "input": [1, 2, 3], "encoding_format": "base64"}
    direct = requests.post(routed.upstream_url("openai", QUICK) + "/embeddings", json=body, timeout=PATIENCE_S)
    told = embed(routed, "openai", encoding_format="base64")
    assert told.content == direct.content
    assert len(told.json()["data"]) == 1
    numbers = embed(routed, "openai").json()["data"][0]["embedding"]
    assert told.json()["data"][0]["embedding"] == b64encode(pack("<8f", *numbers)).decode()


@pytest.mark.parametrize("failing", ["nobody", "openai:refused", "openai:status@503", "openai:cut@3"])
def test_embeddings_are_taken_over_by_the_next_target(routed: World, failing: str) -> None:
    told = embed(routed, f"{failing}-then-good")
    assert (told.status_code, told.headers["x-gateway-attempts"]) == (200, "2")


# -- elsewhere ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base",
    [
        "/model-openai",
        "/model-openai/sync",
        "/model-openai/environments/production/sync",
        "/model-openai/production/sync",
    ],
)
def test_a_deployed_models_own_address_has_all_of_these_paths(routed: World, base: str) -> None:
    """As Baseten serves embedding models: the path names the model, whatever the body says."""
    with openai.OpenAI(base_url=f"{routed.url}{base}/v1", api_key="x", max_retries=0) as client:
        assert len(client.embeddings.create(model="placeholder", input="x").data) == 1
        assert client.completions.create(model="placeholder", prompt=PROMPT).choices[0].text == HAIKU
    with anthropic.Anthropic(base_url=routed.url + base, api_key="x", max_retries=0) as messages:
        assert messages.messages.count_tokens(model="placeholder", messages=MESSAGES).input_tokens == 3


@pytest.mark.parametrize("name", [name for name, dialect in DIALECTS.items() if not dialect.lends])
def test_a_deployed_models_own_address_speaks_every_dialect(routed: World, name: str) -> None:
    sample = DIALECTS[name].sample
    assert sample is not None
    url = f"{routed.url}/model-openai/production/sync{sample.path}"
    told = requests.post(url, json=sample.body, timeout=PATIENCE_S)
    assert (told.status_code, told.headers["x-gateway-route"]) == (200, "openai")


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [orjson.loads(record.message) for record in caplog.records if record.name == "triglot.access"]


def has_lines(caplog: pytest.LogCaptureFixture, number: int) -> bool:
    return len(lines(caplog)) == number


def test_the_log_says_what_each_of_these_calls_used(routed: World, caplog: pytest.LogCaptureFixture) -> None:
    streaming: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    calls: list[Any] = [complete, partial(complete, **streaming), embed, count]
    with caplog.at_level("INFO", "triglot.access"):
        for number, ask in enumerate(calls, 1):
            ask(routed, "anthropic" if ask is count else "openai")
            until(partial(has_lines, caplog, number), "the line of a call that was answered")
    whole, streamed, embedded, counted = lines(caplog)
    words = len(TOKENS)
    assert (whole["output_tokens"], whole["finish_reason"], whole["stream"]) == (words, "stop", False)
    assert (streamed["output_tokens"], streamed["finish_reason"], streamed["stream"]) == (words, "stop", True)
    assert streamed["ttft_ms"] > 0
    assert embedded["input_tokens"] > 0
    assert "finish_reason" not in embedded
    assert (counted["input_tokens"], counted["upstream"]) == (3, "anthropic")
    assert "output_tokens" not in counted


# -- what both share ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [complete, embed])
def test_an_upstream_of_another_api_is_refused_by_the_name_of_the_path(routed: World, ask: Any) -> None:
    for model in ("anthropic", "raw"):
        told = ask(routed, model)
        assert told.status_code == 400
        error = told.json()["error"]
        assert (error["type"], error["param"], error["code"]) == (
            "invalid_request_error",
            "model",
            "unsupported_parameter",
        )
        path = "/v1/completions" if ask is complete else "/v1/embeddings"
        assert path in error["message"]
        assert "x-gateway-adapted" not in told.headers


@pytest.mark.parametrize("ask", [complete, embed])
def test_a_target_that_has_the_path_is_found_behind_one_that_lacks_it(routed: World, ask: Any) -> None:
    assert ask(routed, "anthropic-then-openai").headers["x-gateway-upstream"] == "openai"


@pytest.mark.parametrize("ask", [complete, embed])
def test_the_upstreams_refusal_is_told_and_an_unknown_model_is_404(routed: World, ask: Any) -> None:
    told = ask(routed, "openai:status@400-then-good")
    assert (told.status_code, told.json()["error"]["message"]) == (400, "simulated: status 400")
    told = ask(routed, "nope")
    assert (told.status_code, told.json()["error"]["code"]) == (404, "model_not_found")
    told = ask(routed, 7)
    assert (told.status_code, told.json()["error"]["param"]) == (400, "model")


# -- as clients behave ----------------------------------------------------------------------------------------------


def chat(world: World, path: str, model: str, **more: Any) -> requests.Response:
    body = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": PROMPT}]}
    return requests.post(world.url + path, json=body | more, timeout=PATIENCE_S)


@pytest.mark.parametrize("path", ["/v1/messages?beta=true", "/v1/chat/completions?api-version=1", "/predict?x=1"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_query_string_changes_no_route(routed: World, path: str, stream: bool) -> None:
    """Pitfall 121; the other paths are called with one all through this file."""
    assert chat(routed, path, "anthropic", stream=stream).status_code == 200


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/completions"])
def test_a_stream_is_neither_compressed_nor_kept_by_anything_between(routed: World, path: str) -> None:
    """Pitfall 124."""
    told = chat(routed, path, "openai", stream=True, prompt=PROMPT)
    assert told.headers["content-type"].startswith("text/event-stream")
    assert told.headers["cache-control"] == "no-cache"
    assert told.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in told.headers
    assert "content-length" not in told.headers


LAST = {
    "/v1/messages": b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    "/v1/chat/completions": b"data: [DONE]\n\n",
    "/v1/completions": b"data: [DONE]\n\n",
}


@pytest.mark.parametrize("path", LAST)
def test_a_body_ends_right_behind_its_last_frame(routed: World, path: str) -> None:
    """Pitfall 125: the body's end, so that the connection serves the next call too."""
    with requests.Session() as session:
        for _ in range(2):
            body = {"model": "openai", "max_tokens": 99, "messages": MESSAGES, "prompt": PROMPT, "stream": True}
            told = session.post(routed.url + path, json=body, timeout=PATIENCE_S)
            assert told.content.endswith(LAST[path])
            assert told.headers.get("connection") != "close"


@pytest.mark.parametrize("model", ["openai:error@3", "openai:cut@3", "anthropic:error@3", "anthropic:cut@3"])
def test_a_failed_stream_may_be_asked_for_again_as_a_whole(routed: World, model: str) -> None:
    """Pitfall 126: as Claude Code does, on the same route, whose first target still fails."""
    with anthropic_sdk(routed.url) as client:
        ask: Any = {"model": f"{model}-then-good", "max_tokens": 99, "messages": [{"role": "user", "content": PROMPT}]}
        with client.messages.stream(**ask) as stream, pytest.raises(anthropic.APIStatusError):
            stream.until_done()
        message = client.messages.create(**ask)
    assert [block.text for block in message.content if block.type == "text"] == [HAIKU]
