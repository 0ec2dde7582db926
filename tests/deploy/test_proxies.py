"""Behind nginx, Caddy and HAProxy a stream is what it is without them: whole, cut, left or waiting."""

from __future__ import annotations

import pytest

from tests.deploy.proxies import Running
from tests.faults.callers import (
    CALLERS,
    FOUR,
    OPENAI_CALLER,
    TRUSS_CALLER,
    Caller,
    Reply,
    ask,
    assert_broken,
    assert_finished,
    calling,
    told_error,
)
from tests.faults.harness import PAIR_IDS, PAIRS, Gateway, watched
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, until
from tests.faults.voices import OPENAI, RAW, VOICES, Voice, answers, chunk, hangs_after, hangs_up_after, head
from tests.measured import measure
from tests.sockets import connected

BOUND_S = 1.0
MIB = 1024 * 1024
MAX_BODY = 32 * MIB
every_pair = pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
every_caller = pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)


# -- ends -----------------------------------------------------------------------------------------------------------


@every_pair
def test_a_whole_stream_arrives_whole(
    proxy: Running, gateway: Gateway, upstream: HostileUpstream, caller: Caller, voice: Voice
) -> None:
    upstream.perform(answers(voice))
    assert_finished(ask(proxy.port, caller.request(voice.upstream)), caller.form(voice))


@every_pair
def test_a_cut_stays_a_cut(
    proxy: Running, gateway: Gateway, upstream: HostileUpstream, caller: Caller, voice: Voice
) -> None:
    upstream.perform(hangs_up_after(voice.first()))
    form = caller.form(voice)
    with calling(proxy.port, caller.request(voice.upstream)) as call:
        reply = call.read_reply()
    if form == "raw" and proxy.hides_cuts:
        assert reply.is_whole, "this Caddy tells a cut: the docs say otherwise"
        assert [value for name, value in reply.headers if name == "x-gateway-completeness"] == ["unverifiable"]
    else:
        assert_broken(reply, form)


@every_caller
def test_each_token_passes_before_the_next_is_said(
    proxy: Running, gateway: Gateway, upstream: HostileUpstream, caller: Caller
) -> None:
    said = [word.encode() for word in ("Salt", "wind", "combs")]

    async def one_by_one(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.head + chunk(OPENAI.opening))
        for word in said:
            await peer.send(chunk(OPENAI.token(f"{word.decode()} ")))
            await peer.released()
            upstream.go.clear()

    upstream.perform(one_by_one)
    with calling(proxy.port, caller.request("openai")) as call:
        for word in said:
            call.read_until(word)  # nothing more is said until this has arrived
            upstream.release()


# -- clients that leave or wait -------------------------------------------------------------------------------------


def says_nothing(voice: Voice) -> Play:
    return hangs_after()


def says_two_tokens(voice: Voice) -> Play:
    return hangs_after(voice.first())


def says_half_a_body(voice: Voice) -> Play:
    return hangs_after(head(200, ("content-type", "application/json"), ("content-length", "1000")) + b"{")


@pytest.mark.parametrize("voice", VOICES, ids=lambda voice: voice.name)
@pytest.mark.parametrize("phase", [says_nothing, says_two_tokens])
def test_a_client_that_leaves_a_stream_frees_its_upstream(
    proxy: Running, gateway: Gateway, upstream: HostileUpstream, voice: Voice, phase: object
) -> None:
    assert callable(phase)
    upstream.perform(phase(voice))
    caller = TRUSS_CALLER if voice is RAW else OPENAI_CALLER
    with calling(proxy.port, caller.request(voice.upstream)) as call:
        peer = upstream.wait_for_requests(1)
        if phase is says_two_tokens:
            call.read_until(b"Salt")
        left_at = call.leave()
        assert_freed(proxy, gateway, peer, left_at)


@pytest.mark.parametrize("phase", [says_nothing, says_half_a_body])
@every_caller
def test_a_client_that_leaves_a_whole_call_frees_its_upstream(
    proxy: Running, gateway: Gateway, upstream: HostileUpstream, caller: Caller, phase: object
) -> None:
    assert callable(phase)
    upstream.perform(phase(OPENAI))
    with calling(proxy.port, caller.request("openai", stream=False)) as call:
        peer = upstream.wait_for_requests(1)
        left_at = call.leave()
        assert_freed(proxy, gateway, peer, left_at)


def assert_freed(proxy: Running, gateway: Gateway, peer: Peer, left_at: float) -> None:
    assert peer.closed.wait(BOUND_S), "the upstream connection is still open"
    measure(f"ms from leaving {proxy.proxy.name} to the upstream's close", (peer.closed_at - left_at) * 1000)
    assert gateway.the_line()["end"] == "client_left"


def test_an_upstream_waits_for_a_client_that_does_not_read(
    proxy: Running, gateway: Gateway, upstream: HostileUpstream
) -> None:
    async def flood(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.first())
        await peer.flood(chunk(OPENAI.token("more " * 2000)))

    upstream.perform(flood)
    with calling(proxy.port, OPENAI_CALLER.request("openai"), receive_buffer=4096) as call:
        call.read_until(b"Salt")
        peer = upstream.wait_for_requests(1)
        until(peer.is_stuck, "the upstream waits")
        taken = watched(lambda: peer.taken, 1.0)
        assert taken[-1] < 24 * MIB
        assert taken[-1] - taken[0] < MIB


# -- bodies and errors ----------------------------------------------------------------------------------------------


def sized_request(caller: Caller, size: int) -> bytes:
    """A chat request whose body has exactly that many bytes."""

    def request(padding: int) -> bytes:
        content = [{"role": "user", "content": "x" * padding}]
        return caller.request("openai", stream=False, messages=content)

    body = len(request(0).partition(b"\r\n\r\n")[2])
    return request(size - body)


def test_the_largest_body_arrives_whole(proxy: Running, gateway: Gateway, upstream: HostileUpstream) -> None:
    upstream.perform(answers(OPENAI))
    reply = ask(proxy.port, sized_request(OPENAI_CALLER, MAX_BODY))
    assert reply.status == 200, reply.body
    assert upstream.requests[0].body.count(b"x") > MAX_BODY - 200


@pytest.mark.parametrize("caller", CALLERS[:2], ids=lambda caller: caller.name)
def test_the_gateway_refuses_a_larger_body_in_the_clients_dialect(
    proxy: Running, gateway: Gateway, upstream: HostileUpstream, caller: Caller
) -> None:
    top, _, body = sized_request(caller, MAX_BODY + 1).partition(b"\r\n\r\n")
    with connected(proxy.port) as client:
        client.send(top + b"\r\n\r\n" + body[:1000])  # refused by its announced length
        answer = client.read_answer()
    assert answer.status == 413
    reply = Reply(413, tuple(answer.headers.items()), answer.body, is_whole=True)
    assert "33554433" in told_error(reply, caller)
    assert not upstream.requests


@every_caller
def test_errors_of_the_gateway_pass_as_they_are(
    proxy: Running, gateway: Gateway, upstream: HostileUpstream, caller: Caller
) -> None:
    request = caller.request("no-such-model")
    direct, proxied = ask(gateway.port, request), ask(proxy.port, request)
    assert proxied.status == direct.status == 404
    assert told_error(proxied, caller) == told_error(direct, caller)
    assert direct.names - {"connection"} <= proxied.names
    assert proxied.header("x-gateway-request-id").startswith("req_")
