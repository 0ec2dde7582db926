"""A client that takes nothing is let go with its upstream; one that is only slow is waited for (HARDENING.md §2)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from gateway.config import parse
from tests.faults.callers import (
    ANTHROPIC_CALLER,
    CALLERS,
    OPENAI_CALLER,
    TRUSS_CALLER,
    Call,
    Caller,
    ask,
    assert_finished,
    calling,
)
from tests.faults.harness import Gateway, Process, free_port, gateway_in_thread, gateway_process, settings
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, until
from tests.faults.voices import ANTHROPIC, LAST_CHUNK, OPENAI, RAW, Voice, answers, chunk, sized
from tests.measured import measure

STALL_S: Final = 0.6
SLACK_S: Final = 1.5
SMALL: Final = 4096
KIB, MIB = 1024, 1024 * 1024
WAYS: Final = [(OPENAI_CALLER, OPENAI), (OPENAI_CALLER, ANTHROPIC), (TRUSS_CALLER, RAW), (TRUSS_CALLER, OPENAI)]
WAY_IDS: Final = ["passed through", "translated", "raw text passed through", "translated to raw text"]
ways = pytest.mark.parametrize(("caller", "voice"), WAYS, ids=WAY_IDS)


def impatient(port: int, **server: str) -> bytes:
    config: dict[str, Any] = orjson.loads(settings(port, server=server))
    config["routes"]["two"] = {
        **config["routes"]["anthropic"],
        "fallback": [{"upstream": "anthropic", "model": "second"}],
    }
    for route in config["routes"].values():
        route["slow_client"] = {"stall": f"{STALL_S * 1000:g}ms"}
    return orjson.dumps(config)


@pytest.fixture(scope="module")
def the_impatient(the_upstream: HostileUpstream) -> Iterator[Gateway]:
    with gateway_in_thread(parse(impatient(the_upstream.port), "slow.yaml", {})) as gateway:
        yield gateway


@pytest.fixture
def edge(the_impatient: Gateway, upstream: HostileUpstream) -> Iterator[Gateway]:
    the_impatient.forget()
    yield the_impatient
    assert not the_impatient.failures


def endless(voice: Voice) -> Play:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first())
        await peer.flood(chunk(voice.token("on and on " * 100)) * 8)

    return play


def gone_after(peer: Peer, begun: float) -> float:
    assert peer.closed.wait(STALL_S + SLACK_S + 5)
    return peer.closed_at - begun


@ways
def test_a_client_that_takes_nothing_is_let_go_with_its_upstream(
    upstream: HostileUpstream, edge: Gateway, caller: Caller, voice: Voice
) -> None:
    upstream.perform(endless(voice))
    with calling(edge.port, caller.request(voice.upstream), receive_buffer=SMALL) as call:
        call.read_until(b"Salt")
        begun = time.perf_counter()
        took = gone_after(upstream.peers[-1], begun)
        line = edge.the_line()
        assert is_reset(call)
    measure("s beyond the stall until the upstream was let go", took - STALL_S)
    assert STALL_S <= took < STALL_S + SLACK_S
    assert (line["end"], line["status"]) == ("client_stalled", 200)
    assert "error" not in line, "it is no failure of the upstream's"


def is_reset(call: Call) -> bool:
    """What the client's machine had is there to be read, and what ours had is not."""
    got = 0
    try:
        while data := call.socket.recv(1 << 20):
            got += len(data)
    except ConnectionResetError:
        return got < MIB
    return False


