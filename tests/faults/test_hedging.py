"""A second target is asked when the first is late: one answer, one loser that is hung up on at once, bounded load."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any, Final

import orjson
import pytest

from gateway.config import Config, parse
from gateway.racing import Gate, Lane, Race
from tests.faults.callers import (
    ANTHROPIC_CALLER,
    FOUR,
    OPENAI_CALLER,
    RESPONSES_CALLER,
    Caller,
    ask,
    assert_finished,
    calling,
    told_error,
)
from tests.faults.harness import Gateway, gateway_in_thread, settings
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, until
from tests.faults.voices import ANTHROPIC, OPENAI, RAW, RESPONSES, Voice, answers, chunk, hangs_after, says, sized
from tests.measured import measure

AFTER_S: Final = 0.05
VOICES: Final = (OPENAI, ANTHROPIC, RAW, RESPONSES)
SIXTEEN: Final = [(caller, voice) for caller in FOUR for voice in VOICES]
sixteen_pairs = pytest.mark.parametrize(("caller", "voice"), SIXTEEN, ids=[f"{c.name}-of-{v.name}" for c, v in SIXTEEN])
BOUND_S: Final = 1.0
"""What a loaded machine still keeps of the 100 ms that are promised; the figure is measured."""
BUSY: Final = sized(b'{"error":{"message":"busy"}}', 503)


def configuration(port: int, **limits: str) -> Config:
    """`hedged-` and a dialect has three targets, `rare-` may hardly hedge, `usual-` goes by p95."""
    config: dict[str, Any] = orjson.loads(settings(port, server=limits))
    for name in config["upstreams"]:
        models = [{"upstream": name, "model": model} for model in ("first", "second", "third")]
        route = {"targets": models[:1], "fallback": models[1:], "retries": {"same_target": 0}}
        config["routes"][f"hedged-{name}"] = {**route, "hedge": {"after": f"{AFTER_S}s", "max_ratio": 1}}
        config["routes"][f"rare-{name}"] = {**route, "hedge": {"after": f"{AFTER_S}s", "max_ratio": 0.01}}
        config["routes"][f"usual-{name}"] = {**route, "hedge": {"after": "p95", "max_ratio": 1}}
    return parse(orjson.dumps(config), "hedging.yaml", {})


@pytest.fixture(scope="module")
def hedging(the_upstream: HostileUpstream) -> Iterator[Gateway]:
    with gateway_in_thread(configuration(the_upstream.port)) as gateway:
        yield gateway


@pytest.fixture
def gateway(hedging: Gateway, upstream: HostileUpstream) -> Iterator[Gateway]:
    hedging.forget()
    yield hedging
    assert not hedging.failures


def answers_after(seconds: float, voice: Voice) -> Play:
    """A good answer that comes late, on a connection that says hello at once."""

    async def play(peer: Peer, seen: Seen) -> None:
        answer = voice.answer(seen)
        head = voice.head + chunk(voice.opening)
        begun = head if answer.startswith(head) else b""
        await peer.send(begun)
        await peer.rest(seconds)
        await peer.send(answer.removeprefix(begun))

    return play


def models_of(upstream: HostileUpstream) -> list[str]:
    """Which target each request was for."""
    return [orjson.loads(seen.body).get("model", "") for seen in upstream.requests]


# -- who wins --------------------------------------------------------------------------------------------------------


@sixteen_pairs
def test_the_second_answers_when_the_first_is_silent(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    """Only its answer is heard, its name is told, and the first one's connection is closed at once."""
    upstream.perform(hangs_after(voice.head + chunk(voice.opening)), answers(voice))
    with calling(gateway.port, caller.request(f"hedged-{voice.upstream}")) as call:
        call.read_until(b"Salt")
        heard_at = time.perf_counter()
        reply = call.read_reply()
    assert_finished(reply, caller.form(voice))
    assert upstream.peers[0].closed.wait(BOUND_S)
    measure("s from a winner's first token to the loser's closed connection", upstream.peers[0].closed_at - heard_at)
    line = gateway.the_line()
    assert (line["end"], line["hedge"], line["attempts"]) == ("complete", "won", 2)
    assert reply.header("x-gateway-attempts") == "2"
    assert [each["end"] for each in line["tries"]] == ["left", "complete"]
    assert AFTER_S * 1000 <= line["ttft_ms"] < 1000


