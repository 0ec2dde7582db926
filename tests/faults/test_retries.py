"""What is tried after a failure, over real sockets: who was called, how often and when (HARDENING.md §2)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import orjson
import pytest

from gateway.config import parse
from tests.faults.callers import (
    FOUR,
    OPENAI_CALLER,
    TRUSS_CALLER,
    Caller,
    Reply,
    ask,
    assert_finished,
    calling,
    told_error,
)
from tests.faults.harness import Gateway, gateway_in_thread
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, until
from tests.faults.voices import (
    ANTHROPIC,
    OPENAI,
    RAW,
    RESPONSES,
    Voice,
    answers,
    chunk,
    hangs_up_after,
    says,
    sized,
)
from tests.measured import measure

SLACK_S = 0.5
FAILURE = orjson.dumps({"error": {"message": "no", "type": "server_error", "code": None}})
TOO_LONG = orjson.dumps(
    {"error": {"message": "prompt is too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}
)
BASES = {"openai": "/v1", "responses": "/v1", "anthropic": "", "truss": "/predict"}
PAIRS = [(caller, voice) for caller in FOUR for voice in (OPENAI, ANTHROPIC, RAW, RESPONSES)]
sixteen_pairs = pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=[f"{c.name}-of-{v.name}" for c, v in PAIRS])
four_callers = pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)


@contextmanager
def routing(upstream: HostileUpstream, voice: Voice = OPENAI, **route: Any) -> Iterator[Gateway]:
    """A gateway with one route, `demo`, whose targets are upstreams `a`, `b` and `c` that can be told apart."""
    upstreams = {
        name: {
            "dialect": voice.upstream,
            "url": f"http://127.0.0.1:{upstream.port}/{name}{BASES[voice.upstream]}",
        }
        for name in "abc"
    }
    targets = route.pop("targets", ["a"])
    places = [{"upstream": name} if isinstance(name, str) else name for name in targets]
    demo = {"targets": places[:1], "fallback": places[1:], **route}
    whole = {"server": {"port": "0"}, "upstreams": upstreams, "routes": {"demo": demo}}
    with gateway_in_thread(parse(orjson.dumps(whole), "retries.yaml", {})) as gateway:
        yield gateway
        until(lambda: not gateway.running, "every request is over")
    assert not gateway.failures


def called(upstream: HostileUpstream) -> str:
    """The upstreams that were called, in order."""
    return "".join(seen.target.split("/")[1] for seen in upstream.requests)


def gaps(upstream: HostileUpstream) -> list[float]:
    """Seconds from call to call."""
    return [later.at - earlier.at for earlier, later in pairwise(upstream.requests)]


def refusing(status: int, *fields: tuple[str, str], body: bytes = FAILURE) -> Play:
    return says(sized(body, status, *fields))


async def resets(peer: Peer, seen: Seen) -> None:
    peer.reset()


def ends(gateway: Gateway) -> list[str]:
    """What each try of the one request ended with."""
    return [f"{tried['upstream']} {tried['end']}" for tried in gateway.the_line().get("tries", [])]


def said(reply: Reply) -> bool:
    """Whether the whole answer is there."""
    return b"Salt " in reply.body and b"shore." in reply.body


def asked_at_once(gateway: Gateway, count: int) -> list[Reply]:
    with ThreadPoolExecutor(50) as pool:
        return list(pool.map(lambda _: ask(gateway.port, OPENAI_CALLER.request("demo")), range(count)))


# -- the same target ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@sixteen_pairs
def test_a_500_once_is_not_noticed_and_costs_no_other_target(
    upstream: HostileUpstream, caller: Caller, voice: Voice, stream: bool
) -> None:
    upstream.perform(refusing(500), answers(voice))
    with routing(upstream, voice, targets=["a", "b"]) as gateway:
        reply = ask(gateway.port, caller.request("demo", stream=stream))
        assert (reply.status, said(reply), called(upstream)) == (200, True, "aa")
        assert (reply.header("x-gateway-attempts"), reply.header("x-gateway-upstream")) == ("2", "a")
        assert gateway.the_line()["attempts"] == 2
        assert ends(gateway) == [f"a {'overloaded' if voice is RAW else 'upstream'}", "a complete"]
    assert gaps(upstream)[0] < 0.25 + SLACK_S


@four_callers
def test_a_connection_that_is_reset_before_the_head_is_tried_again(upstream: HostileUpstream, caller: Caller) -> None:
    upstream.perform(resets, answers(OPENAI))
    with routing(upstream) as gateway:
        assert_finished(ask(gateway.port, caller.request("demo")), caller.form(OPENAI))
        assert (called(upstream), ends(gateway)) == ("aa", ["a unreachable", "a complete"])


@four_callers
def test_503_for_ever_calls_each_upstream_as_often_as_it_should_and_no_more(
    upstream: HostileUpstream, caller: Caller
) -> None:
    """Three calls, the first target twice: the second call after at most 250 ms, the third at once."""
    upstream.perform(refusing(503))
    with routing(upstream, targets=["a", "b"]) as gateway:
        reply = ask(gateway.port, caller.request("demo"))
        assert reply.status == (529 if caller.dialect == "anthropic" else 503)
        assert told_error(reply, caller)
        assert (called(upstream), reply.header("x-gateway-attempts")) == ("aab", "3")
        assert ends(gateway) == ["a overloaded", "a overloaded", "b overloaded"]
        waited = [tried["delay_ms"] for tried in gateway.the_line()["tries"]]
    assert waited[0] == waited[2] == 0
    assert waited[1] <= 250
    first, second = gaps(upstream)
    assert waited[1] / 1000 <= first < waited[1] / 1000 + SLACK_S
    assert second < SLACK_S
    measure("s until the next target was called after a failure", second)


def test_three_targets_that_fail_are_asked_once_each(upstream: HostileUpstream) -> None:
    upstream.perform(refusing(500))
    with routing(upstream, targets=["a", "b", "c"]) as gateway:
        assert ask(gateway.port, OPENAI_CALLER.request("demo")).status == 502
    assert called(upstream) == "abc"


def test_nothing_is_tried_again_where_an_operator_wants_none_of_it(upstream: HostileUpstream) -> None:
    upstream.perform(refusing(500))
    with routing(upstream, targets=["a"], retries={"same_target": 0}) as gateway:
        assert ask(gateway.port, OPENAI_CALLER.request("demo")).status == 502
    with routing(upstream, targets=["a", "b"], retries={"attempts": 1}) as gateway:
        assert ask(gateway.port, OPENAI_CALLER.request("demo")).status == 502
    assert called(upstream) == "aa"


@four_callers
def test_a_refusal_of_the_request_is_told_at_once(upstream: HostileUpstream, caller: Caller) -> None:
    upstream.perform(refusing(400))
    with routing(upstream, targets=["a", "b"]) as gateway:
        assert ask(gateway.port, caller.request("demo")).status == 400
        assert (called(upstream), ends(gateway)) == ("a", [])


def test_what_comes_too_late_or_in_no_dialect_is_not_asked_for_twice(upstream: HostileUpstream) -> None:
    async def silent(peer: Peer, seen: Seen) -> None:
        await peer.gone()

    page = says(sized(b"<html>", media_type="text/html"))
    upstream.perform(silent, page, answers(OPENAI))
    with routing(upstream, targets=["a", "b", "c"], timeouts={"first_token": "250ms"}, retries={"attempts": 9}) as gw:
        assert_finished(ask(gw.port, OPENAI_CALLER.request("demo")), "openai")
        assert (called(upstream), ends(gw)) == ("abc", ["a timeout", "b malformed", "c complete"])


# -- Retry-After -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_the_only_target_is_asked_again_when_it_said(upstream: HostileUpstream, status: int) -> None:
    upstream.perform(refusing(status, ("retry-after", "1")), answers(OPENAI))
    with routing(upstream) as gateway:
        assert_finished(ask(gateway.port, OPENAI_CALLER.request("demo")), "openai")
    assert called(upstream) == "aa"
    assert 1.0 <= gaps(upstream)[0] < 1.25 + SLACK_S
    measure("s beyond a Retry-After until the target was called again", gaps(upstream)[0] - 1.0)


def test_a_target_that_is_back_soon_is_waited_for_although_there_is_another(upstream: HostileUpstream) -> None:
    upstream.perform(refusing(429, ("retry-after", "1")), answers(OPENAI))
    with routing(upstream, targets=["a", "b"]) as gateway:
        assert_finished(ask(gateway.port, OPENAI_CALLER.request("demo")), "openai")
        assert (called(upstream), ends(gateway)) == ("aa", ["a rate_limit", "a complete"])
    assert 1.0 <= gaps(upstream)[0] < 1.25 + SLACK_S


def test_another_target_is_asked_at_once_instead(upstream: HostileUpstream) -> None:
    upstream.perform(refusing(429, ("retry-after", "2")), answers(OPENAI))
    with routing(upstream, targets=["a", "b"]) as gateway:
        assert_finished(ask(gateway.port, OPENAI_CALLER.request("demo")), "openai")
        assert (called(upstream), ends(gateway)) == ("ab", ["a rate_limit", "b complete"])
    assert gaps(upstream)[0] < SLACK_S


def test_when_no_other_is_left_the_one_that_is_ready_soonest_is_asked(upstream: HostileUpstream) -> None:
    upstream.perform(refusing(429, ("retry-after", "2")), refusing(429, ("retry-after", "9")), answers(OPENAI))
    with routing(upstream, targets=["a", "b"]) as gateway:
        assert_finished(ask(gateway.port, OPENAI_CALLER.request("demo")), "openai")
    assert called(upstream) == "aba"
    assert 2.0 <= sum(gaps(upstream)) < 2.25 + SLACK_S


@pytest.mark.parametrize(
    ("wait", "settings"),
    [("3600", {}), ("2", {"retries": {"max_retry_after": "1s"}}), ("2", {"timeouts": {"total": "1s"}})],
    ids=["beyond the default cap", "beyond the cap", "beyond the deadline"],
)
def test_a_wait_that_does_not_fit_is_the_clients_to_wait_for(
    upstream: HostileUpstream, wait: str, settings: dict[str, Any]
) -> None:
    upstream.perform(refusing(429, ("retry-after", wait)))
    begun = time.perf_counter()
    with routing(upstream, **settings) as gateway:
        reply = ask(gateway.port, OPENAI_CALLER.request("demo"))
        took = gateway.the_line()["duration_ms"] / 1000
    assert (reply.status, reply.header("retry-after"), called(upstream)) == (429, wait, "a")
    assert took < SLACK_S
    assert time.perf_counter() - begun < 10


@four_callers
def test_a_client_that_leaves_ends_a_wait_at_once(upstream: HostileUpstream, caller: Caller) -> None:
    upstream.perform(refusing(429, ("retry-after", "9")), answers(OPENAI))
    with routing(upstream) as gateway:
        with calling(gateway.port, caller.request("demo")) as call:
            upstream.wait_for_requests(1)
            until(lambda: gateway.running == 1, "the gateway waits")
            left_at = call.leave()
        line = gateway.the_line()
        took = time.perf_counter() - left_at
        assert (line["end"], line["attempts"], called(upstream)) == ("client_left", 1, "a")
        assert took < 1.0
    measure("ms from a client's leaving to the end of its wait", took * 1000)


# -- context -----------------------------------------------------------------------------------------------------------


@four_callers
def test_a_prompt_that_is_too_long_goes_to_a_target_with_a_larger_context(
    upstream: HostileUpstream, caller: Caller
) -> None:
    targets = [
        {"upstream": "a", "context": 8000},
        {"upstream": "b", "context": 4000},
        {"upstream": "c", "context": 128_000},
    ]
    upstream.perform(refusing(400, body=TOO_LONG), answers(OPENAI))
    with routing(upstream, targets=targets) as gateway:
        assert_finished(ask(gateway.port, caller.request("demo")), caller.form(OPENAI))
        assert (called(upstream), ends(gateway)) == ("ac", ["a context_length", "c complete"])


def test_a_prompt_that_is_too_long_for_all_that_is_known_is_refused(upstream: HostileUpstream) -> None:
    upstream.perform(refusing(400, body=TOO_LONG))
    with routing(upstream, targets=[{"upstream": "a", "context": 8000}, "b"]) as gateway:
        reply = ask(gateway.port, OPENAI_CALLER.request("demo"))
    assert (reply.status, called(upstream)) == (400, "a")
    assert orjson.loads(reply.body)["error"]["code"] == "context_length_exceeded"


# -- the budget --------------------------------------------------------------------------------------------------------


def test_an_upstream_that_fails_everything_gets_a_fifth_more_and_no_storm(upstream: HostileUpstream) -> None:
    """200 requests, all at once, each of which would be tried again."""
    upstream.perform(refusing(500))
    with routing(upstream, retries={"backoff": "1s"}) as gateway:
        replies = asked_at_once(gateway, 200)
        until(lambda: len(gateway.lines) == 200, "every request has its line")
        attempts = sum(line["attempts"] for line in gateway.lines)
    assert {reply.status for reply in replies} == {502}
    assert len(upstream.requests) == attempts
    assert 200 + 3 < attempts <= 200 * 1.2 + 3
    measure("calls for a request at an upstream that fails everything", attempts / 200)


def test_an_outage_moves_all_of_the_traffic(upstream: HostileUpstream) -> None:
    """Failing over is no retry: it takes nothing out of a budget."""

    async def half_out(peer: Peer, seen: Seen) -> None:
        await peer.send(sized(FAILURE, 500) if seen.target.startswith("/a/") else OPENAI.answer(seen))

    upstream.perform(half_out)
    with routing(upstream, targets=["a", "b"], retries={"backoff": "10ms"}) as gateway:
        replies = asked_at_once(gateway, 100)
    assert {reply.status for reply in replies} == {200}
    assert called(upstream).count("b") == 100


# -- nothing of a try that failed --------------------------------------------------------------------------------------

LOST: dict[str, bytes] = {"openai": b'"c1"', "anthropic": b'"m1"', "responses": b'"resp_1"'}
"""The id of an answer, by the voice that gives it."""


@sixteen_pairs
def test_lifecycle_frames_of_a_try_that_failed_never_reach_the_client(
    upstream: HostileUpstream, caller: Caller, voice: Voice
) -> None:
    """They commit to nothing: another target answers, and the client sees one beginning, of that answer."""
    mark = LOST.get(voice.name, b"\0")
    lost = voice.opening.replace(mark, b'"lost-and-gone"')
    upstream.perform(hangs_up_after(voice.head + chunk(lost)), answers(voice))
    with routing(upstream, voice, targets=["a", "b"], retries={"same_target": 0}) as gateway:
        reply = ask(gateway.port, caller.request("demo"))
        assert_finished(reply, caller.form(voice))
        assert (called(upstream), gateway.the_line()["attempts"]) == ("ab", 2)
    assert b"lost-and-gone" not in reply.body + str(reply.headers).encode()
    beginnings = {
        "openai": b'"role":"assistant"',
        "anthropic": b"event: message_start",
        "responses": b"event: response.created",
    }
    if (beginning := beginnings.get(caller.form(voice))) is not None:
        assert reply.body.count(beginning) == 1


WHOLE = [(caller, voice, "1.1") for caller in FOUR for voice in (OPENAI, ANTHROPIC, RESPONSES)]


@pytest.mark.parametrize(
    ("caller", "voice", "version"),
    [*WHOLE, *((TRUSS_CALLER, voice, "1.0") for voice in (OPENAI, ANTHROPIC, RESPONSES))],
    ids=lambda part: getattr(part, "name", part),
)
def test_text_of_a_try_that_failed_never_reaches_a_client_that_gets_it_whole(
    upstream: HostileUpstream, caller: Caller, voice: Voice, version: str
) -> None:
    """The upstream streams in any case and breaks in the middle; what it had said was kept, and is thrown away."""
    begun = voice.first(0) + chunk(voice.token("Never said. "))
    upstream.perform(hangs_up_after(begun), says(voice.stream()))
    with routing(upstream, voice, targets=["a", "b"]) as gateway:
        reply = ask(gateway.port, caller.request("demo", version=version, stream=version == "1.0"))
        line = gateway.the_line()
    assert (reply.status, said(reply), called(upstream)) == (200, True, "aa")
    assert b"Never said" not in reply.body
    assert (line["attempts"], line.get("output_tokens", 5)) == (2, 5)


@four_callers
def test_usage_of_a_try_that_failed_is_not_the_answers(upstream: HostileUpstream, caller: Caller) -> None:
    usage = {"prompt_tokens": 999, "completion_tokens": 77, "total_tokens": 1076}
    told = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage}
    lost = OPENAI.head + chunk(OPENAI.opening) + chunk(b"data: %s\n\n" % orjson.dumps(told))
    upstream.perform(hangs_up_after(lost), answers(OPENAI))
    with routing(upstream) as gateway:
        assert_finished(ask(gateway.port, caller.request("demo")), caller.form(OPENAI))
        line = gateway.the_line()
    assert line["attempts"] == 2
    assert (line.get("input_tokens"), line.get("output_tokens")) == (None, None)
