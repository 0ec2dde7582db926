"""SIGTERM: what is under way goes on until the deadline, then everyone is told; nothing new is taken."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.faults.callers import (
    CALLERS,
    FOUR,
    Call,
    Caller,
    Reply,
    assert_broken,
    assert_finished,
    calling,
    read_reply,
    told_error,
)
from tests.faults.harness import Process, free_port, gateway_process, settings
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen, until
from tests.faults.voices import ANTHROPIC, LAST_CHUNK, OPENAI, RAW, RESPONSES, chunk, sized
from tests.measured import measure
from tests.sockets import connected

VOICE_OF = {"/v1/chat/completions": OPENAI, "/v1/messages": ANTHROPIC, "/v1/responses": RESPONSES, "/predict": RAW}
SLACK_S = 1.0
"""What a busy machine may add to the second that is promised beyond the drain time."""


def says(caller: Caller, text: str) -> dict[str, Any]:
    """Fields that make a request of this caller hold a text."""
    own: dict[str, Any] = {field: text for field in ("prompt", "input") if field in caller.template}
    return own or {"messages": [{"role": "user", "content": text}]}


async def as_it_is_told(peer: Peer, seen: Seen) -> None:
    """The prompt says what to do: `silence`, or begin and then `end` once released, or `stay` and go on for ever."""
    voice = VOICE_OF[seen.target]
    if b"silence" in seen.body:
        await peer.gone()
    await peer.send(voice.head, chunk(voice.opening), chunk(voice.token("Salt ")))
    if b"stay" in seen.body:
        await peer.drip(chunk(voice.token("wind ")), 0.2)
    await peer.released()
    await peer.send(chunk(voice.token("combs ")), chunk(voice.finish + voice.terminator), LAST_CHUNK)


@contextmanager
def draining(upstream: HostileUpstream, folder: Path, drain: str) -> Iterator[Process]:
    upstream.perform(as_it_is_told)
    limits = {"drain": drain}
    with gateway_process(folder, settings(upstream.port, server=limits), free_port()) as process:
        yield process


def answer_to(port: int, request: bytes) -> Reply:
    with calling(port, request) as call:
        return call.read_reply()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n".encode()


def assert_told_to_come_back(reply: Reply, caller: Caller) -> None:
    assert reply.status == 503
    assert reply.header("retry-after") == "1"
    assert reply.header("connection") == "close"
    assert "shutting down" in told_error(reply, caller)


# -- a hundred streams ---------------------------------------------------------------------------------------------


async def converse(port: int, request: bytes, begun: asyncio.Semaphore) -> tuple[bytes, float]:
    """All that came back, and when it ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        received = b""
        while b"Salt" not in received:
            data = await reader.read(65536)
            assert data, received
            received += data
        begun.release()
        with contextlib.suppress(ConnectionResetError):
            while data := await reader.read(65536):
                received += data
        return received, time.monotonic()
    finally:
        writer.close()


@pytest.mark.slow
async def test_no_stream_is_cut_before_the_deadline_and_none_looks_finished_behind_it(
    upstream: HostileUpstream, tmp_path: Path
) -> None:
    """A hundred streams of all sixteen pairs of dialects; half of them end in time."""
    drain_s, streams, begun = 4.0, 100, asyncio.Semaphore(0)
    kinds = [(FOUR[n % 4], route) for n, route in zip(range(streams), itertools.cycle(_routes()), strict=False)]
    with draining(upstream, tmp_path, f"{drain_s:g}s") as process:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    converse(process.port, caller.request(route, **says(caller, "end" if n < 50 else "stay")), begun)
                )
                for n, (caller, route) in enumerate(kinds)
            ]
            for _ in tasks:
                await begun.acquire()
            process.popen.send_signal(signal.SIGTERM)
            told_at = time.monotonic()
            refused_s = await asyncio.to_thread(_until_not_ready, process.port)
            refused = await asyncio.to_thread(
                answer_to, process.port, FOUR[0].request("openai", **says(FOUR[0], "end"))
            )
            await asyncio.sleep(drain_s / 3)
            assert not any(task.done() for task in tasks)
            upstream.release()
        status = await asyncio.to_thread(process.popen.wait, drain_s + 10)
        exit_s = time.monotonic() - told_at
        lines = process.lines
    ended = [task.result() for task in tasks]
    _judge(ended, kinds, told_at + drain_s)
    assert_told_to_come_back(refused, FOUR[0])
    assert status == 0
    assert refused_s < 0.5 + SLACK_S
    assert exit_s < drain_s + 1 + SLACK_S
    assert Counter(line["end"] for line in lines) == {"complete": 50, "drained": 51}
    assert len({line["request_id"] for line in lines}) == 101
    assert [line["attempts"] for line in lines].count(0) == 1
    measure("s from SIGTERM until /readyz says 503", refused_s)
    measure(
        "s from the end of draining until the last of 50 streams was told",
        max(at for _, at in ended) - told_at - drain_s,
    )
    measure("s from the end of draining to the exit, 100 streams", exit_s - drain_s)


