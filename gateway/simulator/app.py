"""An upstream in any dialect, speaking through our own encoders: as an httpx transport and as an ASGI app."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any, Final

import httpx
import orjson
from starlette.types import Receive, Scope, Send

from gateway.dialects import DIALECTS, Dialect, owner_of
from gateway.dialects.base import Counting, Encoder, Inbound, Json, Stamp
from gateway.errors import KIND_OF_STATUS, GatewayError, Kind, UpstreamError, WrongMethod
from gateway.neutral.events import End, Failed
from gateway.neutral.request import Request
from gateway.neutral.response import Collector
from gateway.simulator import script as sc
from gateway.wire.extensions import ABORT
from gateway.wire.json_body import decode

_CREATED: Final = 1_700_000_000


def _calls() -> Iterator[Dialect]:
    """Everything the simulator can be asked, as dialects: each has its own ending of a path."""
    for dialect in DIALECTS.values():
        yield dialect
        yield from dialect.relayed
        if (counts := dialect.counts) is not None:
            spell = partial(_spell_count, counts)
            yield replace(dialect, ending=counts.ending, parse=counts.parse, simulate=spell)


def _spell_count(counts: Counting, request: Request) -> Json:
    return counts.dump(sc.prompt_tokens(request))


_CALLS: Final = sorted(_calls(), key=lambda dialect: len(dialect.ending), reverse=True)
"""The longest ending first: it may end as a shorter one does."""
ENDINGS: Final = tuple(sorted(dialect.ending for dialect in _CALLS if dialect.ending))


class ConnectionCut(Exception):
    """The script breaks the connection here."""


@dataclass(frozen=True, slots=True)
class Performance:
    """A response about to be given. `chunks` may raise ConnectionCut."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Simulator:
    """Performs scripts. `base` is what a call's own script builds on."""

    def __init__(self, base: sc.Script | None = None) -> None:
        self._base = base or sc.Script()
        self._calls = count()

    def perform(self, path: str, query: str, body: bytes, headers: Mapping[str, str]) -> Performance:
        """The response to one call. Raises ConnectionCut where the script wants no response at all."""
        dialect = next(dialect for dialect in _CALLS if path.endswith(dialect.ending))
        try:
            request = dialect.parse(Inbound(decode(body), headers=headers))
            script = sc.for_request(sc.read(request.model.partition("?")[2], sc.read(query, self._base)), request)
        except GatewayError as error:
            return _refusal(dialect, error)
        return self._answer(dialect, request, script)

    def _answer(self, dialect: Dialect, request: Request, script: sc.Script) -> Performance:
        if script.fault == "refused":
            raise ConnectionCut
        if script.fault == "busy" and next(self._calls) % 2 == 0:
            return _refusal(dialect, UpstreamError("simulated: busy", kind=Kind.RATE_LIMIT, retry_after_s=1))
        if script.fault == "status":
            status = script.at or 500
            kind = KIND_OF_STATUS.get(status)
            return _refusal(dialect, UpstreamError(f"simulated: status {status}", kind=kind, status=status))
        if dialect.simulate is not None:
            script, request = replace(script, tps=0), replace(request, stream=False, max_tokens=None)
        steps, stamp = sc.play(script, request, dialect.seals), _stamp(request)
        if not request.stream:
            chunks = _whole(steps, partial(_body, dialect, request, stamp))
            return Performance(200, {"content-type": "application/json"}, chunks)
        encoder = dialect.encoder(request, stamp)
        return Performance(200, {"content-type": encoder.media_type}, _stream(encoder, script.fault, steps))


def _stamp(request: Request) -> Stamp:
    """An id of its own for each turn, always the same: agents join answers that have one id."""
    digest = hashlib.sha256(orjson.dumps(request.turns)).hexdigest()
    return Stamp(f"simulated{digest[:16]}", _CREATED)


def _refusal(dialect: Dialect, error: GatewayError) -> Performance:
    status, body = dialect.dump_error(error, "req_simulated")
    headers = {"content-type": "application/json"}
    if error.retry_after_s is not None:
        headers["retry-after"] = f"{error.retry_after_s:g}"
    return Performance(status, headers, _once(orjson.dumps(body)))


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _stream(encoder: Encoder, fault: str, steps: Iterable[sc.Step]) -> AsyncIterator[bytes]:
    async for data in _performed(encoder, fault, steps):
        if fault == "split_utf8":
            for byte in range(len(data)):
                yield data[byte : byte + 1]
                await asyncio.sleep(0)
        elif data:
            yield data