@sixteen_pairs
def test_the_first_is_heard_if_it_still_comes_first(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    upstream.perform(answers_after(4 * AFTER_S, voice), hangs_after(voice.head + chunk(voice.opening)))
    reply = ask(gateway.port, caller.request(f"hedged-{voice.upstream}"))
    assert_finished(reply, caller.form(voice))
    assert upstream.peers[1].closed.wait(BOUND_S)
    line = gateway.the_line()
    assert (line["end"], line["hedge"], line["attempts"]) == ("complete", "lost", 2)
    assert [each["end"] for each in line["tries"]] == ["complete", "left"]


@pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
def test_a_whole_answer_is_hedged_by_the_time_all_of_it_takes(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    upstream.perform(hangs_after(), answers(OPENAI))
    reply = ask(gateway.port, caller.request("hedged-openai", stream=False))
    assert reply.status == 200
    assert b"Salt wind" in reply.body
    assert upstream.peers[0].closed.wait(BOUND_S)
    assert gateway.the_line()["hedge"] == "won"


def test_a_first_answer_in_time_has_no_second_beside_it(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Also if it goes on for longer than the delay: what counts is when it begins."""

    async def slow_ending(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.first())
        await peer.rest(4 * AFTER_S)
        await peer.send(OPENAI.stream().removeprefix(OPENAI.first()))

    upstream.perform(slow_ending)
    assert_finished(ask(gateway.port, OPENAI_CALLER.request("hedged-openai")), "openai")
    assert len(upstream.requests) == 1
    line = gateway.the_line()
    assert "hedge" not in line
    assert line["attempts"] == 1


def test_the_winner_is_told_by_its_name_and_headers(upstream: HostileUpstream, gateway: Gateway) -> None:
    first = OPENAI.head.replace(b"\r\n\r\n", b"\r\nx-ratelimit-limit-requests: 1\r\n\r\n")
    second = OPENAI.stream().replace(b"\r\n\r\n", b"\r\nx-ratelimit-limit-requests: 2\r\n\r\n", 1)
    upstream.perform(hangs_after(first + chunk(OPENAI.opening)), says(second))
    reply = ask(gateway.port, OPENAI_CALLER.request("hedged-openai"))
    assert reply.header("x-ratelimit-limit-requests") == "2"
    assert models_of(upstream) == ["first", "second"]


def test_signs_of_life_decide_nothing(upstream: HostileUpstream) -> None:
    """The client has its head while both are silent; either may still answer it, the late one too."""
    with gateway_in_thread(configuration(upstream.port, first_byte_hold="100ms")) as hasty:
        for caller in (OPENAI_CALLER, ANTHROPIC_CALLER, RESPONSES_CALLER):
            upstream.perform(hangs_after(OPENAI.head + chunk(OPENAI.opening)), answers_after(4 * AFTER_S, OPENAI))
            reply = ask(hasty.port, caller.request("hedged-openai"))
            assert_finished(reply, caller.name)
            assert reply.body.startswith((b": keep-alive", b"event: ping"))
        until(lambda: len(hasty.lines) == 3, "all lines were written")
        assert [line["hedge"] for line in hasty.lines] == ["won"] * 3


# -- what fails ------------------------------------------------------------------------------------------------------


def test_one_that_fails_leaves_the_client_to_the_other(upstream: HostileUpstream, gateway: Gateway) -> None:
    """The second is refused at once; the first, which was only late, is still waited for."""
    upstream.perform(answers_after(4 * AFTER_S, OPENAI), says(BUSY))
    assert_finished(ask(gateway.port, OPENAI_CALLER.request("hedged-openai")), "openai")
    assert models_of(upstream) == ["first", "second"]
    line = gateway.the_line()
    assert [each["end"] for each in line["tries"]] == ["complete", "overloaded"]


def test_where_both_fail_the_next_target_is_tried(upstream: HostileUpstream, gateway: Gateway) -> None:
    """The usual course goes on, and neither of the two is asked again."""

    async def late_and_busy(peer: Peer, seen: Seen) -> None:
        await peer.rest(4 * AFTER_S)
        await peer.send(BUSY)

    upstream.perform(late_and_busy, says(BUSY), answers(OPENAI))
    assert_finished(ask(gateway.port, OPENAI_CALLER.request("hedged-openai")), "openai")
    assert models_of(upstream) == ["first", "second", "third"]
    line = gateway.the_line()
    assert [each["end"] for each in line["tries"]] == ["overloaded", "overloaded", "complete"]


def test_where_all_fail_the_client_hears_it(upstream: HostileUpstream, gateway: Gateway) -> None:
    upstream.perform(says(BUSY))
    reply = ask(gateway.port, OPENAI_CALLER.request("hedged-openai"))
    assert reply.status == 503
    assert told_error(reply, OPENAI_CALLER) == "busy"


def test_what_the_request_is_at_fault_for_ends_it(upstream: HostileUpstream, gateway: Gateway) -> None:
    """That the other one was busy does not make the refusal worth another try."""

    async def late_refusal(peer: Peer, seen: Seen) -> None:
        await peer.rest(4 * AFTER_S)
        await peer.send(BUSY)

    upstream.perform(late_refusal, says(sized(b'{"error":{"message":"no such tool"}}', 400)))
    reply = ask(gateway.port, OPENAI_CALLER.request("hedged-openai"))
    assert reply.status == 400
    assert models_of(upstream) == ["first", "second"]


def test_a_client_that_leaves_takes_both_with_it(upstream: HostileUpstream, gateway: Gateway) -> None:
    upstream.perform(hangs_after(OPENAI.head))
    with calling(gateway.port, OPENAI_CALLER.request("hedged-openai")) as call:
        upstream.wait_for_requests(2)
        left_at = call.leave()
    for peer in upstream.peers:
        assert peer.closed.wait(BOUND_S)
        measure("s from a client's leaving to the end of both its tries", peer.closed_at - left_at)
    assert gateway.the_line()["end"] == "client_left"


# -- how often -------------------------------------------------------------------------------------------------------


def test_only_a_share_of_the_requests_is_asked_twice(upstream: HostileUpstream, gateway: Gateway) -> None:
    """One beyond the share; from then on, late answers are waited for."""
    upstream.perform(answers_after(4 * AFTER_S, OPENAI))
    for _ in range(8):
        assert_finished(ask(gateway.port, OPENAI_CALLER.request("rare-openai")), "openai")
    assert len(upstream.requests) == 9


def test_p95_knows_nothing_at_first_and_then_the_targets_own_pace(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Twenty answers are needed to know what is late; a target that always takes long is not late by it."""
    upstream.perform(answers_after(0.02, OPENAI))
    for _ in range(20):
        ask(gateway.port, OPENAI_CALLER.request("usual-openai"))
    assert len(upstream.requests) == 20
    upstream.perform(hangs_after(OPENAI.head), answers(OPENAI))
    assert_finished(ask(gateway.port, OPENAI_CALLER.request("usual-openai")), "openai")
    assert models_of(upstream)[20:] == ["first", "second"]


def test_what_outlives_its_answer_is_never_asked_twice(upstream: HostileUpstream, gateway: Gateway) -> None:
    """An answer to be stored would be stored twice."""
    upstream.perform(answers_after(4 * AFTER_S, OPENAI))
    assert_finished(ask(gateway.port, OPENAI_CALLER.request("hedged-openai", store=True)), "openai")
    assert len(upstream.requests) == 1


def test_a_race_leaves_nothing_behind(upstream: HostileUpstream, gateway: Gateway) -> None:
    before = gateway.tasks
    for _ in range(10):
        upstream.perform(hangs_after(OPENAI.head), answers(OPENAI))
        assert_finished(ask(gateway.port, OPENAI_CALLER.request("hedged-openai")), "openai")
    until(lambda: gateway.tasks <= before, "every task of a race is over")


def test_a_race_is_given_back_when_it_is_over(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Its parts know each other only as long as it lasts, so nothing of it waits for the garbage collector."""

    def are_gone() -> bool:
        return not any(isinstance(value, Race | Lane | Gate) for value in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        upstream.perform(hangs_after(OPENAI.head), answers(OPENAI))
        assert_finished(ask(gateway.port, OPENAI_CALLER.request("hedged-openai")), "openai")
        gateway.forget()
        until(are_gone, "the race is gone", 2)
    finally:
        gc.enable()