def test_what_we_go_on_writing_is_no_sign_that_the_client_reads(upstream: HostileUpstream, edge: Gateway) -> None:
    """A little every now and then, which never fills our own buffer."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.first())
        await peer.send(*[chunk(OPENAI.token("on and on " * 800))] * 800)
        await peer.drip(chunk(OPENAI.token("more ")), 0.02)

    upstream.perform(play)
    with calling(edge.port, OPENAI_CALLER.request("openai"), receive_buffer=SMALL) as call:
        call.read_until(b"Salt")
        gone_after(upstream.peers[-1], time.perf_counter())
        assert edge.the_line()["end"] == "client_stalled"


@pytest.mark.slow
@ways
def test_a_client_that_reads_slowly_but_steadily_is_waited_for(
    upstream: HostileUpstream, edge: Gateway, caller: Caller, voice: Voice
) -> None:
    """For many times as long as it may stand still."""

    async def long(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first())
        for _ in range(4000):
            await peer.send(chunk(voice.token("on and on " * 400)))
        await peer.send(chunk(voice.finish + voice.terminator), LAST_CHUNK)

    upstream.perform(long)
    with calling(edge.port, caller.request(voice.upstream), receive_buffer=SMALL) as call:
        call.read_until(b"Salt")
        begun = time.perf_counter()
        while time.perf_counter() - begun < 5 * STALL_S:
            call.received += call.socket.recv(2048)
            time.sleep(0.02)
        assert upstream.peers[-1].is_stuck(0), "it has read less than was sent"
        assert_finished(call.read_reply(), caller.form(voice))
    assert edge.the_line()["end"] == "complete"


def test_a_client_that_took_all_there_was_is_not_slow(upstream: HostileUpstream, edge: Gateway) -> None:
    """It is the upstream that is silent."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.first())
        await peer.released()
        await peer.send(chunk(OPENAI.finish + OPENAI.terminator), LAST_CHUNK)

    upstream.perform(play)
    with calling(edge.port, OPENAI_CALLER.request("openai")) as call:
        call.read_until(b"wind")
        time.sleep(3 * STALL_S)  # that nothing happens is what is shown
        upstream.release()
        assert_finished(call.read_reply(), "openai")


LONG_TEXT: Final = "on and on " * 800_000
WHOLE: Final = [(OPENAI_CALLER, OPENAI), (ANTHROPIC_CALLER, OPENAI), (TRUSS_CALLER, RAW)]
whole_ways = pytest.mark.parametrize(("caller", "voice"), WHOLE, ids=["passed", "translated", "a predict call"])


def says_whole(voice: Voice) -> Play:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(sized(voice.whole(LONG_TEXT)))

    return play


@whole_ways
def test_a_whole_answer_that_is_not_taken_is_given_up(
    upstream: HostileUpstream, edge: Gateway, caller: Caller, voice: Voice
) -> None:
    upstream.perform(says_whole(voice))
    request = caller.request(voice.upstream, stream=False)
    with calling(edge.port, request, receive_buffer=SMALL) as call:
        call.read_until(b"\r\n\r\n")
        begun = time.perf_counter()
        line = edge.the_line()
        took = time.perf_counter() - begun
        assert is_reset(call)
    assert line["end"] == "client_stalled"
    assert "error" not in line
    assert took < STALL_S + SLACK_S
    measure("s beyond the stall until a whole answer was given up", took - STALL_S)


@pytest.mark.slow
@whole_ways
def test_a_whole_answer_is_given_all_the_time_that_its_client_takes(
    upstream: HostileUpstream, edge: Gateway, caller: Caller, voice: Voice
) -> None:
    """Longer than the stall, and than the `total` of a route: the upstream was done in time."""
    upstream.perform(says_whole(voice))
    with calling(edge.port, caller.request(f"brief-{voice.upstream}", stream=False), receive_buffer=65536) as call:
        begun = time.perf_counter()
        while time.perf_counter() - begun < 3 * STALL_S:
            call.received += call.socket.recv(16384)
            time.sleep(0.02)
        reply = call.read_reply()
    assert reply.status == 200
    assert reply.is_whole
    assert reply.body.count(b"on and on ") == 800_000
    assert edge.the_line()["end"] == "complete"


