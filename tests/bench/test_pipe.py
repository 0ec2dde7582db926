"""The pipe that a benchmark's figures can be held against."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BLOB = bytes(range(256)) * 40_000


@contextmanager
def pipe(upstream_port: int) -> Iterator[int]:
    command = [sys.executable, "-m", "gateway.bench.pipe", "0", str(upstream_port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_what_goes_in_comes_out_at_the_other_end_and_back() -> None:
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        with pipe(server.sockets[0].getsockname()[1]) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(BLOB)
            assert await asyncio.wait_for(reader.readexactly(len(BLOB)), 20) == BLOB
            writer.close()
            await writer.wait_closed()


async def test_a_client_is_told_that_nobody_listens_at_the_other_end() -> None:
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        free = server.sockets[0].getsockname()[1]
    with pipe(free) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()
