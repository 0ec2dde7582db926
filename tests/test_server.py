"""The server keeps its deadlines and limits, closes where it doubts, aborts and drains. All over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import resource
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from gateway import connection, server
from gateway.connection import Connection
from gateway.errors import GatewayError, Kind
from gateway.server import Server
from gateway.wire.extensions import ABORT
from tests.sockets import PATIENCE_S, RawClient, connected, say, stopwatch


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings short enough to wait for. Whatever takes `SLACK_S` longer than it should is a failure."""

    host: str = "127.0.0.1"
    port: int = 0
    max_head: int = 65536
    max_fields: int = 100
    head_timeout: float = 0.3
    body_timeout: float = 0.4
    idle_timeout: float = 0.6
    drain: float = 3.0


LIMITS = Limits()
SLACK_S = 1.0
STATUS = {Kind.TIMEOUT: 408, Kind.METHOD_NOT_ALLOWED: 405}


def refuse(path: str, error: GatewayError) -> tuple[int, bytes]:
    return error.status or STATUS.get(error.kind, 400), orjson.dumps({"path": path, "kind": error.kind})


@dataclass
class App:
    """Answers what it was asked, and keeps a list of it. Paths choose how."""

    served: list[str] = field(default_factory=list)
    disconnected: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    is_draining: bool = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        self.served.append(scope["path"])
        ways: dict[str, Callable[[Any, Any, Any], Awaitable[None]]] = {
            "/early": self.answer_early,
            "/whole": self.answer_at_length,
            "/slow": self.read_late,
            "/stream": self.stream,
            "/abort": self.abort,
            "/flood": self.flood,
        }
        await ways.get(scope["path"], self.echo)(scope, receive, send)

    async def echo(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                self.disconnected.append(scope["path"])
                return
            body += event["body"]
            more = event["more_body"]
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
        told = {"method": scope["method"], "path": scope["path"], "size": len(body), "headers": headers}
        await self.reply(send, orjson.dumps(told))

    async def reply(self, send: Any, body: bytes, status: int = 200) -> None:
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def answer_early(self, scope: Any, receive: Any, send: Any) -> None:
        await self.reply(send, b"too large", 413)

    async def answer_at_length(self, scope: Any, receive: Any, send: Any) -> None:
        await self.reply(send, bytes(8 << 20))

    async def read_late(self, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(LIMITS.body_timeout * 2.5)
        await self.echo(scope, receive, send)

    async def begin_stream(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})

    async def stream(self, scope: Any, receive: Any, send: Any) -> None:
        """One piece now, the last one on release; notices a client that leaves in between."""
        await self.begin_stream(send)

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(watch())
            while not self.release.is_set() and not watcher.done():  # noqa: ASYNC110  set by another thread
                await asyncio.sleep(0.01)
            if watcher.done():
                scope["extensions"][ABORT]()  # too late, and harmless
                self.disconnected.append(scope["path"])
            watcher.cancel()
        await send({"type": "http.response.body", "body": b"world"})

    async def abort(self, scope: Any, receive: Any, send: Any) -> None:
        await self.begin_stream(send)
        scope["extensions"][ABORT]()
        assert (await receive())["type"] == "http.disconnect"

    async def flood(self, scope: Any, receive: Any, send: Any) -> None:
        """Fill the buffers of a client that doesn't read, then give it up."""
        given_up = asyncio.Event()
        for action in (scope["extensions"][ABORT], given_up.set):
            asyncio.get_running_loop().call_later(0.3, action)
        await self.begin_stream(send)
        while not given_up.is_set():
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            await asyncio.sleep(0)
        self.disconnected.append(scope["path"])


@contextlib.contextmanager
def serving(app: App, limits: Limits = LIMITS) -> Iterator[Server]:
    def on_drain() -> None:
        app.is_draining = True

    with Server(app, limits, refuse, on_drain).in_thread() as running:
        try:
            yield running
        finally:
            app.release.set()


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[App, Server]]:
    app = App()
    with serving(app) as running:
        yield app, running


@pytest.fixture
def app(shared: tuple[App, Server]) -> App:
    app = shared[0]
    app.served.clear()
    app.disconnected.clear()
    app.release.clear()
    return app


@pytest.fixture
def port(shared: tuple[App, Server], app: App) -> int:
    return shared[1].port


