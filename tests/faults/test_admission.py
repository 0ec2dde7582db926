"""An upstream gets as many calls at a time as it is given; the others wait in a bounded queue, or hear at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import orjson
import pytest

from gateway.config import parse
from tests.faults.callers import (
    ANTHROPIC_CALLER,
    FOUR,
    OPENAI_CALLER,
    STREAM_ERRORS,
    Call,
    Caller,
    Reply,
    ask,
    assert_finished,
    calling,
    told_error,
)
from tests.faults.harness import Gateway, gateway_in_thread
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, until
from tests.faults.voices import OPENAI, answers, chunk, hangs_after, hangs_up_after, head, sized
from tests.measured import measure

AT_A_TIME: Final = 3
WAITING: Final = 4
AT_ONCE_S: Final = 2.0
"""The promise is 50 ms; a loaded machine keeps this."""
LIMITS: Final[dict[str, dict[str, Any]]] = {
    "patient": {"max_in_flight": AT_A_TIME, "queue": {"size": 100, "timeout": "30s"}},
    "short": {"max_in_flight": AT_A_TIME, "queue": {"size": WAITING, "timeout": "30s"}},
    "single": {"max_in_flight": 1, "queue": {"size": 2, "timeout": "30s"}},
    "lined-up": {"max_in_flight": 1, "queue": {"size": 9, "timeout": "30s"}},
    "hasty": {"max_in_flight": 1, "queue": {"size": 2, "timeout": "250ms"}},
    "closed": {"max_in_flight": 1, "queue": {"size": 0}},
}


def configuration(port: int, server: dict[str, Any] | None = None) -> bytes:
    """A route for each of the limits; `spare-` has a second upstream, without limits."""
    base = {"dialect": "openai", "url": f"http://127.0.0.1:{port}/v1"}
    upstreams: dict[str, Any] = {name: {**base, **limits} for name, limits in LIMITS.items()} | {
        "free": base,
        "failing": base,
    }
    routes: dict[str, Any] = {name: name for name in LIMITS}
    for name in LIMITS:
        routes[f"spare-{name}"] = {"targets": [{"upstream": name}], "fallback": [{"upstream": "free"}]}
    routes["three"] = {
        "targets": [{"upstream": "failing"}],
        "fallback": [{"upstream": "single"}, {"upstream": "free"}],
    }
    routes["two"] = {"targets": [{"upstream": "closed"}], "fallback": [{"upstream": "single"}]}
    return orjson.dumps({"server": {"port": 0, **(server or {})}, "upstreams": upstreams, "routes": routes})


@pytest.fixture(scope="module")
def the_limited(the_upstream: HostileUpstream) -> Iterator[Gateway]:
    with gateway_in_thread(parse(configuration(the_upstream.port), "admission.yaml", {})) as gateway:
        yield gateway


@pytest.fixture
def limited(the_limited: Gateway, upstream: HostileUpstream) -> Iterator[Gateway]:
    the_limited.forget()
    yield the_limited
    assert not the_limited.failures


class Crowd:
    """Clients that came, each on a connection of its own."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stack = ExitStack()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *why: object) -> None:
        self._stack.close()

    def come(self, route: str, caller: Caller = OPENAI_CALLER, key: str = "") -> Call:
        """One more client, and the gateway knows of it."""
        headers = [f"authorization: Bearer {key}"] if key else []
        before = self._gateway.running + len(self._gateway.lines)
        call = self._stack.enter_context(calling(self._gateway.port, caller.request(route, *headers)))
        until(lambda: self._gateway.running + len(self._gateway.lines) > before, "the request arrived")
        return call

    def hear(self, call: Call) -> tuple[Reply, float]:
        """What a client is told, and how long that took from now."""
        begun = time.perf_counter()
        return call.read_reply(), time.perf_counter() - begun


@pytest.fixture
def crowd(limited: Gateway) -> Iterator[Crowd]:
    with Crowd(limited) as crowd:
        yield crowd


def finishes_when_released(peer: Peer, seen: Seen) -> Any:
    async def play() -> None:
        await peer.send(OPENAI.first())
        await peer.released()
        await peer.send(OPENAI.stream().removeprefix(OPENAI.first()))

    return play()


