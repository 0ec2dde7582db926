"""A client of a slow upstream has a head and a keep-alive soon; that takes neither its other target nor its error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.faults.callers import (
    ANTHROPIC_CALLER,
    OPENAI_CALLER,
    RESPONSES_CALLER,
    STREAM_ERRORS,
    TERMINATORS,
    TRUSS_CALLER,
    Caller,
    assert_finished,
    calling,
    told_error,
)
from tests.faults.harness import Gateway, configuration, gateway_in_thread
from tests.faults.hostile_upstream import HostileUpstream
from tests.faults.voices import ANTHROPIC, OPENAI, RESPONSES, Voice, answers, chunk, hangs_after

KEEP_ALIVES: Final = {
    "openai": b": keep-alive\n\n",
    "anthropic": b'event: ping\ndata: {"type":"ping"}\n\n',
    "responses": b": keep-alive\n\n",
}
CALLERS: Final = (OPENAI_CALLER, ANTHROPIC_CALLER, RESPONSES_CALLER)
PAIRS: Final = [(caller, voice) for caller in CALLERS for voice in (OPENAI, ANTHROPIC, RESPONSES)]
pairs = pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=[f"{c.name}-of-{v.name}" for c, v in PAIRS])


@pytest.fixture(scope="module")
def hasty(the_upstream: HostileUpstream) -> Iterator[Gateway]:
    """A gateway whose clients wait 50 ms for a head."""
    with gateway_in_thread(configuration(the_upstream.port, first_byte_hold="50ms")) as gateway:
        yield gateway


@pairs
def test_the_next_target_answers_behind_a_keep_alive(
    upstream: HostileUpstream, hasty: Gateway, caller: Caller, voice: Voice
) -> None:
    """The first said hello and then nothing; not a byte of it reaches the client."""
    hasty.forget()
    upstream.perform(hangs_after(voice.head + chunk(voice.opening)), answers(voice))
    with calling(hasty.port, caller.request(f"spare-{voice.upstream}")) as call:
        reply = call.read_reply()
    assert_finished(reply, caller.name)
    assert reply.body.startswith(KEEP_ALIVES[caller.name])
    assert reply.body.count(b'"message_start"') <= 1
    assert len(upstream.requests) == 2
    line = hasty.the_line()
    assert (line["attempts"], line["end"], line["status"]) == (2, "complete", 200)


@pairs
def test_a_failure_of_every_target_is_told_in_the_body(
    upstream: HostileUpstream, hasty: Gateway, caller: Caller, voice: Voice
) -> None:
    """The status is out, so the client hears of it as of any answer that breaks."""
    hasty.forget()
    upstream.perform(hangs_after(voice.head + chunk(voice.opening)))
    with calling(hasty.port, caller.request(f"spare-{voice.upstream}")) as call:
        reply = call.read_reply()
    assert (reply.status, reply.is_whole) == (200, True)
    assert reply.body.startswith(KEEP_ALIVES[caller.name])
    assert STREAM_ERRORS[caller.name] in reply.body
    assert b"first token" in reply.body
    assert TERMINATORS[caller.name] not in reply.body
    assert len(upstream.requests) == 2
    line = hasty.the_line()
    assert (line["attempts"], line["end"], line["error"], line["status"]) == (2, "broken", "timeout", 200)


def test_raw_text_has_no_keep_alive_and_keeps_its_status(upstream: HostileUpstream, hasty: Gateway) -> None:
    hasty.forget()
    upstream.perform(hangs_after(OPENAI.head + chunk(OPENAI.opening)))
    with calling(hasty.port, TRUSS_CALLER.request("spare-openai")) as call:
        reply = call.read_reply()
    assert reply.status == 504
    assert "first token" in told_error(reply, TRUSS_CALLER)
