"""What went wrong on the way to an upstream, as our errors: a table.

httpx-aiohttp names a connection that the peer dropped a connect timeout, and lets some of aiohttp's own errors pass, so
the table speaks of both libraries. Messages are ours: a library's text may hold addresses.
"""

from __future__ import annotations

from typing import Final

import aiohttp
import httpx

from gateway.errors import Malformed, TooSlow, Truncated, Unreachable, UpstreamError

# The first class that fits decides.
_BEFORE_HEAD: Final[tuple[tuple[type[BaseException], type[UpstreamError], str], ...]] = (
    (aiohttp.ConnectionTimeoutError, TooSlow, "the upstream did not accept a connection in time"),
    (aiohttp.ClientConnectorError, Unreachable, "no connection to the upstream"),
    (aiohttp.ServerDisconnectedError, Unreachable, "the upstream closed the connection before it answered"),
    (aiohttp.ClientOSError, Unreachable, "the connection to the upstream broke before it answered"),
    (aiohttp.ClientResponseError, Malformed, "the upstream's response head is not valid HTTP"),
    (aiohttp.ClientError, Unreachable, "the call to the upstream failed"),
    (httpx.UnsupportedProtocol, Unreachable, "the upstream's URL can't be called"),
    (httpx.TimeoutException, TooSlow, "the upstream did not answer in time"),
    (httpx.HTTPError, Unreachable, "the call to the upstream failed"),
    (OSError, Unreachable, "no connection to the upstream"),
    (ValueError, Malformed, "the upstream's response head is not valid HTTP"),
)


def before_head(error: BaseException) -> UpstreamError:
    """An error of the call itself, before any response head."""
    source = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
    for kind, ours, message in _BEFORE_HEAD:
        if isinstance(source, kind):
            return ours(message)
    return Unreachable("the call to the upstream failed")


def is_stale(error: BaseException) -> bool:
    """Whether the peer dropped the connection without a word, as servers do with one that was idle too long."""
    return isinstance(error.__cause__, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)) and not isinstance(
        error.__cause__, aiohttp.ClientConnectorError
    )


def in_body() -> UpstreamError:
    """Any error while a body is read: it ended before its length, its last chunk, or its time."""
    return Truncated("the connection to the upstream broke in the middle of its answer")


CALL_ERRORS: Final = (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, ValueError, RuntimeError)
"""What a call or a read may raise; RuntimeError is aiohttp's word for chunks that broke while nobody was reading."""