# -- how many ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_of_four_times_as_many_exactly_as_many_as_allowed_are_at_the_upstream(
    upstream: HostileUpstream, limited: Gateway, stream: bool
) -> None:
    """HARDENING.md §2: N of 4N at a time are let through, counted where they arrive; and all are answered."""
    under_way, most = [0], [0]

    async def play(peer: Peer, seen: Seen) -> None:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        await asyncio.sleep(0.03)
        under_way[0] -= 1
        await peer.send(OPENAI.answer(seen))

    upstream.perform(play)
    request = OPENAI_CALLER.request("patient", stream=stream)
    with ExitStack() as stack:
        calls = [stack.enter_context(calling(limited.port, request)) for _ in range(4 * AT_A_TIME)]
        replies = [call.read_reply() for call in calls]
    assert {reply.status for reply in replies} == {200}
    assert all(reply.is_whole for reply in replies)
    assert most[0] == AT_A_TIME
    until(lambda: len(limited.lines) == len(calls), "every request is over")
    assert sum("queue_ms" in line for line in limited.lines) == 3 * AT_A_TIME


def test_a_herd_gets_what_there_is_and_the_rest_hear_at_once_when_to_come_back(
    upstream: HostileUpstream, limited: Gateway, crowd: Crowd
) -> None:
    """HARDENING.md §2, thundering herd. No stream that runs is cut."""
    upstream.perform(finishes_when_released)
    first = [crowd.come("short") for _ in range(AT_A_TIME)]
    upstream.wait_for_requests(AT_A_TIME)
    begun = time.perf_counter()
    with ExitStack() as stack:
        herd = [stack.enter_context(calling(limited.port, OPENAI_CALLER.request("short"))) for _ in range(40)]
        until(lambda: len(limited.lines) == 40 - WAITING, "those without a place were told", AT_ONCE_S)
        measure(
            "ms from a herd of 40 coming until all but those who wait were told", (time.perf_counter() - begun) * 1000
        )
        assert len(upstream.requests) == AT_A_TIME
        upstream.release()
        replies = [crowd.hear(call)[0] for call in herd]
    refused = [reply for reply in replies if reply.status == 503]
    assert (len(refused), len(replies) - len(refused)) == (40 - WAITING, WAITING)
    assert all(int(reply.header("retry-after")) in range(15, 31) for reply in refused)
    assert len({reply.header("retry-after") for reply in refused}) > 1, "not all in one moment"
    for call in first:
        assert_finished(crowd.hear(call)[0], "openai")
    assert len(upstream.requests) == AT_A_TIME + WAITING


@pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
def test_a_full_queue_is_told_in_the_words_of_the_client(
    upstream: HostileUpstream, limited: Gateway, crowd: Crowd, caller: Caller
) -> None:
    upstream.perform(hangs_after(OPENAI.first()))
    for _ in range(3):
        crowd.come("single")
    upstream.wait_for_requests(1)
    begun = time.perf_counter()
    with calling(limited.port, caller.request("single")) as call:
        reply = call.read_reply()
    took = time.perf_counter() - begun
    measure("ms from connecting until told of a full queue", took * 1000)
    assert reply.status == (529 if caller is ANTHROPIC_CALLER else 503)
    assert told_error(reply, caller).startswith("all 1 calls that the upstream takes at a time are under way")
    assert took < AT_ONCE_S
    assert int(reply.header("retry-after")) > 0
    assert limited.lines[-1]["end"] == "refused"
    assert limited.lines[-1]["error"] == "overloaded"


def test_without_a_queue_nobody_waits(upstream: HostileUpstream, limited: Gateway, crowd: Crowd) -> None:
    upstream.perform(hangs_after(OPENAI.first()))
    crowd.come("closed").read_until(b"Salt")
    assert crowd.hear(crowd.come("closed"))[0].status == 503
    assert len(upstream.requests) == 1


def test_who_waits_in_vain_is_told_so(upstream: HostileUpstream, limited: Gateway, crowd: Crowd) -> None:
    upstream.perform(hangs_after(OPENAI.first()))
    crowd.come("hasty").read_until(b"Salt")
    reply, took = crowd.hear(crowd.come("hasty"))
    assert (reply.status, reply.header("retry-after")) == (503, "1")
    assert b"none of them ended in time" in reply.body
    assert took >= 0.2
    assert len(upstream.requests) == 1


# -- while they wait ---


@pytest.fixture(scope="module")
def the_lively(the_upstream: HostileUpstream) -> Iterator[Gateway]:
    """Clients that wait are told that they are not forgotten."""
    settings = {"first_byte_hold": "100ms", "keep_alive": "100ms"}
    with gateway_in_thread(parse(configuration(the_upstream.port, settings), "admission.yaml", {})) as gateway:
        yield gateway


