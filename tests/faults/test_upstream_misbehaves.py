"""What a broken or hostile upstream sends reaches no client, no other request and no third party (HARDENING.md §1)."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest

from gateway.config import parse
from tests.faults.callers import (
    ANTHROPIC_CALLER,
    CALLERS,
    FOUR,
    OPENAI_CALLER,
    TRUSS_CALLER,
    Caller,
    ask,
    assert_finished,
    calling,
    told_error,
)
from tests.faults.harness import (
    KEY,
    PAIR_IDS,
    PAIRS,
    Gateway,
    configuration,
    free_port,
    gateway_in_thread,
    settings,
)
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, until
from tests.faults.voices import (
    LAST_CHUNK,
    OPENAI,
    RAW,
    TEXT,
    Voice,
    answers,
    chunk,
    hangs_after,
    head,
    says,
    sized,
)
from tests.measured import measure

NAMES = [caller.name for caller in CALLERS]
each_caller = pytest.mark.parametrize("caller", CALLERS, ids=NAMES)
each_of_four = pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
streamed_or_whole = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


# -- one answer never reaches another request ------------------------------------------------------------------------


@streamed_or_whole
@each_of_four
def test_stray_bytes_behind_an_answer_never_reach_the_next_request(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, stream: bool
) -> None:
    """HARDENING.md 1.1: 50 requests in a row, each answer followed by a whole one for somebody else."""
    poison = sized(OPENAI.whole("poison"))
    count = iter(range(10**6))

    async def play(peer: Peer, seen: Seen) -> None:
        text = f"Salt {next(count)}"
        good = (
            OPENAI.head + chunk(OPENAI.token(text) + OPENAI.finish + OPENAI.terminator) + LAST_CHUNK
            if stream
            else sized(OPENAI.whole(text))
        )
        await peer.send(good + poison)

    upstream.perform(play)
    for number in range(50):
        reply = ask(gateway.port, caller.request("openai", stream=stream))
        assert reply.status == 200
        assert b"poison" not in reply.body
        assert f"Salt {number}".encode() in reply.body
    assert len(upstream.requests) == 50


@each_of_four
def test_stray_bytes_that_come_late_never_reach_the_next_request(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    poison = sized(OPENAI.whole("poison"))

    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(sized(OPENAI.whole("Salt")))
        await peer.released()
        await peer.send(poison)

    upstream.perform(play)
    assert b"Salt" in ask(gateway.port, caller.request("openai", stream=False)).body
    upstream.release()
    until(lambda: upstream.peers[0].sent > len(poison) * 1.5, "the poison was sent")
    reply = ask(gateway.port, caller.request("openai", stream=False))
    assert b"poison" not in reply.body


@streamed_or_whole
def test_a_clean_connection_is_used_again(upstream: HostileUpstream, gateway: Gateway, stream: bool) -> None:
    """The counterpart: or the tests above would prove little."""
    upstream.perform(answers(OPENAI))
    for _ in range(5):
        ask(gateway.port, OPENAI_CALLER.request("openai", stream=stream))
    assert len(upstream.peers) == 1


@streamed_or_whole
def test_a_cookie_is_never_sent_back(upstream: HostileUpstream, gateway: Gateway, stream: bool) -> None:
    """HARDENING.md 1.2."""
    cookie = b"set-cookie: session=of-somebody; Path=/\r\n"
    top, _, rest = (OPENAI.stream() if stream else sized(OPENAI.whole(TEXT))).partition(b"\r\n")
    upstream.perform(says(top + b"\r\n" + cookie + rest))
    for _ in range(3):
        reply = ask(gateway.port, OPENAI_CALLER.request("openai", stream=stream))
        assert reply.status == 200
        assert "set-cookie" not in reply.names
    assert all(not seen.values("cookie") for seen in upstream.requests)


# -- nothing is unpacked, followed or taken up -----------------------------------------------------------------------


@each_of_four
@streamed_or_whole
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "GZIP", "identity, gzip"])
def test_a_compressed_answer_is_refused_and_never_unpacked(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, stream: bool, coding: str
) -> None:
    """HARDENING.md 1.4."""
    bomb = gzip.compress(bytes(1 << 20))
    media_type = OPENAI.media_type if stream else "application/json"
    upstream.perform(says(sized(bomb, 200, ("content-encoding", coding), media_type=media_type)))
    reply = ask(gateway.port, caller.request("openai", stream=stream))
    assert reply.status == 502
    assert "compressed" in told_error(reply, caller)


@each_of_four
def test_a_compressed_refusal_is_not_unpacked(upstream: HostileUpstream, gateway: Gateway, caller: Caller) -> None:
    upstream.perform(says(sized(gzip.compress(b"x" * (1 << 20)), 400, ("content-encoding", "gzip"))))
    reply = ask(gateway.port, caller.request("openai"))
    assert 400 <= reply.status < 600
    assert len(reply.body) < 2048
    assert told_error(reply, caller)


@each_of_four
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_not_followed(upstream: HostileUpstream, gateway: Gateway, caller: Caller, status: int) -> None:
    with elsewhere() as (listener, url):
        body = b"" if status == 304 else b"moved"
        upstream.perform(says(head(status, ("location", url), ("content-length", str(len(body)))) + body))
        reply = ask(gateway.port, caller.request("openai"))
        assert reply.status == 502
        assert url not in told_error(reply, caller)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@contextmanager
def elsewhere() -> Iterator[tuple[socket.socket, str]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}/stolen"


@each_of_four
def test_switching_protocols_is_an_error(upstream: HostileUpstream, gateway: Gateway, caller: Caller) -> None:
    upstream.perform(hangs_after(head(101, ("upgrade", "websocket"), ("connection", "upgrade"))))
    reply = ask(gateway.port, caller.request("quick-openai"))
    assert reply.status == 502
    assert told_error(reply, caller)


def test_a_few_interim_answers_are_skipped(upstream: HostileUpstream, gateway: Gateway) -> None:
    upstream.perform(says(head(100), head(103, ("link", "</x>")), OPENAI.stream()))
    assert_finished(ask(gateway.port, OPENAI_CALLER.request("openai")), "openai")


def test_interim_answers_without_end_run_into_the_deadline(upstream: HostileUpstream, gateway: Gateway) -> None:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.flood(head(103, ("link", "</x>")) * 100)

    upstream.perform(play)
    reply = ask(gateway.port, OPENAI_CALLER.request("quick-openai"))
    assert reply.status in (502, 504)
    assert upstream.peers[-1].closed.wait(2)


BOMBS = {
    "one field of 1 MiB": head(200, ("content-type", OPENAI.media_type), ("x-bomb", "x" * (1 << 20))),
    "20,000 fields": head(200, *((f"x-{n}", "boom") for n in range(20_000))),
    "a status line of 1 MiB": b"HTTP/1.1 200 " + b"x" * (1 << 20) + b"\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\nx-bomb: " + b"x" * (1 << 23),
}


@each_of_four
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_header_bomb_is_refused(upstream: HostileUpstream, gateway: Gateway, caller: Caller, bomb: str) -> None:
    upstream.perform(hangs_after(BOMBS[bomb] + OPENAI.stream()))
    reply = ask(gateway.port, caller.request("openai"))
    assert reply.status == 502
    assert told_error(reply, caller)
    assert upstream.peers[-1].closed.wait(2)
    measure(f"MiB taken of a header bomb ({bomb})", upstream.peers[-1].taken / 2**20)


@pytest.mark.parametrize(
    "junk",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x00\x01\x02\x03" * 100,
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 xyz OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    ],
)
@streamed_or_whole
def test_what_is_no_http_is_an_error(upstream: HostileUpstream, gateway: Gateway, junk: bytes, stream: bool) -> None:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(junk)
        peer.close()

    upstream.perform(play)
    for caller in FOUR:
        reply = ask(gateway.port, caller.request("openai", stream=stream))
        assert reply.status == 502, reply
        assert told_error(reply, caller)


@each_caller
@pytest.mark.parametrize("voice", [OPENAI, RAW])
def test_trailers_are_dropped(upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice) -> None:
    trailed = voice.stream().removesuffix(LAST_CHUNK) + b"0\r\nx-checksum: 12\r\nset-cookie: a=b\r\n\r\n"
    upstream.perform(says(trailed))
    with calling(gateway.port, caller.request(voice.upstream)) as call:
        reply = call.read_reply()
        assert b"x-checksum" not in call.received
        assert b"a=b" not in call.received
    assert_finished(reply, caller.form(voice))


# -- what an answer turns out to be ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
@streamed_or_whole
def test_a_page_under_status_200_is_an_error(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, stream: bool
) -> None:
    page = b"<!doctype html><html><title>Welcome to nginx</title></html>"
    upstream.perform(says(sized(page, media_type="text/html; charset=utf-8")))
    reply = ask(gateway.port, caller.request(voice.upstream, stream=stream))
    assert reply.status == 502
    assert b"nginx" not in reply.body
    assert told_error(reply, caller)


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
@streamed_or_whole
def test_an_error_under_status_200_is_an_error(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, stream: bool
) -> None:
    body = {"type": "error", "error": {"type": "api_error", "message": "out of memory"}}
    upstream.perform(says(sized(orjson.dumps(body))))
    reply = ask(gateway.port, caller.request(voice.upstream, stream=stream))
    assert reply.status == 502, reply
    assert "out of memory" in told_error(reply, caller)


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
def test_a_whole_answer_to_a_request_for_a_stream_is_streamed(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    upstream.perform(says(sized(voice.whole(TEXT))))
    reply = ask(gateway.port, caller.request(voice.upstream))
    assert reply.status == 200
    assert b"Salt" in reply.body
    if caller.dialect != voice.upstream or caller.dialect != "truss":
        assert_finished(reply, caller.form(voice))


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
def test_a_stream_for_a_whole_request_is_collected(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice
) -> None:
    upstream.perform(says(voice.stream()))
    reply = ask(gateway.port, caller.request(voice.upstream, stream=False))
    assert reply.status == 200
    assert reply.is_whole
    if caller.dialect != voice.upstream or caller.dialect != "truss":
        assert TEXT.encode() in reply.body
        assert orjson.loads(reply.body)


@each_of_four
@pytest.mark.parametrize("media_type", ["", "text/plain", "application/octet-stream", "image/png", "TEXT/EVENT-STREAM"])
def test_the_wrong_content_type_of_a_good_stream_does_not_matter(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, media_type: str
) -> None:
    top = head(200, ("transfer-encoding", "chunked"), *([("content-type", media_type)] if media_type else []))
    upstream.perform(says(top + OPENAI.stream().partition(b"\r\n\r\n")[2]))
    assert_finished(ask(gateway.port, caller.request("openai")), caller.form(OPENAI))


@each_of_four
@pytest.mark.parametrize("media_type", ["", "text/plain", "image/png"])
def test_a_stream_of_something_else_is_an_error(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, media_type: str
) -> None:
    upstream.perform(says(sized(b"Hello, I am no event stream.\n\n", media_type=media_type)))
    reply = ask(gateway.port, caller.request("openai"))
    assert reply.status == 502
    assert told_error(reply, caller)


@pytest.mark.parametrize("stream_upstream", [True, False])
@each_of_four
def test_a_whole_answer_over_the_limit_is_refused(
    upstream: HostileUpstream, caller: Caller, stream_upstream: bool
) -> None:
    limit = 256 * 1024

    async def endless(peer: Peer, seen: Seen) -> None:
        if stream_upstream:
            await peer.send(OPENAI.first())
            await peer.flood(chunk(OPENAI.token("x" * 8000)))
        await peer.send(head(200, ("content-type", "application/json"), ("transfer-encoding", "chunked")))
        await peer.send(chunk(b'{"choices": "'))
        await peer.flood(chunk(b"x" * 8000))

    upstream.perform(endless)
    with gateway_in_thread(configuration(upstream.port, max_answer="256KiB", max_event="256KiB")) as small:
        reply = ask(small.port, caller.request("openai", stream=False))
        assert reply.status == 502
        assert told_error(reply, caller)
        assert upstream.peers[-1].closed.wait(2)
        assert upstream.peers[-1].taken < limit + 16 * 2**20


@each_of_four
def test_an_http_1_0_client_of_an_endless_stream_does_not_fill_the_memory(
    upstream: HostileUpstream, caller: Caller
) -> None:
    """Its answer is collected, so the limit of whole answers holds."""

    async def endless(peer: Peer, seen: Seen) -> None:
        await peer.send(OPENAI.first())
        await peer.flood(chunk(OPENAI.token("x" * 8000)))

    upstream.perform(endless)
    with gateway_in_thread(configuration(upstream.port, max_answer="1MiB", max_event="1MiB")) as small:
        with calling(small.port, caller.request("openai", version="1.0")) as call:
            reply = call.read_reply()
        assert reply.status == 502
        assert upstream.peers[-1].closed.wait(2)


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
@pytest.mark.parametrize("how", ["refusal", "event", "whole"])
def test_our_key_is_scrubbed_out_of_what_an_upstream_says(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, how: str
) -> None:
    message = f"Incorrect API key provided: {KEY}"
    error = orjson.dumps({"type": "error", "error": {"type": "api_error", "message": message}})
    plays: dict[str, Play] = {
        "refusal": says(sized(error, 500)),
        "event": says(voice.first() + chunk(b"event: error\ndata: " + error + b"\n\n") + LAST_CHUNK),
        "whole": says(sized(error)),
    }
    if how == "event" and voice is RAW:
        return
    upstream.perform(plays[how])
    with calling(gateway.port, caller.request(voice.upstream)) as call:
        reply = call.read_reply()
        assert KEY.encode() not in call.received
    assert reply.status in (200, 500, 502, 503, 529)
    assert KEY not in str(gateway.the_line())


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_our_own_key_is_no_business_of_the_client(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, status: int
) -> None:
    body = {"error": {"message": "Bad key", "type": "authentication_error", "code": "invalid_api_key"}}
    upstream.perform(says(sized(orjson.dumps(body), status)))
    reply = ask(gateway.port, caller.request(voice.upstream))
    assert reply.status == 502, reply
    assert told_error(reply, caller)


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
def test_retry_after_is_passed_on(upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice) -> None:
    body = b'{"error": {"message": "slow down", "type": "rate_limit_error"}}'
    upstream.perform(says(sized(body, 429, ("retry-after", "17"))))
    reply = ask(gateway.port, caller.request(voice.upstream))
    assert reply.status == 429
    assert reply.header("retry-after") == "17"


@each_of_four
@pytest.mark.parametrize("value", ["never", "1e9", "-5", "1\tx", "9" * 40, "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_strange_retry_after_does_no_harm(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, value: str
) -> None:
    upstream.perform(says(sized(b"{}", 429, ("retry-after", value))))
    assert ask(gateway.port, caller.request("anthropic")).status == 429


@each_of_four
def test_a_refusal_without_end_is_not_read_to_the_end(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    async def play(peer: Peer, seen: Seen) -> None:
        await peer.send(head(400, ("content-type", "text/plain"), ("transfer-encoding", "chunked")))
        await peer.flood(chunk(b"no! " * 2000))

    upstream.perform(play)
    reply = ask(gateway.port, caller.request("openai"))
    assert reply.status == 400
    assert len(reply.body) < 2200
    assert upstream.peers[-1].closed.wait(2)


@each_of_four
def test_a_refusal_that_is_never_finished_runs_into_the_deadline(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    upstream.perform(hangs_after(head(400, ("content-length", "100")) + b'{"error"'))
    reply = ask(gateway.port, caller.request("quick-openai"))
    assert reply.status in (400, 504)


NASTY = {
    "deep arguments": '{"a":' * 300 + "1" + "}" * 300,
    "huge integer": '{"a":' + "9" * 400 + "}",
    "not json": "{oops",
    "a lone surrogate": '{"a":"\\ud800"}',
}


@pytest.mark.parametrize("nasty", NASTY)
@streamed_or_whole
@pytest.mark.parametrize("caller", [OPENAI_CALLER, ANTHROPIC_CALLER], ids=["openai", "anthropic"])
def test_hostile_tool_arguments_are_no_failure_of_ours(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, stream: bool, nasty: str
) -> None:
    """orjson reads 1,024 levels and writes 254 (HARDENING.md 1.8)."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": NASTY[nasty]}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    body = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    upstream.perform(says(sized(orjson.dumps(body))))
    reply = ask(gateway.port, caller.request("openai", stream=stream))
    assert reply.status in (200, 502), reply


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 5000 + b"]" * 5000,
        b"5",
        b'"text"',
        b"null",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [null]}',
        b'{"choices": [{"message": null, "finish_reason": "stop"}]}',
        b'{"choices": [{"message": {"content": 5}, "finish_reason": "stop"}]}',
        b'{"choices": [{"message": {"content": {}}, "finish_reason": {}}]}',
        b'{"choices": [{"message": {"content": "Salt"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": "many"}}',
        b'{"choices": [{"message": {"tool_calls": [5]}, "finish_reason": "stop"}]}',
        b'{"type": "message", "content": [5], "stop_reason": "end_turn"}',
        b'{"type": "message", "content": [{"type": "text", "text": 5}], "stop_reason": "end_turn"}',
        b'{"type": "message", "content": [{"type": "tool_use", "input": [1]}], "stop_reason": "end_turn"}',
        b'{"type": "message", "content": 7, "stop_reason": []}',
        b'{"error": 5}',
        b'{"output": ' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}",
    ],
)
@pytest.mark.parametrize("route", ["openai", "anthropic", "responses", "truss"])
@streamed_or_whole
def test_a_whole_answer_of_the_wrong_shape_is_never_our_own_failure(
    upstream: HostileUpstream, gateway: Gateway, route: str, stream: bool, body: bytes
) -> None:
    upstream.perform(says(sized(body)))
    for caller in FOUR:
        reply = ask(gateway.port, caller.request(route, stream=stream))
        assert reply.status in (200, 400, 502), reply
        if reply.status != 200:
            assert told_error(reply, caller) is not None


