"""What a hostile client sends is refused in the dialect of the path, by name, and the next request works."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.faults.callers import (
    ANTHROPIC_CALLER,
    CALLERS,
    FOUR,
    OPENAI_CALLER,
    RESPONSES_CALLER,
    TRUSS_CALLER,
    Caller,
    Reply,
    ask,
    calling,
    post,
    told_error,
)
from tests.faults.harness import Gateway, configuration, gateway_in_thread
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen
from tests.faults.voices import ANTHROPIC, OPENAI, RAW, RESPONSES, answers
from tests.measured import measure
from tests.sockets import RawClient, connected

each_of_four = pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
BY_PATH = {"/v1/chat/completions": OPENAI, "/v1/messages": ANTHROPIC, "/v1/responses": RESPONSES, "/predict": RAW}


async def answers_as_asked(peer: Peer, seen: Seen) -> None:
    await answers(BY_PATH[seen.target])(peer, seen)


def body_of(caller: Caller, **fields: Any) -> bytes:
    return orjson.dumps(caller.body("openai", stream=False, **fields))


def send(gateway: Gateway, caller: Caller, body: bytes, *headers: str) -> Reply:
    return ask(gateway.port, post(caller.path("openai"), body, *headers))


def assert_lives(upstream: HostileUpstream, gateway: Gateway, caller: Caller) -> None:
    upstream.perform(answers_as_asked)
    assert send(gateway, caller, body_of(caller)).status == 200


BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "body"),
    "half an object": (b'{"model": "openai", ', "body"),
    "text": (b"hello", "body"),
    "an array": (b"[]", "expected an object"),
    "a string": (b'"openai"', "expected an object"),
    "null": (b"null", "expected an object"),
    "a number": (b"5", "expected an object"),
    "two values": (b"{}{}", "body"),
    "invalid utf-8": (b'{"model": "openai", "prompt": "\xff\xfe"}', "body"),
    "overlong utf-8": (b'{"model": "\xc0\xaf"}', "body"),
    "utf-16": ('{"model": "openai"}'.encode("utf-16"), "body"),
    "NaN": (b'{"model": "openai", "temperature": NaN}', "body"),
    "Infinity": (b'{"model": "openai", "temperature": -Infinity}', "body"),
    "a lone surrogate": (b'{"model": "openai", "prompt": "\\ud800"}', "body"),
    "a trailing comma": (b'{"model": "openai",}', "body"),
    "a comment": (b'{"model": "openai"} // hi', "body"),
    "NUL in a string": (b'{"model": "open\x00ai"}', "body"),
    "an integer of 400 digits": (b'{"model": "openai", "seed": ' + b"9" * 400 + b"}", ""),
    "depth 101": (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "100"),
    "2 MB of brackets": (b"[" * 2_000_000, "body"),
    "2 MB of opened objects": (b'{"a":' * 400_000, "body"),
    "100,001 arrays, objects and fields": (b'{"a":[' + b"{}," * 99_997 + b"{}]}", "100000 arrays, objects and fields"),
    "250,001 values": (b'{"a":[' + b"1," * 250_000 + b"1]}", "250000 values"),
}


@each_of_four
@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_is_no_request_is_refused(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, what: str
) -> None:
    body, named = BODIES[what]
    begun = time.perf_counter()
    reply = send(gateway, caller, body)
    measure(f"ms to refuse a body ({what})", (time.perf_counter() - begun) * 1000)
    assert reply.status == 400, reply
    assert named in told_error(reply, caller)
    assert len(reply.body) < 2048
    assert not upstream.requests
    assert_lives(upstream, gateway, caller)


CHAT_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"messages": 5}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": [5]}, "messages.0"),
    ({"messages": [{}]}, "messages.0.role"),
    ({"messages": [{"role": 5, "content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": [{"type": 5}]}]}, "messages.0.content.0.type"),
    ({"messages": [{"role": "user", "content": [{}]}]}, "messages.0.content.0.type"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
    ({"model": 5}, "model"),
    ({"model": None}, "model"),
    ({"max_tokens": "many"}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": 99}, "temperature"),
    ({"top_p": -1}, "top_p"),
    ({"stream": "yes"}, "stream"),
    ({"tools": {}}, "tools"),
    ({"tools": [5]}, "tools.0"),
    ({"tool_choice": 5}, "tool_choice"),
]


@pytest.mark.parametrize("caller", [OPENAI_CALLER, ANTHROPIC_CALLER], ids=["openai", "anthropic"])
@pytest.mark.parametrize(("fields", "named"), CHAT_FIELDS, ids=[f"{f}"[:60] for f, _ in CHAT_FIELDS])
def test_a_field_of_the_wrong_type_is_named(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, fields: dict[str, Any], named: str
) -> None:
    body = orjson.dumps({**caller.body("openai", stream=False), **fields})
    reply = send(gateway, caller, body)
    assert reply.status == 400, reply
    assert named in told_error(reply, caller)
    if caller is OPENAI_CALLER:
        assert orjson.loads(reply.body)["error"]["param"] == named
    assert not upstream.requests


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"prompt": 5}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"messages": 5, "prompt": None}, "messages"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": []}, "temperature"),
        ({"messages": [], "prompt": "x"}, "prompt"),
    ],
)
def test_a_field_of_a_truss_call_that_can_not_be_translated_is_named(
    upstream: HostileUpstream, gateway: Gateway, fields: dict[str, Any], named: str
) -> None:
    caller = TRUSS_CALLER
    reply = send(gateway, caller, orjson.dumps({**caller.body("openai", stream=False), **fields}))
    assert reply.status == 400, reply
    assert named in told_error(reply, caller)
    assert not upstream.requests


# Per RFC 8259 these are legal: whatever is made of them, it is never a failure of ours.
ODD: dict[str, bytes] = {
    "an integer of 30 digits": b'"seed": 123456789012345678901234567890',
    "an integer of 65 bits": b'"seed": 36893488147419103232',
    "a huge float for an integer": b'"seed": 1e300',
    "a huge max_tokens": b'"max_tokens": 1e300',
    "a negative zero": b'"seed": -0',
    "a tiny number": b'"temperature": 1e-400',
    "duplicate keys": b'"seed": 1, "seed": 2',
    "a duplicate model": b'"model": "openai", "model": "openai"',
    "an empty name": b'"": 1',
    "a name with CR and LF": b'"x\\r\\nset-cookie: a=b": 1',
    "a name of 100 kB": b'"' + b"n" * 100_000 + b'": 1',
    "90 levels": b'"x": ' + b"[" * 90 + b"]" * 90,
    "other people's addresses": b'"base_url": "http://169.254.169.254/", "api_base": "http://localhost:1/", "url": "x"',
    "other people's keys": b'"api_key": "sk-x", "headers": {"authorization": "x"}, "extra_headers": {"a": "b"}',
    "a prototype": b'"__proto__": {"a": 1}, "constructor": 1, "__class__": 1',
    "U+2028": b'"user": "\xe2\x80\xa8"',
}


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("route", ["openai", "anthropic", "responses", "truss"])
def test_odd_but_legal_json_is_taken_or_refused(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, what: str, route: str
) -> None:
    upstream.perform(answers_as_asked)
    body = orjson.dumps(caller.body(route, stream=False))[:-1] + b", " + ODD[what] + b"}"
    reply = ask(gateway.port, post(caller.path(route), body))
    assert reply.status in (200, 400, 404), reply
    assert "set-cookie" not in reply.names
    for seen in upstream.requests:
        assert seen.values("host") == [f"127.0.0.1:{upstream.port}"]
        sent = orjson.loads(seen.body)
        names = [name for name in sent if name in ("model", "seed", "messages")]
        assert all(seen.body.count(b'"%s":' % name.encode()) == 1 for name in names), "a key came twice"


@each_of_four
@pytest.mark.parametrize(
    "model", ["nobody", "", "a\r\nx-evil: 1", "../../etc/passwd", "x" * 5000, "http://evil/", "ünï", "\u0000"]
)
def test_an_unknown_model_is_not_found(gateway: Gateway, caller: Caller, model: str) -> None:
    from urllib.parse import quote

    body = orjson.dumps({**caller.body(model, stream=False), "model": model})
    path = caller.path(quote(model, safe="") if caller.dialect == "truss" else model)
    reply = ask(gateway.port, post(path, body))
    assert reply.status == 404, reply
    assert told_error(reply, caller)
    assert "x-evil" not in reply.names
    assert len(reply.body) < 2048


UNKNOWN = [
    "/v1/messages/nothing",
    "/nothing",
    "/v1/nothing",
    "/model-x/nothing",
    "/production/nothing",
    "//v1//messages",
]


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_an_unknown_path_is_told_in_the_dialect_of_its_kind(gateway: Gateway, path: str, method: str) -> None:
    owner = {
        "/v1/messages/nothing": ANTHROPIC_CALLER,
        "/model-x/nothing": TRUSS_CALLER,
        "/production/nothing": TRUSS_CALLER,
    }
    reply = ask(gateway.port, f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    assert reply.status == 404
    told_error(reply, owner.get(path, OPENAI_CALLER))


@each_of_four
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_a_wrong_method_is_told_which_one_is_right(gateway: Gateway, caller: Caller, method: str) -> None:
    request = f"{method} {caller.path('openai')} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    reply = ask(gateway.port, request.encode())
    told_error(reply, caller)
    if caller is RESPONSES_CALLER and method == "GET":  # how a WebSocket would begin
        assert reply.status == 426
        return
    assert reply.status == 405
    assert reply.header("allow") == "POST"


@each_of_four
def test_a_body_announced_over_the_limit_is_refused_before_it_is_read(gateway: Gateway, caller: Caller) -> None:
    head = (
        f"POST {caller.path('openai')} HTTP/1.1\r\nhost: x\r\ncontent-length: {64 << 20}\r\nconnection: close\r\n\r\n"
    )
    begun = time.perf_counter()
    with calling(gateway.port, head.encode()) as call:
        call.read_until(b"\r\n\r\n")
        took = time.perf_counter() - begun
        assert b" 413 " in call.received
        reply = call.read_reply()
    measure("ms until 413 for a body announced as too large", took * 1000)
    assert took < 0.25
    assert "33554432" in told_error(reply, caller)


@each_of_four
def test_a_chunked_body_over_the_limit_is_refused_where_it_crosses_it(
    upstream: HostileUpstream, caller: Caller
) -> None:
    limit, step = 256 * 1024, 16 * 1024
    with gateway_in_thread(configuration(upstream.port, max_body="256KiB")) as small, connected(small.port) as client:
        head = f"POST {caller.path('openai')} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        client.send(head.encode())
        sent = 0
        while not _has_answer(client) and sent < 8 * limit:
            client.send(b"%x\r\n%s\r\n" % (step, b" " * step))
            sent += step
            time.sleep(0.002)
        assert client.read_answer().status == 413
        measure("KiB sent of a chunked body until 413 at 256 KiB", sent / 1024)
        assert sent <= limit + (1 << 20)
        assert not small.failures


def _has_answer(client: RawClient) -> bool:
    import socket

    client.socket.setblocking(False)
    try:
        return bool(client.socket.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        client.socket.settimeout(10)


@each_of_four
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "GZIP", "identity, gzip"])
def test_a_compressed_body_is_refused(gateway: Gateway, caller: Caller, coding: str) -> None:
    reply = send(gateway, caller, body_of(caller), f"content-encoding: {coding}")
    assert reply.status == 415
    told_error(reply, caller)


@each_of_four
def test_an_address_in_the_target_or_host_decides_nothing(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    upstream.perform(answers_as_asked)
    body = body_of(caller)
    for target, host in (
        (f"http://169.254.169.254{caller.path('openai')}", "169.254.169.254"),
        (caller.path("openai"), "169.254.169.254"),
        (caller.path("openai"), "model-anthropic.evil.example"),
        (f"{caller.path('openai')}?base_url=http://evil/&model=anthropic&key=x", "x"),
    ):
        lines = [f"POST {target} HTTP/1.1", f"host: {host}", "x-forwarded-host: evil", "connection: close"]
        head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode()
        reply = ask(gateway.port, head + body)
        assert reply.status in (200, 400, 404), reply
    for seen in upstream.requests:
        assert seen.target == "/v1/chat/completions"
        assert seen.values("host") == [f"127.0.0.1:{upstream.port}"]


# -- many random bodies ----------------------------------------------------------------------------------------------

RICH: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {
            "role": "assistant",
            "content": "Hm",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "3"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
    "tool_choice": "auto",
    "stop": ["x"],
    "stream_options": {"include_usage": True},
    "response_format": {"type": "text"},
    "metadata": {"a": "b"},
    "seed": 3,
    "temperature": 0.5,
    "top_p": 0.5,
    "max_tokens": 9,
    "n": 1,
    "user": "u",
}
RICH_MESSAGES: dict[str, Any] = {
    "max_tokens": 9,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "3"}]},
    ],
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "auto"},
    "stop_sequences": ["x"],
    "metadata": {"user_id": "u"},
    "thinking": {"type": "disabled"},
    "temperature": 0.5,
    "top_k": 3,
}
RICH_RESPONSE: dict[str, Any] = {
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "3"},
    ],
    "tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}],
    "tool_choice": "auto",
    "text": {"format": {"type": "text"}, "verbosity": "low"},
    "include": ["reasoning.encrypted_content"],
    "metadata": {"a": "b"},
    "max_output_tokens": 9,
    "store": False,
    "user": "u",
}
RICH_OF = {
    "openai": RICH,
    "anthropic": RICH_MESSAGES,
    "responses": RICH_RESPONSE,
    "truss": {"prompt": "Hi", "max_new_tokens": 5, "stop": "x"},
}
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**53,
    2**63,
    2**64 - 1,
    1e19,
    1e300,
    -1e300,
    0.1,
    "",
    "x",
    "auto",
    "user",
    "text",
    "\u2028\x00\r\n",
    "😀" * 50,
    "a" * 3000,
    [],
    {},
    [[]],
    [None],
    [{}],
    {"": None},
    {"type": "text"},
    {"type": "function"},
    {"type": "image_url", "image_url": {"url": "data:;base64,"}},
    {"type": "image", "source": {"type": "base64", "media_type": "x", "data": "y"}},
    {"type": "thinking", "thinking": "x"},
)


def mutated(value: Any, chance: random.Random) -> Any:
    """The value with one or a few places replaced, removed, doubled or moved."""
    value = orjson.loads(orjson.dumps(value))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        places = list(containers(value))
        place = chance.choice(places)
        if isinstance(place, dict):
            name = chance.choice([*place, "model", "stream", "extra"])
            if chance.random() < 0.2:
                place.pop(name, None)
            else:
                place[name] = chance.choice([*VALUES, *places[:1]]) if chance.random() < 0.9 else [place.get(name)]
        elif place and chance.random() < 0.7:
            place[chance.randrange(len(place))] = chance.choice(VALUES)
        else:
            place.append(chance.choice(VALUES))
        value = orjson.loads(orjson.dumps(value, default=str)) if not _is_circular(value) else {"circular": 1}
    return value


def _is_circular(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return True
    return False


def containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for child in value.values() if isinstance(value, dict) else value:
            yield from containers(child)


@pytest.mark.slow
@each_of_four
def test_two_thousand_random_bodies_are_never_a_failure_of_ours(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    """Seeded; each body goes to each dialect of upstream in turn."""
    upstream.perform(answers_as_asked)
    chance = random.Random(20260801)
    routes = ("openai", "anthropic", "responses", "truss")
    statuses: dict[int, int] = {}
    with connected(gateway.port) as client:
        for number in range(2000):
            route = routes[number % 3]
            body = {**caller.body(route, stream=False), **RICH_OF[caller.dialect]}
            mutant = mutated(body, chance)
            if isinstance(mutant, dict) and mutant.get("stream") is True:
                mutant["stream"] = False
            raw = orjson.dumps(mutant)
            client.send(post(caller.path(route), raw, close=False))
            answer = client.read_answer()
            assert answer.status in (200, 400, 404), (raw, answer)
            orjson.loads(answer.body)
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
    assert statuses[200] > 100
    assert statuses[400] > 100


@each_of_four
def test_random_bytes_are_never_a_failure_of_ours(upstream: HostileUpstream, gateway: Gateway, caller: Caller) -> None:
    upstream.perform(answers_as_asked)
    chance = random.Random(7)
    with connected(gateway.port) as client:
        for _ in range(500):
            raw = bytearray(orjson.dumps({**caller.body("openai", stream=False), **RICH_OF[caller.dialect]}))
            for _ in range(chance.randint(1, 5)):
                raw[chance.randrange(len(raw))] = chance.randrange(256)
            raw = raw.replace(b'"stream":true', b'"stream":null')
            client.send(post(caller.path("openai"), bytes(raw), close=False))
            assert client.read_answer().status in (200, 400, 404)
