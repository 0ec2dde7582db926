"""The README's clients through the gateway to the plainest model on the real Truss server, all its defaults left."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator

import openai
import pytest
import requests

from tests.e2e.clients import CLIENTS, PATIENCE_S, Heard, OpenAIClient, predict_url, spread, stopwatch
from tests.e2e.gateway_process import config_of, gateway
from tests.truss.real_server import truss_server

pytestmark = pytest.mark.truss

PROMPT = "Write a haiku about the ocean."
HAIKU = "Grey waves fold and fall,\nsalt wind combs the waiting shore,\nthe tide keeps its word.\n"
GAP_S = 0.1  # the model's pause before each word
WORDS = len(HAIKU.split())


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with truss_server("haiku", tmp_path_factory.mktemp("haiku")) as predict:
        upstreams = {
            "haiku": {"dialect": "truss", "url": predict, "options": {"input": "prompt"}},
            "careful": {"dialect": "truss", "url": predict, "options": {"input": "prompt", "raw_eof": "refuse"}},
        }
        with gateway(config_of(upstreams, {name: name for name in upstreams})) as port:
            base = f"http://127.0.0.1:{port}"
            OpenAIClient().whole(base, "haiku", "x")  # the SDKs load most of themselves in a first call
            CLIENTS["anthropic"].stream(base, "haiku", "x")
            yield base


def by_curl(url: str, model: str, prompt: str) -> Heard:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = ["curl", "-sS", "--fail", "--no-buffer", "-d", f'{{"prompt": "{prompt}", "stream": true}}']
    heard, now = Heard(), stopwatch()
    with subprocess.Popen([*command, predict_url(url, model)], stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        while piece := process.stdout.read(65536):
            heard.hear(piece.decode(), now())
    assert process.returncode == 0
    return heard


STREAMING: dict[str, Callable[[str, str, str], Heard]] = {
    "openai-sdk": CLIENTS["openai"].stream,
    "anthropic-sdk": CLIENTS["anthropic"].stream,
    "requests": CLIENTS["truss"].stream,
    "curl": by_curl,
}


@pytest.mark.parametrize("caller", STREAMING)
def test_words_arrive_one_by_one_as_the_model_says_them(url: str, caller: str) -> None:
    heard = STREAMING[caller](url, "haiku", PROMPT)
    seen = spread(heard.arrivals)
    print(f"{caller} haiku: {seen}")  # noqa: T201  shown by -s, and where it fails
    assert heard.text == HAIKU
    assert seen.distinct >= WORDS - 2
    assert seen.first_s < 0.5 * WORDS * GAP_S
    assert 0.75 * (WORDS - 1) * GAP_S < seen.over_s < 2.5 * WORDS * GAP_S


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_sdks_get_a_whole_answer(url: str, client: str) -> None:
    assert CLIENTS[client].whole(url, "haiku", PROMPT).text == HAIKU


def test_requests_get_the_models_own_whole_answer(url: str) -> None:
    with requests.post(predict_url(url, "haiku"), json={"prompt": PROMPT}, timeout=PATIENCE_S) as answer:
        assert answer.json() == {"output": HAIKU}


def test_limits_reach_the_model_under_the_names_it_reads(url: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        answer = client.chat.completions.create(
            model="haiku", messages=[{"role": "user", "content": PROMPT}], max_completion_tokens=3
        )
    assert answer.choices[0].message.content == "Grey waves fold "


def test_a_conversation_reaches_the_model_as_one_prompt(url: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        answer = client.chat.completions.create(
            model="haiku",
            messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        )
    assert answer.choices[0].message.content == "System: Be brief.\nUser: Hello\nAssistant:\n"


@pytest.mark.parametrize("caller", ["openai-sdk", "anthropic-sdk", "requests"])
def test_an_upstream_not_trusted_to_end_is_collected_and_streamed_at_once(url: str, caller: str) -> None:
    heard = STREAMING[caller](url, "careful", PROMPT)
    assert heard.text == HAIKU
    assert len(heard.arrivals) == 1


def test_a_body_the_model_chokes_on_is_an_error_status(url: str) -> None:
    with requests.post(predict_url(url, "haiku"), json={"messages": []}, timeout=PATIENCE_S) as answer:
        assert (answer.status_code, list(answer.json())) == (502, ["error"])
