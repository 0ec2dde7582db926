"""What the README promises: clients of the hosted APIs, only the base URL changed, see tokens as they are produced."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import requests

from gateway.dialects import DIALECTS
from gateway.simulator.sayings import HAIKU
from gateway.simulator.script import tokens
from tests.e2e.clients import Heard, spread, stopwatch
from tests.e2e.gateway_process import served

PROMPT = "Write a haiku about the ocean."
EXPECTED_S = (len(tokens(HAIKU)) - 1) / 20  # the simulator of routes.yaml says 20 tokens a second
MODELS = ("demo", "demo-anthropic", "demo-responses", "demo-truss")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`triglot serve` on the repository's routes.yaml. The SDKs load most of themselves in a first call: not timed."""
    with served(tmp_path_factory.mktemp("serve") / "log.txt") as address:
        by_openai_sdk(address, "demo")
        by_anthropic_sdk(address, "demo")
        yield address


def by_openai_sdk(url: str, model: str) -> Heard:
    heard = Heard()
    with openai.OpenAI(base_url=f"{url}/v1", api_key="key") as client:
        now = stopwatch()
        stream = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": PROMPT}], stream=True
        )
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                heard.hear(chunk.choices[0].delta.content, now())
    return heard


def by_anthropic_sdk(url: str, model: str) -> Heard:
    heard = Heard()
    with anthropic.Anthropic(base_url=url, api_key="key") as client:
        now = stopwatch()
        with client.messages.stream(
            model=model, max_tokens=1024, messages=[{"role": "user", "content": PROMPT}]
        ) as stream:
            for text in stream.text_stream:
                heard.hear(text, now())
    return heard


def post(url: str, model: str) -> requests.Response:
    """As Baseten's documentation has it, with the host exchanged."""
    return requests.post(
        f"{url}/model-{model}/production/predict",
        headers={"Authorization": "Bearer key"},
        json={"prompt": PROMPT, "stream": True},
        stream=True,
    )


def by_requests(url: str, model: str) -> Heard:
    heard, now = Heard(), stopwatch()
    with post(url, model) as answer:
        for piece in answer.iter_content(chunk_size=None):
            heard.hear(piece.decode("utf-8"), now())
    return heard


def by_requests_byte_by_byte(url: str, model: str) -> Heard:
    heard, now, read = Heard(), stopwatch(), b""
    with post(url, model) as answer:
        for byte in answer.iter_content():
            assert len(byte) == 1
            read += byte
            heard.arrivals.append(now())
    heard.text = read.decode("utf-8")
    return heard


def by_curl(url: str, model: str) -> Heard:
    command = ["curl", "--silent", "--show-error", "--fail", "--no-buffer", "-H", "Authorization: Bearer key"]
    command += ["-d", f'{{"prompt": "{PROMPT}", "stream": true}}', f"{url}/model-{model}/production/predict"]
    heard, now = Heard(), stopwatch()
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        while piece := process.stdout.read(65536):
            heard.hear(piece.decode(), now())
    assert process.returncode == 0
    return heard


CALLERS: dict[str, Callable[[str, str], Heard]] = {
    "openai-sdk": by_openai_sdk,
    "anthropic-sdk": by_anthropic_sdk,
    "requests": by_requests,
    "requests-byte-by-byte": by_requests_byte_by_byte,
    "curl": by_curl,
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("caller", CALLERS)
def test_tokens_arrive_one_by_one_as_they_are_produced(
    url: str, caller: str, model: str, record_property: Callable[[str, Any], None]
) -> None:
    if caller == "curl" and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    heard = CALLERS[caller](url, model)
    seen = spread(heard.arrivals)
    record_property("spread", str(seen))
    print(f"{caller} {model}: {seen}")  # noqa: T201  shown by -s, and where it fails
    assert heard.text == HAIKU
    assert seen.distinct >= 10
    assert seen.first_s < 0.6 * EXPECTED_S
    assert 0.75 * EXPECTED_S <= seen.over_s <= 2.5 * EXPECTED_S


def test_what_serve_prints_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with served(log) as url:
        calls = [line for line in log.read_text().splitlines() if line.startswith("curl ")]
        assert len(calls) == len(DIALECTS)
        for call in calls:
            assert url in call
            told = subprocess.run(["sh", "-c", f"{call} -sS"], capture_output=True, timeout=20, check=True)
            assert b"Grey " in told.stdout
            assert b"word" in told.stdout


def test_serve_ends_at_once_when_nothing_runs(tmp_path: Path) -> None:
    with served(tmp_path / "log.txt"):
        begun = time.perf_counter()
    assert time.perf_counter() - begun < 5