SIGNS: Final = {"openai": b": keep-alive", "anthropic": b"event: ping", "responses": b": keep-alive"}
patient_callers = pytest.mark.parametrize(
    "caller", [caller for caller in FOUR if caller.dialect in SIGNS], ids=lambda caller: caller.name
)


@patient_callers
def test_a_client_that_waits_for_its_turn_gets_signs_of_life_and_then_its_answer(
    upstream: HostileUpstream, the_lively: Gateway, caller: Caller
) -> None:
    upstream.perform(finishes_when_released)
    with calling(the_lively.port, caller.request("single")) as running:
        running.read_until(b"Salt")
        with calling(the_lively.port, caller.request("single")) as waiting:
            waiting.read_until(SIGNS[caller.dialect])
            assert len(upstream.requests) == 1
            upstream.release()
            assert_finished(waiting.read_reply(), caller.dialect)
        assert_finished(running.read_reply(), caller.dialect)


@patient_callers
def test_a_client_that_waited_in_vain_behind_signs_of_life_is_told_in_its_stream(
    upstream: HostileUpstream, the_lively: Gateway, caller: Caller
) -> None:
    upstream.perform(hangs_after(OPENAI.first()))
    with calling(the_lively.port, caller.request("hasty")) as running:
        running.read_until(b"Salt")
        reply = ask(the_lively.port, caller.request("hasty"))
    assert (reply.status, reply.is_whole) == (200, True)
    assert SIGNS[caller.dialect] in reply.body
    assert STREAM_ERRORS[caller.dialect] in reply.body
    assert b"none of them ended in time" in reply.body
    assert len(upstream.requests) == 1


# -- whose turn ----------------------------------------------------------------------------------------------------


def test_a_client_that_fills_the_queue_loses_a_place_to_one_that_has_none(
    upstream: HostileUpstream, limited: Gateway, crowd: Crowd
) -> None:
    """429 for the one that has more than its share; and the other one's turn comes before all of the greedy one's."""
    upstream.perform(finishes_when_released)
    running = crowd.come("single", key="greedy")
    running.read_until(b"Salt")
    kept, lost = crowd.come("single", key="greedy"), crowd.come("single", key="greedy")
    modest = crowd.come("single", key="modest")
    reply, _ = crowd.hear(lost)
    assert (reply.status, b"more than your share" in reply.body) == (429, True)
    assert limited.lines[-1]["error"] == "rate_limit"
    reply, _ = crowd.hear(crowd.come("single", key="greedy"))
    assert reply.status == 429
    upstream.release()
    for call in (running, kept, modest):
        assert_finished(crowd.hear(call)[0], "openai")


def test_turns_are_taken_by_key(upstream: HostileUpstream, limited: Gateway, crowd: Crowd) -> None:
    """Of a queue that holds many of one key, whose first goes first, the one of another key comes second."""
    order: list[str] = []

    async def play(peer: Peer, seen: Seen) -> None:
        order.append(orjson.loads(seen.body)["user"])
        await peer.released()
        await peer.send(OPENAI.stream())

    upstream.perform(play)
    requests = [("a", "first"), ("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1")]
    with ExitStack() as stack:
        calls = []
        for key, name in requests:
            request = OPENAI_CALLER.request("lined-up", f"x-api-key: {key}", user=name)
            before = limited.running
            calls.append(stack.enter_context(calling(limited.port, request)))
            until(partial(lambda before: limited.running > before, before), "the request arrived")
        upstream.wait_for_requests(1)
        upstream.release()
        for call in calls:
            assert_finished(call.read_reply(), "openai")
    assert order == ["first", "a1", "b1", "c1", "a2", "a3"]


# -- how a slot ends -----------------------------------------------------------------------------------------------


def leaves(crowd: Crowd, call: Call) -> None:
    call.read_until(b"Salt")
    call.leave()


def is_told(crowd: Crowd, call: Call) -> None:
    crowd.hear(call)


