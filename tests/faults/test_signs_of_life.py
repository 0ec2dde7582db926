"""Clients hear from us while there is nothing to hear of an answer, between frames only (mapping.md §9.1)."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import anthropic
import openai
import orjson
import pytest

from gateway.config import Config, parse
from tests.e2e.clients import AnthropicClient, Client, FailedResponse, Heard, OpenAIClient, ResponsesClient, openai_sdk
from tests.faults.callers import (
    ANTHROPIC_CALLER,
    CALLERS,
    CHAT_CALLER,
    OPENAI_CALLER,
    RESPONSES_CALLER,
    STREAM_ERRORS,
    TERMINATORS,
    TRUSS_CALLER,
    Caller,
    Reply,
    assert_broken,
    assert_finished,
    calling,
    told_error,
)
from tests.faults.harness import PAIRS, Gateway, gateway_in_thread, settings, watched
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen
from tests.faults.voices import (
    ANTHROPIC,
    LAST_CHUNK,
    OPENAI,
    RAW,
    RESPONSES,
    TEXT,
    TRUSS_EVENTS,
    Voice,
    answers,
    chunk,
    hangs_after,
    hangs_up_after,
    sized,
)
from tests.measured import measure

HOLD_S: Final = 0.15
SILENCE_S: Final = 0.06
SIGNS: Final = {
    "openai": b": keep-alive\n\n",
    "anthropic": b'event: ping\ndata: {"type":"ping"}\n\n',
    "responses": b": keep-alive\n\n",
}
"""By the form of a stream; raw text has none."""
SPEAKING: Final = [
    (caller, voice)
    for caller, voice in PAIRS
    if caller is not TRUSS_CALLER and {caller.dialect, voice.upstream} != {"truss"}
]
"""Pairs whose client can hear from us before anything came from its upstream."""
SPEAKING_IDS: Final = [f"{caller.name}-of-{voice.name}" for caller, voice in SPEAKING]
DEAF: Final = [pair for pair in PAIRS if pair not in SPEAKING]
DEAF_IDS: Final = [f"{caller.name}-of-{voice.name}" for caller, voice in DEAF]
speaking_pairs = pytest.mark.parametrize(("caller", "voice"), SPEAKING, ids=SPEAKING_IDS)
UNAVAILABLE: Final = sized(b'{"error": {"message": "no", "type": "server_error"}}', 503)


def talkative(port: int) -> Config:
    """Short times; `one-then-other` tries two upstreams, each once."""
    limits = {"first_byte_hold": f"{HOLD_S * 1000:g}ms", "keep_alive": f"{SILENCE_S * 1000:g}ms"}
    config: dict[str, Any] = orjson.loads(settings(port, server=limits))
    for one in config["upstreams"]:
        for other in config["upstreams"]:
            config["routes"][f"{one}-then-{other}"] = {
                "targets": [{"upstream": one, "model": "first"}],
                "fallback": [{"upstream": other, "model": "second"}],
                "retries": {"same_target": "0"},
            }
    return parse(orjson.dumps(config), "signs.yaml", {})


@pytest.fixture(scope="module")
def the_talkative(the_upstream: HostileUpstream) -> Iterator[Gateway]:
    with gateway_in_thread(talkative(the_upstream.port)) as gateway:
        yield gateway


@pytest.fixture
def talker(the_talkative: Gateway, upstream: HostileUpstream) -> Iterator[Gateway]:
    the_talkative.forget()
    yield the_talkative
    assert not the_talkative.failures


def once_released(play: Play) -> Play:
    """Silence, not even a response head, until the test says so."""

    async def waiting(peer: Peer, seen: Seen) -> None:
        await peer.released()
        await play(peer, seen)

    return waiting


def paused_after(*parts: bytes, rest: bytes) -> Play:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(*parts)
        await peer.released()
        await peer.send(rest)

    return play


def refuses(peer: Peer, seen: Seen) -> Any:
    return peer.send(UNAVAILABLE)


def without_signs(reply: Reply, form: str) -> Reply:
    body = reply.body.replace(SIGNS[form], b"")
    return Reply(reply.status, reply.headers, body, reply.is_whole, reply.is_reset)


def assert_told(reply: Reply, form: str) -> None:
    """A stream of which nothing but signs of life came, and then an error."""
    reply = without_signs(reply, form)
    assert reply.status == 200
    assert reply.is_whole
    assert STREAM_ERRORS[form] in reply.body
    assert TERMINATORS[form] not in reply.body


# -- before any content --------------------------------------------------------------------------------------------


@speaking_pairs
def test_a_client_hears_from_us_before_its_upstream_says_anything(
    upstream: HostileUpstream, talker: Gateway, caller: Caller, voice: Voice
) -> None:
    """Not even a response head came; the answer then follows as if nothing had been."""
    upstream.perform(once_released(answers(voice)))
    form = caller.form(voice)
    begun = time.perf_counter()
    with calling(talker.port, caller.request(voice.upstream)) as call:
        call.read_until(b"\r\n\r\n")
        head_s = time.perf_counter() - begun
        call.read_until(SIGNS[form])
        while call.received.count(SIGNS[form]) < 3:
            call.received += call.socket.recv(65536)
        upstream.release()
        reply = call.read_reply()
    assert head_s >= HOLD_S
    measure("s beyond first_byte_hold until the head was out", head_s - HOLD_S)
    assert reply.header("content-type").startswith("text/event-stream")
    assert reply.header("x-gateway-upstream") == voice.upstream
    assert_finished(without_signs(reply, form), form)
    assert talker.the_line()["end"] == "complete"


@pytest.mark.parametrize(("caller", "voice"), DEAF, ids=DEAF_IDS)
def test_a_wire_without_signs_of_life_keeps_its_status_for_as_long_as_it_takes(
    upstream: HostileUpstream, talker: Gateway, caller: Caller, voice: Voice
) -> None:
    upstream.perform(once_released(refuses))
    with calling(talker.port, caller.request(f"{voice.upstream}-then-{voice.upstream}")) as call:
        call.socket.settimeout(4 * HOLD_S)
        with pytest.raises(TimeoutError):
            call.read_until(b"HTTP")
        upstream.release()
        call.socket.settimeout(10)
        reply = call.read_reply()
    assert reply.status == 503
    assert told_error(reply, caller)


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
@pytest.mark.parametrize(
    "begun", [*(pytest.param(it, marks=pytest.mark.slow) for it in ("nothing", "head")), "opening"]
)
def test_a_failure_within_the_hold_keeps_its_status(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, begun: str
) -> None:
    voice = ANTHROPIC
    first = {"nothing": b"", "head": voice.head, "opening": voice.head + chunk(voice.opening)}[begun]

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(first)
        await asyncio.sleep(0.3)
        peer.close()

    upstream.perform(play)
    with calling(gateway.port, caller.request("anthropic")) as call:
        reply = call.read_reply()
    assert reply.status == 502
    assert told_error(reply, caller)


@speaking_pairs
@pytest.mark.parametrize("begun", [pytest.param("nothing", marks=pytest.mark.slow), "opening"])
def test_a_failure_after_the_hold_is_told_in_the_stream(
    upstream: HostileUpstream, talker: Gateway, caller: Caller, voice: Voice, begun: str
) -> None:
    """The upstream's own opening is not told first: nothing of that answer will come."""
    form = caller.form(voice)
    opening = voice.head + chunk(voice.opening) if begun == "opening" else b""
    upstream.perform(hangs_up_after_release(opening))
    with calling(talker.port, caller.request(f"{voice.upstream}-then-{voice.upstream}")) as call:
        call.read_until(SIGNS[form])
        upstream.release()
        reply = call.read_reply()
    assert_told(reply, form)
    line = talker.the_line()
    assert (line["status"], line["end"], line["attempts"]) == (200, "broken", 2)


