"""A cut stream never looks finished: every way of breaking, in every pair of dialects (DESIGN.md §1)."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest

from tests.faults.callers import (
    ANTHROPIC_CALLER,
    CHAT_CALLER,
    OPENAI_CALLER,
    RESPONSES_CALLER,
    STREAM_ERRORS,
    TERMINATORS,
    TRUSS_CALLER,
    Caller,
    Reply,
    ask,
    assert_broken,
    assert_finished,
    calling,
    told_error,
)
from tests.faults.harness import PAIR_IDS, PAIRS, Gateway
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen
from tests.faults.voices import (
    ANTHROPIC,
    LAST_CHUNK,
    OPENAI,
    RAW,
    RESPONSES,
    TEXT,
    TRUSS_EVENTS,
    VOICES,
    Voice,
    answers,
    chunk,
    hangs_after,
    hangs_up_after,
    head,
    says,
    sized,
)
from tests.measured import measure

End = Callable[[Peer, Voice], object]


async def resets(peer: Peer, voice: Voice) -> None:
    peer.reset()


async def hangs_up(peer: Peer, voice: Voice) -> None:
    peer.close()


async def hangs_up_inside_a_chunk(peer: Peer, voice: Voice) -> None:
    await peer.send(b"ff\r\n" + (b"data: " if voice.is_framed else b""))
    peer.close()


async def breaks_the_chunking(peer: Peer, voice: Voice) -> None:
    await peer.send(b"zz\r\nSalt \r\n")
    await peer.gone()


async def ends_without_a_terminator(peer: Peer, voice: Voice) -> None:
    await peer.send(LAST_CHUNK)


async def falls_silent(peer: Peer, voice: Voice) -> None:
    await peer.gone()


async def pings_for_ever(peer: Peer, voice: Voice) -> None:
    await peer.flood(chunk(voice.ping * 20) if voice.ping else b"")


async def says_gibberish(peer: Peer, voice: Voice) -> None:
    await peer.send(chunk(voice.gibberish[0]))
    await peer.gone()


async def says_a_number(peer: Peer, voice: Voice) -> None:
    await peer.send(chunk(voice.gibberish[1]))
    await peer.gone()


async def says_a_wrong_shape(peer: Peer, voice: Voice) -> None:
    await peer.send(chunk(voice.gibberish[2]))
    await peer.gone()


async def tells_an_error(peer: Peer, voice: Voice) -> None:
    await peer.send(chunk(voice.error), LAST_CHUNK)


CUTS = (resets, hangs_up, hangs_up_inside_a_chunk, breaks_the_chunking, falls_silent)
FRAMED_CUTS = (
    ends_without_a_terminator,
    pings_for_ever,
    says_gibberish,
    says_a_number,
    says_a_wrong_shape,
    tells_an_error,
)
BREAKS = [(caller, voice, how) for caller, voice in PAIRS for how in (*CUTS, *(FRAMED_CUTS if voice.is_framed else ()))]
SLOW = (falls_silent, pings_for_ever)
BREAKS = [(c, v, how) for c, v, how in BREAKS if how not in SLOW or (c.name != "truss-chat" and v is not TRUSS_EVENTS)]
BREAK_IDS = [f"{caller.name}-of-{voice.name}-{how.__name__}" for caller, voice, how in BREAKS]


def broken(how: Callable[[Peer, Voice], object], voice: Voice, *, tokens: int) -> Play:
    """Some tokens, then, once the client has seen them, the break."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first(tokens) if tokens else voice.head + chunk(voice.opening))
        if tokens:
            await peer.released()
        await how(peer, voice)  # type: ignore[misc]

    return play


@pytest.mark.parametrize(("caller", "voice", "how"), BREAKS, ids=BREAK_IDS)
def test_a_stream_that_breaks_is_reported_to_the_client(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, how: End
) -> None:
    upstream.perform(broken(how, voice, tokens=2))
    with calling(gateway.port, caller.request(f"spare-{voice.upstream}")) as call:
        call.read_until(b"wind")
        upstream.release()
        assert_broken(call.read_reply(), caller.form(voice))
    assert gateway.the_line()["end"] == "broken"
    assert len(upstream.requests) == 1, "no second target after the commit point"