@pytest.mark.slow
@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
def test_a_stall_counts_against_no_upstream(upstream: HostileUpstream, edge: Gateway, caller: Caller) -> None:
    """However many clients stall on it, the next one is served by it."""
    upstream.perform(endless(ANTHROPIC))
    with ExitStack() as calls:
        for _ in range(12):
            call = calls.enter_context(calling(edge.port, caller.request("two"), receive_buffer=SMALL))
            call.read_until(b"Salt")
        until(lambda: len(edge.lines) == 12, "all were let go")
    assert {line["end"] for line in edge.lines} == {"client_stalled"}
    upstream.perform(answers(ANTHROPIC))
    edge.lines.clear()
    assert_finished(ask(edge.port, caller.request("two")), caller.form(ANTHROPIC))
    assert edge.the_line()["attempts"] == 1


def test_nothing_is_read_on_for_a_client_that_stalled(upstream: HostileUpstream) -> None:
    """Though the route reads on for those that leave: the upstream has waited long enough."""
    config: dict[str, Any] = orjson.loads(impatient(upstream.port))
    config["routes"]["openai"]["on_disconnect"] = "finish"
    upstream.perform(endless(OPENAI))
    with (
        gateway_in_thread(parse(orjson.dumps(config), "slow.yaml", {})) as gateway,
        calling(gateway.port, OPENAI_CALLER.request("openai"), receive_buffer=SMALL) as call,
    ):
        call.read_until(b"Salt")
        gone_after(upstream.peers[-1], time.perf_counter())
        assert gateway.the_line()["end"] == "client_stalled"


def test_a_stall_can_be_waited_for(upstream: HostileUpstream) -> None:
    """0s: until the total is over."""
    config: dict[str, Any] = orjson.loads(settings(upstream.port))
    config["routes"]["stuck-openai"]["slow_client"] = {"stall": "0s"}
    upstream.perform(endless(OPENAI))
    with (
        gateway_in_thread(parse(orjson.dumps(config), "slow.yaml", {})) as gateway,
        calling(gateway.port, OPENAI_CALLER.request("stuck-openai"), receive_buffer=SMALL) as call,
    ):
        call.read_until(b"Salt")
        assert gateway.the_line()["end"] == "broken"


# -- what it costs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def process(upstream: HostileUpstream, tmp_path: Path) -> Iterator[Process]:
    port = free_port()
    with gateway_process(tmp_path, impatient(upstream.port), port) as process:
        yield process


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["streams", "whole answers"])
def test_fifty_stalled_clients_cost_little_and_then_nothing(
    upstream: HostileUpstream, process: Process, kind: str
) -> None:
    is_stream = kind == "streams"
    request = OPENAI_CALLER.request("openai", stream=is_stream)
    upstream.perform(answers(OPENAI))
    for _ in range(20):
        ask(process.port, request)
    text = OPENAI.whole("on and on " * 100_000)

    async def whole(peer: Peer, seen: Seen) -> None:
        await peer.send(sized(text))

    upstream.perform(endless(OPENAI) if is_stream else whole)
    before, peak = process.memory, 0
    with ExitStack() as calls:
        for _ in range(50):
            calls.enter_context(calling(process.port, request, receive_buffer=SMALL))
        peers = upstream.wait_for_requests(70)
        assert peers
        begun = time.perf_counter()
        while time.perf_counter() - begun < STALL_S:
            peak = max(peak, process.memory)
            time.sleep(0.02)
        if is_stream:
            until(lambda: all(peer.closed.is_set() for peer in upstream.peers[-50:]), "every upstream was let go")
            measure("s until fifty stalled streams had let go of their upstreams", time.perf_counter() - begun)
    measure(f"KiB of memory a stalled client at most ({kind})", (peak - before) / 50 / KIB)
    assert peak - before < 50 * (256 * KIB if is_stream else 2 * len(text))
    upstream.perform(answers(OPENAI))
    assert_finished(ask(process.port, OPENAI_CALLER.request("openai")), "openai")