def hangs_up_after_release(opening: bytes) -> Play:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(opening)
        await peer.released()
        peer.close()

    return play


_TARGETS: Final = list(
    itertools.product(
        (OPENAI_CALLER, ANTHROPIC_CALLER, RESPONSES_CALLER, CHAT_CALLER),
        (OPENAI, ANTHROPIC, RESPONSES),
        (OPENAI, ANTHROPIC, RAW, TRUSS_EVENTS, RESPONSES),
        ("refused", "broken off", "whole"),
    )
)


@pytest.mark.parametrize(
    ("caller", "first", "second", "how"),
    [
        pytest.param(
            *row,
            id=f"{row[0].name}, {row[1].name} then {row[2].name}, {row[3]}",
            marks=[pytest.mark.slow] if index % 7 else [],
        )
        for index, row in enumerate(_TARGETS)
    ],
)
def test_another_target_answers_after_the_hold(
    upstream: HostileUpstream, talker: Gateway, caller: Caller, first: Voice, second: Voice, how: str
) -> None:
    """Only content commits. What answers keeps to the form that the head announced, whatever it came in."""
    form = {"truss-chat": "openai"}.get(caller.name, caller.name)
    failing = refuses if how != "broken off" else hangs_up_after(first.head + chunk(first.opening))
    follows = answers(second) if how != "whole" else says_whole(second)
    upstream.perform(once_released(failing), follows)
    with calling(talker.port, caller.request(f"{first.upstream}-then-{second.upstream}")) as call:
        call.read_until(SIGNS[form])
        upstream.release()
        reply = call.read_reply()
    assert reply.header("content-type").startswith("text/event-stream")
    assert reply.header("x-gateway-upstream") == first.upstream, "the head says who was being tried"
    reply = without_signs(reply, form)
    assert_finished(reply, form)
    assert reply.body.startswith((b"data: {", b"event: message_start\n", b"event: response.created\n"))
    assert talker.the_line()["end"] == "complete"


