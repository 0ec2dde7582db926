"""HTTP/1.1 over connections of our own, as an httpx transport."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import httpx

from gateway.upstreams.connection import Connection, Reply
from gateway.upstreams.dialer import Dialer
from gateway.upstreams.failures import Dropped
from gateway.upstreams.pool import Origin, Pool

_PORTS: Final = {"http": 80, "https": 443}


class Place(NamedTuple):
    """An address taken apart: whom to call, what for, and how it is called by name."""

    origin: Origin
    target: str
    host: str


class Transport(httpx.AsyncBaseTransport):
    """As many connections as there are calls, kept for the next ones. Nothing is unpacked, followed or remembered."""

    def __init__(self) -> None:
        self._pool = Pool()
        self._dialer = Dialer()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response, once its head is there; its stream has `next` too (`Body`)."""
        place, content = place_of(request.url), await request.aread()
        fields = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)
        head = head_of(request.method, place, [field for field in fields if field[0].lower() != "host"])
        within_s = request.extensions.get("timeout", {}).get("connect")
        reply = await self.exchange(place, head, content, within_s, has_body=request.method != "HEAD")
        return httpx.Response(reply.status, headers=reply.fields, stream=reply.body)

    async def exchange(
        self, place: Place, head: bytes, content: bytes, connect_s: float | None, *, has_body: bool = True
    ) -> Reply:
        """As `Connection.exchange`, for who has no use for httpx's own requests, which cost more than all of this.

        A kept connection that the peer drops without a word, as servers do with one that was idle too long, is
        replaced by another one. Raises httpx.ConnectTimeout and httpx.ConnectError too.
        """
        while (kept := self._pool.take(place.origin)) is not None:
            try:
                return await kept.exchange(head, content, has_body=has_body)
            except Dropped:
                continue
        connection = await self._dialer.dial(place.origin, lambda: Connection(self._pool), connect_s)
        self._pool.add(connection, place.origin)
        return await connection.exchange(head, content, has_body=has_body)

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._pool.aclose()


def place_of(url: httpx.URL) -> Place:
    """Raises httpx.UnsupportedProtocol."""
    port = _PORTS.get(url.scheme)
    if port is None:
        raise httpx.UnsupportedProtocol("an address begins with http:// or https://")
    origin = Origin(url.scheme == "https", url.raw_host.decode("ascii"), url.port or port)
    return Place(origin, url.raw_path.decode("ascii"), url.netloc.decode("ascii"))


def head_of(method: str, place: Place, fields: Iterable[tuple[str, str]]) -> bytes:
    """A request's head. What would end a line early is refused, wherever it stands: httpx.LocalProtocolError."""
    lines = [
        f"{method} {place.target} HTTP/1.1",
        f"host: {place.host}",
        *[f"{name}: {value}" for name, value in fields],
    ]
    head = "\r\n".join([*lines, "", ""])
    breaks = len(lines) + 1
    if head.count("\n") != breaks or head.count("\r") != breaks or "\0" in head or not head.isascii():
        raise httpx.LocalProtocolError("a header field holds a line break, or more than ASCII")
    return head.encode("ascii")
