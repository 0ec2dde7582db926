"""HTTP/1.1 over connections of our own, as an httpx transport."""

from __future__ import annotations

from typing import Final

import httpx

from gateway.upstreams.connection import Connection
from gateway.upstreams.dialer import Dialer
from gateway.upstreams.failures import Dropped
from gateway.upstreams.pool import Origin, Pool

_PORTS: Final = {"http": 80, "https": 443}


class Transport(httpx.AsyncBaseTransport):
    """As many connections as there are calls, kept for the next ones. Nothing is unpacked, followed or remembered."""

    def __init__(self) -> None:
        self._pool = Pool()
        self._dialer = Dialer()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response, once its head is there; its stream has `next` too (`Body`).

        A kept connection that the peer drops without a word, as servers do with one that was idle too long, is
        replaced by another one.
        """
        origin, head, content = _origin(request.url), _head(request), await request.aread()
        has_body = request.method != "HEAD"
        while (kept := self._pool.take(origin)) is not None:
            try:
                return await kept.exchange(head, content, has_body=has_body)
            except Dropped:
                continue
        connection = await self._dial(origin, request)
        return await connection.exchange(head, content, has_body=has_body)

    async def _dial(self, origin: Origin, request: httpx.Request) -> Connection:
        within_s = request.extensions.get("timeout", {}).get("connect")
        connection = await self._dialer.dial(origin, lambda: Connection(self._pool), within_s)
        self._pool.add(connection, origin)
        return connection

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._pool.aclose()


def _origin(url: httpx.URL) -> Origin:
    port = _PORTS.get(url.scheme)
    if port is None:
        raise httpx.UnsupportedProtocol("an address begins with http:// or https://")
    return Origin(url.scheme == "https", url.raw_host.decode("ascii"), url.port or port)


def _head(request: httpx.Request) -> bytes:
    """The request's head as bytes. What would end a line early is refused, wherever it stands."""
    url, fields = request.url, request.headers.raw
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), url.raw_path)]
    if "host" not in request.headers:
        lines.append(b"host: " + url.netloc)
    lines += [b"%s: %s" % field for field in fields]
    head = b"\r\n".join([*lines, b"", b""])
    if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1 or b"\0" in head:
        raise httpx.LocalProtocolError("a header field holds a line break")
    return head