ENDS: Final[dict[str, tuple[Play, Any]]] = {
    "answered": (answers(OPENAI), is_told),
    "refused": (hangs_up_after(sized(b"{}", 400)), is_told),
    "failed": (hangs_up_after(sized(b"{}", 500)), is_told),
    "a page": (hangs_up_after(sized(b"<p>", media_type="text/html")), is_told),
    "no head": (hangs_up_after(b""), is_told),
    "cut": (hangs_up_after(OPENAI.first()), is_told),
    "not its dialect": (hangs_up_after(OPENAI.first() + chunk(OPENAI.gibberish[0])), is_told),
    "half a head": (hangs_up_after(head()[:9]), is_told),
    "client left": (hangs_after(OPENAI.first()), leaves),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_slot_is_given_back_however_the_call_ends(
    upstream: HostileUpstream, limited: Gateway, crowd: Crowd, end: str
) -> None:
    """Once, and not more than once: afterwards one call finds room, and a second one none."""
    play, what = ENDS[end]
    upstream.perform(play)
    what(crowd, crowd.come("closed"))
    until(lambda: not limited.running, "the request is over")
    upstream.perform(hangs_after(OPENAI.first()))
    crowd.come("closed").read_until(b"Salt")
    assert crowd.hear(crowd.come("closed"))[0].status == 503


def test_a_client_that_leaves_while_waiting_frees_its_place(
    upstream: HostileUpstream, limited: Gateway, crowd: Crowd
) -> None:
    upstream.perform(hangs_after(OPENAI.first()))
    running = crowd.come("single")
    running.read_until(b"Salt")
    first, second = crowd.come("single"), crowd.come("single")
    first.leave()
    until(lambda: bool(limited.lines), "its leaving was noticed", AT_ONCE_S)
    assert limited.the_line()["end"] == "client_left"
    third = crowd.come("single")
    assert crowd.hear(crowd.come("single"))[0].status == 503
    for left, following in ((running, second), (second, third)):
        left.leave()
        following.read_until(b"Salt")
    assert len(upstream.requests) == 3


# -- other targets -------------------------------------------------------------------------------------------------


def test_a_target_with_room_comes_before_one_that_has_to_be_waited_for(
    upstream: HostileUpstream, limited: Gateway, crowd: Crowd
) -> None:
    upstream.perform(hangs_after(OPENAI.first()))
    crowd.come("spare-single").read_until(b"Salt")
    second = crowd.come("spare-single")
    second.read_until(b"Salt")
    assert b"x-gateway-upstream: free" in second.received
    assert b"x-gateway-attempts: 1" in second.received


def test_where_no_target_has_room_the_queue_of_another_one_is_waited_in(
    upstream: HostileUpstream, limited: Gateway, crowd: Crowd
) -> None:
    upstream.perform(finishes_when_released)
    for _ in range(2):
        crowd.come("two").read_until(b"Salt")
    waiting = crowd.come("two")
    upstream.release()
    reply, _ = crowd.hear(waiting)
    assert_finished(reply, "openai")
    assert reply.header("x-gateway-upstream") == "single"


def test_after_a_failure_too_a_target_with_room_comes_first(
    upstream: HostileUpstream, limited: Gateway, crowd: Crowd
) -> None:
    """Room as it is then: the second target had some when the request came."""

    async def fails_when_released(peer: Peer, seen: Seen) -> None:
        await peer.released()
        await peer.send(sized(b"{}", 429))
        peer.close()

    upstream.perform(fails_when_released, hangs_after(OPENAI.first()), answers(OPENAI))
    first = crowd.come("three")
    upstream.wait_for_requests(1)
    crowd.come("single").read_until(b"Salt")
    upstream.release()
    reply, _ = crowd.hear(first)
    assert (reply.status, reply.header("x-gateway-upstream"), reply.header("x-gateway-attempts")) == (200, "free", "2")


# -- a crowd that comes and goes ---------------------------------------------------------------------------------------


def test_after_a_crowd_that_came_and_went_as_it_liked_every_slot_is_there_once(
    upstream: HostileUpstream, limited: Gateway, crowd: Crowd
) -> None:
    """Clients leave while they wait, while they are served, and in the moment in which their turn comes."""
    chance = random.Random(7)

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.first())
        await asyncio.sleep(chance.uniform(0, 0.02))
        await peer.send(OPENAI.stream().removeprefix(OPENAI.first()))

    upstream.perform(play)
    request = OPENAI_CALLER.request("patient")
    for _ in range(12):
        with ExitStack() as stack:
            calls = [stack.enter_context(calling(limited.port, request)) for _ in range(20)]
            for call in chance.sample(calls, len(calls)):
                time.sleep(chance.uniform(0, 0.004))
                if chance.random() < 0.5:
                    call.leave()
                else:
                    assert_finished(call.read_reply(), "openai")
    until(lambda: not limited.running, "every request is over")
    assert {line["end"] for line in limited.lines} == {"complete", "client_left"}
    upstream.perform(hangs_after(OPENAI.first()))
    for _ in range(AT_A_TIME):
        crowd.come("patient").read_until(b"Salt")
    crowd.come("patient")
    before = len(upstream.requests)
    crowd.come("patient")
    assert len(upstream.requests) == before
