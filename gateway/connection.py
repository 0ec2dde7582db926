"""One connection of a client: uvicorn's protocol, with deadlines, limits and strict framing added.

uvicorn waits for ever for the rest of a request and lets a head grow without a bound (`HARDENING.md` 1.5, 1.6). What is
missing is added here, under the application: a connection that is late, too large or in doubt never reaches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import re
import socket
import struct
import sys
import termios
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.errors import BadRequest, ClientError, GatewayError, TooSlowToSend, WrongMethod
from gateway.head_first import HeadFirst
from gateway.wire import extensions

try:
    import httptools
    import uvloop  # noqa: F401  uvicorn loads it by name
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

    from gateway.flow import Flow, nobody
except ImportError as missing:
    raise ImportError(f"Triglot can't serve without {missing.name}: pip install {missing.name}") from missing

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

Refuse = Callable[[str, GatewayError], tuple[int, bytes]]
"""(path or "", error) → status and JSON body, in the dialect of the path."""

FRESH_S: Final = 15.0  # a connection that never said a word; shorter than keep-alive, as nobody has paid for it yet
LINGER_S: Final = 5.0  # reading on after a refusal, so that no reset overtakes it; nginx's lingering_timeout
BODY_STEP: Final = 1024  # bytes a body must grow by to win more time; a drip of single bytes wins none
UNSENT: Final = 32 * 1024  # bytes waiting for a client before its relay waits too; half of what asyncio allows
MAX_PIPELINED: Final = 16  # requests waiting behind the one being answered; SDKs send none

HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")

logger = logging.getLogger(__name__)


class Settings(Protocol):
    """What `config` says under `server:`. Sizes in bytes, times in seconds."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def max_head(self) -> int: ...
    @property
    def max_fields(self) -> int: ...
    @property
    def head_timeout(self) -> float: ...
    @property
    def body_timeout(self) -> float: ...
    @property
    def idle_timeout(self) -> float: ...
    @property
    def drain(self) -> float: ...


class Draining:
    """What a server and its connections tell each other about its end. Made in a running loop."""

    def __init__(self) -> None:
        self.has_begun = False
        """Each answer that begins from here on is the last of its connection."""
        self.news = asyncio.Event()
        """Something ended."""

    async def until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Whether the condition came to hold in time; it is looked at with all news."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not condition():
                    self.news.clear()
                    await self.news.wait()
        return condition()


class Phase(Enum):
    """What a connection is receiving. Each phase has its patience, see `Connection`.

    FRESH ─▶ HEAD ─▶ BODY ─▶ IDLE ─▶ HEAD …     IDLE: a request is whole, or answered, and no other has begun
                      BODY ─▶ SURPLUS ─▶ IDLE    SURPLUS: answered before its end came; the rest is thrown away
    any ─▶ CLOSED                                CLOSED: refused or aborted; whatever still comes is thrown away
    """

    __hash__ = object.__hash__  # as they are compared; Enum's own takes the name's, in Python

    FRESH = auto()
    HEAD = auto()
    BODY = auto()
    SURPLUS = auto()
    IDLE = auto()
    CLOSED = auto()


