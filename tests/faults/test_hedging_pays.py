"""What hedging brings: two upstreams that answer in 50 ms, but one time in twenty only after 5 s.

`pytest -m slow tests/faults/test_hedging_pays.py -s` prints the figures.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final

import orjson
import pytest

from gateway.config import parse
from tests.faults.callers import OPENAI_CALLER, assert_finished, calling
from tests.faults.harness import Gateway, gateway_in_thread
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, hostile_upstream
from tests.faults.voices import OPENAI, chunk

REQUESTS: Final = 400
BEFORE: Final = 64
"""Requests before those that are measured: a share of the traffic is a share of some, and p95 has to be learned."""
AT_ONCE: Final = 16
USUAL_S: Final = 0.05
TAIL_S: Final = 5.0
TAIL: Final = 0.05
P99_S: Final = 0.5
EXTRA: Final = 0.1
ROUTES: Final[dict[str, dict[str, Any]]] = {
    "alone": {},
    "after 150ms": {"hedge": {"after": "150ms", "max_ratio": 0.1}},
    "after p95": {"hedge": {"after": "p95", "max_ratio": 0.1}},
}


def with_a_tail(seed: int) -> Play:
    """Late by chance, the same chance in every run."""
    chance = random.Random(seed)

    async def play(peer: Peer, seen: Seen) -> None:
        late = TAIL_S if chance.random() < TAIL else USUAL_S
        await peer.send(OPENAI.head + chunk(OPENAI.opening))
        await peer.rest(late)
        await peer.send(OPENAI.stream().removeprefix(OPENAI.head + chunk(OPENAI.opening)))

    return play


@pytest.fixture(scope="module")
def upstreams() -> Iterator[list[HostileUpstream]]:
    with ExitStack() as stack:
        yield [stack.enter_context(hostile_upstream()) for _ in range(2)]


@pytest.fixture(scope="module")
def gateway(upstreams: list[HostileUpstream]) -> Iterator[Gateway]:
    config: dict[str, Any] = {"server": {"port": "0"}, "upstreams": {}, "routes": {}}
    for index, upstream in enumerate(upstreams):
        config["upstreams"][f"u{index}"] = {"dialect": "openai", "url": f"http://127.0.0.1:{upstream.port}/v1"}
    for name, hedge in ROUTES.items():
        targets = [{"upstream": upstream, "model": "m"} for upstream in config["upstreams"]]
        config["routes"][name.replace(" ", "-")] = {"targets": targets, **hedge}
    with gateway_in_thread(parse(orjson.dumps(config), "hedging.yaml", {})) as gateway:
        yield gateway


def first_token_s(gateway: Gateway, route: str) -> float:
    """How long one client waits for its first token, at its own socket."""
    begun = time.perf_counter()
    with calling(gateway.port, OPENAI_CALLER.request(route)) as call:
        call.read_until(b"Salt")
        took = time.perf_counter() - begun
        assert_finished(call.read_reply(), "openai")
    return took


def played(upstreams: list[HostileUpstream], gateway: Gateway, name: str) -> tuple[float, float]:
    """p99 of the first token in seconds, and the share of requests that the upstreams got beyond the clients'."""
    for seed, upstream in enumerate(upstreams):
        upstream.reset()
        upstream.perform(with_a_tail(seed))
    route = name.replace(" ", "-")
    with ThreadPoolExecutor(AT_ONCE) as clients:
        list(clients.map(lambda _: first_token_s(gateway, route), range(BEFORE)))
        known = sum(len(upstream.requests) for upstream in upstreams)
        waits = sorted(clients.map(lambda _: first_token_s(gateway, route), range(REQUESTS)))
    extra = (sum(len(upstream.requests) for upstream in upstreams) - known) / REQUESTS - 1
    p50, p95, p99 = (waits[int(REQUESTS * share) - 1] for share in (0.5, 0.95, 0.99))
    told = f"{name:12} TTFT p50 {p50:.3f} s, p95 {p95:.3f} s, p99 {p99:.3f} s, worst {waits[-1]:.3f} s"
    print(f"{told}, {extra:+.1%} requests")  # noqa: T201  shown by -s, and where it fails
    return p99, extra


@pytest.mark.slow
def test_hedging_brings_p99_down_at_little_extra_load(upstreams: list[HostileUpstream], gateway: Gateway) -> None:
    """The promise of issue 4: p99 of the first token below 500 ms for less than 10 % more requests."""
    alone, fixed, learned = (played(upstreams, gateway, name) for name in ROUTES)
    assert alone[0] > TAIL_S, "the tail is there"
    assert alone[1] == 0
    for p99, extra in (fixed, learned):
        assert p99 < P99_S
        assert 0 < extra < EXTRA
