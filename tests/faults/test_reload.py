"""SIGHUP and `--watch` on the real process: nothing is cut, nothing fails, and a bad file changes nothing."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.faults.callers import FOUR, Caller, Reply, ask, assert_finished, calling, read_reply, told_error
from tests.faults.harness import Process, free_port, gateway_process, settings
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen, until
from tests.faults.voices import ANTHROPIC, LAST_CHUNK, OPENAI, RAW, RESPONSES, Voice, answers, chunk, sized
from tests.measured import measure

VOICE_OF: dict[str, Voice] = {
    "/v1/chat/completions": OPENAI,
    "/v1/messages": ANTHROPIC,
    "/v1/responses": RESPONSES,
    "/predict": RAW,
}
HELD = "held"
"""Begins the path of upstreams whose streams go on until they are released, and the names that lead there."""


def routes_file(port: int, *names: str, **upstream: Any) -> bytes:
    """A routes.yaml where each name leads to an OpenAI upstream."""
    server = {"url": f"http://127.0.0.1:{port}/v1", "dialect": "openai", **upstream}
    return orjson.dumps({"upstreams": {"one": server}, "routes": dict.fromkeys(names, "one")})


@contextmanager
def serving(folder: Path, routes: bytes, *options: str) -> Iterator[tuple[Process, Path]]:
    with gateway_process(folder, routes, free_port(), *options) as process:
        yield process, folder / "routes.yaml"


def logged(process: Process, text: str, times: int = 1) -> None:
    until(lambda: process.said.count(text) >= times, f"the log says {text!r} {times} times")


async def held_or_whole(peer: Peer, seen: Seen) -> None:
    """A stream that drips until it is released, where the path says so; else an answer, as asked."""
    voice = VOICE_OF[seen.target.removeprefix(f"/{HELD}")]
    if not seen.target.startswith(f"/{HELD}"):
        await peer.send(voice.answer(seen))
        return
    await peer.send(voice.head, chunk(voice.opening), chunk(voice.token("Salt ")))
    while not peer.is_released:
        await peer.send(chunk(voice.token("wind ")))
        await asyncio.sleep(0.05)
    await peer.send(chunk(voice.finish + voice.terminator), LAST_CHUNK)


# -- under load ----------------------------------------------------------------------------------------------------


def loaded(port: int, round_: int) -> bytes:
    """Steady routes; every other time also those of the held streams and their upstreams, which else are gone."""
    upstreams = orjson.loads(settings(port))["upstreams"]
    if round_ % 2 == 0:
        at = f"http://127.0.0.1:{port}"
        upstreams |= {
            f"{HELD}-{name}": {**upstream, "url": upstream["url"].replace(at, f"{at}/{HELD}")}
            for name, upstream in upstreams.items()
        }
    routes = {name: name for name in upstreams} | {f"round-{round_}": "openai"}
    return orjson.dumps({"upstreams": upstreams, "routes": routes})


async def streamed(port: int, request: bytes) -> tuple[bytes, float]:
    """All that comes back, and how long it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    try:
        writer.write(request)
        return await reader.read(), time.perf_counter() - began
    finally:
        writer.close()


async def steadily(port: int, over: asyncio.Event, caller: Caller, route: str) -> list[tuple[bytes, float]]:
    """One request after the other, streamed and whole in turn."""
    replies: list[tuple[bytes, float]] = []
    for stream in itertools.cycle((True, False)):
        if over.is_set():
            return replies
        replies.append(await streamed(port, caller.request(route, stream=stream)))
    return replies


