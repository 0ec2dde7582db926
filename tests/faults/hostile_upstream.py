"""An upstream that says exactly the bytes it is told, breaks HTTP on request, and sees what its caller does.

It runs in a thread of its own. A *play* is a coroutine that answers one request on one connection; what a peer did and
when is read from the test's thread, at the clock of `time.perf_counter`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

PATIENCE_S: Final = 10.0  # what should happen happens long before; what does not must fail, not hang
_TICK_S: Final = 0.002


class Gone(Exception):
    """The peer closed the connection."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived. Header names are in lower case, in their order."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at: float = 0.0
    """When all of it was there."""

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


class Peer(asyncio.Protocol):
    """One connection of a caller."""

    transport: asyncio.Transport

    def __init__(self, upstream: HostileUpstream) -> None:
        self._upstream = upstream
        self._received = bytearray()
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self.requests: list[Seen] = []
        self.sent = 0
        self.closed = threading.Event()
        self.closed_at = 0.0
        self.is_hung_up = False
        self.paused_at: float | None = None
        """Since when nothing more can be written; None while it can."""

    # -- what happened, for the test's thread

    @property
    def taken(self) -> int:
        """Bytes that left this process, those in the kernel's buffers included."""
        return self.sent - self.transport.get_write_buffer_size()

    def is_stuck(self, for_s: float = 0.2) -> bool:
        """Whether nothing could be written for a while."""
        paused_at = self.paused_at
        return paused_at is not None and time.perf_counter() - paused_at > for_s

    # -- what to do, for a play

    async def send(self, *parts: bytes) -> None:
        """Writes, then waits until there is room for more. Raises Gone."""
        for part in parts:
            if self._gone.is_set() or self.is_hung_up:
                raise Gone
            self.sent += len(part)
            self.transport.write(part)
            await self._writable.wait()

    async def flood(self, part: bytes) -> None:
        """Sends for ever, as fast as it is taken."""
        while True:
            await self.send(part)
            await asyncio.sleep(0)

    async def drip(self, part: bytes, pause_s: float) -> None:
        """Sends for ever, with pauses."""
        while True:
            await self.send(part)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), pause_s)

    async def rest(self, seconds: float) -> None:
        """Says nothing for a while. Raises Gone if the peer does not wait for it."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), seconds)
        if self._gone.is_set():
            raise Gone

    async def gone(self) -> None:
        """Until the peer closes."""
        await self._gone.wait()

    def close(self) -> None:
        """FIN, behind what was sent."""
        self.transport.close()

    def reset(self) -> None:
        """RST."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    @property
    def is_released(self) -> bool:
        """Whether the test has called `upstream.release()`."""
        return self._upstream.go.is_set()

    async def released(self) -> None:
        """Until the test calls `upstream.release()`. Raises Gone if the peer closes first."""
        await self.told(self._upstream.go)

    async def told(self, news: asyncio.Event) -> None:
        """Until the event. Raises Gone if the peer closes first."""
        waits = [asyncio.ensure_future(event.wait()) for event in (news, self._gone)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not news.is_set():
            raise Gone

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._upstream.peers.append(self)
        self._upstream.play(self._answer_all())

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._news.set()

    def eof_received(self) -> bool:
        self._leave()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def pause_writing(self) -> None:
        self.paused_at = time.perf_counter()
        self._writable.clear()

    def resume_writing(self) -> None:
        self.paused_at = None
        self._writable.set()

    def _leave(self) -> None:
        if not self.closed.is_set():
            self.closed_at = time.perf_counter()
            self.closed.set()
        self._gone.set()
        self._news.set()
        self._writable.set()

    async def _answer_all(self) -> None:
        try:
            while not self.transport.is_closing():
                seen = await self._request()
                self.requests.append(seen)
                self._upstream.requests.append(seen)
                await self._upstream.next_play(seen)(self, seen)
        except Gone:
            pass
        except Exception as error:  # a play's own slip must fail the test, not the server
            self._upstream.slips.append(error)
            self.transport.abort()

    async def _request(self) -> Seen:
        head = await self._until(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")[:-2]
        headers = tuple((name.lower(), value.strip()) for name, _, value in (field.partition(":") for field in fields))
        method, target, _ = line.split(" ")
        length = next((int(value) for name, value in headers if name == "content-length"), 0)
        while len(self._received) < length:
            await self._more()
        body = bytes(self._received[:length])
        del self._received[:length]
        return Seen(method, target, headers, body, time.perf_counter())

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._received:
            await self._more()
        end = self._received.index(mark) + len(mark)
        found = bytes(self._received[:end])
        del self._received[:end]
        return found

    async def _more(self) -> None:
        if self._gone.is_set():
            raise Gone
        self._news.clear()
        await self._news.wait()


Play = Callable[[Peer, Seen], Awaitable[None]]
Director = Callable[[Seen], Play]
"""Chooses the play by the request, where many tests use one upstream at once."""


async def _silence(peer: Peer, seen: Seen) -> None:
    await peer.gone()


class HostileUpstream:
    """Each request gets the next of the plays given to `perform`, the last one again and again."""

    go: asyncio.Event

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.port = 0
        self.peers: list[Peer] = []
        self.requests: list[Seen] = []
        self.slips: list[Exception] = []
        self._plays: list[Play] = [_silence]
        self._director: Director | None = None
        self._playing: set[asyncio.Task[None]] = set()
        self._started = threading.Event()

    # -- for the test's thread

    def perform(self, *plays: Play) -> None:
        """What to answer to the requests from now on."""
        self._plays = list(plays)

    def direct(self, director: Director | None) -> None:
        """Who chooses what to answer from now on; None: the plays in their order."""
        self._director = director

    def tell(self, news: asyncio.Event) -> None:
        """Sets an event that a play waits for in `peer.told()`."""
        self._loop.call_soon_threadsafe(news.set)

    def release(self) -> None:
        """Lets every play that waits in `peer.released()` go on."""
        self.tell(self.go)

    def reset(self) -> None:
        """Hangs up on everybody, waits until they did too, and forgets. Raises a play's own slip."""
        for peer in list(self.peers):
            if not peer.closed.is_set():
                self._loop.call_soon_threadsafe(_hang_up, peer)
        until(lambda: all(peer.closed.is_set() for peer in self.peers), "every peer hung up")
        slips = self.slips
        self.peers, self.requests, self.slips, self._plays = [], [], [], [_silence]
        self._loop.call_soon_threadsafe(self.go.clear)
        if slips:
            raise slips[0]

    def wait_for_requests(self, count: int) -> Peer:
        """Until that many requests arrived; the newest connection."""
        until(lambda: len(self.requests) >= count, f"{count} requests arrived")
        return self.peers[-1]

    # -- in its own thread

    def next_play(self, seen: Seen) -> Play:
        if self._director is not None:
            return self._director(seen)
        return self._plays.pop(0) if len(self._plays) > 1 else self._plays[0]

    async def serve(self) -> None:
        self._loop, self._stop, self.go = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        server = await self._loop.create_server(lambda: Peer(self), "127.0.0.1", 0, backlog=2048, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for peer in self.peers:
            peer.transport.abort()
        for task in self._playing:
            task.cancel()
        await asyncio.gather(*self._playing, return_exceptions=True)

    def play(self, answering: Coroutine[None, None, None]) -> None:
        """Answers one connection, for as long as it lasts."""
        task = self._loop.create_task(answering)
        self._playing.add(task)
        task.add_done_callback(self._playing.discard)

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=asyncio.run, args=(self.serve(),), name="hostile upstream")
        thread.start()
        assert self._started.wait(PATIENCE_S)
        return thread

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)


def _hang_up(peer: Peer) -> None:
    """FIN only: the peer's own FIN in return says that it dropped the connection out of its pool."""
    peer.is_hung_up = True
    with contextlib.suppress(OSError, RuntimeError):
        if peer.transport.get_write_buffer_size():
            peer.transport.abort()
        else:
            peer.transport.write_eof()


@contextmanager
def hostile_upstream() -> Iterator[HostileUpstream]:
    """One that runs as long as the block lasts."""
    upstream = HostileUpstream()
    thread = upstream.start()
    try:
        yield upstream
    finally:
        upstream.stop()
        thread.join()


def until(is_so: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> float:
    """Waits for an observation; how long it took. Fails the test beyond the patience."""
    begun = time.perf_counter()
    while not is_so():
        took = time.perf_counter() - begun
        assert took < patience_s, f"not within {patience_s} s: {what}"
        time.sleep(_TICK_S)
    return time.perf_counter() - begun
