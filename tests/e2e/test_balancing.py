"""How a route's requests are shared: counted where they arrive, over real sockets."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
import requests

from tests.e2e.clients import PATIENCE_S
from tests.e2e.gateway_process import World, config_of, gateway, simulators, upstream
from tests.e2e.scripts import faulty

SLOW_S = 1.0


def script(number: int, text: str) -> str:
    """A script that nobody else performs: its cached tokens are its number."""
    return f"{text}&cache_read={number}"


QUICK = [script(number, "ttft=0ms&tps=0") for number in range(4)]
LASTING = [script(number, "ttft=0ms&tps=1") for number in range(3)]
"""Streams that stay in flight until their client leaves."""
SLOW = f"ttft={SLOW_S:g}s&tps=0"
DOWN = faulty("status@503")


@contextmanager
def world(balance: Any, *scripts: str, weights: Mapping[str, int] | None = None) -> Iterator[World]:
    """A route `demo` whose targets perform a script each."""
    with simulators() as (ports, scripted):
        upstreams = {text: upstream(ports, "openai", text) for text in scripts}
        targets = [{"upstream": text, "weight": (weights or {}).get(text, 1)} for text in scripts]
        config = config_of(upstreams, {"demo": {"targets": targets, "balance": balance}})
        with gateway(config) as port:
            yield World(port, ports, scripted)


def ask(
    running: World,
    *said: str,
    stream: bool = False,
    headers: Mapping[str, str] | None = None,
    timeout: float = PATIENCE_S,
    **further: Any,
) -> requests.Response:
    """A call whose conversation alternates between user and assistant."""
    roles = ("user", "assistant")
    messages = [{"role": roles[index % 2], "content": text} for index, text in enumerate(said or ("Hello",))]
    body = {"model": "demo", "messages": messages, "stream": stream, **further}
    answer = requests.post(
        f"{running.url}/v1/chat/completions", json=body, headers=headers, stream=stream, timeout=timeout
    )
    assert answer.status_code == 200
    return answer


def target_of(running: World, *said: str, **further: Any) -> str:
    """Who got the call, as the upstreams counted it."""
    before = {name: running.calls(name) for name in (*QUICK, *LASTING)}
    told = ask(running, *said, **further).headers["x-gateway-upstream"]
    assert running.calls(told) == before[told] + 1
    return str(told)


@contextmanager
def streams(running: World, count: int, **further: Any) -> Iterator[Counter[str]]:
    """So many streams at once; where they are in flight."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(ask(running, stream=True, **further))
        yield Counter({text: running.active(text) for text in LASTING})


def wait_until(happens: Callable[[], bool]) -> None:
    """Raises where it does not happen in time."""
    deadline = time.monotonic() + PATIENCE_S
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # asked again until it happens or the time is over


def test_weights_are_shares_of_all_requests() -> None:
    with world("weighted", *QUICK[:2], weights={QUICK[0]: 3}) as running:
        for _ in range(100):
            ask(running)
        assert running.calls(QUICK[0]) == pytest.approx(75, abs=26)  # six standard deviations
        assert running.calls(QUICK[0]) + running.calls(QUICK[1]) == 100


def test_least_in_flight_fills_targets_evenly() -> None:
    with world("least_in_flight", *LASTING[:2]) as running, streams(running, 12) as active:
        assert [active[text] for text in LASTING[:2]] == [6, 6]


@pytest.mark.slow
def test_least_in_flight_fills_targets_by_weight() -> None:
    with (
        world("least_in_flight", *LASTING[:2], weights={LASTING[1]: 3}) as running,
        streams(running, 12) as active,
    ):
        assert [active[text] for text in LASTING[:2]] == [3, 9]


def test_least_in_flight_goes_round_a_target_that_is_stuck() -> None:
    with world("least_in_flight", LASTING[0], QUICK[0]) as running, ExitStack() as stack:
        while not running.active(LASTING[0]):
            stack.enter_context(ask(running, stream=True))
        for _ in range(20):
            ask(running)
        assert running.calls(LASTING[0]) == 1


