"""Calls over real sockets, plain and in TLS, on both event loops, of servers good and hostile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from gateway.upstreams import pool
from gateway.upstreams.failures import Dropped
from gateway.upstreams.response import Phase
from gateway.upstreams.transport import Transport
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, until
from tests.upstreams.responses import CASES, CHUNKED, GOOD, UNASKED, Case, head

Scenario = Callable[[Transport], Awaitable[None]]
PATIENCE_S = 10.0
HELLO = GOOD["a length"].data


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and a certificate for `localhost`, which is its own authority."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    uses = ["-addext", "keyUsage=critical,digitalSignature,keyCertSign", "-keyout", "-", "-out", "-"]
    try:
        made = subprocess.run([*command, *names, *uses], capture_output=True, check=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("no openssl command here to make a certificate with")
    path.write_bytes(made.stdout)
    return path


class Server(HostileUpstream):
    """A hostile upstream and the address to call it at."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.names: list[str | None] = []  # that clients asked for in TLS
        super().__init__(tls=self._context(certificate) if certificate else None)
        self.scheme = "https" if certificate else "http"

    def _context(self, certificate: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.sni_callback = lambda _, name, __: self.names.append(name)
        return context

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}/v1/things"


@pytest.fixture(params=["plain", "tls"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    certificate = request.getfixturevalue("certificate") if request.param == "tls" else None
    if certificate is not None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    yield from running(Server(certificate))


@pytest.fixture
def plain() -> Iterator[Server]:
    yield from running(Server())


@pytest.fixture
def secure(certificate: Path) -> Iterator[Server]:
    """Whose certificate nobody was told to trust."""
    yield from running(Server(certificate))


def running(server: Server) -> Iterator[Server]:
    thread = server.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
    assert not server.slips


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Plays a scenario, with a transport that is closed at its end, and all of its connections with it."""

    def play(scenario: Scenario) -> None:
        async def main() -> None:
            transport = Transport()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await scenario(transport)
            finally:
                await transport.aclose()
            assert not transport._pool._origins

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return play


Run = Callable[[Scenario], None]


def request(url: str, body: bytes = b"{}", fields: Mapping[str, str] | None = None) -> httpx.Request:
    headers = {"content-length": str(len(body)), **(fields or {})}
    timeout = {"timeout": {"connect": PATIENCE_S}}
    return httpx.Request("POST", url, headers=headers, stream=httpx.ByteStream(body), extensions=timeout)


async def soon(is_so: Callable[[], bool]) -> None:
    """Until an observation, without holding up the loop. The scenario's own patience is its limit."""
    for _ in itertools.count():
        if is_so():
            return
        await asyncio.sleep(0.001)


@asynccontextmanager
async def called(transport: Transport, asked: httpx.Request) -> AsyncIterator[httpx.Response]:
    response = await transport.handle_async_request(asked)
    try:
        yield response
    finally:
        await response.stream.aclose()  # type: ignore[union-attr]  # an AsyncByteStream


async def next_of(response: httpx.Response, at_once: Callable[[bytes], bool] | None = None) -> bytes | None:
    found: bytes | None = await response.stream.next(at_once)  # type: ignore[union-attr]  # a Body
    return found


async def body_of(response: httpx.Response) -> bytes:
    return b"".join([piece async for piece in response.stream])  # type: ignore[union-attr]


async def fetched(transport: Transport, url: str) -> bytes:
    async with called(transport, request(url)) as response:
        return await body_of(response)


def says(case: Case, *, is_dripped: bool) -> Play:
    """All of a response, at once or byte by byte, as far as the caller takes it."""

    async def play(peer: Peer, seen: Seen) -> None:
        parts = (case.data[at : at + 1] for at in range(len(case.data))) if is_dripped else [case.data]
        for part in parts:
            await peer.send(part)
            await asyncio.sleep(0)
        if case.is_closed:
            peer.close()

    return play


def says_bytes(data: bytes, *, is_closed: bool = False) -> Play:
    return says(Case(data, b"", is_closed=is_closed), is_dripped=False)


# -- what a response means -------------------------------------------------------------------------------------------


DRIPPED = [name for name, case in CASES.items() if len(case.data) < 1000 and name not in UNASKED]
"""What comes unasked, and only once the next request is on its way, nobody can tell from its answer."""


@pytest.mark.parametrize(
    ("name", "is_dripped"), [*((name, False) for name in CASES), *((name, True) for name in DRIPPED)]
)
def test_a_response_means_the_same_over_a_socket(server: Server, run: Run, name: str, is_dripped: bool) -> None:
    """And its connection is used again only where it is as good as new (HARDENING.md 1.1)."""
    case = CASES[name]
    server.perform(says(case, is_dripped=is_dripped), says_bytes(HELLO))

    async def scenario(transport: Transport) -> None:
        if case.body is None:
            with pytest.raises(httpx.TransportError):
                await fetched(transport, server.url)
        else:
            async with called(transport, request(server.url)) as response:
                assert response.status_code == case.status
                await read(response, case)
        assert await fetched(transport, server.url) == b"hello"

    run(scenario)
    assert len(server.peers) == (1 if case.is_reused else 2)


async def read(response: httpx.Response, case: Case) -> None:
    body = b""
    with contextlib.ExitStack() as stack:
        if case.phase is Phase.BROKEN:
            stack.enter_context(pytest.raises(httpx.TransportError))
        while (piece := await next_of(response)) is not None:
            body += piece
    assert body == case.body
    if case.phase is Phase.BROKEN:  # for whoever asks again, too
        with pytest.raises(httpx.ReadError):
            await next_of(response)
    else:
        assert await next_of(response) is None


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(("said", "kind"), [(b"", Dropped), (b"HTTP/1.1 2", httpx.ReadError)])
def test_a_new_connection_that_breaks_before_a_head_is_an_error(
    server: Server, run: Run, said: bytes, kind: type[Exception], how: str
) -> None:
    async def breaks(peer: Peer, seen: Seen) -> None:
        if said:
            await peer.send(said)
        peer.close() if how == "close" else peer.reset()

    server.perform(breaks)

    async def scenario(transport: Transport) -> None:
        with pytest.raises(httpx.ReadError) as caught:
            await fetched(transport, server.url)
        assert how == "reset" or type(caught.value) is kind  # a reset may overtake what was said

    run(scenario)
    assert len(server.requests) == 1


def test_a_reset_in_a_body_that_only_ends_with_its_connection_is_no_end(plain: Server, run: Run) -> None:
    async def resets(peer: Peer, seen: Seen) -> None:
        await peer.send(head() + b"hello")
        await peer.released()
        peer.reset()

    plain.perform(resets)

    async def scenario(transport: Transport) -> None:
        async with called(transport, request(plain.url)) as response:
            assert await next_of(response) == b"hello"
            plain.release()
            with pytest.raises(httpx.ReadError):
                await next_of(response)

    run(scenario)


# -- what is sent ----------------------------------------------------------------------------------------------------


def test_a_request_is_sent_as_it_is(server: Server, run: Run) -> None:
    server.perform(says_bytes(HELLO))

    async def scenario(transport: Transport) -> None:
        asked = request(f"{server.url}?a=%20b", b'{"a":1}', {"authorization": "Bearer x"})
        async with called(transport, asked) as response:
            await body_of(response)

    run(scenario)
    [seen] = server.requests
    assert (seen.method, seen.target, seen.body) == ("POST", "/v1/things?a=%20b", b'{"a":1}')
    assert seen.headers == (
        ("host", f"localhost:{server.port}"),
        ("content-length", "7"),
        ("authorization", "Bearer x"),
    )


def test_a_large_body_is_sent_whole(server: Server, run: Run) -> None:
    body = bytes(range(256)) * 20_000
    server.perform(says_bytes(HELLO))

    async def scenario(transport: Transport) -> None:
        for _ in range(2):
            async with called(transport, request(server.url, body)) as response:
                assert await body_of(response) == b"hello"

    run(scenario)
    assert [seen.body == body for seen in server.requests] == [True, True]
    assert len(server.peers) == 1


@pytest.mark.parametrize("field", ["a\r\nb: c", "a\nb: c", "a\rb", "a\0b"])
def test_a_field_can_not_end_its_line(plain: Server, run: Run, field: str) -> None:
    async def scenario(transport: Transport) -> None:
        for fields in ({"x": field}, {field: "x"}):
            with pytest.raises(httpx.LocalProtocolError):
                await transport.handle_async_request(request(plain.url, fields=fields))

    run(scenario)
    assert not plain.peers


@contextlib.contextmanager
def deaf_server(family: int = socket.AF_INET, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """Accepts, and does what the test makes it do."""
    with socket.create_server((host, 0), family=family) as listener:
        yield listener


def test_a_large_body_is_sent_no_faster_than_it_is_taken(run: Run) -> None:
    """HARDENING.md 1.10, the other way round."""
    size = 64 * 1024 * 1024
    with deaf_server() as listener:

        async def scenario(transport: Transport) -> None:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            call = asyncio.ensure_future(fetched_body(transport, url, bytes(size)))
            connection = await first_connection(transport)
            await soon(lambda: bool(connection._is_full))
            assert connection._transport.get_write_buffer_size() <= 512 * 1024
            assert len(connection._unsent) > size / 2
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call

        run(scenario)


async def fetched_body(transport: Transport, url: str, body: bytes) -> bytes:
    async with called(transport, request(url, body)) as response:
        return await body_of(response)


async def first_connection(transport: Transport) -> Any:
    await soon(lambda: bool(transport._pool._origins))
    return next(iter(transport._pool._origins))


def test_an_answer_that_comes_before_the_request_is_sent_is_heard(run: Run) -> None:
    """And its connection is not used again: the rest of the request would be taken for another one."""
    with deaf_server() as listener:

        async def scenario(transport: Transport) -> None:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            call = asyncio.ensure_future(fetched_body(transport, url, bytes(64 * 1024 * 1024)))
            peer, _ = await asyncio.to_thread(listener.accept)
            with peer:
                await asyncio.to_thread(peer.recv, 65536)
                peer.sendall(HELLO)
                assert await call == b"hello"
            assert not any(transport._pool._idle.values())

        run(scenario)


def test_a_host_of_ipv6_is_written_in_brackets(run: Run) -> None:
    try:
        server = deaf_server(socket.AF_INET6, "::1")
        listener = server.__enter__()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with contextlib.ExitStack() as stack:
        stack.push(server)

        async def scenario(transport: Transport) -> None:
            port = listener.getsockname()[1]
            call = asyncio.ensure_future(fetched(transport, f"http://[::1]:{port}/"))
            peer, _ = await asyncio.to_thread(listener.accept)
            with peer:
                assert f"host: [::1]:{port}\r\n".encode() in await asyncio.to_thread(peer.recv, 65536)
                peer.sendall(HELLO)
                assert await call == b"hello"

        run(scenario)


def test_a_scheme_nobody_speaks_is_told() -> None:
    async def scenario() -> None:
        with pytest.raises(httpx.UnsupportedProtocol):
            await Transport().handle_async_request(request("ftp://localhost/"))

    asyncio.run(scenario())


# -- connections that are kept ---------------------------------------------------------------------------------------


def test_a_kept_connection_that_was_dropped_is_replaced(server: Server, run: Run) -> None:
    """However many of them there are."""

    async def drops(peer: Peer, seen: Seen) -> None:
        peer.close()

    async def together(peer: Peer, seen: Seen) -> None:
        await peer.send(HELLO[:-1])
        await peer.released()
        await peer.send(HELLO[-1:])

    server.perform(together, together, drops, drops, says_bytes(HELLO))

    async def scenario(transport: Transport) -> None:
        async with called(transport, request(server.url)) as one, called(transport, request(server.url)) as other:
            server.release()
            assert [await body_of(one), await body_of(other)] == [b"hello", b"hello"]
        assert await fetched(transport, server.url) == b"hello"

    run(scenario)
    assert (len(server.requests), len(server.peers)) == (5, 3)


@pytest.mark.parametrize("what", ["bytes", "end"])
def test_an_idle_connection_on_which_something_came_is_not_used(server: Server, run: Run, what: str) -> None:
    """HARDENING.md 1.1. No request is lost on it either."""

    async def later(peer: Peer, seen: Seen) -> None:
        await peer.send(HELLO)
        await peer.released()
        await peer.send(HELLO) if what == "bytes" else peer.close()

    server.perform(later, says_bytes(HELLO))

    async def scenario(transport: Transport) -> None:
        assert await fetched(transport, server.url) == b"hello"
        server.release()
        await soon(lambda: not transport._pool._origins)
        assert await fetched(transport, server.url) == b"hello"

    run(scenario)
    assert (len(server.requests), len(server.peers)) == (2, 2)


def test_what_came_on_an_idle_connection_is_seen_before_the_loop_had_a_turn(plain: Server, run: Run) -> None:
    async def later(peer: Peer, seen: Seen) -> None:
        await peer.send(HELLO)
        await peer.released()
        await peer.send(GOOD["chunks"].data)

    plain.perform(later, says_bytes(HELLO))

    async def scenario(transport: Transport) -> None:
        assert await fetched(transport, plain.url) == b"hello"
        plain.release()
        until(lambda: plain.peers[0].sent > len(HELLO) and not plain.peers[0].transport.get_write_buffer_size(), "sent")
        assert await fetched(transport, plain.url) == b"hello"

    run(scenario)
    assert len(plain.peers) == 2


def test_an_idle_connection_is_closed_when_it_gets_too_old(
    server: Server, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_KEEP_ALIVE_S", 0.05)
    server.perform(says_bytes(HELLO))

    async def scenario(transport: Transport) -> None:
        for _ in range(2):
            await fetched(transport, server.url)
        await soon(lambda: not transport._pool._origins)
        assert transport._pool._timer is None

    run(scenario)
    assert server.peers[0].closed.wait(PATIENCE_S)
    assert len(server.peers) == 1


def test_many_calls_at_once_have_a_connection_each_and_keep_it(server: Server, run: Run) -> None:
    server.perform(says_bytes(HELLO))

    async def scenario(transport: Transport) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(150):
                await stack.enter_async_context(called(transport, request(server.url)))
        for _ in range(3):
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(150):
                    await stack.enter_async_context(called(transport, request(server.url)))

    run(scenario)
    assert len(server.peers) <= 150


@pytest.mark.parametrize("when", ["before the head", "in the body"])
def test_who_leaves_closes_the_connection(server: Server, run: Run, when: str) -> None:
    async def hangs(peer: Peer, seen: Seen) -> None:
        if when == "in the body":
            await peer.send(head("content-length: 500") + b"some")
        await peer.gone()

    server.perform(hangs)

    async def scenario(transport: Transport) -> None:
        call = asyncio.ensure_future(fetched(transport, server.url))
        await soon(lambda: bool(server.requests))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await soon(lambda: bool(server.peers[0].closed.is_set()))

    run(scenario)


def test_a_body_that_nobody_reads_to_its_end_closes_its_connection(server: Server, run: Run) -> None:
    async def goes_on(peer: Peer, seen: Seen) -> None:
        await peer.send(CHUNKED)
        await peer.flood(b"4\r\nmore\r\n" * 1000)

    server.perform(goes_on)

    async def scenario(transport: Transport) -> None:
        async with called(transport, request(server.url)) as response:
            assert await next_of(response)
        await soon(lambda: bool(server.peers[0].closed.is_set()))

    run(scenario)


def test_closing_the_transport_ends_what_is_under_way(server: Server, run: Run) -> None:
    async def hangs(peer: Peer, seen: Seen) -> None:
        await peer.send(CHUNKED + b"4\r\nmore\r\n")
        await peer.gone()

    server.perform(hangs)

    async def scenario(transport: Transport) -> None:
        async with called(transport, request(server.url)) as response:
            assert await next_of(response) == b"more"
            await transport.aclose()
            with pytest.raises(httpx.ReadError):
                await next_of(response)

    run(scenario)


# -- connections that are not made -----------------------------------------------------------------------------------


def test_nobody_who_listens_is_no_connection(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def scenario(transport: Transport) -> None:
        for url in (f"http://127.0.0.1:{port}/", "http://no-such-host.invalid/", f"http://{'x' * 64}.example/"):
            with pytest.raises(httpx.ConnectError):
                await fetched(transport, url)

    run(scenario)


def test_a_server_that_never_gets_to_speak_is_a_timeout(run: Run) -> None:
    with deaf_server() as listener:

        async def scenario(transport: Transport) -> None:
            asked = request(f"https://127.0.0.1:{listener.getsockname()[1]}/")
            asked.extensions["timeout"]["connect"] = 0.1
            with pytest.raises(httpx.ConnectTimeout):
                await transport.handle_async_request(asked)

        run(scenario)


def test_a_server_that_nobody_vouches_for_is_no_connection(secure: Server, run: Run) -> None:
    async def scenario(transport: Transport) -> None:
        with pytest.raises(httpx.ConnectError) as caught:
            await fetched(transport, secure.url)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)

    run(scenario)
    assert not secure.requests


def test_a_certificate_of_somebody_else_is_no_connection(
    secure: Server, certificate: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def scenario(transport: Transport) -> None:
        with pytest.raises(httpx.ConnectError) as caught:
            await fetched(transport, secure.url.replace("localhost", "127.0.0.1"))
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)

    run(scenario)
    assert not secure.requests


def test_tls_names_the_host_and_the_protocol(
    secure: Server, certificate: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secure.perform(says_bytes(HELLO))

    async def scenario(transport: Transport) -> None:
        assert await fetched(transport, secure.url) == b"hello"
        tls = secure.peers[0].transport.get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == "http/1.1"

    run(scenario)
    assert secure.names == ["localhost"]


# -- reading ---------------------------------------------------------------------------------------------------------


def test_what_comes_is_handed_over_without_a_turn_of_the_reader(server: Server, run: Run) -> None:
    async def speaks(peer: Peer, seen: Seen) -> None:
        await peer.send(CHUNKED)
        for word in (b"one", b"two", b"end"):
            await peer.released()
            peer._upstream.go.clear()
            await peer.send(b"3\r\n" + word + b"\r\n")
        await peer.released()
        await peer.send(b"0\r\n\r\n")

    server.perform(speaks)

    async def scenario(transport: Transport) -> None:
        taken: list[bytes] = []

        def take(piece: bytes) -> bool:
            taken.append(piece)
            server.release()
            return piece != b"end"

        async with called(transport, request(server.url)) as response:
            server.release()
            assert await next_of(response, take) == b""
            assert taken == [b"one", b"two", b"end"]
            assert await next_of(response, take) is None
        assert len(taken) == 3

    run(scenario)


def test_what_the_one_who_is_handed_it_raises_is_raised_by_the_read(server: Server, run: Run) -> None:
    async def speaks(peer: Peer, seen: Seen) -> None:
        await peer.send(CHUNKED)
        await peer.released()
        await peer.send(b"3\r\none\r\n")
        await peer.gone()

    server.perform(speaks)

    async def scenario(transport: Transport) -> None:
        def refuse(piece: bytes) -> bool:
            raise KeyError(piece)

        async with called(transport, request(server.url)) as response:
            server.release()
            with pytest.raises(KeyError):
                await next_of(response, refuse)
            with pytest.raises(httpx.ReadError):  # it is not whole, for nobody
                await next_of(response)

    run(scenario)


def test_a_reader_that_stops_holds_the_server_back_and_then_gets_all(server: Server, run: Run) -> None:
    """HARDENING.md 1.10."""
    count = 40_000

    async def sends(peer: Peer, seen: Seen) -> None:
        await peer.send(CHUNKED)
        for at in range(count):
            await peer.send(b"200\r\n%0512x\r\n" % at)
        await peer.send(b"0\r\n\r\n")

    server.perform(sends)

    async def scenario(transport: Transport) -> None:
        async with called(transport, request(server.url)) as response:
            body = response.stream
            await soon(lambda: bool(server.peers) and server.peers[0].is_stuck(0.3))
            assert body._size < 400 * 1024  # type: ignore[union-attr]
            assert server.peers[0].sent < count * 519
            got = 0
            while (piece := await next_of(response)) is not None:
                assert len(piece) <= 16 * 1024
                got += len(piece)
            assert got == count * 512

    run(scenario)


def test_a_read_that_is_given_up_loses_nothing(server: Server, run: Run) -> None:
    async def speaks(peer: Peer, seen: Seen) -> None:
        await peer.send(CHUNKED)
        await peer.released()
        await peer.send(b"5\r\nhello\r\n0\r\n\r\n")

    server.perform(speaks)

    async def scenario(transport: Transport) -> None:
        async with called(transport, request(server.url)) as response:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await next_of(response, lambda _: True)
            server.release()
            assert [await next_of(response), await next_of(response)] == [b"hello", None]

    run(scenario)