def says_whole(voice: Voice) -> Play:
    """An upstream that answers whole though a stream was asked for."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(sized(voice.whole(TEXT)))

    return play


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
@pytest.mark.parametrize("way", [pytest.param("whole", marks=pytest.mark.slow), "HTTP/1.0"])
def test_who_gets_an_answer_whole_waits_for_its_status(
    upstream: HostileUpstream, talker: Gateway, caller: Caller, way: str
) -> None:
    upstream.perform(once_released(refuses))
    asked = {"stream": False} if way == "whole" else {"version": "1.0"}
    with calling(talker.port, caller.request("anthropic-then-anthropic", **asked)) as call:
        call.socket.settimeout(4 * HOLD_S)
        with pytest.raises(TimeoutError):
            call.read_until(b"HTTP")
        upstream.release()
        call.socket.settimeout(10)
        reply = call.read_reply()
    assert reply.status in (503, 529)


# -- in an answer --------------------------------------------------------------------------------------------------

FRAMED: Final = [
    (OPENAI_CALLER, OPENAI),
    (ANTHROPIC_CALLER, ANTHROPIC),
    (RESPONSES_CALLER, RESPONSES),
    (CHAT_CALLER, TRUSS_EVENTS),
    (OPENAI_CALLER, ANTHROPIC),
    (ANTHROPIC_CALLER, OPENAI),
]
PASSED: Final = FRAMED[:4]


@pytest.mark.parametrize(("caller", "voice"), PASSED, ids=[voice.name for _, voice in PASSED])
@pytest.mark.parametrize(
    "end",
    [b"\n", *(pytest.param(end, marks=pytest.mark.slow) for end in (b"\r\n", b"\r"))],
    ids=["LF", "CRLF", "CR"],
)
def test_signs_of_life_stand_between_frames_wherever_the_upstream_pauses(
    upstream: HostileUpstream, talker: Gateway, caller: Caller, voice: Voice, end: bytes
) -> None:
    """A frame cut at each of its bytes: without our signs the client has exactly the upstream's bytes."""
    token, form = voice.token("wind ").replace(b"\n", end), caller.form(voice)
    opening = (voice.opening + voice.token("Salt ")).replace(b"\n", end)
    tail = (voice.finish + voice.terminator).replace(b"\n", end)
    cuts = range(len(token) + 1)
    upstream.perform(
        *(
            paused_after(voice.head, chunk(opening + token[:cut]), rest=chunk(token[cut:] + tail) + LAST_CHUNK)
            for cut in cuts
        )
    )
    with ExitStack() as calls:
        waiting = []
        for cut in cuts:
            waiting.append(calls.enter_context(calling(talker.port, caller.request(voice.upstream))))
            upstream.wait_for_requests(cut + 1)
        for cut, call in zip(cuts, waiting, strict=True):
            call.read_until(b"Salt")
            if token[:cut].endswith(b"\r") and not token[:cut].endswith(b"\r\r"):
                continue  # may be half a line end
            call.read_until(SIGNS[form])
        watched(lambda: 0, 2 * SILENCE_S)
        upstream.release()
        for cut, call in zip(cuts, waiting, strict=True):
            reply = call.read_reply()
            assert without_signs(reply, form).body == opening + token + tail, cut
            for frame in reply.body.split(SIGNS[form])[:-1]:
                assert not frame or frame.endswith(end + end), (cut, frame)