def test_a_stream_whose_client_leaves_makes_room_again() -> None:
    one, other = LASTING[:2]
    with world("least_in_flight", one, other) as running, ExitStack() as stack:
        opened = [stack.enter_context(ask(running, stream=True)) for _ in range(12)]
        for answer in opened:
            if answer.headers["x-gateway-upstream"] == one:
                answer.close()
        wait_until(lambda: not running.active(one))
        again = [stack.enter_context(ask(running, stream=True)).headers["x-gateway-upstream"] for _ in range(6)]
        assert again.count(one) >= 5  # one of them may have been counted still


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_fastest_tries_both_and_stays_with_the_quicker(stream: bool) -> None:
    with world("fastest", SLOW, QUICK[0]) as running:
        for _ in range(20):
            ask(running, stream=stream).close()
        assert 1 <= running.calls(SLOW) <= 2
        assert running.calls(QUICK[0]) >= 18


@pytest.mark.slow
def test_fastest_learns_of_a_target_that_nobody_waited_for() -> None:
    stuck = "ttft=60s&tps=0"
    with world("fastest", stuck, QUICK[0]) as running:
        while not running.calls(stuck):
            with suppress(requests.exceptions.ReadTimeout):
                ask(running, timeout=0.5)
        wait_until(lambda: not running.active(stuck))
        for _ in range(10):
            ask(running)
        assert running.calls(stuck) == 1


def test_fastest_leaves_a_target_that_fails_fast() -> None:
    with world("fastest", DOWN, QUICK[0]) as running:
        for _ in range(20):
            ask(running)
        assert running.calls(QUICK[0]) == 20
        assert running.calls(DOWN) <= 4  # once, or a few times if tries are repeated


def test_a_conversation_comes_back_to_the_target_that_has_it_cached() -> None:
    firsts = set()
    with world("prefix", *QUICK) as running:
        for number in range(12):
            said = [f"Question {number}"]
            targets = set()
            for turn in range(4):
                targets.add(target_of(running, *said))
                said += [f"Answer {turn}", f"And {turn}?"]
            assert len(targets) == 1
            firsts |= targets
    assert len(firsts) > 2, "different conversations are spread"


def test_where_a_conversation_belongs_survives_a_restart_and_a_new_target() -> None:
    questions = [f"Question {number}" for number in range(24)]
    with world("prefix", *QUICK[:3]) as running:
        before = {question: target_of(running, question) for question in questions}
    with world("prefix", *QUICK[:3]) as running:
        assert before == {question: target_of(running, question) for question in questions}
    with world("prefix", *QUICK) as running:
        moved = {question for question in questions if target_of(running, question) != before[question]}
        assert all(target_of(running, question) == QUICK[3] for question in moved)
    assert 1 <= len(moved) <= 12  # a quarter is expected


@pytest.mark.slow
def test_one_hot_conversation_does_not_drown_its_target() -> None:
    with world("prefix", *LASTING) as running, streams(running, 12) as active:
        assert sum(active.values()) == 12
        assert max(active.values()) == 5  # 1.25 times a third of 12


@pytest.mark.parametrize("balance", [{"sticky": {"header": "X-Session"}}, {"sticky": "user"}], ids=str)
def test_a_session_stays_with_its_target_and_other_requests_are_shared(balance: dict[str, Any]) -> None:
    with world(balance, *QUICK[:3]) as running:
        homes = {}
        for number in range(12):
            session = f"session-{number}"
            named: dict[str, Any] = {"user": session} if balance["sticky"] == "user" else {}
            targets = {
                target_of(running, f"Question {turn}", headers={"x-session": session}, **named) for turn in range(4)
            }
            assert len(targets) == 1
            homes[session] = targets.pop()
        assert len(set(homes.values())) > 1
        assert len({target_of(running, "Hello") for _ in range(40)}) == 3


def test_a_session_whose_target_fails_is_answered_by_the_next() -> None:
    with world({"sticky": {"header": "x-session"}}, DOWN, QUICK[0]) as running:
        for number in range(8):
            ask(running, headers={"x-session": f"session-{number}"})
        assert running.calls(QUICK[0]) == 8
        assert running.calls(DOWN) >= 1
