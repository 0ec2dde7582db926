"""How long one stream waits because of somebody else's request: a token is sent, and the time until it arrives taken.

Both ends of the paced stream are one thread here, so nothing but the gateway lies between the two clocks. The heavy
requests and their upstream run in a process of their own, for they would hold up this one too.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

import orjson

from tests.faults.callers import OPENAI_CALLER, Reply, ask, post
from tests.faults.harness import settings
from tests.faults.hostile_upstream import until
from tests.faults.voices import ANTHROPIC, OPENAI, RAW, RESPONSES, chunk, sized

PATIENCE_S: Final = 60.0
_PACE_S: Final = 0.002
_TOKEN: Final = chunk(OPENAI.token("Salt "))
_WHOLE_OF: Final = {
    "/v1/chat/completions": OPENAI,
    "/v1/messages": ANTHROPIC,
    "/v1/responses": RESPONSES,
    "/predict": RAW,
}


@dataclass
class Pace:
    """A stream whose tokens are timed."""

    port: int
    _delays_s: list[float] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def kept(self, listener: socket.socket) -> Iterator[None]:
        """Streams while the block runs; `listener` is the stream's upstream."""
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.settimeout(PATIENCE_S)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(OPENAI_CALLER.request("openai"))
            upstream, _ = listener.accept()
            with upstream:
                upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                upstream.recv(65536)
                upstream.sendall(OPENAI.head + chunk(OPENAI.opening))
                thread = threading.Thread(target=self._beat, args=(client, upstream))
                thread.start()
                try:
                    yield
                finally:
                    self._stopped.set()
                    thread.join()

    def _beat(self, client: socket.socket, upstream: socket.socket) -> None:
        while not self._stopped.is_set():
            begun = time.perf_counter()
            upstream.sendall(_TOKEN)
            while not client.recv(65536).endswith(b"\n\n\r\n"):
                pass
            self._delays_s.append(time.perf_counter() - begun)
            time.sleep(_PACE_S)

    def worst_ms(self) -> float:
        """The longest that a token took through the gateway since this was last asked; waits for one more to arrive."""
        seen = len(self._delays_s)
        until(lambda: len(self._delays_s) > seen, "another token arrived", PATIENCE_S)
        delays, self._delays_s = self._delays_s, []
        return max(delays) * 1000


class Crowd:
    """The other process: it asks what it is told, and is the upstream of what it asks."""

    def __init__(self, pipe: Connection, port: int) -> None:
        self._pipe, self.port = pipe, port

    def ask(self, port: int, path: str, body: bytes, *fields: str) -> tuple[Reply, float]:
        """The reply, and how many seconds it took."""
        self._pipe.send((port, path, body, fields))
        assert self._pipe.poll(PATIENCE_S), "no reply in time"
        answer: tuple[Reply, float] = self._pipe.recv()
        return answer


@contextmanager
def crowd() -> Iterator[Crowd]:
    """One that is there as long as the block lasts."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_crowd, args=(theirs,))
    process.start()
    try:
        assert ours.poll(PATIENCE_S)
        yield Crowd(ours, ours.recv())
    finally:
        ours.send(None)
        process.join(PATIENCE_S)


def _crowd(pipe: Connection) -> None:
    started = threading.Event()
    port: list[int] = []
    threading.Thread(target=lambda: asyncio.run(_swallow(port, started)), daemon=True).start()
    started.wait()
    pipe.send(port[0])
    while (order := pipe.recv()) is not None:
        gateway, path, body, fields = order
        request = post(path, body, *fields)
        begun = time.perf_counter()
        reply = ask(gateway, request)
        pipe.send((reply, time.perf_counter() - begun))


async def _swallow(port: list[int], started: threading.Event) -> None:
    """An upstream that reads a body, keeps none of it, and answers whole."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, limit=1 << 16)
    port.append(server.sockets[0].getsockname()[1])
    started.set()
    await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            line, _, fields = head.lower().partition(b"\r\n")
            length = int(fields.partition(b"content-length:")[2].partition(b"\r\n")[0])
            while length:
                length -= len(await reader.read(min(length, 1 << 16)))
            writer.write(sized(_WHOLE_OF[line.split()[1].decode()].whole(f"took {len(head)}")))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def routes(paced: int, crowded: int) -> bytes:
    """`openai` leads to the paced stream's upstream, `heavy-` and a dialect to the crowd's."""
    config = orjson.loads(settings(paced))
    for name, upstream in orjson.loads(settings(crowded))["upstreams"].items():
        config["upstreams"][f"heavy-{name}"] = upstream
        config["routes"][f"heavy-{name}"] = {"targets": [{"upstream": f"heavy-{name}", "model": "first"}]}
    return orjson.dumps(config)
