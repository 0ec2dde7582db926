"""Every deadline is kept within half a second, and told in the client's dialect (HARDENING.md §2)."""

from __future__ import annotations

import time

import pytest

from tests.faults.callers import FOUR, OPENAI_CALLER, Caller, assert_broken, assert_finished, calling, told_error
from tests.faults.harness import Gateway
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen
from tests.faults.voices import ANTHROPIC, LAST_CHUNK, OPENAI, RAW, RESPONSES, Voice, chunk, hangs_after
from tests.measured import measure

QUICK_S, BRIEF_S, STUCK_S, SLACK_S = 0.25, 0.4, 1.0, 0.5
SIXTEEN = [(caller, voice) for caller in FOUR for voice in (OPENAI, ANTHROPIC, RAW, RESPONSES)]
sixteen_pairs = pytest.mark.parametrize(("caller", "voice"), SIXTEEN, ids=[f"{c.name}-of-{v.name}" for c, v in SIXTEEN])


def dripping(voice: Voice) -> Play:
    """A token every now and then, for ever: never idle, never done."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first())
        await peer.drip(chunk(voice.token("more ")), 0.05)

    return play


@sixteen_pairs
def test_no_first_token_in_time_is_a_gateway_timeout(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    upstream.perform(hangs_after(voice.head + chunk(voice.opening)))
    begun = time.perf_counter()
    with calling(gateway.port, caller.request(f"quick-{voice.upstream}")) as call:
        reply = call.read_reply()
    took = time.perf_counter() - begun
    assert reply.status == 504
    assert "first token" in told_error(reply, caller)
    assert QUICK_S <= took < QUICK_S + SLACK_S
    measure("s beyond the limit until first_token was told", took - QUICK_S)


@sixteen_pairs
def test_silence_between_tokens_breaks_the_stream(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    upstream.perform(hangs_after(voice.first()))
    with calling(gateway.port, caller.request(f"quick-{voice.upstream}")) as call:
        call.read_until(b"wind")
        begun = time.perf_counter()
        assert_broken(call.read_reply(), caller.form(voice))
    took = time.perf_counter() - begun
    assert took < QUICK_S + SLACK_S
    measure("s beyond the limit until idle was told", took - QUICK_S)
    assert upstream.peers[-1].closed.wait(1)


@pytest.mark.slow
@sixteen_pairs
def test_a_stream_longer_than_total_is_broken_off(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    upstream.perform(dripping(voice))
    begun = time.perf_counter()
    with calling(gateway.port, caller.request(f"brief-{voice.upstream}")) as call:
        assert_broken(call.read_reply(), caller.form(voice))
    took = time.perf_counter() - begun
    assert BRIEF_S <= took < BRIEF_S + SLACK_S
    measure("s beyond the limit until total was told", took - BRIEF_S)
    assert upstream.peers[-1].closed.wait(1)


@pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
def test_a_stream_faster_than_anybody_can_read_is_broken_off_in_time_too(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    """The relay never waits for such an upstream, and still hears its deadline."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.first())
        await peer.flood(chunk(OPENAI.token("more " * 2000)))

    upstream.perform(play)
    with calling(gateway.port, caller.request("brief-openai")) as call:
        assert_broken(call.read_reply(), caller.form(OPENAI))
    took = gateway.the_line()["duration_ms"] / 1000
    assert took < BRIEF_S + SLACK_S
    measure("s beyond the limit until total was told in a flood", took - BRIEF_S)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
def test_total_counts_all_attempts_together(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, stream: bool
) -> None:
    upstream.perform(hangs_after())
    begun = time.perf_counter()
    with calling(gateway.port, caller.request("brief-spare", stream=stream)) as call:
        reply = call.read_reply()
    took = time.perf_counter() - begun
    assert reply.status == 504
    assert took < BRIEF_S + SLACK_S - 0.15, "each attempt had its own total"


@sixteen_pairs
def test_usage_that_never_comes_is_not_waited_for_longer_than_idle(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    """pitfall 127: all content and the finish reason are there, the connection stays open."""
    if voice is not OPENAI:
        return
    upstream.perform(hangs_after(voice.first(5) + chunk(voice.finish)))
    begun = time.perf_counter()
    with calling(gateway.port, caller.request(f"quick-{voice.upstream}")) as call:
        call.read_until(b"shore")
        content_s = time.perf_counter() - begun
        reply = call.read_reply()
    assert content_s < QUICK_S
    assert time.perf_counter() - begun < QUICK_S + SLACK_S
    assert reply.status == 200
    if caller.dialect != voice.upstream:
        assert_finished(reply, caller.form(voice))


@sixteen_pairs
def test_a_whole_answer_that_never_comes_is_a_gateway_timeout(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    upstream.perform(hangs_after())
    begun = time.perf_counter()
    with calling(gateway.port, caller.request(f"brief-{voice.upstream}", stream=False)) as call:
        reply = call.read_reply()
    assert BRIEF_S <= time.perf_counter() - begun < BRIEF_S + SLACK_S
    assert reply.status == 504
    assert told_error(reply, caller)


def test_a_client_that_reads_slowly_is_not_the_upstreams_silence(upstream: HostileUpstream, gateway: Gateway) -> None:
    """The idle limit counts the upstream's time only."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.first())
        for _ in range(600):
            await peer.send(chunk(OPENAI.token("more " * 4000)))
        await peer.send(chunk(OPENAI.finish + OPENAI.terminator), LAST_CHUNK)

    upstream.perform(play)
    with calling(gateway.port, OPENAI_CALLER.request("quick-openai"), receive_buffer=4096) as call:
        call.read_until(b"wind")
        peer = upstream.peers[-1]
        begun = time.perf_counter()
        while not peer.is_stuck(2 * QUICK_S):
            assert time.perf_counter() - begun < 5, "the upstream was never held back"
            time.sleep(0.01)
        assert_finished(call.read_reply(), "openai")


@pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
def test_a_client_that_never_reads_again_is_let_go_when_the_total_is_over(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.first())
        await peer.flood(chunk(OPENAI.token("more " * 2000)))

    upstream.perform(play)
    with calling(gateway.port, caller.request("stuck-openai"), receive_buffer=4096):
        peer = upstream.wait_for_requests(1)
        assert peer.closed.wait(STUCK_S + 4 * SLACK_S)
        line = gateway.the_line()
    assert line["end"] == "broken"
    assert line["duration_ms"] < (STUCK_S + 4 * SLACK_S) * 1000
