"""What becomes of the upstream's answer when its client leaves: `on_disconnect` (issue 4, item 8)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import orjson
import pytest

from gateway.config import parse
from tests.faults.callers import ANTHROPIC_CALLER, OPENAI_CALLER, TRUSS_CALLER, Call, Caller, ask, calling
from tests.faults.harness import Gateway, gateway_in_thread, watched
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, until
from tests.faults.voices import ANTHROPIC, LAST_CHUNK, OPENAI, TEXT, Voice, chunk, hangs_after, hangs_up_after, sized

BOUND_S: Final = 2.0
"""For what happens at once; a loaded machine keeps this."""
DRAIN_S: Final = 0.3
POLICIES: Final[dict[str, Any]] = {
    "drain": {"drain": "20s"},
    "short": {"drain": "300ms"},
    "finish": "finish",
    "cancel": "cancel",
}
READ_ON: Final = ("drain", "finish")
USAGE: Final = b'data: {"id": "c1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}\n\n'


def configuration(port: int) -> bytes:
    """A route `POLICY-UPSTREAM` for each policy, with a second target; `brief` ends soon, `single` takes one call."""
    urls = {"openai": f"http://127.0.0.1:{port}/v1", "anthropic": f"http://127.0.0.1:{port}"}
    upstreams: dict[str, Any] = {name: {"dialect": name, "url": url} for name, url in urls.items()}
    upstreams["single"] = {**upstreams["openai"], "max_in_flight": 1, "queue": {"size": 5, "timeout": "20s"}}
    routes: dict[str, Any] = {}
    for policy, setting in POLICIES.items():
        for name in upstreams:
            targets = [{"upstream": name, "model": "first"}]
            fallback = [] if name == "single" else [{"upstream": name, "model": "second"}]
            routes[f"{policy}-{name}"] = {"targets": targets, "fallback": fallback, "on_disconnect": setting}
    routes["brief"] = {"targets": [{"upstream": "openai"}], "on_disconnect": "finish", "timeouts": {"total": "1s"}}
    routes["hedged"] = {
        "targets": [{"upstream": "openai", "model": "first"}],
        "fallback": [{"upstream": "openai", "model": "second"}],
        "on_disconnect": "finish",
        "hedge": {"after": "1s", "max_ratio": 1},
    }
    routes["patient"] = {
        "targets": [{"upstream": "openai"}],
        "on_disconnect": "finish",
        "retries": {"backoff": "30s", "max_backoff": "30s"},
    }
    return orjson.dumps({"server": {"port": 0}, "upstreams": upstreams, "routes": routes})


@pytest.fixture(scope="module")
def the_gateway(the_upstream: HostileUpstream) -> Iterator[Gateway]:
    with gateway_in_thread(parse(configuration(the_upstream.port), "leaving.yaml", {})) as gateway:
        yield gateway


def told_in_two(before: bytes, after: bytes) -> Play:
    """The second part waits until the client has left."""

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(before)
        await peer.released()
        await peer.send(after)

    return play


def whole_stream(voice: Voice) -> bytes:
    """With what it cost, which both voices tell in their own way."""
    counted = {"openai": USAGE, "anthropic": b""}[voice.name]
    body = b"".join(chunk(voice.token(text)) for text in ("Salt ", "wind "))
    return voice.head + chunk(voice.opening) + body + chunk(voice.finish + counted + voice.terminator) + LAST_CHUNK


PHASES: Final = ("before the head", "before the first token", "in mid-stream")


def cut_at(phase: str, voice: Voice) -> int:
    """How much of the stream the upstream has sent when the client leaves."""
    begun = voice.head + chunk(voice.opening)
    return {PHASES[0]: 0, PHASES[1]: len(begun), PHASES[2]: len(begun + chunk(voice.token("Salt ")))}[phase]


def leave(call: Call, gateway: Gateway) -> None:
    """And nothing else happens: the request goes on."""
    call.leave()
    time.sleep(0.1)  # what is shown is that nothing comes of it; a close would be there in a millisecond
    assert gateway.running == 1
    assert not gateway.lines


def assert_counted(gateway: Gateway, upstream: HostileUpstream) -> None:
    line = gateway.the_line()
    assert (line["end"], line["input_tokens"], line["output_tokens"]) == ("client_left", 3, 5)
    assert line["finish_reason"] == "stop"
    assert 0 <= line["left_ms"] <= line["duration_ms"]
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("policy", READ_ON)
@pytest.mark.parametrize("voice", [OPENAI, ANTHROPIC], ids=lambda voice: f"of-{voice.name}")
@pytest.mark.parametrize("caller", [OPENAI_CALLER, ANTHROPIC_CALLER, TRUSS_CALLER], ids=lambda caller: caller.name)
@pytest.mark.parametrize("phase", PHASES)
def test_a_stream_is_read_on_for_its_usage(
    upstream: HostileUpstream, gateway: Gateway, phase: str, caller: Caller, voice: Voice, policy: str
) -> None:
    """Relayed or translated; the upstream sees nothing of the client's leaving."""
    stream, cut = whole_stream(voice), cut_at(phase, voice)
    upstream.perform(told_in_two(stream[:cut], stream[cut:]))
    with calling(gateway.port, caller.request(f"{policy}-{voice.upstream}")) as call:
        upstream.wait_for_requests(1)
        if phase == PHASES[2]:
            call.read_until(b"Salt")
        leave(call, gateway)
    upstream.release()
    assert_counted(gateway, upstream)
    assert ("status" in gateway.the_line()) is (phase == PHASES[2]), "what it was never told is not claimed"