@pytest.mark.parametrize(("caller", "voice"), FRAMED, ids=[f"{c.name}-of-{v.name}" for c, v in FRAMED])
def test_a_pause_in_an_answer_is_filled(
    upstream: HostileUpstream, talker: Gateway, caller: Caller, voice: Voice
) -> None:
    rest = chunk(b"".join(map(voice.token, ("combs ", "the ", "shore."))) + voice.finish + voice.terminator)
    upstream.perform(paused_after(voice.first(2), rest=rest + LAST_CHUNK))
    form = caller.form(voice)
    with calling(talker.port, caller.request(voice.upstream)) as call:
        call.read_until(b"wind")
        while call.received.count(SIGNS[form]) < 3:
            call.received += call.socket.recv(65536)
        upstream.release()
        reply = call.read_reply()
    assert_finished(without_signs(reply, form), form)


@pytest.mark.parametrize(("caller", "voice"), FRAMED, ids=[f"{c.name}-of-{v.name}" for c, v in FRAMED])
@pytest.mark.parametrize("phase", ["first token", "next event"])
def test_our_signs_of_life_keep_no_deadline_from_being_over(
    upstream: HostileUpstream, talker: Gateway, caller: Caller, voice: Voice, phase: str
) -> None:
    """`quick-` routes wait for 250 ms, in which one or two signs go out."""
    upstream.perform(hangs_after(voice.first() if phase == "next event" else b""))
    begun = time.perf_counter()
    with calling(talker.port, caller.request(f"quick-{voice.upstream}")) as call:
        reply = call.read_reply()
    assert time.perf_counter() - begun < 2
    if phase == "next event":
        assert_broken(without_signs(reply, caller.form(voice)), caller.form(voice))
        assert SIGNS[caller.form(voice)] in reply.body


def test_signs_of_life_can_be_turned_off(upstream: HostileUpstream) -> None:
    """Then the status waits for the first content."""
    config = parse(settings(upstream.port, server={"first_byte_hold": "10ms"}), "off.yaml", {})
    config = config.model_copy(update={"server": config.server.model_copy(update={"keep_alive": 0.0})})
    upstream.perform(once_released(refuses))
    with gateway_in_thread(config) as gateway, calling(gateway.port, OPENAI_CALLER.request("openai")) as call:
        call.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            call.read_until(b"HTTP")
        upstream.release()
        call.socket.settimeout(10)
        assert call.read_reply().status == 503