@pytest.mark.parametrize(("caller", "voice", "how"), BREAKS, ids=BREAK_IDS)
def test_a_stream_that_breaks_before_its_first_token_goes_to_the_next_target(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, how: End
) -> None:
    upstream.perform(broken(how, voice, tokens=0), answers(voice))
    assert_finished(ask(gateway.port, caller.request(f"spare-{voice.upstream}")), caller.form(voice))
    line = gateway.the_line()
    assert (line["end"], line["attempts"], len(upstream.requests)) == ("complete", 2, 2)


@pytest.mark.parametrize(("caller", "voice", "how"), BREAKS, ids=BREAK_IDS)
def test_a_stream_that_breaks_before_its_first_token_has_an_error_status(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, how: End
) -> None:
    upstream.perform(broken(how, voice, tokens=0))
    reply = ask(gateway.port, caller.request(f"quick-{voice.upstream}"))
    assert reply.status == (504 if how in SLOW else 502), reply
    assert told_error(reply, caller)
    assert gateway.the_line()["end"] == "refused"


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
def test_a_stream_shorter_than_its_length_is_reported(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    everything = voice.opening + b"".join(voice.token(text) for text in ("Salt ", "wind ")) + voice.finish
    top = head(200, ("content-type", voice.media_type), ("content-length", str(len(everything) + 100)))

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(top + everything)
        await peer.released()
        peer.close()

    upstream.perform(play)
    with calling(gateway.port, caller.request(voice.upstream)) as call:
        call.read_until(b"Salt")
        upstream.release()
        assert_ended_badly(call.read_reply(), caller.form(voice))
    assert gateway.the_line()["end"] == "broken"


def assert_ended_badly(reply: Reply, form: str) -> None:
    """As `assert_broken`, where a finish reason may have been passed on before the break."""
    if form == "raw":
        assert not reply.is_whole
    else:
        assert TERMINATORS[form] not in reply.body
        assert STREAM_ERRORS[form] in reply.body


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
def test_a_stream_without_any_framing_is_only_finished_where_its_terminator_came(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    """Neither length nor chunks: the end of the connection is the end, and may be a cut."""
    top = head(200, ("content-type", voice.media_type), ("connection", "close"))
    text = voice.opening + voice.token("Salt ") + voice.token("wind")
    upstream.perform(hangs_up_after(top + text))
    reply = ask(gateway.port, caller.request(voice.upstream))
    if reply.status == 200:
        assert_broken(reply, caller.form(voice))
    else:
        assert reply.status == 502
    upstream.perform(hangs_up_after(top + text + voice.finish + voice.terminator))
    reply = ask(gateway.port, caller.request(voice.upstream))
    if voice is RAW:
        assert_ended_badly(reply, caller.form(voice))
    else:
        assert_finished(reply, caller.form(voice))


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
def test_a_whole_stream_arrives_whole(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    """The counterpart of all the above: what isn't broken isn't reported as broken."""
    upstream.perform(answers(voice))
    assert_finished(ask(gateway.port, caller.request(voice.upstream)), caller.form(voice))
    assert gateway.the_line()["end"] == "complete"


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
def test_a_stream_whose_last_chunk_is_late_is_complete(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    """The dialect's own terminator decides; raw text has none."""
    if voice is RAW:
        return
    upstream.perform(hangs_after(voice.stream().removesuffix(LAST_CHUNK)))
    assert_finished(ask(gateway.port, caller.request(voice.upstream)), caller.form(voice))
    assert gateway.the_line()["end"] == "complete"


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
@pytest.mark.parametrize("how", [resets, hangs_up, falls_silent])
def test_a_whole_answer_that_breaks_has_an_error_status(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, how: End
) -> None:
    body = sized(voice.whole(TEXT))

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(body[:-10])
        await how(peer, voice)  # type: ignore[misc]

    upstream.perform(play)
    reply = ask(gateway.port, caller.request(f"brief-{voice.upstream}", stream=False))
    assert reply.status == (504 if how is falls_silent else 502), reply
    assert told_error(reply, caller)
    assert b"Salt" not in reply.body


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
@pytest.mark.parametrize("body", [b"", b"{", b"[1,2", b"\xff\xfe", b'{"a": NaN}', b"<html>"])
def test_a_whole_answer_that_is_not_json_has_an_error_status(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, body: bytes
) -> None:
    upstream.perform(says(sized(body)))
    reply = ask(gateway.port, caller.request(voice.upstream, stream=False))
    assert reply.status == 502, reply
    assert told_error(reply, caller)


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
def test_a_stream_that_breaks_while_it_is_collected_has_an_error_status(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    """The client asked for a whole answer, the upstream streams one and breaks."""
    upstream.perform(hangs_up_after(voice.first()))
    reply = ask(gateway.port, caller.request(voice.upstream, stream=False))
    if reply.status == 200:  # Truss to Truss: what the model answers passes as it is
        assert_broken(reply, caller.form(voice))
    else:
        assert reply.status == 502
        assert told_error(reply, caller)


@pytest.mark.parametrize(("caller", "voice"), [(c, v) for c, v in PAIRS if v in (OPENAI, ANTHROPIC)])
def test_a_reset_after_the_finish_reason_is_still_no_end(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first() + chunk(voice.finish))
        await peer.released()
        peer.reset()

    upstream.perform(play)
    with calling(gateway.port, caller.request(voice.upstream)) as call:
        call.read_until(b"wind")
        upstream.release()
        assert_ended_badly(call.read_reply(), caller.form(voice))


LONG_LINES = (
    (OPENAI_CALLER, OPENAI),
    (OPENAI_CALLER, ANTHROPIC),
    (ANTHROPIC_CALLER, OPENAI),
    (TRUSS_CALLER, OPENAI),
    (CHAT_CALLER, TRUSS_EVENTS),
    (RESPONSES_CALLER, RESPONSES),
)


@pytest.mark.parametrize(("caller", "voice"), LONG_LINES)
@pytest.mark.parametrize("tokens", [0, 2])
def test_a_line_without_end_is_cut_after_eight_megabytes(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, tokens: int
) -> None:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first(tokens), b"ffffffff\r\ndata: ")
        await peer.flood(b"x" * 65536)

    upstream.perform(play)
    reply = ask(gateway.port, caller.request(voice.upstream))
    if tokens:
        assert_broken(reply, caller.form(voice))
    else:
        assert reply.status == 502
        assert told_error(reply, caller)
    peer = upstream.peers[-1]
    assert peer.closed.wait(5)
    measure("MiB taken of a line without end", peer.sent / 2**20)
    assert peer.sent < 20 * 2**20


@pytest.mark.parametrize("voice", VOICES, ids=lambda voice: voice.name)
@pytest.mark.parametrize("how", [hangs_up, resets])
def test_an_http_1_0_client_gets_a_broken_stream_as_an_error(
    upstream: HostileUpstream, gateway: Gateway, voice: Voice, how: End
) -> None:
    """It could not see a missing last chunk, so it gets the answer whole or not at all (truss.md §2.3)."""
    caller = TRUSS_CALLER

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(voice.first())
        await how(peer, voice)  # type: ignore[misc]

    upstream.perform(play)
    request = caller.request(voice.upstream, version="1.0")
    with calling(gateway.port, request) as call:
        received = call.read_reply()
    assert not (received.status == 200 and received.is_whole and caller.form(voice) == "raw")


def test_an_http_1_0_client_gets_a_collected_answer_with_its_length(
    upstream: HostileUpstream, gateway: Gateway
) -> None:
    upstream.perform(answers(OPENAI))
    reply = ask(gateway.port, TRUSS_CALLER.request("openai", version="1.0"))
    assert reply.status == 200
    assert reply.header("content-length") == str(len(TEXT))
    assert reply.body == TEXT.encode()
    assert "transfer-encoding" not in reply.names


def test_error_messages_are_short_and_hold_no_address(upstream: HostileUpstream, gateway: Gateway) -> None:
    for how in (resets, hangs_up, breaks_the_chunking):
        upstream.perform(broken(how, OPENAI, tokens=0))
        reply = ask(gateway.port, OPENAI_CALLER.request("openai"))
        assert len(reply.body) < 2048
        assert b"127.0.0.1" not in reply.body
        assert b"Traceback" not in reply.body
        assert orjson.loads(reply.body)["error"]["message"]
        upstream.reset()