class Connection(HttpToolsProtocol):
    """uvicorn's connection with a patience for each phase, limits on the head, and doubt resolved by closing.

    One timer a connection, moved only when it would ring too late. What can't be answered because an earlier
    request is still being answered waits for that answer; then the connection closes.
    """

    def __init__(self, settings: Settings, refuse: Refuse, draining: Draining, *args: Any, **kwargs: Any) -> None:
        """`draining` is the server's. `args` are uvicorn's."""
        super().__init__(*args, **kwargs)
        self.settings = settings
        self.draining = draining
        self.refuse = refuse
        self.patience = {
            Phase.FRESH: min(FRESH_S, settings.idle_timeout),
            Phase.HEAD: settings.head_timeout,
            Phase.BODY: settings.body_timeout,
            Phase.SURPLUS: min(LINGER_S, settings.body_timeout),
            Phase.IDLE: settings.idle_timeout,
            Phase.CLOSED: min(LINGER_S, settings.body_timeout),
        }
        self.phase = Phase.FRESH
        self.deadline = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.running: RequestResponseCycle | None = None  # `cycle` is the newest request, this one is being answered
        self.left: Callable[[], None] = nobody  # is told when the client of `running` leaves
        self.url = b""
        self.unclaimed = 0  # bytes since the last piece of body or end of a request
        self.grown = 0  # bytes of body since it last won more time
        self.reading: Flow  # is `flow`, by the name of what we add to it
        self.unsent = 0  # bytes of the answer that the client had not taken when we last looked

    # Time

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self.flow = self.reading = Flow(transport, self._resumed)
        transport.set_write_buffer_limits(UNSENT)
        self._enter(Phase.FRESH)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request being answered; uvicorn tells the newest one only, and that may be queued behind it."""
        super().connection_lost(exc)
        if self.timer is not None:
            self.timer.cancel()
        if self.running is not None and not self.running.response_complete:
            self._disconnect(self.running)
        self._let_go()
        self.draining.news.set()

    def _let_go(self) -> None:
        """Of the requests, which refer to us and would wait for the garbage collector together with us."""
        self.reading.let_go()
        self.pipeline.clear()
        self.running = None
        self.cycle = self.scope = None  # type: ignore[assignment]  # as uvicorn has them before the first request

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.deadline = self.loop.time() + self.patience[phase]
        if self.timer is None or self.deadline < self.timer.when():
            if self.timer is not None:
                self.timer.cancel()
            self.timer = self.loop.call_at(self.deadline, self._ring)

    def _ring(self) -> None:
        if self.loop.time() < self.deadline - 0.001:  # uvloop's timers count milliseconds
            self.timer = self.loop.call_at(self.deadline, self._ring)
            return
        self.timer = None
        unsent, self.unsent = self.unsent, self.transport.get_write_buffer_size()
        if self._is_behind() or (self.phase is Phase.BODY and self.flow.read_paused):
            self._enter(self.phase)  # it is us who are slow
        elif self.phase in (Phase.HEAD, Phase.BODY) and not self.transport.is_closing():
            what, limit_s = self.phase.name.lower(), self.patience[self.phase]
            self._refuse(TooSlowToSend(f"the {what} of the request stopped or took more than {limit_s:g} s"))
        elif self.phase is Phase.IDLE and self.unsent not in (0, unsent):
            self._enter(self.phase)  # still taking a long answer
        else:
            self.transport.abort()

    def _resumed(self) -> None:
        if self.phase is Phase.BODY:
            self._enter(Phase.BODY)

    # Receiving

    def data_received(self, data: bytes) -> None:
        """Parse; refuse what the parser or the checks below refuse. The peer's bytes never reach a log."""
        if self.phase is Phase.CLOSED:
            return
        self.unclaimed += len(data)
        try:
            self._feed(data)
            if self.unclaimed > self.settings.max_head:
                self._refuse(self._head_too_large())
            elif self.pipeline and self.flow.read_paused:
                self._refuse(BadRequest("a request waiting for an earlier answer is too long to be kept"))
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, ClientError) else BadRequest("the request isn't valid HTTP/1.1"))

    def _feed(self, data: bytes) -> None:
        """Feed the parser. It stops at an Upgrade and takes the body for the next request: give it a head without."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            version = self.parser.get_http_version().encode()
            lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
            lines += [b"%s: %s" % field for field in self.headers if field[0] != b"upgrade"]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))
            self._feed(data[upgrade.args[0] :])  # no deeper than MAX_PIPELINED

    def on_message_begin(self) -> None:
        """A first byte came: the head's time runs."""
        super().on_message_begin()
        self.scope["extensions"] = {
            extensions.ABORT: self.abort,  # type: ignore[dict-item]
            extensions.BEGIN: self.begin,  # type: ignore[dict-item]
            extensions.WRITE: self.write,  # type: ignore[dict-item]
            extensions.IS_FULL: self.is_full,  # type: ignore[dict-item]
            extensions.WHEN_LEFT: self.when_left,  # type: ignore[dict-item]
            extensions.HANG_UP: self.hang_up,  # type: ignore[dict-item]
            extensions.UNSENT: self.unacknowledged,  # type: ignore[dict-item]
        }
        self._enter(Phase.HEAD)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count fields; drop trailers, which uvicorn would add to the headers the application has already seen."""
        if self.phase is not Phase.HEAD:
            return
        super().on_header(name, value)
        if len(self.headers) > self.settings.max_fields:
            raise self._head_too_large()

    def on_headers_complete(self) -> None:
        """Check the head, then start or queue the request."""
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            return
        self._check_head()
        super().on_headers_complete()
        self.cycle.transport = HeadFirst(self.transport, self.loop)
        self.grown = 0
        self._enter(Phase.BODY)
        if self.pipeline:  # uvicorn stops reading here, and so would not notice a client that leaves
            self.flow.resume_reading()
        if self.expect_100_continue:  # the client waits until the application asks; a final answer instead must close
            self.flow.pause_reading()
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Hand a piece on; enough of it wins more time."""
        super().on_body(body)
        self.unclaimed = 0
        self.grown += len(body)
        if self.phase is Phase.BODY and self.grown >= BODY_STEP:
            self.grown = 0
            self._enter(Phase.BODY)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self.phase is Phase.HEAD:  # an Upgrade, see `_feed`
            return
        super().on_message_complete()
        self.unclaimed = 0
        self._enter(Phase.IDLE)

    def _check_head(self) -> None:
        """RFC 9112 §3.2 (one Host), §6.1 and §6.3 (framing), §9.3.2 (pipelining): what the parser leaves open."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        size = len(method) + len(self.url) + len(b"  HTTP/1.1\r\n\r\n")
        hosts, codings, lengths = list[bytes](), list[bytes](), list[bytes]()
        decisive = {b"host": hosts, b"transfer-encoding": codings, b"content-length": lengths}
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name in decisive:
                decisive[name].append(value)
        if size > self.settings.max_head:
            raise self._head_too_large()
        if method == b"CONNECT":
            raise WrongMethod("CONNECT is not for this server")
        if version not in ("1.0", "1.1"):
            raise BadRequest("the request isn't HTTP/1.0 or HTTP/1.1")
        if len(hosts) > 1 or (not hosts and version == "1.1") or not all(map(HOST.fullmatch, hosts)):
            raise BadRequest("the request needs exactly one valid Host")
        if codings and (version == "1.0" or lengths or [c.lower() for c in codings] != [b"chunked"]):
            raise BadRequest("the only transfer coding is chunked, once, in HTTP/1.1, without Content-Length")
        if len(self.pipeline) >= MAX_PIPELINED:
            raise BadRequest(f"more than {MAX_PIPELINED} requests are waiting on this connection")

    def _head_too_large(self) -> BadRequest:
        limits = self.settings
        return BadRequest(f"the head exceeds {limits.max_head} bytes or {limits.max_fields} fields", status=431)

    # Answering

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self.running = cycle
        if self.draining.has_begun:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)

    def when_left(self, tell: Callable[[], None]) -> None:
        """As waiting in `receive` would, without a task for that; reading may have stopped behind a large body."""
        if self.running is not None and not self.running.disconnected:
            self.left = tell
            self.flow.resume_reading()
        else:
            tell()

    def on_response_complete(self) -> None:
        """Start the next request, or wait for one."""
        self.left = nobody
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._enter(Phase.IDLE)  # until the client has taken it all
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._enter(Phase.SURPLUS if self.phase is Phase.BODY else self.phase)

    def answer_for_the_last_time(self) -> None:
        """Draining: the answer under way is the last of this connection; if others wait behind it, theirs is."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif self.transport.get_write_buffer_size():
            self.transport.close()  # once the client has taken it all

    def begin(self, status: int, lines: bytes, length: int | None) -> bool:
        """What `send` does with the head of an answer, which looks at each field of it several times."""
        running = self.running
        if running is None or running.disconnected or running.response_started or self.flow.write_paused:
            return False
        if running.scope["method"] == "HEAD":
            return False
        running.response_started, running.waiting_for_100_continue = True, False
        running.chunked_encoding, running.expected_content_length = length is None, length or 0
        framing = b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
        last = b"\r\n" if running.keep_alive else b"connection: close\r\n\r\n"
        running.transport.write(STATUS_LINE[status] + lines + framing + last)
        return True

    def write(self, data: bytes) -> bool:
        """What `send` does with a piece of a chunked body, in the middle of it, without waiting for the client first.

        Whether the client's buffer has room for more.
        """
        running = self.running
        if running is None or running.disconnected or not data:
            return True
        if running.transport is not self.transport:
            running.transport.flush()  # type: ignore[attr-defined]  # a HeadFirst, done with once there is a body
            running.transport = self.transport
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return not self.flow.write_paused

    def is_full(self) -> bool:
        """Whether `send` waits for the client first."""
        return self.flow.write_paused

    def abort(self) -> None:
        """Cut the answer under way: bytes written are sent for at most `LINGER_S`, the last chunk never is."""
        running = self.running
        if running is not None and not running.response_complete and not running.disconnected:
            self._disconnect(running)
            running.transport.close()
            self._enter(Phase.CLOSED)

    def hang_up(self) -> None:
        """Close at once, with a reset: the kernel too throws away what the client has not taken, up to megabytes."""
        if not self.transport.is_closing():
            no_linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
            self.transport.abort()

    def unacknowledged(self) -> int:
        """How many bytes the client's machine has not taken yet, here and in our kernel, which holds megabytes of them.

        Our own buffer alone won't do: the kernel takes more from it only when a third of its own is free again.
        """
        here = self.transport.get_write_buffer_size()
        try:
            queued = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except OSError:  # a kernel that does not tell, or a socket that is closed
            return here
        return here + int.from_bytes(queued, sys.byteorder)

    def _refuse(self, error: ClientError) -> None:
        """Say why, if an answer can still be told apart, and listen no further."""
        status, body = self.refuse(self._path(), error)
        logger.debug("refused a request: %d, %s", status, error.message)
        if self._is_behind():
            self._close_after_earlier_answers()
        elif self.phase in (Phase.BODY, Phase.SURPLUS) and self.cycle.response_started:
            self._disconnect(self.cycle)
            self.cycle.transport.close()
        else:
            if self.phase is Phase.BODY:
                self._disconnect(self.cycle)
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + (b"" if self.parser.get_method() == b"HEAD" else body))
            self.transport.write_eof()
        self._enter(Phase.CLOSED)

    def _path(self) -> str:
        """The path as far as it was received: enough to know the dialect by."""
        with contextlib.suppress(httptools.HttpParserError):
            return (httptools.parse_url(self.url).path or b"").decode("ascii", "replace")
        return ""

    def _is_behind(self) -> bool:
        """Whether an earlier request than the one being received is still owed its answer."""
        running = self.running
        if running is None or running.response_complete or running.disconnected:
            return False
        return self.phase is not Phase.BODY or running is not self.cycle

    def _close_after_earlier_answers(self) -> None:
        if self.phase is Phase.BODY:
            self.pipeline.popleft()
        last = self.pipeline[0][0] if self.pipeline else self.running
        if last is not None:
            last.keep_alive = False
        self.flow.resume_reading()  # or a client that leaves would not be noticed

    def _disconnect(self, cycle: RequestResponseCycle) -> None:
        cycle.disconnected = True
        cycle.message_event.set()
        self.flow.resume_writing()
        if cycle is self.running:
            tell, self.left = self.left, nobody
            tell()
