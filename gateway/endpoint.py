"""One request from its first byte to its last."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from hashlib import blake2b
from typing import Final

import orjson
from starlette.types import Receive, Scope, Send

from gateway.attempt import REQUEST_ID, Attempt, Call, InForce, Services
from gateway.config import SlowClient
from gateway.departure import ClientLeft, Departure
from gateway.dialects import Dialect
from gateway.dialects.base import Inbound, Json, Stamp
from gateway.entering import Entrance, Visit
from gateway.errors import (
    BadRequest,
    GatewayError,
    InternalError,
    ShuttingDown,
    TooLarge,
    WrongMethod,
    untraced,
)
from gateway.neutral.events import Failed, Start
from gateway.neutral.request import Request
from gateway.relay.client_watchdog import ClientWatchdog, Patience
from gateway.relay.sink import Sink
from gateway.rendering import governed, tie
from gateway.routing.balancing import Moment
from gateway.routing.plan import plan
from gateway.routing.table import Route
from gateway.running import Interruption
from gateway.telemetry import log
from gateway.telemetry.timeline import Timeline
from gateway.trying import Trying
from gateway.wire.extensions import WHEN_LEFT
from gateway.wire.json_body import decode
from gateway.wire.trace_context import TRACEPARENT, TRACESTATE, trace_id, trace_of

logger = logging.getLogger("triglot")

_STREAM_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_COME_BACK: Final = {"retry-after", "retry-after-ms"}
_READ_BY_DIALECTS: Final = ("accept", "content-type", "user-agent")
_CREDENTIALS: Final = (b"authorization", b"x-api-key")
_STRICT: Final = "x-gateway-strict"
_YES: Final = ("1", "true", "yes")
_NO: Final = ("0", "false", "no")
_BEFORE_ROUTE: Final = Patience(stall=SlowClient().stall)
"""What comes before the route is known is small, but may wait behind an earlier answer that nobody takes."""
_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def shutting_down() -> ShuttingDown:
    """What requests hear that come while the gateway drains, and those still under way at the end of it."""
    return ShuttingDown("the gateway is shutting down; ask again, and another one will answer", retry_after_s=1)


class Endpoint:
    """The calls of one dialect on one path, as an ASGI app."""

    def __init__(
        self,
        in_force: InForce,
        dialect: Dialect,
        params: Mapping[str, str] | None = None,
        attempt: type[Attempt] = Attempt,
    ) -> None:
        """`params`: what the path implies. `attempt`: what is done with a target."""
        self._in_force = in_force
        self._dialect = dialect
        self._params = params or {}
        self._attempt = attempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        services, running = self._in_force.services, self._in_force.running
        exchange = Exchange(services, self._dialect, self._attempt, scope, send)
        try:
            with running.one() as interruption:
                await self._serve(exchange, services, interruption, scope, receive)
        except ClientLeft as left:
            untraced(left)
            exchange.record.end = "client_left"  # or stalled, which `close` knows, as that it left while we read on
        except GatewayError as error:
            await exchange.refuse(error)
        except Exception:  # the one broad clause: whatever we got wrong, the client gets an answer
            logger.exception("request %s failed inside the gateway", exchange.record.request_id)
            await exchange.refuse(InternalError("the gateway failed; its log has the details under this request id"))
        except asyncio.CancelledError:  # by the server, at its own end
            exchange.record.end = "drained"
            raise
        finally:
            exchange.close()

    async def _serve(
        self, exchange: Exchange, services: Services, interruption: Interruption, scope: Scope, receive: Receive
    ) -> None:
        if services.entrance is not None:
            await exchange.enter(services.entrance, scope)
        headers = self._checked(scope)
        body = await read_body(receive, headers, services.settings.max_body)
        if interruption.is_late:  # told only now: who is still sending may never see an early answer
            raise shutting_down()
        sessions = {name: headers[name] for name in services.table.session_headers if name in headers}
        watch = watch_client(scope, receive, partial(_leave, exchange.departure, interruption))
        try:
            exchange.follow(_trace(scope, headers))
            await exchange.serve(body, self._unread(scope, headers, services), sessions)
        finally:
            if watch is not None:
                watch.cancel()

    def _checked(self, scope: Scope) -> Mapping[str, str]:
        if scope["method"] != "POST":
            raise WrongMethod(f"{scope['path']} takes POST, got {scope['method']}")
        headers = _decoded(scope)
        if headers.get("content-encoding", "identity") != "identity":
            raise BadRequest("content-encoding: request bodies are not unpacked", status=415)
        return headers

    def _unread(self, scope: Scope, headers: Mapping[str, str], services: Services) -> Inbound:
        """All of the request but its body."""
        path = {**self._params, **scope.get("path_params", {})} | _host_model(headers, services.settings.model_hosts)
        read = {name: headers.get(name, "") for name in _READ_BY_DIALECTS}
        read |= {name: _listed(scope, name) for name in self._dialect.reads}
        return Inbound({}, path, read, services.sealer, _is_strict(headers))


class Exchange:
    """One request and what became of it."""

    def __init__(self, services: Services, dialect: Dialect, attempt: type[Attempt], scope: Scope, send: Send) -> None:
        self._services = services
        self._dialect = dialect
        self._make_attempt = attempt
        self._loop = asyncio.get_running_loop()
        created = int(time.time())  # noqa: TID251  `created` is wall-clock time
        self._stamp = Stamp(secrets.token_hex(12), created, services.sealer)
        self._visit: Visit | None = None
        self._key = _key(scope)
        self.timeline = Timeline(self._loop.time())
        self.sink = Sink(scope, send, self._stream_head, services.settings.max_answer)
        self._watchdog = ClientWatchdog(self.sink, scope.get("extensions", {}))
        self._watchdog.start(_BEFORE_ROUTE)
        self.departure = Departure(self.sink, self._watchdog)
        self._request: Request | None = None
        self._headers: Callable[[], Mapping[str, str]] = dict
        self._media_type = ""
        self.record = log.Record(f"req_{self._stamp.token}", dialect.name)
        self._follows: Mapping[str, str] = {REQUEST_ID: self.record.request_id}

    # -- the way of a request ----------------------------------------------------------------------------------------

    async def enter(self, entrance: Entrance, scope: Scope) -> None:
        """Asks for the client's key, before anything else of it is read. Raises BadKey and TooMany."""
        visit = self._visit = entrance.visit(scope["headers"], self._stamp.created)
        if visit.holder is not None:
            self.record.key_id = visit.holder.id
            self._key = visit.holder.digest
        await visit.begin(self._dialect.limits, self._stamp.created)

    def follow(self, trace: Mapping[str, str]) -> None:
        """The client's trace goes on with the request."""
        if trace:
            self.record.trace_id = trace_id(trace)
            self._follows = {**self._follows, **trace}

    async def serve(self, raw: bytearray, unread: Inbound, sessions: Mapping[str, str]) -> None:
        """Parses, routes, and tries the targets in order until one answers."""
        size = len(raw)
        request, body = await self._services.aside.run(size, partial(self._parsed, raw, unread))
        self.record.stream = request.stream
        names, may_use = (request.model, *request.aliases), self._visit.may_use if self._visit else None
        route, name = self._services.table.find(names, is_versioned=request.is_versioned, may_use=may_use)
        self.record.route = route.name
        if request.stream:
            self._services.meter.stream_began(route.name)
        request = governed(request, route, self._services.settings, is_strict=unread.is_strict)
        self._request = request
        self._watchdog.start(self._patience(route))
        self.departure.patience_s = route.drain_s
        own = self._visit.credential.decode("ascii") if self._visit else ""
        call = Call(self._dialect, request, body, size, self._stamp, self._key, self._follows, own)
        tries = Trying(self._services, call, route, self, self.record, self._make_attempt)
        key = tie(route, request, sessions)
        moment = Moment(random.random(), self._loop.time(), key, request.stream)
        await tries.run(plan(route, name, moment, self._services.states))

    def _parsed(self, raw: bytearray, unread: Inbound) -> tuple[Request, Json]:
        """The request, and its body as JSON; the bytes are given up."""
        body = decode(raw)
        raw.clear()
        inbound = Inbound(body, unread.path, unread.headers, unread.sealer, unread.is_strict)
        return self._dialect.parse(inbound), body

    def _patience(self, route: Route) -> Patience:
        """Only who asked for a stream can be told to wait on."""
        settings, stall = self._services.settings, route.slow_client.stall or math.inf
        if self._request is None or not self._request.stream or not settings.keep_alive:
            return Patience(stall=stall)
        return Patience(settings.first_byte_hold, settings.keep_alive, stall)

    # -- answering ---------------------------------------------------------------------------------------------------

    def prepare(
        self, media_type: str, headers: Callable[[], Mapping[str, str]], keep_alive: Callable[[], bytes] = bytes
    ) -> None:
        """Sets what the response head will say of this attempt, and its signs of life; asked for when they are sent."""
        self._media_type = media_type
        self._headers = headers
        self._watchdog.keep_alive = keep_alive

    def adopt(self, timeline: Timeline) -> None:
        """Of several tries, each with a timeline of its own, this one became the answer."""
        self.timeline = timeline

    def head(self, media_type: str) -> dict[str, str]:
        """The headers of every answer."""
        ours = {
            "content-type": media_type,
            "x-gateway-request-id": self.record.request_id,
            self._dialect.id_header: self.record.request_id,
            "x-gateway-route": self.record.route or "",
            "x-gateway-upstream": self.record.upstream or "",
            "x-gateway-attempts": str(self.record.attempts) if self.record.attempts else "",
            **self._headers(),
            **(self._visit.headers if self._visit else {}),
        }
        return {name: value for name, value in ours.items() if value}

    def _stream_head(self, start: Start | None) -> dict[str, str]:
        self.record.status = 200
        upstream_id = {"x-gateway-upstream-id": start.id} if start and start.id and _ID.fullmatch(start.id) else {}
        return {**self.head(self._media_type), **_STREAM_HEADERS, **upstream_id}

    async def whole(self, body: bytes) -> None:
        """Sends a whole answer."""
        self.record.status = 200
        await self.sink.whole(body, self.head(self._media_type))

    async def refuse(self, error: GatewayError) -> None:
        """Sends an error instead of an answer, or cuts the answer that had begun."""
        untraced(error)
        if self.sink.has_head:
            await self._break_off(error)
            return
        self.record.error = str(error.kind)
        self.record.end = "drained" if isinstance(error, ShuttingDown) else "refused"
        status, body = self._dialect.dump_error(error, self.record.request_id)
        self.record.status = status
        self._headers = dict
        headers = self.head("application/json") | dict(error.headers)
        if error.retry_after_s is not None and not headers.keys() & _COME_BACK:
            headers["retry-after"] = f"{error.retry_after_s:g}"
        if isinstance(error, WrongMethod):
            headers["allow"] = "POST"
        await self.sink.whole(orjson.dumps(body), headers, status)

    async def _break_off(self, error: GatewayError) -> None:
        """Of an answer that had begun: told where only its head is out, or only time was up.

        Else it is cut: who knows where it stands.
        """
        is_drained = isinstance(error, ShuttingDown)
        if is_drained and self.sink.is_over:
            return
        self.record.end, self.record.error = "drained" if is_drained else "broken", str(error.kind)
        if not self.sink.is_committed:
            await self._tell(error)
        elif is_drained:
            await self.sink.break_off(error)
        else:
            self.sink.abort()

    async def _tell(self, error: GatewayError) -> None:
        """An error in a stream of which only the head is out, and signs of life."""
        assert self._request is not None
        encoder = self._dialect.encoder(self._request, self._stamp)
        await self.sink.write(encoder.encode([Failed(error)]))
        await self.sink.close()

    def close(self) -> None:
        """Lets go of the request, which may be large, and writes its one line."""
        if self._visit is not None:
            self._visit.leave()
        self._watchdog.stop()
        self._watchdog.keep_alive = bytes
        self._headers = dict
        record, timeline = self.record, self.timeline
        self._close_departure()
        self.sink.let_go()
        self._request = None
        if self._watchdog.has_stalled:
            record.end = "client_stalled"
        record.duration_ms = _ms(self._loop.time() - timeline.begun)
        record.ttft_ms = None if timeline.ttft_s is None else _ms(timeline.ttft_s)
        record.input_tokens, record.output_tokens = timeline.usage.input, timeline.usage.output
        if timeline.finish is not None:
            record.finish_reason, record.is_certain = str(timeline.finish.reason), timeline.finish.is_certain
            record.finish_inferred = timeline.finish.is_inferred or None
        log.write(record)
        self._services.meter.ended(record, self._dialect.operation, timeline, self.sink.pause_s)

    def _close_departure(self) -> None:
        """However the answer ended, its client had left before, and may never have had a head."""
        self.departure.stop()
        if self.departure.happened_at is None:
            return
        self.record.end = "client_left"
        if self.departure.reads_on:
            self.record.left_ms = _ms(self.departure.happened_at - self.timeline.begun)
            self.record.status = self.record.status if self.departure.had_head else None


