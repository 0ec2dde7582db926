"""Which upstream answers, who is asked next when it fails, and what paths there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
import requests
from anthropic.types import MessageParam

from gateway.simulator.sayings import HAIKU
from tests.e2e.clients import (
    CLIENTS,
    PATIENCE_S,
    BrokenEvents,
    FailedResponse,
    Heard,
    TrussError,
    anthropic_sdk,
    openai_sdk,
    predict_url,
)
from tests.e2e.gateway_process import ONCE, World, config_of, free_port, gateway, simulators, upstream
from tests.e2e.scripts import PROMPT, QUICK, TOKENS, faulty

FAILING = ("refused", "status@503", "status@429", "cut@0")
CHAT = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 99}
HOST = "models.example.com"


@pytest.fixture(scope="module")
def routed() -> Iterator[World]:
    """Routes as operators write them, to simulators that work and that do not."""
    with simulators() as (ports, scripted):
        upstreams: dict[str, Any] = {
            "good": upstream(ports, "openai", QUICK),
            "good-anthropic": upstream(ports, "anthropic", QUICK),
            "good-raw": upstream(ports, "raw", QUICK),
            "nobody": {"dialect": "openai", "url": f"http://127.0.0.1:{free_port()}/v1"},
            **{fault: upstream(ports, "anthropic", faulty(fault)) for fault in (*FAILING, "cut@3", "status@400")},
        }
        fallbacks = ({"upstream": "good"}, {"upstream": "good-raw"})
        for settings in upstreams.values():  # which are to fail for every test anew
            settings["breaker"] = False
        routes: dict[str, Any] = {
            "default": "good",
            "demo": "good",
            "alias": {"targets": [{"upstream": "good", "model": "vendor/Model-V4"}]},
            "demo@staging": "good-anthropic",
            "demo@dep1": "good-raw",
            "with-dash-prod": "good",
            "pat-*": "good-anthropic",
            "pat-special-*": "good",
            "nobody-then-good": {"targets": [{"upstream": "nobody"}], "fallback": [fallbacks[0]]},
            "all-fail": {
                "targets": [{"upstream": "status@429"}],
                "fallback": [{"upstream": "status@503"}],
                "retries": ONCE,
            },
            "third-time": {
                "targets": [{"upstream": "nobody"}, {"upstream": "status@503", "weight": 0}],
                "fallback": [fallbacks[1]],
            },
            "standby": {"targets": [{"upstream": "good-anthropic", "weight": 0}, {"upstream": "good"}]},
        }
        for fault in (*FAILING, "cut@3", "status@400"):
            places = {"targets": [{"upstream": fault}], "fallback": [fallbacks[0]]}
            routes[f"{fault}-then-good"] = {**places, "retries": ONCE}
        with gateway(config_of(upstreams, routes, model_hosts=[HOST])) as port:
            yield World(port, ports, scripted)


def chat(world: World, model: str, **extra: Any) -> requests.Response:
    body = {**CHAT, "model": model, **extra}
    return requests.post(f"{world.url}/v1/chat/completions", json=body, timeout=PATIENCE_S)


def predict(world: World, path: str, **headers: str) -> requests.Response:
    return requests.post(world.url + path, json={"prompt": PROMPT}, headers=headers, timeout=PATIENCE_S)


# -- fallback -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("failing", ["nobody", *FAILING])
def test_a_target_that_fails_before_the_commit_point_is_replaced_unnoticed(
    routed: World, failing: str, client: str, stream: bool
) -> None:
    ask = CLIENTS[client].stream if stream else CLIENTS[client].whole
    assert ask(routed.url, f"{failing}-then-good", PROMPT).text == HAIKU


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_headers_say_which_upstream_answered_and_at_which_attempt(routed: World, stream: bool) -> None:
    told = chat(routed, "status@503-then-good", stream=stream).headers
    assert (told["x-gateway-route"], told["x-gateway-upstream"]) == ("status@503-then-good", "good")
    assert told["x-gateway-attempts"] == "2"
    assert told["x-gateway-request-id"] == told["x-request-id"]
    told = chat(routed, "demo", stream=stream).headers
    assert (told["x-gateway-upstream"], told["x-gateway-attempts"]) == ("good", "1")


def test_targets_are_tried_in_order_down_to_the_last_fallback(routed: World) -> None:
    told = chat(routed, "third-time")
    assert (told.headers["x-gateway-upstream"], told.headers["x-gateway-attempts"]) == ("good-raw", "3")
    assert told.json()["choices"][0]["message"]["content"] == HAIKU


def test_a_target_of_weight_zero_only_stands_by(routed: World) -> None:
    assert {chat(routed, "standby").headers["x-gateway-upstream"] for _ in range(8)} == {"good"}


def test_where_all_targets_fail_the_last_failure_is_told(routed: World) -> None:
    told = chat(routed, "all-fail")
    assert told.status_code == 503
    assert told.json()["error"]["code"] == "server_is_overloaded"
    assert told.headers["x-gateway-attempts"] == "2"


def test_what_the_client_got_wrong_is_not_tried_elsewhere(routed: World) -> None:
    told = chat(routed, "status@400-then-good")
    assert told.status_code == 400
    assert (told.headers["x-gateway-upstream"], told.headers["x-gateway-attempts"]) == ("status@400", "1")


@pytest.mark.parametrize("client", CLIENTS)
def test_after_the_commit_point_no_other_target_is_tried(routed: World, client: str) -> None:
    heard, before = Heard(), routed.calls(QUICK)
    broken = (
        openai.APIError,
        anthropic.APIStatusError,
        requests.exceptions.ChunkedEncodingError,
        BrokenEvents,
        FailedResponse,
    )
    with pytest.raises(broken):
        CLIENTS[client].stream(routed.url, "cut@3-then-good", PROMPT, heard)
    assert heard.text == "".join(TOKENS[:3])
    assert routed.calls(QUICK) == before


# -- names ----------------------------------------------------------------------------------------------------------


def test_clients_see_the_name_they_asked_for_and_the_upstream_its_own(routed: World) -> None:
    relayed = chat(routed, "alias")  # same dialect: what the upstream says of itself is left as it is
    assert relayed.json()["model"] == "vendor/Model-V4"
    with anthropic_sdk(routed.url) as client:
        message = client.messages.create(model="alias", max_tokens=99, messages=[{"role": "user", "content": PROMPT}])
    assert message.model == "alias"


@pytest.mark.parametrize("stream", [True, False])
def test_the_upstreams_model_can_be_revealed(stream: bool) -> None:
    """mapping.md §8."""
    with simulators() as (ports, _):
        routes = {"alias": {"targets": [{"upstream": "there", "model": "vendor/Model-V4"}]}}
        config = config_of({"there": upstream(ports, "openai", QUICK)}, routes, reveal_model=True)
        with gateway(config) as port, anthropic_sdk(f"http://127.0.0.1:{port}") as client:
            asked: list[MessageParam] = [{"role": "user", "content": PROMPT}]
            if stream:
                with client.messages.stream(model="alias", max_tokens=99, messages=asked) as answer:
                    assert answer.get_final_message().model == "vendor/Model-V4"
            else:
                message = client.messages.create(model="alias", max_tokens=99, messages=asked)
                assert message.model == "vendor/Model-V4"


@pytest.mark.parametrize(
    ("model", "route"), [("pat-x", "pat-*"), ("pat-", "pat-*"), ("pat-special-x", "pat-special-*"), ("demo", "demo")]
)
def test_a_name_finds_its_route_and_a_pattern_passes_it_on(routed: World, model: str, route: str) -> None:
    told = chat(routed, model)
    assert told.headers["x-gateway-route"] == route
    assert told.json()["model"] == model


def test_an_unknown_model_is_404_with_a_hint_in_every_dialect(routed: World) -> None:
    with openai_sdk(routed.url) as client, pytest.raises(openai.NotFoundError) as openai_error:
        client.chat.completions.create(model="dmeo", messages=[{"role": "user", "content": "x"}])
    assert openai_error.value.code == "model_not_found"
    assert 'did you mean "demo"' in openai_error.value.message
    with anthropic_sdk(routed.url) as messages, pytest.raises(anthropic.NotFoundError) as anthropic_error:
        messages.messages.create(model="dmeo", max_tokens=9, messages=[{"role": "user", "content": "x"}])
    assert anthropic_error.value.type == "not_found_error"
    with pytest.raises(TrussError) as truss_error:
        CLIENTS["truss"].whole(routed.url, "dmeo", PROMPT)
    assert truss_error.value.status == 404


# -- paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/"])
def test_probes_are_answered(routed: World, path: str) -> None:
    assert requests.get(routed.url + path, timeout=PATIENCE_S).status_code == 200
    told = requests.head(routed.url + path, timeout=PATIENCE_S)
    assert (told.status_code, told.content) == (200, b"")


@pytest.mark.parametrize("path", ["/v1/nope", "/nope", "/v1/chat/completions/"])
def test_an_unknown_path_is_404_in_openais_words(routed: World, path: str) -> None:
    told = requests.post(routed.url + path, json={}, timeout=PATIENCE_S)
    assert told.status_code == 404
    assert told.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/v1/messages/nope", "/v1/messages/batches"])
def test_an_unknown_path_below_messages_is_404_in_anthropics_words(routed: World, path: str) -> None:
    told = requests.post(routed.url + path, json={}, timeout=PATIENCE_S)
    assert told.status_code == 404
    assert told.json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize("path", ["/model-demo/nope/predict", "/model-demo/whatever", "/nope/predict"])
def test_an_unknown_path_below_a_model_is_404_in_truss_words(routed: World, path: str) -> None:
    told = requests.post(routed.url + path, json={}, timeout=PATIENCE_S)
    assert (told.status_code, list(told.json())) == (404, ["error"])


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/predict", "/model-demo/production/predict"])
def test_a_wrong_method_is_405_and_says_which_is_right(routed: World, path: str) -> None:
    told = requests.get(routed.url + path, timeout=PATIENCE_S)
    assert (told.status_code, told.headers["allow"]) == (405, "POST")
    assert "takes POST" in str(told.json()["error"])


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/predict", "default"),
        ("/production/predict", "default"),
        ("/development/predict", "default"),
        ("/environments/staging/predict", "default"),
        ("/model-demo/predict", "demo"),
        ("/model-demo/production/predict", "demo"),
        ("/model-demo/development/predict", "demo"),
        ("/model-demo/environments/staging/predict", "demo@staging"),
        ("/model-demo/environments/elsewhere/predict", "demo"),
        ("/model-demo/deployment/dep1/predict", "demo@dep1"),
        ("/model-with-dash-prod/predict", "with-dash-prod"),
        ("/v1/models/demo:predict", "demo"),
        ("/v1/models/pat-7:predict", "pat-*"),
    ],
)
def test_every_path_of_predict_finds_its_model(routed: World, path: str, model: str) -> None:
    told = predict(routed, path)
    assert (told.status_code, told.json()) == (200, HAIKU)
    assert told.headers["x-gateway-route"] == model


def test_a_deployment_is_a_promise_and_an_unknown_one_404(routed: World) -> None:
    told = predict(routed, "/model-demo/deployment/dep2/predict")
    assert (told.status_code, list(told.json())) == (404, ["error"])


def test_a_model_in_the_body_counts_where_the_path_names_none(routed: World) -> None:
    body = {"prompt": PROMPT, "model": "demo"}
    told = requests.post(f"{routed.url}/predict", json=body, timeout=PATIENCE_S)
    assert told.headers["x-gateway-route"] == "demo"
    told = requests.post(predict_url(routed.url, "alias"), json=body, timeout=PATIENCE_S)
    assert told.headers["x-gateway-route"] == "alias"


@pytest.mark.parametrize(
    ("label", "path", "model"),
    [
        ("model-demo", "/predict", "demo"),
        ("model-demo", "/production/predict", "demo"),
        ("MODEL-demo", "/production/predict", "demo"),
        ("model-demo-staging", "/predict", "demo@staging"),
        ("model-demo-elsewhere", "/predict", "demo"),
        ("model-with-dash-prod", "/predict", "with-dash-prod"),
        ("other", "/predict", "default"),
    ],
)
def test_a_hosts_first_label_names_the_model(routed: World, label: str, path: str, model: str) -> None:
    told = predict(routed, path, host=f"{label}.{HOST}:8080")
    assert told.headers["x-gateway-route"] == model


def test_a_host_that_is_not_configured_names_nothing(routed: World) -> None:
    assert predict(routed, "/predict", host="model-demo.elsewhere.com").headers["x-gateway-route"] == "default"


@pytest.mark.parametrize("prefix", ["", "/production", "/environments/staging", "/development"])
def test_sync_paths_speak_their_own_dialect(routed: World, prefix: str) -> None:
    base = f"{routed.url}/model-demo{prefix}/sync"
    with openai.OpenAI(base_url=f"{base}/v1", api_key="x", max_retries=0, _strict_response_validation=True) as client:
        answer = client.chat.completions.create(
            model="placeholder", messages=[{"role": "user", "content": PROMPT}], stream=True
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in answer) == HAIKU
    with anthropic.Anthropic(base_url=base, api_key="x", max_retries=0, _strict_response_validation=True) as messages:
        message = messages.messages.create(
            model="placeholder", max_tokens=99, messages=[{"role": "user", "content": PROMPT}]
        )
        assert [block.text for block in message.content if block.type == "text"] == [HAIKU]


def test_the_direct_path_of_a_deployed_model_speaks_openai(routed: World) -> None:
    url = f"{routed.url}/model-demo/v1/chat/completions"
    told = requests.post(url, json={**CHAT, "model": "placeholder"}, timeout=PATIENCE_S)
    assert told.headers["x-gateway-route"] == "demo"
    assert told.json()["object"] == "chat.completion"


@pytest.mark.parametrize(
    "path",
    [
        *("/model-demo/production/async_predict", "/model-demo/production/wake", "/production/run_remote"),
        *("/model-demo/production/websocket", "/async_request/abc", "/model-demo/development/async_run_remote"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_this_api_has_and_we_do_not_is_501_with_a_sentence(routed: World, path: str, method: str) -> None:
    told = requests.request(method, routed.url + path, timeout=PATIENCE_S)
    assert told.status_code == 501
    assert "not served by this gateway" in told.json()["error"]
