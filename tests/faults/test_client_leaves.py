"""A client that leaves frees its upstream at once, in whatever phase, and nobody else is asked (HARDENING.md §2)."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.faults.callers import CALLERS, FOUR, OPENAI_CALLER, Call, Caller, calling
from tests.faults.harness import PAIR_IDS, PAIRS, Gateway
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, until
from tests.faults.voices import OPENAI, TEXT, Voice, chunk, hangs_after, head, sized
from tests.measured import measure

BOUND_S = 1.0


def says_nothing(voice: Voice) -> Play:
    return hangs_after()


def says_its_head(voice: Voice) -> Play:
    return hangs_after(voice.head)


def says_its_opening(voice: Voice) -> Play:
    return hangs_after(voice.head + chunk(voice.opening))


def says_two_tokens(voice: Voice) -> Play:
    return hangs_after(voice.first())


def says_tokens_for_ever(voice: Voice) -> Play:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first())
        await peer.flood(chunk(voice.token("more " * 2000)))

    return play


def says_half_a_body(voice: Voice) -> Play:
    whole = sized(voice.whole(TEXT))
    return hangs_after(whole[:-20])


STREAMED = [says_nothing, says_its_head, says_its_opening, says_two_tokens, says_tokens_for_ever]
WHOLE = [says_nothing, says_half_a_body, says_two_tokens]


def assert_upstream_is_freed(call: Call, peer: Peer, upstream: HostileUpstream, gateway: Gateway) -> None:
    left_at = call.leave()
    assert peer.closed.wait(BOUND_S), "the upstream connection is still open"
    measure("ms from a client's leaving to the upstream's close", (peer.closed_at - left_at) * 1000)
    assert gateway.the_line()["end"] == "client_left"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
@pytest.mark.parametrize("phase", STREAMED)
def test_a_client_that_leaves_a_stream_frees_its_upstream(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, phase: object
) -> None:
    assert callable(phase)
    upstream.perform(phase(voice))
    with calling(gateway.port, caller.request(f"spare-{voice.upstream}")) as call:
        peer = upstream.wait_for_requests(1)
        if phase in (says_two_tokens, says_tokens_for_ever):
            call.read_until(b"Salt")
        else:
            until(lambda: not peer.transport.get_write_buffer_size(), "what there is was sent")
        assert_upstream_is_freed(call, peer, upstream, gateway)


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
@pytest.mark.parametrize("phase", WHOLE)
def test_a_client_that_leaves_a_whole_call_frees_its_upstream(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, phase: object
) -> None:
    assert callable(phase)
    upstream.perform(phase(voice))
    with calling(gateway.port, caller.request(f"spare-{voice.upstream}", stream=False)) as call:
        peer = upstream.wait_for_requests(1)
        until(lambda: not peer.transport.get_write_buffer_size(), "what there is was sent")
        assert_upstream_is_freed(call, peer, upstream, gateway)


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
def test_a_client_that_resets_its_connection_frees_its_upstream(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    voice = OPENAI
    upstream.perform(says_two_tokens(voice))
    with calling(gateway.port, caller.request("openai")) as call:
        peer = upstream.wait_for_requests(1)
        call.read_until(b"Salt")
        call.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert_upstream_is_freed(call, peer, upstream, gateway)


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
def test_a_client_that_stopped_reading_and_leaves_frees_its_upstream(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    upstream.perform(says_tokens_for_ever(voice))
    with calling(gateway.port, caller.request(voice.upstream), receive_buffer=4096) as call:
        peer = upstream.wait_for_requests(1)
        until(peer.is_stuck, "backpressure reached the upstream")
        assert_upstream_is_freed(call, peer, upstream, gateway)


@pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
def test_a_client_that_leaves_inside_its_own_body_reaches_no_upstream(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    request = caller.request("openai")
    with calling(gateway.port, request[:-10]) as call:
        call.leave()
        assert gateway.the_line()["end"] == "client_left"
    assert not upstream.requests


@pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
def test_no_second_target_is_asked_for_a_client_that_left(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    """The first target fails while nobody waits any more."""

    async def fails_once_the_client_left(peer: Peer, seen: Seen) -> None:
        await peer.gone()

    upstream.perform(fails_once_the_client_left)
    with calling(gateway.port, caller.request("spare-openai")) as call:
        upstream.wait_for_requests(1)
        call.leave()
        assert gateway.the_line()["end"] == "client_left"
    assert gateway.the_line()["attempts"] == 1
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
def test_a_client_that_leaves_after_the_answer_has_a_complete_line(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    upstream.perform(hangs_after(sized(OPENAI.whole(TEXT))))
    with calling(gateway.port, caller.request("openai", stream=False)) as call:
        assert call.read_reply().status == 200
    assert gateway.the_line()["end"] == "complete"


def test_a_client_that_leaves_during_a_refusal_still_has_one_line(upstream: HostileUpstream, gateway: Gateway) -> None:
    upstream.perform(hangs_after(head(500, ("content-length", "100")) + b"half"))
    caller = OPENAI_CALLER
    with calling(gateway.port, caller.request("openai")) as call:
        peer = upstream.wait_for_requests(1)
        until(lambda: not peer.transport.get_write_buffer_size(), "what there is was sent")
        assert_upstream_is_freed(call, peer, upstream, gateway)