async def _performed(encoder: Encoder, fault: str, steps: Iterable[sc.Step]) -> AsyncIterator[bytes]:
    for step in steps:
        match step:
            case sc.Pause(seconds):
                await asyncio.sleep(seconds)
            case sc.Say([Failed()]) if not encoder.tells_failure:
                raise ConnectionCut
            case sc.Say(events):
                yield encoder.encode(events)
            case sc.Raw(data):
                yield data
                await asyncio.sleep(0)
            case sc.Cut():
                raise ConnectionCut
            case sc.Hang():
                await asyncio.Event().wait()
    if fault == "no_done":  # Anthropic's End is more than a last frame
        yield _without_last_frame(encoder.encode([End()]))


def _without_last_frame(data: bytes) -> bytes:
    return data[: data.rstrip(b"\n").rfind(b"\n\n") + 2] if data else b""


async def _whole(steps: Iterable[sc.Step], spell: Callable[[Collector], Any]) -> AsyncIterator[bytes]:
    collector = Collector()
    for step in steps:
        match step:
            case sc.Pause(seconds):
                await asyncio.sleep(seconds)
            case sc.Say(events):
                for event in events:
                    collector.take(event)
                if events and isinstance(events[-1], End):
                    yield orjson.dumps(spell(collector))
            case sc.Hang():
                await asyncio.Event().wait()
            case _:
                raise ConnectionCut


def _body(dialect: Dialect, request: Request, stamp: Stamp, collector: Collector) -> Any:
    if dialect.simulate is not None:
        return dialect.simulate(request)
    return dialect.dump(collector.response(), request, stamp)


# -- as an httpx transport -----------------------------------------------------------------------------------------


class _Body(httpx.AsyncByteStream):
    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks:
                yield chunk
        except ConnectionCut as error:
            raise httpx.ReadError("simulated cut") from error
        except GatewayError as error:
            raise httpx.ReadError("simulated failure") from error


class SimulatorTransport(httpx.AsyncBaseTransport):
    """`simulator://` URLs, answered inside this process."""

    def __init__(self) -> None:
        self._simulator = Simulator()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        try:
            performance = self._simulator.perform(
                request.url.path, request.url.query.decode(), body, dict(request.headers)
            )
        except ConnectionCut as error:
            raise httpx.ConnectError("simulated refusal") from error
        headers = {**performance.headers, "transfer-encoding": "chunked"}
        return httpx.Response(performance.status, headers=headers, stream=_Body(performance.chunks))


# -- as a server ---------------------------------------------------------------------------------------------------


class SimulatorApp:
    """The same over HTTP: `triglot simulate`."""

    def __init__(self, base: sc.Script | None = None) -> None:
        self._simulator = Simulator(base)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        body = await _read(receive)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            performance = self._perform(scope, body, headers)
            await _send(performance, scope, receive, send)
        except (ConnectionCut, GatewayError):
            scope["extensions"][ABORT]()

    def _perform(self, scope: Scope, body: bytes, headers: Mapping[str, str]) -> Performance:
        if scope["method"] != "POST":
            return _refusal(owner_of(scope["path"]), WrongMethod("the simulator takes POST"))
        return self._simulator.perform(scope["path"], scope["query_string"].decode("latin-1"), body, headers)


async def _send(performance: Performance, scope: Scope, receive: Receive, send: Send) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in performance.headers.items()]
    playing = asyncio.ensure_future(_play(performance, encoded, send))
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            playing.result()
    finally:
        playing.cancel()
        leaving.cancel()
        await asyncio.gather(playing, leaving, return_exceptions=True)


async def _play(performance: Performance, headers: list[tuple[bytes, bytes]], send: Send) -> None:
    await send({"type": "http.response.start", "status": performance.status, "headers": headers})
    async for chunk in performance.chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return bytes(body)


async def _lifespan(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})
