"""Makes connections: finds a host's addresses, tries them, speaks TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

import aiohappyeyeballs
import httpx

from gateway.upstreams.connection import Connection
from gateway.upstreams.pool import Origin

_RECEIVE_BUFFER: Final = 32 * 1024
"""Bytes the kernel may hand over in one read, about. Its own tuning would make it 256 KiB, which a client that stops
reading then costs us; tokens need far less."""
_NEXT_ADDRESS_S: Final = 0.25
"""How long one address may take before the next is tried beside it (RFC 8305 §5)."""
_RESOLVED_S: Final = 10.0
"""How long a host's addresses are used without asking again: a burst of new connections asks once."""

_Addresses = list[tuple[Any, ...]]


class Dialer:
    """Opens connections. Certificates are checked against certifi's, or what SSL_CERT_FILE or SSL_CERT_DIR name."""

    def __init__(self) -> None:
        self._resolved: dict[Origin, tuple[_Addresses, float]] = {}
        self._resolving: dict[Origin, asyncio.Lock] = {}

    async def dial(self, origin: Origin, make: Callable[[], Connection], within_s: float | None) -> Connection:
        """A connection that is up, TLS included. Raises httpx.ConnectTimeout or httpx.ConnectError."""
        try:
            async with asyncio.timeout(within_s):
                return await self._dialled(origin, make)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection in time") from error
        except (OSError, UnicodeError) as error:  # names that can't be one are the latter
            raise httpx.ConnectError("no connection") from error

    async def _dialled(self, origin: Origin, make: Callable[[], Connection]) -> Connection:
        addresses = await self._addresses(origin)
        sock = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1, socket_factory=_socket
        )
        context, name = (self._context, origin.host) if origin.is_tls else (None, None)
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as unless_used:
            unless_used.callback(sock.close)
            _, connection = await loop.create_connection(make, sock=sock, ssl=context, server_hostname=name)
            unless_used.pop_all()
        return connection

    async def _addresses(self, origin: Origin) -> _Addresses:
        """Asked for by one call at a time; who waits for it finds what it found."""
        loop = asyncio.get_running_loop()
        async with self._resolving.setdefault(origin, asyncio.Lock()):
            known, until = self._resolved.get(origin, ([], 0.0))
            if not known or until < loop.time():
                known = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
                self._resolved[origin] = (known, loop.time() + _RESOLVED_S)
            return known

    @cached_property
    def _context(self) -> ssl.SSLContext:
        """Read when it is first needed: it takes some milliseconds and megabytes."""
        context = httpx.create_ssl_context()
        context.set_alpn_protocols(["http/1.1"])
        return context


def _socket(address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
