"""Calls upstreams: connection pools, credentials, and what may come back."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol

import anyio
import httpx

from gateway.config import Upstream
from gateway.errors import BadKey, Denied, GatewayError, Kind, Malformed, TooMany, UpstreamError
from gateway.upstreams import failures
from gateway.upstreams.body import AtOnce
from gateway.upstreams.redaction import redacted
from gateway.upstreams.transport import Place, Transport, head_of, place_of

__all__ = ["Answer", "AtOnce", "Upstreams", "read_refusal", "scrub", "secret_of"]

_CREDENTIALS: Final[Mapping[str, tuple[str, str]]] = {
    "bearer": ("authorization", "Bearer {}"),
    "api-key": ("authorization", "Api-Key {}"),
    "x-api-key": ("x-api-key", "{}"),
}
_USER_AGENT: Final = "triglot"
_OWN_IS_MISSING: Final = (
    "this upstream is called with the client's own credential, and none was sent for it: send it as "
    '"Authorization: Bearer KEY" or "x-api-key: KEY", and a key of the gateway, if it asks for one, as the other'
)
_OF_CREDENTIAL: Final = (Kind.AUTH, Kind.PERMISSION, Kind.BILLING, Kind.RATE_LIMIT)
"""What an upstream says of whose credential it is."""
_MAX_ERROR_BODY: Final = 64 * 1024
"""Bytes read of a refusal; messages are cut far shorter."""
_MAX_URLS: Final = 1024
"""Addresses of calls that are remembered, taken apart: a few for each upstream."""


class Stream(Protocol):
    """A body that can hand over what comes in the moment it comes."""

    async def next(self, at_once: AtOnce | None = None) -> bytes | None:
        """As `Answer.next`."""


@dataclass(slots=True)
class Answer:
    """A response head, and its body still to be read. `is_framed`: the body's end shows by length or last chunk."""

    status: int
    headers: Mapping[str, str]
    stream: Stream | AsyncIterator[bytes]
    _next: Callable[[AtOnce | None], Awaitable[bytes | None]] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._next = getattr(self.stream, "next", None)

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_framed(self) -> bool:
        return "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "")

    @property
    def is_read(self) -> bool:
        """Whether the body is known to be over, and all of it was read."""
        return getattr(self.stream, "is_read", False)

    async def read(self, limit: int) -> bytes:
        """The whole body, or Malformed beyond `limit` bytes."""
        body = bytearray()
        while (chunk := await self.next()) is not None:
            body += chunk
            if len(body) > limit:
                raise Malformed(f"the upstream's answer of more than {len(body)} bytes exceeds limit of {limit}")
        return bytes(body)

    async def aclose(self) -> None:
        """Nobody reads on."""
        if (close := getattr(self.stream, "aclose", None)) is not None:
            await close()

    async def next(self, at_once: AtOnce | None = None) -> bytes | None:
        """The next bytes of the body, None at its end.

        Where the stream can, what comes while this waits is given to `at_once`, without a turn of the task; once that
        says False, b"" is returned. What it raises is raised here, and never taken for a failure of the connection,
        which streams tell by an error of httpx.
        """
        try:
            if self._next is not None:
                return await self._next(at_once)
            return await anext(self.stream)  # type: ignore[arg-type]  # that is what it is, if it has no `next`
        except StopAsyncIteration:
            return None
        except httpx.HTTPError as error:
            raise failures.in_body() from error


class Upstreams:
    """One HTTP client for all upstreams: no cookies, no redirects, no proxies from the environment, identity only."""

    def __init__(self, mounts: Mapping[str, httpx.AsyncBaseTransport] | None = None) -> None:
        """`mounts`: transports for URL schemes of our own, as `simulator`."""
        self._transport = Transport()
        self._mounts = dict(mounts or {})
        self._way = lru_cache(_MAX_URLS)(self._way_of)

    def _way_of(self, base: str, path: str) -> _Way:
        """How a path below an address is called: httpx takes 70 µs for this."""
        url = httpx.URL(base)
        return self._way_to(url.copy_with(path=url.path.rstrip("/") + path))

    def _way_to(self, url: httpx.URL) -> _Way:
        mounted = self._mounts.get(url.scheme)
        return _Direct(self._transport, place_of(url)) if mounted is None else _Mounted(mounted, url)

    async def aclose(self) -> None:
        """Closes every connection."""
        for transport in (self._transport, *self._mounts.values()):
            await transport.aclose()

    @asynccontextmanager
    async def call(
        self, upstream: Upstream, path: str, body: bytes, headers: Mapping[str, str], connect_s: float, own: str = ""
    ) -> AsyncIterator[Answer]:
        """POSTs a JSON body. Raises UpstreamError before a usable response head; closes the response at the end.

        `own`: the client's own credential, for an upstream that is called with that; BadKey where it is missing.
        """
        fields = {
            "accept": "application/json, text/event-stream",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "content-length": str(len(body)),
            "user-agent": _USER_AGENT,
            **headers,
            **_credential(upstream, own),
        }
        answer = await _before_head(lambda: self._way(upstream.url, path).answer("POST", fields, body, connect_s))
        try:
            yield _checked(answer)
        finally:
            await answer.aclose()

    async def ask(self, upstream: Upstream, path: str, timeout_s: float) -> int | None:
        """The status of a GET of a path, from the root of the upstream's host; None where none came in time."""
        url = httpx.URL(upstream.url).copy_with(raw_path=path.encode("ascii"))
        fields = {"accept-encoding": "identity", "user-agent": _USER_AGENT}
        if not upstream.takes_client_key:
            fields |= _credential(upstream)
        with anyio.move_on_after(timeout_s), contextlib.suppress(UpstreamError):
            answer = await _before_head(lambda: self._way_to(url).answer("GET", fields, b"", timeout_s))
            try:
                await read_refusal(answer)  # so that the connection can be used again
                return answer.status
            finally:
                await answer.aclose()
        return None


