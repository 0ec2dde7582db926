"""What went wrong on the way to an upstream, as our errors: a table.

Messages are ours: a library's text may hold addresses.
"""

from __future__ import annotations

from typing import Final

import httpx

from gateway.errors import Malformed, TooSlow, Truncated, Unreachable, UpstreamError


class Dropped(httpx.ReadError):
    """The peer closed the connection without a word."""


# The first class that fits decides.
_BEFORE_HEAD: Final[tuple[tuple[type[BaseException], type[UpstreamError], str], ...]] = (
    (httpx.ConnectTimeout, TooSlow, "the upstream did not accept a connection in time"),
    (httpx.ConnectError, Unreachable, "no connection to the upstream"),
    (Dropped, Unreachable, "the upstream closed the connection before it answered"),
    (httpx.NetworkError, Unreachable, "the connection to the upstream broke before it answered"),
    (httpx.RemoteProtocolError, Malformed, "the upstream's response head is not valid HTTP"),
    (httpx.UnsupportedProtocol, Unreachable, "the upstream's URL can't be called"),
    (httpx.TimeoutException, TooSlow, "the upstream did not answer in time"),
    (httpx.HTTPError, Unreachable, "the call to the upstream failed"),
)


def before_head(error: BaseException) -> UpstreamError:
    """An error of the call itself, before any response head."""
    for kind, ours, message in _BEFORE_HEAD:
        if isinstance(error, kind):
            return ours(message)
    return Unreachable("the call to the upstream failed")


def in_body() -> UpstreamError:
    """Any error while a body is read: it ended before its length, its last chunk, or its time."""
    return Truncated("the connection to the upstream broke in the middle of its answer")


CALL_ERRORS: Final = (httpx.HTTPError, httpx.InvalidURL)
"""What a call or a read may raise."""
