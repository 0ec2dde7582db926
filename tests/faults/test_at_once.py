"""The middle of an answer goes from socket to socket in one call, and everything else holds as by the loop."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest

from gateway.relay.carrier import Batch, PassThrough, Translation
from gateway.relay.pump import Pump
from tests.faults.callers import OPENAI_CALLER, Caller, ask, assert_finished, calling
from tests.faults.harness import PAIR_IDS, PAIRS, Gateway
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, until
from tests.faults.voices import ANTHROPIC, LAST_CHUNK, OPENAI, Voice, chunk

TOKENS = 20
BOUND_S = 1.0


class Watched:
    """What became of what came while it was waited for."""

    def __init__(self) -> None:
        self.reads = 0
        self.held_back = 0


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched, at_once = Watched(), Pump._at_once

    def noted(pump: Pump, chunk: bytes) -> bool:
        goes_on = at_once(pump, chunk)
        watched.reads += 1
        watched.held_back += not goes_on
        return goes_on

    monkeypatch.setattr(Pump, "_at_once", noted)
    return watched


def says_one_by_one(voice: Voice) -> Play:
    """Tokens, each in a packet of its own, that is seen as such."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first())
        for _ in range(TOKENS):
            await asyncio.sleep(0.005)
            await peer.send(chunk(voice.token(" more")))
        await peer.send(chunk(voice.finish + voice.terminator), LAST_CHUNK)

    return play


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
def test_the_middle_of_an_answer_takes_no_turn_of_the_loop(
    upstream: HostileUpstream, gateway: Gateway, watched: Watched, caller: Caller, voice: Voice
) -> None:
    """In every pair, and only the last read is left to the loop. Reads may fall together on a busy machine."""
    upstream.perform(says_one_by_one(voice))
    reply = ask(gateway.port, caller.request(voice.upstream))
    assert_finished(reply, caller.form(voice))
    assert reply.body.count(b" more") >= TOKENS
    assert watched.reads > TOKENS / 2
    assert watched.held_back <= 1
    assert gateway.the_line()["end"] == "complete"


@pytest.mark.parametrize("voice", [OPENAI, ANTHROPIC], ids=["passed through", "translated"])
def test_a_client_that_leaves_in_the_middle_of_it_frees_its_upstream(
    upstream: HostileUpstream, gateway: Gateway, watched: Watched, voice: Voice
) -> None:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first())
        await peer.drip(chunk(voice.token(" more")), 0.001)

    upstream.perform(play)
    with calling(gateway.port, OPENAI_CALLER.request(voice.upstream)) as call:
        until(lambda: watched.reads > TOKENS, "tokens go at once")
        call.leave()
        assert upstream.peers[-1].closed.wait(BOUND_S)
    assert gateway.the_line()["end"] == "client_left"


@pytest.mark.parametrize("voice", [OPENAI, ANTHROPIC], ids=["passed through", "translated"])
def test_a_client_that_is_slower_than_its_upstream_is_waited_for_and_loses_nothing(
    upstream: HostileUpstream, gateway: Gateway, watched: Watched, voice: Voice
) -> None:
    """What the kernel's buffers and our own hold, and more; read late."""
    pieces = 1200

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first())
        for number in range(pieces):
            await asyncio.sleep(0.0005)  # else there would always be more when the loop asks for it
            await peer.send(chunk(voice.token(f" {number:06d}" * 1000)))
        await peer.send(chunk(voice.finish + voice.terminator), LAST_CHUNK)

    upstream.perform(play)
    with calling(gateway.port, OPENAI_CALLER.request(voice.upstream), receive_buffer=4096) as call:
        until(lambda: any(peer.is_stuck(0.3) for peer in upstream.peers), "the upstream is held back")
        reply = call.read_reply()
    assert_finished(reply, "openai")
    place = 0
    for number in range(pieces):
        place = reply.body.index(b" %06d" % number * 1000, place)
    assert watched.held_back > 1  # by the client, before the end is
    assert gateway.the_line()["end"] == "complete"


@pytest.mark.parametrize("voice", [OPENAI, ANTHROPIC], ids=["passed through", "translated"])
def test_a_defect_of_ours_in_the_middle_of_it_cuts_the_answer_and_is_logged(
    upstream: HostileUpstream, gateway: Gateway, watched: Watched, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by the loop: nobody is told that it was the upstream."""
    carrier: Any = PassThrough if voice is OPENAI else Translation
    feed, reads = carrier.feed, count()

    def defective(self: Any, data: bytes) -> Batch:
        if next(reads) > TOKENS // 2:
            raise ValueError("a defect")
        batch: Batch = feed(self, data)
        return batch

    monkeypatch.setattr(carrier, "feed", defective)
    upstream.perform(says_one_by_one(voice))
    reply = ask(gateway.port, OPENAI_CALLER.request(voice.upstream))
    assert reply.status == 200
    assert b" more" in reply.body
    assert not reply.is_whole
    assert b"error" not in reply.body
    assert upstream.peers[-1].closed.wait(BOUND_S)
    line = gateway.the_line()
    assert (line["end"], line["error"]) == ("broken", "internal")
    assert watched.reads > 1
    assert "a defect" in gateway.failures.pop()
