"""A client that stops reading holds its upstream back and costs next to nothing (HARDENING.md §2). A real process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.callers import OPENAI_CALLER, TRUSS_CALLER, Caller, ask, assert_finished, calling
from tests.faults.harness import Process, free_port, gateway_process, settings, watched
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen, until
from tests.faults.voices import ANTHROPIC, OPENAI, RAW, Voice, answers, chunk
from tests.measured import measure

STALLED = 50
KIB, MIB = 1024, 1024 * 1024
WAYS = [(OPENAI_CALLER, OPENAI), (OPENAI_CALLER, ANTHROPIC), (TRUSS_CALLER, RAW), (TRUSS_CALLER, OPENAI)]
WAY_IDS = ["passed through", "translated", "raw text passed through", "translated to raw text"]


@pytest.fixture
def process(upstream: HostileUpstream, tmp_path: Path) -> Iterator[Process]:
    port = free_port()
    with gateway_process(tmp_path, settings(upstream.port), port) as process:
        yield process


def warm_up(process: Process, upstream: HostileUpstream, caller: Caller, voice: Voice) -> None:
    """Code, pools and heap of a gateway that has carried a few streams at once."""
    upstream.perform(answers(voice))
    for _ in range(20):
        assert_finished(ask(process.port, caller.request(voice.upstream)), caller.form(voice))


@pytest.mark.slow
@pytest.mark.parametrize(("caller", "voice"), WAYS, ids=WAY_IDS)
def test_fifty_stalled_readers_cost_little_and_hold_their_upstreams_back(
    upstream: HostileUpstream, process: Process, caller: Caller, voice: Voice, request: pytest.FixtureRequest
) -> None:
    way = request.node.callspec.id
    flood = chunk(voice.token("on and on " * 100)) * 8

    async def endless(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first())
        await peer.flood(flood)

    warm_up(process, upstream, caller, voice)
    before = process.memory
    upstream.perform(endless)
    with ExitStack() as clients:
        for _ in range(STALLED):
            call = clients.enter_context(calling(process.port, caller.request(voice.upstream), receive_buffer=4096))
            call.read_until(b"Salt")
        until(lambda: sum(peer.is_stuck(0.3) for peer in upstream.peers) >= STALLED, "every upstream is held back", 30)
        until(lambda: len(upstream.peers) >= STALLED, "every stream has its connection")
        grown = process.memory - before
        measure(f"KiB of memory a stalled stream ({way})", grown / STALLED / KIB)
        assert grown < STALLED * 256 * KIB
        taken = [peer.taken for peer in upstream.peers]
        measure(f"MiB taken a stalled stream, kernel included ({way})", max(taken) / MIB)
        assert max(taken) < 8 * MIB
        values = watched(lambda: process.memory, 3.0)
        measure(f"KiB of growth in 3 s of 50 stalled streams ({way})", (max(values) - values[0]) / KIB)
        assert max(values) - values[0] < MIB
        assert sum(peer.taken for peer in upstream.peers) - sum(taken) < MIB
        upstream.perform(answers(voice))
        begun = time.perf_counter()
        assert_finished(ask(process.port, caller.request(voice.upstream)), caller.form(voice))
        served_s = time.perf_counter() - begun
        measure(f"ms for a 51st client ({way})", served_s * 1000)
        assert served_s < 0.5


@pytest.mark.parametrize(("caller", "voice"), WAYS, ids=WAY_IDS)
def test_an_upstream_is_held_back_within_a_second_of_its_client_and_goes_on_with_it(
    upstream: HostileUpstream, process: Process, caller: Caller, voice: Voice
) -> None:
    flood = chunk(voice.token("on and on " * 100)) * 8

    async def endless(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first())
        await peer.flood(flood)

    upstream.perform(endless)
    with calling(process.port, caller.request(voice.upstream), receive_buffer=4096) as call:
        call.read_until(b"Salt")
        peer = upstream.peers[-1]
        held_s = until(lambda: peer.is_stuck(0.8), "the upstream is held back") - 0.8  # the kernel may take some more
        measure("s until an upstream was held back", held_s)
        assert held_s < 1.0
        taken = peer.taken
        assert max(watched(lambda: peer.taken, 0.5)) == taken
        call.socket.settimeout(5)
        got = 0
        while peer.taken == taken:
            got += len(call.socket.recv(65536))
            assert got < 32 * MIB
        assert peer.taken > taken


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["passed through", "translated"])
def test_a_line_without_end_costs_bounded_memory(upstream: HostileUpstream, process: Process, whose: str) -> None:
    voice = OPENAI if whose == "passed through" else ANTHROPIC

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first(), b"ffffffff\r\ndata: ")
        await peer.flood(b"x" * 65536)

    warm_up(process, upstream, OPENAI_CALLER, voice)
    before = process.memory
    upstream.perform(play)
    with calling(process.port, OPENAI_CALLER.request(voice.upstream)) as call:
        call.read_until(b"Salt")
        peer = upstream.peers[-1]
        peak = before
        begun = time.perf_counter()
        while not peer.closed.is_set():
            peak = max(peak, process.memory)
            assert time.perf_counter() - begun < 10
    measure(f"MiB of memory for a line without end ({whose})", (peak - before) / MIB)
    measure("MiB taken of a line without end by a process", peer.sent / MIB)
    assert peak - before < 64 * MIB
    assert peer.sent < 20 * MIB


def test_one_flood_of_tiny_frames_does_not_stop_other_clients(upstream: HostileUpstream, process: Process) -> None:
    tiny = chunk(ANTHROPIC.token("a"))

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(ANTHROPIC.first())
        await peer.flood(tiny * 400)

    warm_up(process, upstream, OPENAI_CALLER, ANTHROPIC)
    upstream.perform(play, answers(ANTHROPIC))
    with calling(process.port, OPENAI_CALLER.request("anthropic")) as greedy:
        greedy.read_until(b"Salt")
        greedy.socket.setblocking(False)
        took = []
        for _ in range(20):
            begun = time.perf_counter()
            with calling(process.port, OPENAI_CALLER.request("openai", stream=False)) as call:
                while b"\r\n\r\n" not in call.received:
                    call.socket.settimeout(0.001)
                    try:
                        call.received += call.socket.recv(65536)
                    except TimeoutError:
                        _drain(greedy.socket.fileno())
            took.append(time.perf_counter() - begun)
    measure("ms for others beside a flood of tiny frames", sorted(took)[10] * 1000)
    assert sorted(took)[10] < 0.5


def _drain(descriptor: int) -> None:
    import os

    try:
        for _ in range(64):
            if not os.read(descriptor, 1 << 20):
                return
    except BlockingIOError:
        pass