def _routes() -> list[str]:
    return [name for name in ("openai", "anthropic", "truss", "responses") for _ in range(4)]


def _judge(ended: list[tuple[bytes, float]], kinds: list[tuple[Caller, str]], deadline: float) -> None:
    for n, ((raw, ended_at), (caller, route)) in enumerate(zip(ended, kinds, strict=True)):
        reply = read_reply(raw)
        form = caller.form(RAW if route == "truss" else OPENAI)
        if n < 50:
            assert_finished(reply, form)
            assert ended_at < deadline
        else:
            assert_broken(reply, form)
            assert ended_at > deadline - 0.1
            assert b"wind" in reply.body
            assert form == "raw" or b"shutting down" in reply.body


def _until_not_ready(port: int) -> float:
    """How long it takes until `/readyz` says no."""

    def is_refused() -> bool:
        reply = answer_to(port, get("/readyz").replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        return reply.status == 503 and orjson.loads(reply.body) == {"status": "draining"}

    return until(is_refused, "/readyz says 503")


# -- each phase ----------------------------------------------------------------------------------------------------


def test_at_the_deadline_each_phase_of_a_request_hears_of_it_in_its_dialect(
    upstream: HostileUpstream, tmp_path: Path
) -> None:
    with draining(upstream, tmp_path, "600ms") as process, ExitStack() as stack:
        waiting: list[tuple[Caller, Call]] = []
        for caller in CALLERS:
            silence = says(caller, "silence")
            waiting.append((caller, _begun(stack, process, caller.request("openai", **silence))))  # in prefill
            waiting.append((caller, _begun(stack, process, caller.request("openai", stream=False, **silence))))
            waiting.append((caller, _begun(stack, process, caller.request("openai", version="1.0", **silence))))
            waiting.append(
                (caller, _begun(stack, process, caller.request("openai", **silence)[:-5]))
            )  # its body never ends
        streams = [
            (caller, _begun(stack, process, caller.request("openai", **says(caller, "stay")))) for caller in FOUR
        ]
        for _, call in streams:
            call.read_until(b"Salt")
        upstream.wait_for_requests(3 * len(CALLERS) + len(FOUR))
        process.popen.send_signal(signal.SIGTERM)
        for caller, call in waiting:
            assert_told_to_come_back(call.read_reply(), caller)
        for caller, call in streams:
            assert_broken(call.read_reply(), caller.form(OPENAI))
        assert process.popen.wait(5) == 0
        lines = process.lines
    assert [line["end"] for line in lines] == ["drained"] * (len(waiting) + len(streams))
    assert "Traceback" not in process.said


def test_who_waits_for_an_upstream_is_told_too(upstream: HostileUpstream, tmp_path: Path) -> None:
    """For its Retry-After, for a place in its queue, or with nothing but signs of life so far."""
    caller = FOUR[1]
    server = {"url": f"http://127.0.0.1:{upstream.port}/v1", "dialect": "openai"}
    upstreams = {"one": server, "tight": {**server, "max_in_flight": 1}}
    limits = {"drain": "600ms", "first_byte_hold": "200ms", "port": "0"}
    routes = orjson.dumps({"server": limits, "upstreams": upstreams, "routes": {"one": "one", "tight": "tight"}})

    async def asks_for_patience(peer: Peer, seen: Seen) -> None:
        await peer.send(sized(b"{}", 503, ("retry-after", "8")))

    upstream.perform(asks_for_patience, as_it_is_told)
    with gateway_process(tmp_path, routes, free_port()) as process, ExitStack() as stack:

        def begun(route: str, text: str, *, stream: bool) -> Call:
            request = caller.request(route, stream=stream, **says(caller, text))
            return stack.enter_context(calling(process.port, request))

        retrying = begun("one", "end", stream=False)
        upstream.wait_for_requests(1)
        running = begun("tight", "stay", stream=True)
        running.read_until(b"Salt")
        queued = begun("tight", "end", stream=False)
        alive = begun("one", "silence", stream=True)
        alive.read_until(b"event: ping")
        process.popen.send_signal(signal.SIGTERM)
        for call in (retrying, queued):
            assert_told_to_come_back(call.read_reply(), caller)
        assert_broken(running.read_reply(), "anthropic")
        told = alive.read_reply()
        assert (told.status, told.is_whole) == (200, True)
        assert b"shutting down" in told.body.rpartition(b"event: error\n")[2]
        assert process.popen.wait(5) == 0
    assert [line["end"] for line in process.lines] == ["drained"] * 4
    assert len(upstream.requests) == 3, "neither the retry nor who was queued called the upstream"


def test_two_tries_at_once_are_one_request_to_be_told(upstream: HostileUpstream, tmp_path: Path) -> None:
    """While neither has said a word, and when one of them has won."""
    upstream.perform(as_it_is_told)
    server = {"url": f"http://127.0.0.1:{upstream.port}/v1", "dialect": "openai"}
    route = {
        "targets": [{"upstream": "one"}],
        "fallback": [{"upstream": "two"}],
        "hedge": {"after": "50ms", "max_ratio": 1},
    }
    file = {"server": {"drain": "500ms"}, "upstreams": {"one": server, "two": server}, "routes": {"both": route}}
    with gateway_process(tmp_path, orjson.dumps(file), free_port()) as process, ExitStack() as stack:
        streams = [(caller, _begun(stack, process, caller.request("both", **says(caller, "stay")))) for caller in FOUR]
        for _, call in streams:
            call.read_until(b"Salt")
        waiting = [
            (caller, _begun(stack, process, caller.request("both", **says(caller, "silence")))) for caller in FOUR
        ]
        until(lambda: sum(b"silence" in seen.body for seen in upstream.requests) == 2 * len(FOUR), "all are hedged")
        process.popen.send_signal(signal.SIGTERM)
        for caller, call in waiting:
            assert_told_to_come_back(call.read_reply(), caller)
        for caller, call in streams:
            assert_broken(call.read_reply(), caller.form(OPENAI))
        assert process.popen.wait(5) == 0
    assert [line["end"] for line in process.lines] == ["drained"] * (len(waiting) + len(streams))
    assert "Traceback" not in process.said


def _begun(stack: ExitStack, process: Process, request: bytes) -> Call:
    return stack.enter_context(calling(process.port, request))


def test_answers_read_on_for_nobody_have_the_same_time(upstream: HostileUpstream, tmp_path: Path) -> None:
    """Their clients left, and the route wants their usage."""
    upstream.perform(as_it_is_told)
    server = {"url": f"http://127.0.0.1:{upstream.port}/v1", "dialect": "openai"}
    route = {"targets": [{"upstream": "one"}], "on_disconnect": "finish"}
    file = {"server": {"drain": "1500ms"}, "upstreams": {"one": server}, "routes": {"one": route}}
    with gateway_process(tmp_path, orjson.dumps(file), free_port()) as process:
        for text in ("end", "stay"):
            with calling(process.port, FOUR[0].request("one", **says(FOUR[0], text))) as call:
                call.read_until(b"Salt")
        process.popen.send_signal(signal.SIGTERM)
        began = time.monotonic()
        until(lambda: answer_to(process.port, _closing(get("/readyz"))).status == 503, "/readyz says 503")
        assert process.lines == []
        upstream.release()
        until(lambda: len(process.lines) == 1, "the answer that ends has its line")
        assert process.popen.wait(10) == 0
        assert 1.5 - 0.1 < time.monotonic() - began < 1.5 + 1 + SLACK_S
    assert [line["end"] for line in process.lines] == ["client_left"] * 2
    assert [line.get("finish_reason") for line in process.lines] == ["stop", None]


def test_what_comes_while_draining_is_refused_in_its_dialect(upstream: HostileUpstream, tmp_path: Path) -> None:
    """On new connections and on kept ones; a large body too: it is read first, or its sender might see a reset."""
    with draining(upstream, tmp_path, "20s") as process, ExitStack() as stack:
        streams = [stack.enter_context(calling(process.port, caller.request("openai"))) for caller in FOUR]
        kept = [stack.enter_context(connected(process.port)) for _ in FOUR]
        for stream, idle in zip(streams, kept, strict=True):
            stream.read_until(b"Salt")
            idle.send(get("/livez"))
            assert idle.read_answer().status == 200
        process.popen.send_signal(signal.SIGTERM)
        until(lambda: answer_to(process.port, _closing(get("/readyz"))).status == 503, "/readyz says 503")
        for caller, idle in zip(FOUR, kept, strict=True):
            large = caller.request("openai", **says(caller, "x" * 4_000_000))
            assert_told_to_come_back(answer_to(process.port, large), caller)
            idle.send(caller.request("openai"))
            assert_told_to_come_back(read_reply(idle.read_to_end()), caller)
        models = answer_to(process.port, get("/v1/models"))
        assert (models.status, models.header("retry-after"), models.header("connection")) == (503, "1", "close")
        assert answer_to(process.port, get("/livez")).status == 200
        upstream.release()
        for caller, stream in zip(FOUR, streams, strict=True):
            assert_finished(stream.read_reply(), caller.form(OPENAI))
        assert process.popen.wait(5) == 0
    assert Counter(line["end"] for line in process.lines) == {"complete": 4, "drained": 8}


def _closing(request: bytes) -> bytes:
    return request.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")


def test_a_client_that_reads_nothing_does_not_hold_the_exit_up(upstream: HostileUpstream, tmp_path: Path) -> None:
    async def flood(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.head, chunk(OPENAI.opening))
        await peer.flood(chunk(OPENAI.token("Salt " * 1000)))

    with draining(upstream, tmp_path, "500ms") as process:
        upstream.perform(flood)
        with calling(process.port, FOUR[1].request("openai"), receive_buffer=4096):
            peer = upstream.wait_for_requests(1)
            until(peer.is_stuck, "the client's pace reaches the upstream")
            process.popen.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert process.popen.wait(5) == 0
            assert time.monotonic() - began < 0.5 + 1 + SLACK_S
    assert [line["end"] for line in process.lines] == ["drained"]
    assert "Traceback" not in process.said


# -- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_with_nothing_to_wait_for_the_process_ends_at_once_and_well(
    upstream: HostileUpstream, tmp_path: Path, sig: signal.Signals
) -> None:
    with draining(upstream, tmp_path, "30s") as process:
        process.popen.send_signal(sig)
        began = time.monotonic()
        assert process.popen.wait(10) == 0
        assert time.monotonic() - began < 1 + SLACK_S


@pytest.mark.parametrize(("sig", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once_and_everyone_is_told(
    upstream: HostileUpstream, tmp_path: Path, sig: signal.Signals, status: int
) -> None:
    with (
        draining(upstream, tmp_path, "30s") as process,
        calling(process.port, FOUR[0].request("openai", **says(FOUR[0], "stay"))) as call,
    ):
        call.read_until(b"Salt")
        process.popen.send_signal(signal.SIGTERM)
        until(lambda: answer_to(process.port, _closing(get("/readyz"))).status == 503, "/readyz says 503")
        process.popen.send_signal(sig)
        began = time.monotonic()
        assert_broken(call.read_reply(), "openai")
        assert process.popen.wait(10) == status
        assert time.monotonic() - began < 1 + SLACK_S
    assert [line["end"] for line in process.lines] == ["drained"]