def request(path: str = "/echo", *headers: str, body: bytes = b"", method: str = "POST", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: gateway", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def refused(answer: bytes, status: int) -> dict[str, str]:
    """The body of the one and only answer, which must be a refusal that closes."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert b"\r\nconnection: close" in head
    assert b"\r\ncontent-type: application/json" in head
    told: dict[str, str] = orjson.loads(body)
    return told


def until(condition: Callable[[], bool]) -> None:
    """Return as soon as it holds; fail if it never does."""
    given_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < given_up
        time.sleep(0.005)


# --- requests that are served ---


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE", "TRACE"])
def test_plain_requests_are_served_on_one_connection(port: int, method: str) -> None:
    with connected(port) as client:
        for size in (0, 5, 100_000):
            client.send(request(method=method, body=bytes(size)))
            answer = client.read_answer()
            assert answer.status == 200
            assert orjson.loads(answer.body)["size"] == size
            assert answer.headers.keys() == {"content-length"}  # no server, no date


def test_head_is_answered_without_a_body(port: int) -> None:
    with connected(port) as client:
        client.send(request(method="HEAD"))
        assert int(client.read_answer(has_body=False).headers["content-length"]) > 0
        client.send(request("/next"))
        assert orjson.loads(client.read_answer().body)["path"] == "/next"


def test_many_requests_on_one_connection_are_not_counted_together(port: int) -> None:
    with connected(port) as client:
        for _ in range(20):
            client.send(pad(10_000))
            assert client.read_answer().status == 200


def test_a_chunked_body_cut_at_every_byte_is_whole(port: int) -> None:
    whole = request("/echo", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    with connected(port) as client:
        client.send(*(whole[i : i + 1] for i in range(len(whole))))
        assert orjson.loads(client.read_answer().body)["size"] == 5


def test_trailers_never_reach_the_headers(port: int) -> None:
    """uvicorn alone adds them to the list the application holds already: a second Host, another Authorization."""
    with connected(port) as client:
        body = b"3\r\nabc\r\n0\r\nAuthorization: evil\r\nHost: evil\r\n\r\n"
        client.send(request("/echo", "Transfer-Encoding: chunked") + body)
        assert "evil" not in client.read_answer().body.decode()


def test_a_client_that_expects_100_is_asked_to_continue(port: int) -> None:
    with connected(port) as client:
        client.send(request("/slow", "Expect: 100-continue", "Content-Length: 3"))
        assert client.read_answer().status == 100  # late, as the application asks late: not the client's fault
        time.sleep(LIMITS.body_timeout * 0.8)  # its time begins with the asking
        client.send(b"abc")
        answer = client.read_answer()
        assert orjson.loads(answer.body)["size"] == 3
        assert answer.headers["connection"] == "close"


def test_a_final_answer_to_expect_100_closes(port: int) -> None:
    answer = say(port, request("/early", "Expect: 100-continue", "Content-Length: 3"))
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
@pytest.mark.parametrize("cut", ["whole", "after the head", "bytewise"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upgrade_is_ignored_and_its_body_is_no_request(
    app: App, port: int, upgrade: str, cut: str, framing: str
) -> None:
    """httptools stops at an Upgrade; uvicorn 0.54 goes on with the body as if it were the next request."""
    inner = request("/smuggled", method="GET")
    fields = ["Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]
    if framing == "length":
        head, body = request("/echo", *fields, f"Content-Length: {len(inner)}"), inner
    else:
        head, body = (
            request("/echo", *fields, "Transfer-Encoding: chunked"),
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner),
        )
    parts = {"whole": [head + body], "after the head": [head, body], "bytewise": [bytes([b]) for b in head + body]}
    with connected(port) as client:
        client.send(*parts[cut])
        assert orjson.loads(client.read_answer().body)["size"] == len(inner)
        client.send(request("/next"))
        assert orjson.loads(client.read_answer().body)["path"] == "/next"
    assert app.served == ["/echo", "/next"]


def test_the_authority_of_an_absolute_target_is_ignored(port: int) -> None:
    with connected(port) as client:
        client.send(request("http://evil:99/v1/models?x=1", method="GET"))
        told = orjson.loads(client.read_answer().body)
    assert told["path"] == "/v1/models"
    assert told["headers"] == [["host", "gateway"]]


def test_the_target_of_a_ping_is_served_like_a_path(port: int) -> None:
    with connected(port) as client:
        client.send(request("*", method="OPTIONS"))
        assert client.read_answer().status == 200


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
def test_http_1_0_needs_no_host_and_keeps_no_connection(port: int, connection: str) -> None:
    answer = say(port, f"GET /echo HTTP/1.0\r\nConnection: {connection}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    assert b"chunked" not in answer


# --- framing: in doubt, 400 and close, and nothing of it is ever served ---

CHUNKED = "Transfer-Encoding: chunked"
SMUGGLED = request("/smuggled", method="GET")
FRAMING: dict[str, bytes] = {
    "length and chunked": request("/a", "Content-Length: 4", CHUNKED) + b"0\r\n\r\n" + SMUGGLED,
    "chunked and length": request("/a", CHUNKED, "Content-Length: 4") + b"0\r\n\r\n" + SMUGGLED,
    "two lengths": request("/a", "Content-Length: 4", "Content-Length: 5") + b"abcde" + SMUGGLED,
    "two equal lengths": request("/a", "Content-Length: 4", "Content-Length: 4") + b"abcd" + SMUGGLED,
    "list of lengths": request("/a", "Content-Length: 4, 4") + b"abcd" + SMUGGLED,
    "length with plus": request("/a", "Content-Length: +4") + b"abcd",
    "negative length": request("/a", "Content-Length: -4") + b"abcd",
    "hexadecimal length": request("/a", "Content-Length: 0x4") + b"abcd",
    "length with underscore": request("/a", "Content-Length: 1_0") + b"abcd",
    "empty length": request("/a", "Content-Length:") + b"abcd",
    "length beyond 64 bits": request("/a", "Content-Length: 18446744073709551617") + b"a",
    "coding identity": request("/a", "Transfer-Encoding: identity") + SMUGGLED,
    "coding gzip": request("/a", "Transfer-Encoding: gzip") + SMUGGLED,
    "coding gzip, chunked": request("/a", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n" + SMUGGLED,
    "coding chunked, gzip": request("/a", "Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n" + SMUGGLED,
    "coding chunked, chunked": request("/a", "Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n" + SMUGGLED,
    "coding twice": request("/a", CHUNKED, CHUNKED) + b"0\r\n\r\n" + SMUGGLED,
    "coding misspelled": request("/a", "Transfer-Encoding: xchunked") + b"0\r\n\r\n" + SMUGGLED,
    "coding quoted": request("/a", 'Transfer-Encoding: "chunked"') + b"0\r\n\r\n" + SMUGGLED,
    "coding after a control": request("/a", "Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n" + SMUGGLED,
    "coding with a parameter": request("/a", "Transfer-Encoding: chunked;a=b") + b"0\r\n\r\n" + SMUGGLED,
    "empty coding": request("/a", "Transfer-Encoding:") + b"0\r\n\r\n" + SMUGGLED,
    "coding in HTTP/1.0": request("/a", CHUNKED, version="1.0") + b"0\r\n\r\n" + SMUGGLED,
    "folded field": request("/a", "X-A: b\r\n c") + SMUGGLED,
    "folded coding": request("/a", "Transfer-Encoding:\r\n chunked") + b"0\r\n\r\n" + SMUGGLED,
    "space before the first field": b"POST /a HTTP/1.1\r\n Host: gateway\r\n\r\n",
    "bare LF throughout": b"POST /a HTTP/1.1\nHost: gateway\n\n",
    "bare LF in the head": request("/a", "X-A: b\nX-C: d"),
    "bare LF at the end": b"POST /a HTTP/1.1\r\nHost: gateway\r\n\n",
    "bare CR in the head": request("/a", "X-A: b\rX-C: d"),
    "space before the colon": request("/a", "Content-Length : 3") + b"abc",
    "tab before the colon": request("/a", "Transfer-Encoding\t: chunked") + b"0\r\n\r\n",
    "NUL in a value": request("/a", "X-A: b\0c"),
    "NUL in a name": request("/a", "X-A\0: b"),
    "control in a value": request("/a", "X-A: b\x01c"),
    "parenthesis in a name": request("/a", "X(A): b"),
    "empty name": request("/a", ": b"),
    "field without colon": request("/a", "abc"),
    "chunk size of letters": request("/a", CHUNKED) + b"zz\r\nabc\r\n0\r\n\r\n",
    "chunk size with prefix": request("/a", CHUNKED) + b"0x3\r\nabc\r\n0\r\n\r\n",
    "negative chunk size": request("/a", CHUNKED) + b"-3\r\nabc\r\n0\r\n\r\n",
    "chunk size beyond 64 bits": request("/a", CHUNKED) + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "space after the chunk size": request("/a", CHUNKED) + b"3 \r\nabc\r\n0\r\n\r\n",
    "empty chunk size": request("/a", CHUNKED) + b"\r\nabc\r\n0\r\n\r\n",
    "bare LF after the chunk size": request("/a", CHUNKED) + b"3\nabc\r\n0\r\n\r\n",
    "bare LF after the chunk": request("/a", CHUNKED) + b"3\r\nabc\n0\r\n\r\n",
    "bare LF in a chunk extension": request("/a", CHUNKED) + b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "chunk longer than its size": request("/a", CHUNKED) + b"3\r\nabcd\r\n0\r\n\r\n",
    "HTTP/0.9": b"GET /a\r\n\r\n",
    "HTTP/1.2": request("/a", version="1.2"),
    "HTTP/2.0": request("/a", version="2.0"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    "unknown method": request("/a", method="SMUGGLE"),
    "method in small letters": request("/a", method="get"),
    "two targets": request("/a /b"),
    "target beyond ASCII": "POST /ä HTTP/1.1\r\nHost: gateway\r\n\r\n".encode(),
    "target without slash": request("a"),
}


@pytest.mark.parametrize("attack", FRAMING.values(), ids=FRAMING.keys())
def test_doubtful_framing_is_refused_and_closed(app: App, port: int, attack: bytes) -> None:
    told = refused(say(port, attack), 400)
    assert told["kind"] == "invalid_request"
    assert told["path"] in ("/a", "", "*")
    assert set(app.served) <= {"/a"}  # a body that goes wrong may find its request begun, not answered


@pytest.mark.parametrize("attack", FRAMING.values(), ids=FRAMING.keys())
def test_doubtful_framing_is_refused_byte_by_byte(app: App, port: int, attack: bytes) -> None:
    with connected(port) as client:
        with contextlib.suppress(OSError):  # it may be refused before we have said it all
            client.send(*(bytes([byte]) for byte in attack))
        refused(client.read_to_end(), 400)
    assert "/smuggled" not in app.served


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        ["gateway", "gateway"],
        ["gateway", "evil"],
        [""],
        ["a/b"],
        ["user@a"],
        ["a, b"],
        ["a b"],
        ["a:b"],
        ["[::1"],
        ["ä"],
    ],
    ids=str,
)
def test_anything_but_one_valid_host_is_refused(app: App, port: int, hosts: list[str]) -> None:
    told = refused(
        say(port, "\r\n".join(["GET /v1/models HTTP/1.1", *(f"Host: {h}" for h in hosts), "", ""]).encode()), 400
    )
    assert told["path"] == "/v1/models"
    assert app.served == []


@pytest.mark.parametrize("host", ["gateway", "a.b-c_d", "127.0.0.1:8080", "[::1]:80", "[::1]"])
def test_usual_hosts_are_served(port: int, host: str) -> None:
    with connected(port) as client:
        client.send(f"GET /echo HTTP/1.1\r\nhOsT: {host}\r\n\r\n".encode())
        assert client.read_answer().status == 200


def test_a_refused_head_request_gets_no_body(port: int) -> None:
    assert say(port, b"HEAD / HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")


def test_connect_is_refused(app: App, port: int) -> None:
    refused(say(port, request("evil:443", method="CONNECT") + SMUGGLED), 405)
    assert app.served == []


def test_an_answer_under_way_is_never_mixed_with_a_refusal(app: App, port: int) -> None:
    """uvicorn alone writes its 400 into the middle of the stream."""
    with connected(port) as client:
        client.send(request("/stream"))
        client.read_until(b"hello")
        client.send(b"garbage\r\n\r\n")
        time.sleep(0.1)  # nothing may come
        app.release.set()
        assert client.read_to_end() == b"\r\n5\r\nworld\r\n0\r\n\r\n"


def test_a_body_that_goes_wrong_under_an_answer_cuts_it(app: App, port: int) -> None:
    with connected(port) as client:
        client.send(request("/stream", CHUNKED))
        client.read_until(b"hello\r\n")
        client.send(b"garbage\r\n\r\n")
        assert client.read_to_end() == b""
    until(lambda: app.disconnected == ["/stream"])


def test_the_bytes_of_a_peer_are_never_logged(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for attack in (
        b"canary\r\n\r\n",
        request("/canary", "canary"),
        request("/canary", "Upgrade: canary", "Host: canary"),
    ):
        refused(say(port, attack), 400)
    assert "refused a request: 400" in caplog.text
    assert "canary" not in caplog.text
    assert all(record.levelno == logging.DEBUG for record in caplog.records)


# --- limits on the head ---


def pad(size: int, path: str = "/echo") -> bytes:
    """A head of exactly this many bytes, in one field."""
    return request(path, "X-Pad: " + "a" * (size - len(request(path, "X-Pad: "))))


def test_a_head_of_just_the_limit_is_served(port: int) -> None:
    with connected(port) as client:
        client.send(pad(LIMITS.max_head))
        assert client.read_answer().status == 200


@pytest.mark.parametrize(
    "head",
    [
        pad(LIMITS.max_head + 1),
        pad(LIMITS.max_head * 3),
        request("/echo?" + "a" * LIMITS.max_head),
        request("/echo", *(f"X-{i}: {'a' * 900}" for i in range(75))),
        request("/echo", *(f"X-{i}: a" for i in range(100))),
        request("/echo", *(f"X-{i}: a" for i in range(20_000))),
    ],
    ids=["one byte more", "three times", "long target", "many bytes", "101 fields", "20,000 fields"],
)
@pytest.mark.parametrize("cut", [1 << 30, 1000], ids=["whole", "in pieces"])
def test_a_head_beyond_the_limits_is_refused(app: App, port: int, head: bytes, cut: int) -> None:
    with connected(port) as client:
        with contextlib.suppress(OSError):
            client.send(*(head[i : i + cut] for i in range(0, len(head), cut)))
        assert refused(client.read_to_end(), 431)["path"] in ("/echo", "")
    assert app.served == []


@pytest.mark.parametrize(
    "begin",
    [b"POST /" + b"a" * LIMITS.max_head, request()[:-2] + b"X: " + b"a" * LIMITS.max_head, b"\r\n" * LIMITS.max_head],
    ids=["target", "value", "empty lines"],
)
def test_a_head_beyond_the_limits_is_refused_while_it_arrives(port: int, begin: bytes) -> None:
    refused(say(port, begin), 431)


def test_a_megabyte_in_one_field_is_refused_at_once(port: int) -> None:
    with connected(port) as client, stopwatch() as took:
        with contextlib.suppress(OSError):
            client.send(pad(1 << 20))
        refused(client.read_to_end(), 431)
    assert took[0] < 0.5


@pytest.mark.parametrize("rest", [b"0\r\nX: ", b"3;", b"0" * 10], ids=["trailer", "chunk extension", "chunk size"])
def test_what_is_no_body_in_a_body_has_the_limit_of_a_head(port: int, rest: bytes) -> None:
    with connected(port) as client:
        with contextlib.suppress(OSError):
            client.send(request("/echo", CHUNKED) + rest, *([b"0" * 10_000] * 40))
        assert client.read_until(b"\r\n\r\n").startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


# --- deadlines ---


@pytest.mark.parametrize("begin", [b"P", b"POST /v1/messages HTTP/1.1\r\n", request()[:-1]])
def test_a_head_that_stops_is_late(port: int, begin: bytes) -> None:
    with stopwatch() as took:
        assert refused(say(port, begin), 408)["kind"] == "timeout"
    assert LIMITS.head_timeout - 0.05 < took[0] < LIMITS.head_timeout + SLACK_S


def test_a_body_that_stops_is_late(app: App, port: int) -> None:
    with connected(port) as client:
        with stopwatch() as took:
            client.send(request("/echo", "Content-Length: 5000") + bytes(2000))
            refused(client.read_to_end(), 408)
        until(lambda: app.disconnected == ["/echo"])
    assert LIMITS.body_timeout - 0.05 < took[0] < LIMITS.body_timeout + SLACK_S


def test_a_body_that_stops_under_an_answer_cuts_it(app: App, port: int) -> None:
    answer = say(port, request("/stream", "Content-Length: 5"))
    assert answer.endswith(b"hello\r\n")
    until(lambda: app.disconnected == ["/stream"])


def test_a_body_that_keeps_coming_is_not_late(port: int) -> None:
    with connected(port) as client:
        client.send(request("/echo", "Content-Length: 20000"))
        for _ in range(10):
            time.sleep(LIMITS.body_timeout / 5)
            client.send(bytes(2000))
        assert orjson.loads(client.read_answer().body)["size"] == 20000


def test_time_in_which_nobody_listened_is_not_the_clients(port: int) -> None:
    """The application reads after 2.5 times the deadline; until then uvicorn's flow control holds the client up."""
    size = 16 << 20
    with connected(port) as client:
        client.send(request("/slow", body=bytes(size)))
        assert orjson.loads(client.read_answer().body)["size"] == size


def test_a_connection_that_never_says_a_word_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FRESH_S", 0.3)
    with serving(App(), replace(LIMITS, idle_timeout=60)) as running, stopwatch() as took:
        assert say(running.port) == b""
        assert say(running.port, b"\r\n") == b""
    assert took[0] < 2 * 0.3 + 2 * SLACK_S


def test_a_kept_connection_is_closed_when_idle(port: int) -> None:
    with connected(port) as client:
        for _ in range(3):
            client.send(request())
            client.read_answer()
        client.send(b"\r\n")  # uvicorn alone forgets its timer here
        with stopwatch() as took:
            assert client.read_to_end() == b""
    assert LIMITS.idle_timeout - 0.1 < took[0] < LIMITS.idle_timeout + SLACK_S


def test_a_long_answer_is_not_hurried(app: App, port: int) -> None:
    with connected(port) as client:
        client.send(request("/stream"))
        client.read_until(b"hello\r\n")
        time.sleep(LIMITS.idle_timeout + 0.3)
        app.release.set()
        assert client.read_until(b"0\r\n\r\n") == b"5\r\nworld\r\n0\r\n\r\n"
        client.send(request("/next"))
        assert client.read_answer().status == 200


@pytest.mark.parametrize("how", ["Connection: close", "Connection: keep-alive"])
def test_an_answer_nobody_takes_does_not_hold_its_connection(how: str) -> None:
    with serving(App(), replace(LIMITS, idle_timeout=0.3)) as running, connected(running.port, 4096) as client:
        client.send(request("/whole", how))
        client.read_until(b"\r\n\r\n")
        until(lambda: not running.server_state.connections)


def test_an_answer_taken_slowly_is_taken_whole() -> None:
    with serving(App(), replace(LIMITS, idle_timeout=0.6)) as running, connected(running.port, 65536) as client:
        client.send(request("/whole", "Connection: close", "Content-Length: 5"))  # never sent, and nobody asks
        client.read_until(b"\r\n\r\n")
        taken = len(client.received)
        with stopwatch() as took:
            while data := client.socket.recv(65536):
                taken += len(data)
                time.sleep(0.01)
    assert taken == 8 << 20
    assert took[0] > 2 * 0.6


# --- answers before the end of the body ---


def test_an_answer_before_the_end_of_the_body_keeps_the_connection(port: int) -> None:
    with connected(port) as client:
        client.send(request("/early", body=bytes(8 << 20)), request("/next"))
        assert client.read_answer().status == 413
        assert orjson.loads(client.read_answer().body)["path"] == "/next"


def test_a_body_that_goes_on_after_its_answer_is_cut_off(port: int) -> None:
    with connected(port) as client, stopwatch() as took:
        client.send(request("/early", f"Content-Length: {1 << 40}"))
        assert client.read_answer().status == 413
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.send(*itertools.repeat(bytes(65536), 1 << 20))  # more than any machine sends before the cut
    assert took[0] < LIMITS.body_timeout + SLACK_S


def test_a_connection_is_idle_again_after_a_body_that_came_late(port: int) -> None:
    """uvicorn alone drops its idle timer with the first byte after the answer and never starts it again."""
    with connected(port) as client:
        client.send(request("/early", "Content-Length: 3"))
        assert client.read_answer().status == 413
        client.send(b"abc")
        with stopwatch() as took:
            assert client.read_to_end() == b""
    assert LIMITS.idle_timeout - 0.1 < took[0] < LIMITS.idle_timeout + SLACK_S


# --- pipelining ---


def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    with connected(port) as client:
        client.send(b"".join(request(f"/{i}", body=bytes(i)) for i in range(10)))
        assert [orjson.loads(client.read_answer().body)["path"] for _ in range(10)] == [f"/{i}" for i in range(10)]
        client.send(request("/next"))
        assert orjson.loads(client.read_answer().body)["path"] == "/next"


def test_a_long_body_behind_an_answer_is_not_kept(app: App, port: int) -> None:
    with connected(port) as client:
        client.send(request("/stream"))
        client.read_until(b"hello\r\n")
        client.send(request("/behind", body=bytes(4 << 20)))
        app.release.set()
        assert client.read_to_end() == b"5\r\nworld\r\n0\r\n\r\n"
    assert app.served == ["/stream"]


def test_a_flood_of_pipelined_requests_is_cut_off(app: App, port: int) -> None:
    answers = say(port, b"".join(request(f"/{i}") for i in range(1000)))
    assert answers.count(b"HTTP/1.1 200 ") == len(app.served) == 17
    assert answers.count(b"HTTP/1.1 ") == answers.count(b"HTTP/1.1 200 ")


def test_a_doubtful_request_behind_a_good_one_is_neither_served_nor_queued(app: App, port: int) -> None:
    answers = say(port, request("/good") + request("/a", CHUNKED) + b"3\r\nabcd" + SMUGGLED)
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answers
    assert app.served == ["/good"]


def test_a_head_may_wait_behind_a_long_answer(app: App, port: int) -> None:
    with connected(port) as client:
        client.send(request("/stream"), request("/next")[:-1])
        client.read_until(b"hello\r\n")
        time.sleep(LIMITS.head_timeout * 2)
        app.release.set()
        client.read_until(b"0\r\n\r\n")
        client.send(b"\n")
        assert client.read_answer().status == 200


@pytest.mark.parametrize("size", [0, 1000, 1 << 20])
def test_a_client_that_leaves_is_noticed_behind_its_pipelined_request(
    app: App, port: int, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    """uvicorn alone stops reading and tells only the queued request; the one being answered goes on for nobody."""
    with connected(port) as client:
        client.send(request("/stream"))
        client.read_until(b"hello\r\n")
        client.send(request("/behind", body=bytes(size)))
        time.sleep(0.1)  # leave only when all of it has arrived
    until(lambda: app.disconnected == ["/stream"])
    assert app.served == ["/stream"]
    assert caplog.records == []


# --- abort ---


def test_an_aborted_answer_ends_without_its_last_chunk(port: int, caplog: pytest.LogCaptureFixture) -> None:
    answer = say(port, request("/abort"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n5\r\nhello\r\n")
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_an_abort_frees_the_application_at_once_and_a_client_that_does_not_read_soon() -> None:
    app, limits = App(), replace(LIMITS, body_timeout=1.0, idle_timeout=60)
    with serving(app, limits) as running, connected(running.port, 4096) as client:
        client.send(request("/flood"))
        client.read_until(b"hello")
        with stopwatch() as took:
            until(lambda: app.disconnected == ["/flood"])
        assert took[0] < 0.8
        until(lambda: not running.server_state.connections)


def test_an_abort_without_an_answer_under_way_does_nothing() -> None:
    connection = Connection.__new__(Connection)
    connection.running = None
    connection.abort()


# --- load ---


def latencies(port: int, n: int = 40) -> list[float]:
    """Seconds for each of n requests, each on a connection of its own."""
    times = []
    for _ in range(n):
        with stopwatch() as took, connected(port) as client:
            client.send(request(body=b"hello"))
            assert client.read_answer().status == 200
        times += took
    return times


def test_a_hundred_slow_attackers_are_dropped_and_delay_nobody() -> None:
    limits = replace(LIMITS, head_timeout=0.8, body_timeout=0.8)
    begins = [
        b"POST /",
        request()[:-2] + b"X: ",
        request("/echo", "Content-Length: 9999"),
        request("/echo", CHUNKED) + b"fff\r\n",
    ]
    with serving(App(), limits) as running, contextlib.ExitStack() as stack:
        before = latencies(running.port)
        attackers = [stack.enter_context(connected(running.port)) for _ in range(100)]
        is_over = threading.Event()

        def drip() -> None:
            while not is_over.wait(0.05):
                for attacker in attackers:
                    with contextlib.suppress(OSError):
                        attacker.send(b"1")

        stack.callback(is_over.set)
        with stopwatch() as took:
            for i, attacker in enumerate(attackers):
                attacker.send(begins[i % len(begins)])
            threading.Thread(target=drip).start()
            during = latencies(running.port)
            for attacker in attackers:
                refused(attacker.read_to_end(), 408)
    assert took[0] < 0.8 + 2 * SLACK_S
    assert statistics.median(during) < statistics.median(before) + 0.05
    assert max(during) < max(before) + 0.2


def rss_mib() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
def test_two_thousand_idle_connections_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 4200:
        pytest.skip(f"needs 4,200 file descriptors, the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4200, hard))
    monkeypatch.setattr(connection, "FRESH_S", 60)
    with serving(App(), replace(LIMITS, idle_timeout=60)) as running, contextlib.ExitStack() as stack:
        before, memory = latencies(running.port), rss_mib()
        clients: list[RawClient] = []
        for i in range(2000):
            client = stack.enter_context(connected(running.port))
            clients.append(client)
            if i % 2:
                client.send(request())
                client.read_answer()
        until(lambda: len(running.server_state.connections) == 2000)
        during, grown = latencies(running.port), rss_mib() - memory
        print(f"2,000 idle: +{grown:.1f} MiB, median {statistics.median(during) * 1e3:.2f} ms")  # noqa: T201
        assert grown < 50
        assert statistics.median(during) < statistics.median(before) + 0.05


# --- other settings ---


def test_other_limits_hold_for_connections_made_from_then_on() -> None:
    long = request("/echo", "X: " + "x" * 300)
    with serving(App()) as running, connected(running.port) as before:
        before.send(long)
        assert before.read_answer().status == 200
        running.take(replace(LIMITS, max_head=200))
        before.send(long)
        assert before.read_answer().status == 200
        refused(say(running.port, long), 431)


# --- start and stop ---


@pytest.mark.parametrize("package", ["httptools", "uvloop"])
def test_a_missing_package_is_named_at_the_start(package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; import gateway.server"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"Triglot can't serve without {package}: pip install {package}" in done.stderr


def test_a_port_in_use_is_reported(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with (
        pytest.raises(RuntimeError, match="did not start"),
        Server(App(), replace(LIMITS, port=port), refuse).in_thread(),
    ):
        pass
    assert "address already in use" in caplog.text


async def test_a_server_runs_in_a_loop_that_runs() -> None:
    running = Server(App(), LIMITS, refuse)
    async with asyncio.TaskGroup() as group:
        group.create_task(running.serve())
        while not running.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        running.should_exit = True


def test_draining_is_announced_while_the_listener_is_open() -> None:
    seen: list[bool] = []

    def on_drain() -> None:
        with connected(running.port):
            seen.append(True)

    with Server(App(), LIMITS, refuse, on_drain).in_thread() as running:
        pass
    assert seen == [True]


def test_draining_lets_answers_end_and_answers_others_for_the_last_time() -> None:
    app = App()
    with serving(app) as running, connected(running.port) as streaming, connected(running.port) as kept:
        kept.send(request())
        kept.read_answer()
        streaming.send(request("/stream"))
        streaming.read_until(b"hello\r\n")
        running.should_exit = True
        until(lambda: app.is_draining)
        with connected(running.port) as new:
            for client in (kept, new):
                client.send(request())
                assert client.read_answer().headers["connection"] == "close"
                assert client.read_to_end() == b""
        app.release.set()
        assert streaming.read_to_end() == b"5\r\nworld\r\n0\r\n\r\n"


def test_at_the_deadline_the_application_may_end_what_runs_by_itself() -> None:
    app = App()
    with (
        Server(app, replace(LIMITS, drain=0.2), refuse, on_deadline=app.release.set).in_thread() as running,
        connected(running.port) as client,
    ):
        client.send(request("/stream"))
        client.read_until(b"hello\r\n")
        running.should_exit = True
        assert client.read_to_end() == b"5\r\nworld\r\n0\r\n\r\n"


def test_a_second_signal_ends_the_draining_at_once() -> None:
    app = App()
    with serving(app, replace(LIMITS, drain=60)) as running, connected(running.port) as client:
        client.send(request("/stream"))
        client.read_until(b"hello\r\n")
        running.handle_exit(signal.SIGTERM, None)
        until(lambda: app.is_draining)
        with stopwatch() as took:
            running.handle_exit(signal.SIGINT, None)
            assert client.read_to_end() == b""
    assert took[0] < server.ENDING_S + SLACK_S
    assert running.forced_by == signal.SIGINT


def test_a_drained_server_closes_what_is_idle_at_once() -> None:
    with serving(App()) as running, connected(running.port) as kept:
        kept.send(request())
        kept.read_answer()
        running.should_exit = True
        with stopwatch() as took:
            assert kept.read_to_end() == b""
    assert took[0] < SLACK_S


def test_an_answer_that_is_still_being_taken_is_not_cut_by_the_end() -> None:
    """The application is done with it, its client is not."""
    with serving(App()) as running, connected(running.port, 65536) as client:
        client.send(request("/whole"))
        client.read_until(b"\r\n\r\n")
        running.should_exit = True
        taken = len(client.received)
        with stopwatch() as took:
            while data := client.socket.recv(65536):
                taken += len(data)
                time.sleep(0.01)
    assert taken == 8 << 20
    assert took[0] > server.ENDING_S


def test_sigterm_ends_the_process_at_the_deadline() -> None:
    """A stream that would go on for ever is cut, not finished; the process leaves within a second of the deadline."""
    code = "from tests.test_server import serve_until_killed; serve_until_killed()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with connected(int(process.stdout.readline())) as client:
            client.send(request("/stream"))
            client.read_until(b"hello\r\n")
            process.send_signal(signal.SIGTERM)
            with stopwatch() as took:
                assert process.stdout.readline() == "draining\n"
                assert client.read_to_end() == b""
                process.wait(PATIENCE_S)
        assert 0.5 < took[0] < 1.5 + SLACK_S


def serve_until_killed() -> None:
    """What the test above runs in a process of its own."""
    logging.disable()
    printing = Server.startup

    async def startup(self: Server, sockets: Any = None) -> None:
        await printing(self, sockets)
        print(self.port, flush=True)  # noqa: T201

    Server.startup = startup  # type: ignore[method-assign]
    server.run(Server(App(), replace(LIMITS, drain=0.5), refuse, lambda: print("draining", flush=True)))  # noqa: T201


def test_a_process_that_serves_is_set_up_for_short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that reads a large body lets the event loop on ten times as soon as Python's own 5 ms."""
    before = sys.getswitchinterval(), gc.get_threshold()
    monkeypatch.setattr(server.Server, "run", lambda self, sockets: None)
    try:
        server.run(Server(App(), LIMITS, refuse))
        assert sys.getswitchinterval() == pytest.approx(server.SWITCH_S)
        assert gc.get_threshold() == server.COLLECT
        assert gc.get_freeze_count() > 0
    finally:
        sys.setswitchinterval(before[0])
        gc.set_threshold(*before[1])
        gc.unfreeze()