@pytest.mark.slow
async def test_twenty_reloads_under_load_cut_no_stream_and_fail_no_request(
    upstream: HostileUpstream, tmp_path: Path
) -> None:
    """20 streams from before the first reload to behind the last; their routes and upstreams come and go meanwhile."""
    upstream.perform(held_or_whole)
    kinds = [(caller, f"{HELD}-{name}") for caller in FOUR for name in ("openai", "anthropic", "responses", "truss")]
    kinds += kinds[:4]
    over = asyncio.Event()
    with serving(tmp_path, loaded(upstream.port, 0)) as (process, path):
        async with asyncio.TaskGroup() as group:
            streams = [group.create_task(streamed(process.port, caller.request(route))) for caller, route in kinds]
            await asyncio.to_thread(upstream.wait_for_requests, len(kinds))
            steady = [group.create_task(steadily(process.port, over, caller, "openai")) for caller in FOUR]
            for round_ in range(1, 21):
                path.write_bytes(loaded(upstream.port, round_))
                process.popen.send_signal(signal.SIGHUP)
                await asyncio.to_thread(logged, process, "reloaded ", round_)
                gone = await asyncio.to_thread(ask, process.port, FOUR[0].request(f"round-{round_ - 1}"))
                assert gone.status == 404
                assert (await asyncio.to_thread(ask, process.port, FOUR[0].request(f"round-{round_}"))).status == 200
            over.set()
            assert not any(stream.done() for stream in streams)
            upstream.release()
        ends = [line["end"] for line in process.lines]
    for task, (caller, route) in zip(streams, kinds, strict=True):
        assert_finished(read_reply(task.result()[0]), caller.form(RAW if route.endswith("truss") else OPENAI))
    replies = [reply for task in steady for reply in task.result()]
    assert {read_reply(raw).status for raw, _ in replies} == {200}
    assert all(read_reply(raw).is_whole for raw, _ in replies)
    assert ends.count("complete") == len(replies) + len(kinds) + 20
    measure("requests during 20 reloads, none failed", len(replies))
    measure("ms that a request during a reload took at most", max(took for _, took in replies) * 1000)


@pytest.mark.slow
async def test_a_file_of_a_thousand_routes_holds_no_stream_up(upstream: HostileUpstream, tmp_path: Path) -> None:
    """It is read beside the event loop; what a quick request took at most is printed."""
    upstream.perform(answers(OPENAI))
    names = [f"model-{n}" for n in range(1000)]
    over = asyncio.Event()
    with serving(tmp_path, routes_file(upstream.port, "other")) as (process, path):
        async with asyncio.TaskGroup() as group:
            before = [await streamed(process.port, FOUR[0].request("other")) for _ in range(50)]
            steady = group.create_task(steadily(process.port, over, FOUR[0], "other"))
            path.write_bytes(routes_file(upstream.port, "other", *names))
            process.popen.send_signal(signal.SIGHUP)
            await asyncio.to_thread(logged, process, "reloaded ")
            over.set()
    worst = max(took for _, took in steady.result()) * 1000
    measure("ms that a request took at most while 1,000 routes were read", worst)
    measure("ms that a request took at most before", max(took for _, took in before) * 1000)
    assert worst < 1000


# -- one at a time -------------------------------------------------------------------------------------------------


def listed(process: Process) -> list[str]:
    reply = ask(process.port, b"GET /v1/models HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n")
    return [model["id"] for model in orjson.loads(reply.body)["data"]]


def answered(process: Process, route: str) -> Reply:
    return ask(process.port, FOUR[0].request(route, stream=False))


def test_sighup_puts_a_good_file_in_force_and_a_bad_one_not(upstream: HostileUpstream, tmp_path: Path) -> None:
    upstream.perform(answers(OPENAI))
    with serving(tmp_path, routes_file(upstream.port, "first")) as (process, path):
        path.write_bytes(routes_file(upstream.port, "second", "third"))
        process.popen.send_signal(signal.SIGHUP)
        logged(
            process, f"reloaded {path}: 2 routes, 1 upstream (gone routes.first, new routes.second, new routes.third)\n"
        )
        assert listed(process) == ["second", "third"]
        assert answered(process, "second").status == 200
        assert "no route" in told_error(answered(process, "first"), FOUR[0])

        path.write_bytes(routes_file(upstream.port, "fourth", dialect="opneai", key="sk-canary", wait="1s"))
        process.popen.send_signal(signal.SIGHUP)
        logged(process, f"{path} was not reloaded: 2 problems; what was in force stays")
        log = process.said
        assert 'upstreams.one.dialect: no dialect "opneai"; did you mean "openai"?' in log
        assert "upstreams.one.wait: unknown setting" in log
        assert "sk-canary" not in log
        assert listed(process) == ["second", "third"]
        assert answered(process, "second").status == 200


