"""The clients that people use, through each proxy: tokens arrive as on the direct line, and a cut is noticed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Final

import anthropic
import openai
import orjson
import pytest
import requests

from tests.deploy.proxies import Proxy, Running, running
from tests.e2e.clients import CLIENTS, Heard
from tests.e2e.gateway_process import served
from tests.e2e.scripts import PROMPT
from tests.measured import measure

WITHIN_S: Final = 0.010
ROUNDS: Final = 4
ROUTES: Final = """
upstreams:
  steady: {dialect: openai, url: "simulator://?ttft=50ms&tps=100&say=echo"}
  broken: {dialect: openai, url: "simulator://?ttft=0ms&tps=20&fault=cut@3"}
routes: {steady: steady, broken: broken}
"""
LONG: Final = " ".join(["word"] * 100)


class CurlFailed(Exception):
    """curl's exit code, which scripts look at."""


def curl(url: str, model: str, prompt: str, heard: Heard | None = None) -> Heard:
    """curl as the docs show it; the arrival of each frame with content."""
    heard = heard or Heard()
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": prompt}]}
    command = ["curl", "-sS", "-N", f"{url}/v1/chat/completions", "-d", orjson.dumps(body).decode()]
    begun, is_done = time.perf_counter(), False
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            is_done = is_done or line == b"data: [DONE]\n"
            if line.startswith(b"data: {"):
                event = orjson.loads(line[6:])
                if text := next((choice["delta"].get("content") for choice in event.get("choices", ())), None):
                    heard.hear(text, time.perf_counter() - begun)
    if process.returncode or not is_done:
        raise CurlFailed(process.returncode)
    return heard


@dataclass(frozen=True)
class Used:
    """A client: how it streams, and what it raises when an answer is cut."""

    name: str
    stream: Callable[[str, str, str], Heard]
    at_a_cut: tuple[type[Exception], ...]


FOUR: Final = (
    Used("openai", CLIENTS["openai"].stream, (openai.APIError,)),
    Used("anthropic", CLIENTS["anthropic"].stream, (anthropic.APIError,)),
    Used("requests", CLIENTS["truss"].stream, (requests.RequestException,)),
    Used("curl", curl, (CurlFailed,)),
)
each_client = pytest.mark.parametrize("used", FOUR, ids=lambda used: used.name)


@pytest.fixture(scope="module")
def gateway_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`triglot serve` on simulators: one that keeps a pace, one that breaks."""
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "routes.yaml").write_text(ROUTES)
    with served(folder / "log", "--config", str(folder / "routes.yaml")) as url:
        yield url


@pytest.fixture(scope="module")
def in_front(kind: Proxy, gateway_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(kind, tmp_path_factory.mktemp(kind.name), int(gateway_url.rpartition(":")[2])) as proxy:
        yield proxy


def needs(used: Used) -> None:
    if shutil.which(used.name) is None and used.name == "curl":
        pytest.skip("curl is not installed: apt install curl")


@each_client
def test_a_cut_is_noticed(in_front: Running, used: Used) -> None:
    needs(used)
    if used.name == "requests" and in_front.hides_cuts:
        pytest.xfail("Caddy before 2.8 ends a cut raw text as if it were whole; docs/deployment.md says so")
    with pytest.raises(used.at_a_cut):
        used.stream(in_front.url, "broken", PROMPT)


@dataclass
class Gaps:
    """Seconds between one token's arrival and the next one's."""

    values: list[float] = field(default_factory=list)

    def of(self, heard: Heard) -> None:
        assert heard.text.count("word") == 100
        self.values += [later - earlier for earlier, later in pairwise(heard.arrivals)]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def p99(self) -> float:
        return sorted(self.values)[int(len(self.values) * 0.99)]


def compared(used: Used, direct: str, proxied: str) -> tuple[float, float]:
    """How far the gaps through a proxy are from those of the direct line, in seconds: at the median, and at p99.

    The two take turns, so that whatever else the machine does comes to both.
    """
    gaps = {direct: Gaps(), proxied: Gaps()}
    for _ in range(2):
        for url, seen in gaps.items():
            seen.of(used.stream(url, "steady", LONG))
    one, other = gaps.values()
    return abs(one.median - other.median), abs(one.p99 - other.p99)


@pytest.mark.slow
@each_client
def test_tokens_arrive_as_on_the_direct_line(gateway_url: str, in_front: Running, used: Used) -> None:
    """In one round of several: a proxy that holds tokens back does so in each, a machine that stalls does not."""
    needs(used)
    used.stream(in_front.url, "steady", LONG)  # the SDKs load most of themselves in a first call
    rounds: list[tuple[float, float]] = []
    while not rounds or (max(rounds[-1]) >= WITHIN_S and len(rounds) < ROUNDS):
        rounds.append(compared(used, gateway_url, in_front.url))
    at_median, at_p99 = min(rounds, key=max)
    measure(f"ms between a token's gap through {in_front.proxy.name} and direct, at the median", at_median * 1000)
    measure(f"ms between a token's gap through {in_front.proxy.name} and direct, at p99", at_p99 * 1000)
    assert at_median < WITHIN_S
    assert at_p99 < WITHIN_S