async def _before_head(call: Callable[[], Awaitable[Answer]]) -> Answer:
    try:
        return await call()
    except failures.CALL_ERRORS as error:
        raise failures.before_head(error) from error


class _Way(Protocol):
    """How an address is called."""

    async def answer(self, method: str, fields: Mapping[str, str], body: bytes, connect_s: float) -> Answer:
        """Raises errors of httpx."""


@dataclass(frozen=True, slots=True)
class _Direct:
    """Over connections of our own, past httpx's own requests and headers."""

    transport: Transport
    place: Place

    async def answer(self, method: str, fields: Mapping[str, str], body: bytes, connect_s: float) -> Answer:
        head = head_of(method, self.place, fields.items())
        status, received, stream = await self.transport.exchange(self.place, head, body, connect_s)
        headers: dict[str, str] = {}
        for name, value in received:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        return Answer(status, headers, stream)


@dataclass(frozen=True, slots=True)
class _Mounted:
    """Over a transport for a scheme of our own."""

    transport: httpx.AsyncBaseTransport
    url: httpx.URL

    async def answer(self, method: str, fields: Mapping[str, str], body: bytes, connect_s: float) -> Answer:
        response = await self.transport.handle_async_request(
            httpx.Request(method, self.url, headers=fields, content=body)
        )
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return Answer(response.status_code, response.headers, _Pieces(response.stream))


class _Pieces:
    """The body of any transport's answer."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream
        self._pieces = aiter(stream)

    async def next(self, at_once: AtOnce | None = None) -> bytes | None:
        """As they come; nothing is handed over at once."""
        return await anext(self._pieces, None)

    async def aclose(self) -> None:
        await self._stream.aclose()


def _credential(upstream: Upstream, own: str = "") -> dict[str, str]:
    """The header that calls this upstream with its key, if it has one. Raises BadKey where that is the client's."""
    if upstream.key is None or upstream.auth not in _CREDENTIALS:
        return {}
    secret = secret_of(upstream, own)
    if not secret:
        raise BadKey(_OWN_IS_MISSING, headers={"www-authenticate": "Bearer"})
    name, form = _CREDENTIALS[upstream.auth]
    return {name: form.format(secret)}


def secret_of(upstream: Upstream, own: str = "") -> str:
    """What the upstream is called with: its own key, or the client's `own` credential; empty where there is none."""
    if upstream.takes_client_key:
        return own
    return upstream.key.get_secret_value() if upstream.key else ""


def scrub(upstream: Upstream, error: GatewayError, own: str = "") -> GatewayError:
    """The error as a client may hear it: without the credential, should the upstream have echoed it, and without a word
    on whether the upstream took ours (pitfall 52), wherever it says so: in its status, under status 200, in mid-stream.

    What becomes of a client's `own` credential is that client's business, and no news of the upstream.
    """
    if not isinstance(error, UpstreamError):
        return error
    if upstream.takes_client_key and error.kind in _OF_CREDENTIAL:
        return _of_credential(error, own)
    if error.kind in (Kind.AUTH, Kind.PERMISSION):
        return Denied("the upstream refused the gateway's own credential")
    secret = secret_of(upstream, own)
    return error if redacted(error.message, secret) == error.message else _again(type(error), error, secret)


def _of_credential(error: UpstreamError, own: str) -> GatewayError:
    if error.kind in (Kind.AUTH, Kind.PERMISSION):
        return BadKey("the upstream refused the credential that was sent for it", kind=error.kind)
    return _again(TooMany, error, own)


def _again(kind: type[GatewayError], error: GatewayError, secret: str) -> GatewayError:
    return kind(
        redacted(error.message, secret),
        kind=error.kind,
        status=error.status,
        retry_after_s=error.retry_after_s,
        headers=error.headers,
    )


async def read_refusal(answer: Answer) -> bytes:
    """The body of an error answer, as far as it is worth reading."""
    body = bytearray()
    while len(body) < _MAX_ERROR_BODY and (chunk := await answer.next()) is not None:
        body += chunk
    return bytes(body)


def _checked(answer: Answer) -> Answer:
    """Redirects, upgrades and compressed bodies are not followed, taken up or unpacked (HARDENING.md §2)."""
    if answer.status < 200 or 300 <= answer.status < 400:
        raise Malformed(f"the upstream answered {answer.status}; redirects and upgrades are not followed")
    encoding = answer.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise Malformed("the upstream answered with a compressed body, though only identity was asked for")
    return answer