# -- as the official SDKs hear it ------------------------------------------------------------------------------------

SDKS: Final[dict[str, tuple[Client, str]]] = {
    "openai": (OpenAIClient(), "openai"),
    "anthropic": (AnthropicClient(), "anthropic"),
    "responses": (ResponsesClient(), "anthropic"),
}
"""Each with an upstream. A hand-written stream of responses that is passed through is not enough for a strict SDK."""
sdks = pytest.mark.parametrize("sdk", SDKS)


def slow_everywhere(voice: Voice, pause_s: float) -> Play:
    """Silent before its head, behind it, between tokens, and before its end."""

    async def play(peer: Peer, seen: Seen) -> None:
        await asyncio.sleep(HOLD_S + pause_s)
        await peer.send(voice.head)
        for part in (voice.opening, voice.token("Salt "), voice.token("wind"), voice.finish):
            await asyncio.sleep(pause_s)
            await peer.send(chunk(part))
        await asyncio.sleep(pause_s)
        await peer.send(chunk(voice.terminator), LAST_CHUNK)

    return play


@sdks
@pytest.mark.parametrize("voice", [OPENAI, ANTHROPIC], ids=lambda voice: voice.name)
def test_sdks_do_not_notice(upstream: HostileUpstream, talker: Gateway, sdk: str, voice: Voice) -> None:
    upstream.perform(slow_everywhere(voice, 2.5 * SILENCE_S))
    client, _ = SDKS[sdk]
    heard = client.stream(f"http://127.0.0.1:{talker.port}", voice.upstream, "Hello there")
    assert heard.text.startswith("Salt wind")
    assert heard.finish in ("stop", "end_turn", "completed")
    assert len(heard.arrivals) >= 2


COMPLETION: Final = b'data: {"id":"c1","object":"text_completion","created":1,"model":"m","choices":[%s]}\n\n'
_CHOICE: Final = b'{"index":0,"text":"Salt wind","finish_reason":%s,"logprobs":null}'


@pytest.mark.parametrize("is_refused", [False, True], ids=["answered", "refused"])
def test_calls_that_are_only_relayed_are_kept_alive_too(
    upstream: HostileUpstream, talker: Gateway, is_refused: bool
) -> None:
    """And told what went wrong, in the words of their own API."""

    async def play(peer: Peer, seen: Seen) -> None:
        await asyncio.sleep(3 * HOLD_S)
        if is_refused:
            await peer.send(UNAVAILABLE)
            return
        frames = COMPLETION % (_CHOICE % b"null") + COMPLETION % (_CHOICE % b'"stop"') + OPENAI.terminator
        await peer.send(OPENAI.head, chunk(frames), LAST_CHUNK)

    upstream.perform(play)
    with (
        openai_sdk(f"http://127.0.0.1:{talker.port}") as client,
        client.completions.with_streaming_response.create(
            model="openai-then-openai", prompt="Hello there", stream=True
        ) as answer,
    ):
        body = answer.read()
    assert body.startswith(SIGNS["openai"])
    assert (b'data: {"error":{' in body, b"Salt wind" in body) == (is_refused, not is_refused)


@sdks
def test_sdks_raise_what_is_told_after_the_hold(upstream: HostileUpstream, talker: Gateway, sdk: str) -> None:
    async def play(peer: Peer, seen: Seen) -> None:
        await asyncio.sleep(2 * HOLD_S)
        await peer.send(UNAVAILABLE)

    upstream.perform(play)
    client, name = SDKS[sdk]
    heard = Heard()
    with pytest.raises((openai.APIError, anthropic.APIError, FailedResponse)):
        client.stream(f"http://127.0.0.1:{talker.port}", f"{name}-then-{name}", "Hello there", heard)
    assert heard.text == ""
    assert talker.the_line()["status"] == 200
