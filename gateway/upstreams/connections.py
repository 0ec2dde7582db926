"""aiohttp's connections, with what hostile or sloppy upstreams need mended.

Two of aiohttp's own classes are extended by their private names, which is why its version has an upper bound.
"""

from __future__ import annotations

import socket
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

_MAX_FIELD: Final = 16 * 1024
"""Bytes of one header field of a response: twice what common servers send at most."""
_RECEIVE_BUFFER: Final = 32 * 1024
"""Bytes the kernel may hand over in one read, about. Its own tuning would make it 256 KiB, which a client that stops
reading then costs us; tokens need far less."""
_READ_AHEAD: Final = 8 * 1024
"""Bytes waiting for us at which aiohttp stops reading (it doubles them)."""
_KEEP_ALIVE_S: Final = 30.0
"""Shorter than the idle limit of common servers, so that a connection is rarely closed under a request."""

is_reused: ContextVar[bool] = ContextVar("is_reused", default=False)
"""Whether the call of this task went out on a kept connection."""


def session() -> aiohttp.ClientSession:
    """No cookies, no proxies from the environment, nothing unpacked, as many connections as there are calls."""
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    return aiohttp.ClientSession(
        trace_configs=[trace],
        connector=_Connector(limit=0, keepalive_timeout=_KEEP_ALIVE_S, socket_factory=_socket),
        read_bufsize=_READ_AHEAD,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=_MAX_FIELD,
        max_field_size=_MAX_FIELD,
        trust_env=False,
    )


def _socket(address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    return made


async def _note_reuse(*_: object) -> None:
    is_reused.set(True)


class _Connection(ResponseHandler):
    """Tells whoever reads a body that its chunks do not parse; aiohttp leaves the reader waiting for ever."""

    def set_exception(self, exc: Any, *cause: BaseException) -> None:
        super().set_exception(exc, *cause)
        if self._payload is not None and not self._payload.is_eof() and self._payload.exception() is None:
            self._payload.set_exception(aiohttp.ClientPayloadError("the body's framing is broken"))


class _Connector(aiohttp.TCPConnector):
    """Never uses a connection again on which unasked bytes came, which aiohttp itself only sees at an answer's end.

    They would be the next request's answer (HARDENING.md 1.1).
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory: partial[Any] = partial(_Connection, loop=self._loop)

    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None