# -- upstreams that can't be reached ---------------------------------------------------------------------------------


@contextmanager
def deaf_port() -> Iterator[int]:
    """A listener whose queue is full: connections are neither accepted nor refused."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second, socket.socket() as third:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second, third):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


@contextmanager
def gateway_of(url: str, **timeouts: str) -> Iterator[Gateway]:
    routes = orjson.loads(settings(1))
    for name, upstream in routes["upstreams"].items():
        upstream["url"] = url
        routes["routes"][name]["timeouts"] = timeouts
    with gateway_in_thread(parse(orjson.dumps(routes), "faults.yaml", {})) as gateway:
        yield gateway


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/v1", "http://no-such-host.invalid/v1"])
def test_an_upstream_that_can_not_be_reached_is_a_bad_gateway(url: str) -> None:
    with gateway_of(url.format(port=free_port()), connect="3s") as gateway:
        for caller in FOUR:
            for stream in (True, False):
                reply = ask(gateway.port, caller.request("openai", stream=stream))
                assert reply.status in (502, 504)
                message = told_error(reply, caller)
                assert "invalid" not in message
                assert "127.0.0.1" not in message
        assert not gateway.failures


def test_an_upstream_that_does_not_accept_is_a_timeout() -> None:
    with deaf_port() as port, gateway_of(f"http://127.0.0.1:{port}/v1", connect="300ms") as gateway:
        for caller in FOUR:
            took = 0.0
            with calling(gateway.port, caller.request("openai")) as call:
                took = until(lambda: _is_readable(call.socket), "an answer to a call that can't be made")
                reply = call.read_reply()
            assert reply.status == 504
            assert told_error(reply, caller)
            assert took < 0.8
            measure("s until a connect timeout of 0.3 s", took)
        assert not gateway.failures


def _is_readable(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        sock.settimeout(10)


def test_an_upstream_that_accepts_and_hangs_up_is_a_bad_gateway(upstream: HostileUpstream, gateway: Gateway) -> None:
    async def play(peer: Peer, seen: Seen) -> None:
        peer.reset()

    upstream.perform(play)
    for caller in (*FOUR, TRUSS_CALLER):
        assert ask(gateway.port, caller.request("openai")).status == 502