def test_a_stream_goes_on_with_what_it_began_with(upstream: HostileUpstream, tmp_path: Path) -> None:
    """Its route is gone, and its upstream's name stands for another server, by the time that it goes on."""
    upstream.perform(held_or_whole)
    upstreams = {"one": {"dialect": "openai", "url": f"http://127.0.0.1:{upstream.port}/{HELD}/v1"}}
    with (
        serving(tmp_path, orjson.dumps({"upstreams": upstreams, "routes": {HELD: "one"}})) as (process, path),
        calling(process.port, FOUR[1].request(HELD)) as stream,
    ):
        stream.read_until(b"Salt")
        path.write_bytes(routes_file(1, "other"))
        process.popen.send_signal(signal.SIGHUP)
        logged(process, "reloaded ")
        assert answered(process, "other").status == 502
        upstream.release()
        assert_finished(stream.read_reply(), "anthropic")


def test_a_target_that_is_left_alone_stays_so_until_it_is_another_server(
    upstream: HostileUpstream, tmp_path: Path
) -> None:
    async def busy_or_fine(peer: Peer, seen: Seen) -> None:
        busy = sized(b"{}", 503, ("retry-after", "60"))
        await peer.send(busy if seen.target.startswith("/busy") else OPENAI.answer(seen))

    def file(*more: str, **fields: str) -> bytes:
        upstreams = {
            name: {"url": f"http://127.0.0.1:{upstream.port}/{name}/v1", "dialect": "openai"}
            for name in ("busy", "fine")
        }
        route = {"targets": [{"upstream": "busy"}], "fallback": [{"upstream": "fine"}]}
        upstreams["busy"] |= fields
        return orjson.dumps({"upstreams": upstreams, "routes": {"both": route, **dict.fromkeys(more, "fine")}})

    def calls_of_busy() -> int:
        before = len(upstream.requests)
        assert answered(process, "both").status == 200
        return sum(seen.target.startswith("/busy") for seen in upstream.requests[before:])

    upstream.perform(busy_or_fine)
    with serving(tmp_path, file()) as (process, path):
        assert [calls_of_busy(), calls_of_busy()] == [1, 0]
        for times, (content, calls) in enumerate([(file("other"), 0), (file("other", key="another"), 1)], 1):
            path.write_bytes(content)
            process.popen.send_signal(signal.SIGHUP)
            logged(process, "reloaded ", times)
            assert calls_of_busy() == calls


def test_a_watched_file_is_put_in_force_by_itself(upstream: HostileUpstream, tmp_path: Path) -> None:
    """Edited, and renamed over."""
    with serving(tmp_path, routes_file(upstream.port, "first"), "--watch") as (process, path):
        path.write_bytes(routes_file(upstream.port, "edited"))
        logged(process, "reloaded ")
        assert listed(process) == ["edited"]
        path.with_suffix(".new").write_bytes(routes_file(upstream.port, "renamed"))
        path.with_suffix(".new").rename(path)
        logged(process, "reloaded ", 2)
        assert listed(process) == ["renamed"]


def test_a_port_of_the_command_line_outlives_a_reload(upstream: HostileUpstream, tmp_path: Path) -> None:
    """The file's own port never counted, so nothing is said of it; its host did."""
    whole = orjson.loads(routes_file(upstream.port, "second"))
    with serving(tmp_path, routes_file(upstream.port, "first")) as (process, path):
        path.write_bytes(orjson.dumps(whole | {"server": {"port": 9999, "host": "127.0.0.2"}}))
        process.popen.send_signal(signal.SIGHUP)
        logged(process, "reloaded ")
        assert listed(process) == ["second"]
        log = process.said
    assert "server.host: 127.0.0.2 takes effect after a restart; until then it is 127.0.0.1" in log
    assert "server.port" not in log
