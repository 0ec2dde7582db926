"""A thousand streams at once, each whole, each its own (issue 2)."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.faults.callers import FOUR, Caller, assert_finished, read_reply
from tests.faults.harness import free_port, gateway_process, settings
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen
from tests.faults.voices import ANTHROPIC, LAST_CHUNK, OPENAI, RAW, RESPONSES, chunk
from tests.measured import measure

STREAMS = 1000
VOICE_OF = {"/v1/chat/completions": OPENAI, "/v1/messages": ANTHROPIC, "/v1/responses": RESPONSES, "/predict": RAW}
ROUTES = ("openai", "anthropic", "truss", "responses")


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Room for both ends of every connection of this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * STREAMS + 500
    if before[1] != resource.RLIM_INFINITY and before[1] < wanted:
        pytest.skip(f"needs {wanted} file descriptors, the hard limit is {before[1]}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], wanted), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def echoes_in_five_steps(peer: Peer, seen: Seen) -> None:
    """What identifies the request comes back in pieces, all streams overlapping."""
    voice = VOICE_OF[seen.target]
    body = orjson.loads(seen.body)
    asked = body.get("prompt") or body.get("input") or body["messages"][-1]["content"]
    if seen.target == "/v1/responses" and not isinstance(asked, str):
        asked = asked[-1]["content"]
    name = asked if isinstance(asked, str) else asked[0]["text"]
    await peer.send(voice.head, chunk(voice.opening), chunk(voice.token("Salt ")))
    await peer.released()
    for part in (*name, "."):
        await peer.send(chunk(voice.token(part)))
        await asyncio.sleep(0)
    await peer.send(chunk(voice.finish + voice.terminator), LAST_CHUNK)


async def converse(port: int, caller: Caller, route: str, name: str, begun: asyncio.Semaphore) -> bytes:
    own: dict[str, Any] = {"truss": {"prompt": name}, "responses": {"input": name}}
    body = own.get(caller.dialect, {"messages": [{"role": "user", "content": name}]})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(caller.request(route, **body))
        received = b""
        while b"Salt" not in received:
            data = await reader.read(65536)
            assert data, received
            received += data
        begun.release()
        return received + await reader.read()
    finally:
        writer.close()


@pytest.mark.slow
async def test_a_thousand_streams_at_once_are_all_whole(
    upstream: HostileUpstream, tmp_path: Path, descriptors: None
) -> None:
    upstream.perform(echoes_in_five_steps)
    port = free_port()
    with gateway_process(tmp_path, settings(upstream.port), port) as process:
        before, began, begun = process.memory, time.perf_counter(), asyncio.Semaphore(0)
        kinds = [(FOUR[n % 4], ROUTES[n // 4 % 4], f"name{n:04}") for n in range(STREAMS)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(converse(port, caller, route, name, begun)) for caller, route, name in kinds]
            async with asyncio.timeout(60):
                for _ in range(STREAMS):
                    await begun.acquire()
            measure("s until 1,000 streams had begun", time.perf_counter() - began)
            measure("KiB of memory an open stream, of 1,000", (process.memory - before) / STREAMS / 1024)
            assert sum(not peer.closed.is_set() for peer in upstream.peers) >= STREAMS
            upstream.release()
        measure("s until 1,000 streams were done", time.perf_counter() - began)
    for (caller, route, name), task in zip(kinds, tasks, strict=True):
        reply = read_reply(task.result())
        form = caller.form(next(voice for voice in VOICE_OF.values() if voice.upstream == route))
        assert_finished(reply, form)
        assert text_of(reply.body, form) == f"Salt {name}."


def text_of(body: bytes, form: str) -> str:
    if form == "raw":
        return body.decode()
    frames = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: {")]
    values = [orjson.loads(frame) for frame in frames]
    if form == "responses":
        return "".join(value["delta"] for value in values if value["type"] == "response.output_text.delta")
    if form == "anthropic":
        return "".join(value["delta"]["text"] for value in values if value["type"] == "content_block_delta")
    return "".join(value["choices"][0]["delta"].get("content") or "" for value in values if value["choices"])