@pytest.mark.parametrize("policy", READ_ON)
@pytest.mark.parametrize("caller", [OPENAI_CALLER, ANTHROPIC_CALLER, TRUSS_CALLER], ids=lambda caller: caller.name)
@pytest.mark.parametrize("form", ["whole", "streamed"])
def test_a_whole_answer_is_read_on_for_its_usage(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, form: str, policy: str
) -> None:
    """Also one that the upstream streams though it was asked for a whole one."""
    answer = sized(OPENAI.whole(TEXT)) if form == "whole" else whole_stream(OPENAI)
    upstream.perform(told_in_two(answer[:-20], answer[-20:]))
    with calling(gateway.port, caller.request(f"{policy}-openai", stream=False)) as call:
        upstream.wait_for_requests(1)
        leave(call, gateway)
    upstream.release()
    assert_counted(gateway, upstream)


def test_a_client_of_http_1_0_is_no_exception(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Its answer is collected, and what is collected for nobody is dropped."""
    stream, cut = whole_stream(OPENAI), cut_at(PHASES[2], OPENAI)
    upstream.perform(told_in_two(stream[:cut], stream[cut:]))
    with calling(gateway.port, OPENAI_CALLER.request("drain-openai", version="1.0")) as call:
        upstream.wait_for_requests(1)
        leave(call, gateway)
    upstream.release()
    assert_counted(gateway, upstream)


# -- bounds ----------------------------------------------------------------------------------------------------------


async def floods(peer: Peer, seen: Seen) -> None:
    await peer.send(OPENAI.first())
    await peer.flood(chunk(OPENAI.token("more " * 2000)))


@pytest.mark.parametrize("play", [hangs_after(OPENAI.first()), floods], ids=["stalls", "floods"])
@pytest.mark.parametrize(("route", "bound_s"), [("short-openai", DRAIN_S), ("brief", 1.0)])
def test_reading_on_ends_in_time(
    upstream: HostileUpstream, gateway: Gateway, play: Play, route: str, bound_s: float
) -> None:
    """`drain` by its own time, `finish` by the total; an upstream without end is hung up on then."""
    upstream.perform(play)
    with calling(gateway.port, OPENAI_CALLER.request(route)) as call:
        call.read_until(b"Salt")
        left_at = call.leave()
    peer = upstream.peers[-1]
    assert peer.closed.wait(bound_s + BOUND_S)
    assert peer.closed_at - left_at > bound_s / 3
    line = gateway.the_line()
    assert line["end"] == "client_left"
    assert len(upstream.requests) == 1


def test_the_default_hangs_up_at_once(upstream: HostileUpstream, gateway: Gateway) -> None:
    upstream.perform(hangs_after(OPENAI.first()))
    with calling(gateway.port, OPENAI_CALLER.request("cancel-openai")) as call:
        call.read_until(b"Salt")
        call.leave()
    assert upstream.peers[-1].closed.wait(BOUND_S)
    line = gateway.the_line()
    assert (line["end"], "left_ms" in line) == ("client_left", False)


def test_what_a_client_never_took_is_read_on_after_it_left(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Its pace held the upstream back; nobody's does not."""
    tokens = 4000

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.first())
        for _ in range(tokens):
            await peer.send(chunk(OPENAI.token("more " * 1000)))
        await peer.send(chunk(OPENAI.finish + USAGE + OPENAI.terminator) + LAST_CHUNK)

    upstream.perform(play)
    with calling(gateway.port, OPENAI_CALLER.request("finish-openai"), receive_buffer=4096) as call:
        peer = upstream.wait_for_requests(1)
        until(peer.is_stuck, "the upstream is held back")
        call.leave()
    assert_counted(gateway, upstream)