# -- reading a request ---------------------------------------------------------------------------------------------


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytearray:
    """The whole body. Raises TooLarge before reading what is announced as too large, and at the limit otherwise."""
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLarge(f"body of {announced} bytes exceeds limit of {limit}")
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body += message.get("body", b"")
        if len(body) > limit:
            raise TooLarge(f"body of more than {len(body)} bytes exceeds limit of {limit}")
        if not message.get("more_body", False):
            return body


def watch_client(scope: Scope, receive: Receive, left: Callable[[], None]) -> asyncio.Task[None] | None:
    """Has `left` called once the client leaves: by the server, or, where it does not offer that, by a task of ours."""
    when_left = scope.get("extensions", {}).get(WHEN_LEFT)
    if when_left is None:
        return asyncio.ensure_future(_has_left(receive, left))
    when_left(left)
    return None


async def _has_left(receive: Receive, left: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    left()


def _leave(departure: Departure, interruption: Interruption) -> None:
    """Interrupts with ClientLeft a request whose client leaves before its answer is over, or some time later."""
    if interruption.is_under_way:
        departure.happen(interruption.strike)


def _trace(scope: Scope, headers: Mapping[str, str]) -> Mapping[str, str]:
    """The trace that the client has begun. One told twice is none."""
    if TRACEPARENT not in headers:
        return {}
    return trace_of(_listed(scope, TRACEPARENT), _listed(scope, TRACESTATE))


def _host_model(headers: Mapping[str, str], suffixes: Collection[str]) -> dict[str, str]:
    """`model-ID.` in front of a configured host suffix names the model (truss.md §2.1)."""
    label, _, suffix = headers.get("host", "").partition(":")[0].lower().partition(".")
    if suffix and suffix in suffixes and label.startswith("model-"):
        return {"host_model": label.removeprefix("model-")}
    return {}


def _key(scope: Scope) -> bytes:
    """A digest of the client's credential, which is kept nowhere; clients without one have it in common."""
    given = b"\n".join(value for name, value in scope["headers"] if name in _CREDENTIALS)
    return blake2b(given, digest_size=16).digest() if given else b""


def _is_strict(headers: Mapping[str, str]) -> bool:
    """Whether the client asks for strictness (mapping.md §3). A word we don't know may mean either: it is refused."""
    asked = headers.get(_STRICT, "0").strip().lower()
    if asked not in _YES and asked not in _NO:
        raise BadRequest(f"{_STRICT}: expected one of {', '.join((*_YES, *_NO))}", param=_STRICT)
    return asked in _YES


def _listed(scope: Scope, name: str) -> str:
    """All fields of one name, as one list (RFC 9110 §5.3)."""
    return ",".join(value.decode("latin-1") for field, value in scope["headers"] if field == name.encode())


def _decoded(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
