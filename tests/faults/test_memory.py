"""What the gateway holds at rest, and for each stream that is open and silent; printed, and asserted generously.

An allocator's pages, other versions of libraries and a busy machine all move these figures by more than a change of the
code does; `docs/performance.md` has those of a quiet machine. The asserted ones catch what is wrong by half.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.faults.callers import ANTHROPIC_CALLER, OPENAI_CALLER, Caller
from tests.faults.harness import Process, free_port, gateway_process, settings
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen
from tests.faults.voices import OPENAI, chunk
from tests.measured import measure

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them"),
]

MAX_AT_REST = 90 * 1024 * 1024
MAX_A_STREAM = 90 * 1024


@contextmanager
def descriptors(wanted: int) -> Iterator[None]:
    """Room for both ends of every connection, here and in the processes that are started meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < wanted:
        pytest.skip(f"needs {wanted} file descriptors, the hard limit is {before[1]}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], wanted), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def one_token_then_silence(peer: Peer, seen: Seen) -> None:
    await peer.send(OPENAI.head, chunk(OPENAI.opening), chunk(OPENAI.token("Salt ")))
    await peer.gone()


async def opened(process: Process, caller: Caller, writers: list[asyncio.StreamWriter]) -> None:
    """A stream that has brought its first token."""
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writers.append(writer)
    writer.write(caller.request("openai"))
    received = b""
    while b"Salt" not in received:
        data = await reader.read(65536)
        assert data, received
        received += data


def close(writers: list[asyncio.StreamWriter]) -> None:
    for writer in writers:
        writer.close()


def test_memory_at_rest(upstream: HostileUpstream, tmp_path: Path) -> None:
    with gateway_process(tmp_path, settings(upstream.port), free_port()) as process:
        measure("MB of memory at rest", process.memory / 1e6)
        assert process.memory < MAX_AT_REST


@pytest.mark.parametrize("streams", [1000, 2000])
@pytest.mark.parametrize("caller", [OPENAI_CALLER, ANTHROPIC_CALLER], ids=["relayed", "translated"])
async def test_memory_of_open_streams(upstream: HostileUpstream, tmp_path: Path, caller: Caller, streams: int) -> None:
    upstream.perform(one_token_then_silence)
    with ExitStack() as stack:
        stack.enter_context(descriptors(3 * streams + 500))
        process = stack.enter_context(gateway_process(tmp_path, settings(upstream.port), free_port()))
        before, writers = process.memory, list[asyncio.StreamWriter]()
        stack.callback(close, writers)
        async with asyncio.timeout(120):
            for _ in range(0, streams, 100):
                async with asyncio.TaskGroup() as group:
                    for _ in range(100):
                        group.create_task(opened(process, caller, writers))
        a_stream = (process.memory - before) / streams
        way = "relayed" if caller is OPENAI_CALLER else "translated"
        measure(f"KB of memory an open stream, {way}, of {streams}", a_stream / 1e3)
        assert a_stream < MAX_A_STREAM