# -- nobody else is asked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", READ_ON)
@pytest.mark.parametrize(
    "failure",
    [hangs_up_after(sized(b"{}", 500)), hangs_up_after(b""), hangs_up_after(OPENAI.head)],
    ids=["500", "no head", "no token"],
)
def test_no_other_try_follows_one_that_fails_behind_a_client_s_back(
    upstream: HostileUpstream, gateway: Gateway, failure: Play, policy: str
) -> None:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.released()
        await failure(peer, seen)

    upstream.perform(play)
    with calling(gateway.port, OPENAI_CALLER.request(f"{policy}-openai")) as call:
        upstream.wait_for_requests(1)
        leave(call, gateway)
    upstream.release()
    assert gateway.the_line()["end"] == "client_left"
    until(lambda: not gateway.running, "the request is over")
    assert len(upstream.requests) == 1


def test_no_second_try_begins_beside_one_that_is_read_on(upstream: HostileUpstream, gateway: Gateway) -> None:
    upstream.perform(told_in_two(b"", whole_stream(OPENAI)))
    with calling(gateway.port, OPENAI_CALLER.request("hedged")) as call:
        upstream.wait_for_requests(1)
        leave(call, gateway)
    assert set(watched(lambda: len(upstream.requests), 1.3)) == {1}, "the hedge's time came, and it did not"
    upstream.release()
    assert_counted(gateway, upstream)
    assert "hedge" not in gateway.lines[0]


def test_an_answer_that_breaks_behind_a_client_s_back_is_the_client_s_leaving(
    upstream: HostileUpstream, gateway: Gateway
) -> None:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.first())
        await peer.released()
        peer.close()

    upstream.perform(play)
    with calling(gateway.port, OPENAI_CALLER.request("finish-openai")) as call:
        call.read_until(b"Salt")
        leave(call, gateway)
    upstream.release()
    line = gateway.the_line()
    assert (line["end"], line["error"]) == ("client_left", "upstream")


def test_who_leaves_between_two_tries_ends_them(upstream: HostileUpstream, gateway: Gateway) -> None:
    """Nothing is under way then that could be read on."""
    upstream.perform(hangs_up_after(sized(b"{}", 500)))
    with calling(gateway.port, OPENAI_CALLER.request("patient")) as call:
        peer = upstream.wait_for_requests(1)
        assert peer.closed.wait(BOUND_S)
        left_at = call.leave()
    until(lambda: bool(gateway.lines), "the request is over")
    assert time.perf_counter() - left_at < BOUND_S
    assert gateway.the_line()["end"] == "client_left"
    assert len(upstream.requests) == 1


def test_a_slot_is_held_as_long_as_the_answer_is_read_on(upstream: HostileUpstream, gateway: Gateway) -> None:
    """And who leaves while it waits for one, waits no longer."""
    stream, cut = whole_stream(OPENAI), cut_at(PHASES[2], OPENAI)
    upstream.perform(told_in_two(stream[:cut], stream[cut:]))
    with calling(gateway.port, OPENAI_CALLER.request("finish-single")) as call:
        call.read_until(b"Salt")
        leave(call, gateway)
    with calling(gateway.port, OPENAI_CALLER.request("finish-single")) as waiting:
        until(lambda: gateway.running == 2, "a second client came")
        waiting.leave()
        assert "left_ms" not in gateway.the_line()
    gateway.lines.clear()
    with calling(gateway.port, OPENAI_CALLER.request("finish-single")) as waiting:
        until(lambda: gateway.running == 2, "a third client came")
        assert len(upstream.requests) == 1
        upstream.release()
        assert waiting.read_reply().status == 200
    assert ask(gateway.port, OPENAI_CALLER.request("finish-single")).status == 200
    assert len(upstream.requests) == 3
