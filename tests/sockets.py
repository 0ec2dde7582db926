"""A client that says exactly the bytes it is told, and sees exactly the bytes that come back."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

PATIENCE_S: Final = 10.0  # what should happen happens long before; what does not must fail, not hang


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer with a Content-Length."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawClient:
    """One connection. Every read ends after `PATIENCE_S` with `TimeoutError`."""

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        """`receive_buffer` in bytes: a small one makes this a slow reader."""
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE_S)
        self.received = b""
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise

    def send(self, *parts: bytes) -> None:
        """Send each part in a packet of its own, if the kernel lets it."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            self.socket.sendall(part)

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and including `mark`."""
        while mark not in self.received:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(f"closed after {self.received!r}")
            self.received += data
        end = self.received.index(mark) + len(mark)
        taken, self.received = self.received[:end], self.received[end:]
        return taken

    def read_answer(self, *, has_body: bool = True) -> Answer:
        """The next answer, framed by its Content-Length."""
        status_line, *lines = self.read_until(b"\r\n\r\n").decode().split("\r\n")[:-2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size = int(headers.get("content-length", 0)) if has_body else 0
        while len(self.received) < size:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError("closed inside a body")
            self.received += data
        body, self.received = self.received[:size], self.received[size:]
        return Answer(int(status_line.split()[1]), headers, body)

    def read_to_end(self) -> bytes:
        """Everything until the other side closes. A reset raises `ConnectionResetError`."""
        while data := self.socket.recv(65536):
            self.received += data
        taken, self.received = self.received, b""
        return taken


@contextmanager
def connected(port: int, receive_buffer: int | None = None) -> Iterator[RawClient]:
    """A `RawClient` that is closed at the end of the block."""
    client = RawClient(port, receive_buffer)
    with client.socket:
        yield client


def say(port: int, *parts: bytes) -> bytes:
    """Send the parts on a new connection; everything that comes back until it is closed."""
    with connected(port) as client:
        client.send(*parts)
        return client.read_to_end()


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """A list that holds the seconds the block took, once it is over."""
    took: list[float] = []
    begun = time.perf_counter()
    yield took
    took.append(time.perf_counter() - begun)
