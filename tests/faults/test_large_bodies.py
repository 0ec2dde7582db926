"""Large bodies: an answer in bounded time, and nobody else waits for it (issue 3, "Bad input"; pitfall 128)."""

from __future__ import annotations

import base64
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from tests.faults.callers import (
    ANTHROPIC_CALLER,
    FOUR,
    OPENAI_CALLER,
    Caller,
    Reply,
    ask,
    calling,
    post,
    told_error,
)
from tests.faults.harness import Gateway, free_port, gateway_process
from tests.faults.hostile_upstream import HostileUpstream, until
from tests.faults.pacing import Crowd, Pace, crowd, routes
from tests.faults.test_bad_input import answers_as_asked
from tests.measured import measure
from tests.sockets import connected

MB: Final = 1_000_000
TWO: Final = (OPENAI_CALLER, ANTHROPIC_CALLER)
each_of_two = pytest.mark.parametrize("caller", TWO, ids=lambda caller: caller.name)


# -- what is sent ----------------------------------------------------------------------------------------------------


def image(size: int) -> Callable[[Caller], dict[str, Any]]:
    data = base64.b64encode(random.Random(1).randbytes(size * 3 // 4)).decode()

    def body(caller: Caller) -> dict[str, Any]:
        source = {"type": "base64", "media_type": "image/png", "data": data}
        part = {
            "openai": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
            "anthropic": {"type": "image", "source": source},
        }[caller.dialect]
        return {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]}

    return body


def conversation(count: int, size: int) -> Callable[[Caller], dict[str, Any]]:
    """Questions and answers in parts, the last word the user's."""

    def body(caller: Caller) -> dict[str, Any]:
        content = [{"type": "text", "text": "y" * size}]
        turns = [{"role": ("user", "assistant")[n % 2], "content": content} for n in range(count - 1)]
        return {"messages": [*turns, {"role": "user", "content": content}]}

    return body


def one_sided(count: int, size: int) -> Callable[[Caller], dict[str, Any]]:
    """Ten thousand neighbours of one role, which some upstreams need gathered into one turn."""
    return lambda caller: {"messages": [{"role": "user", "content": "y" * size}] * count}


def code(size: int) -> Callable[[Caller], dict[str, Any]]:
    line = '  if (x["k"] == [1, {2: 3}]) {\n    y = "a\\n";\n  }\n'
    return lambda caller: {"messages": [{"role": "user", "content": line * (size // len(line))}]}


def tools(count: int, fields: int, size: int) -> Callable[[Caller], dict[str, Any]]:
    """Tools with so many fields each, described in so many characters."""

    def body(caller: Caller) -> dict[str, Any]:
        properties = {f"p{n}": {"type": "string", "description": "d" * size} for n in range(fields)}
        schema = {"type": "object", "properties": properties}
        declared: list[Any] = [{"name": f"f{n}", "description": "d" * size} for n in range(count)]
        wrapped = {
            "openai": [{"type": "function", "function": {**tool, "parameters": schema}} for tool in declared],
            "anthropic": [{**tool, "input_schema": schema} for tool in declared],
        }
        return {"messages": [{"role": "user", "content": "Hi"}], "tools": wrapped[caller.dialect]}

    return body


def tiny_objects(count: int) -> Callable[[Caller], dict[str, Any]]:
    return lambda caller: {**caller.template, "metadata": {"all": [{f"k{n}": n} for n in range(count)]}}


def nested(levels: int) -> Callable[[Caller], bytes]:
    return lambda caller: b'{"a":' + b"[" * levels


BODIES: Final[dict[str, tuple[Callable[[Caller], Any], int]]] = {
    "an image, 10 MB": (image(10 * MB), 200),
    "an image, 20 MB": (image(20 * MB), 200),
    "10,000 messages, 10 MB": (conversation(10_000, 900), 200),
    "10,000 messages of one role, 10 MB": (one_sided(10_000, 950), 200),
    "a prompt of code, 10 MB": (code(9 * MB), 200),
    "a tool schema of 10 MB": (tools(1, 20_000, 430), 200),
    "5,000 tools, 10 MB": (tools(5_000, 1, 900), 200),
    "200,000 tiny objects": (tiny_objects(200_000), 400),
    "9,000,000 nested arrays": (nested(9 * MB), 400),
}
"""What, and the status of its answer."""


def written(body: Any, caller: Caller, model: str) -> bytes:
    return body if isinstance(body, bytes) else orjson.dumps({**caller.body(model, stream=False), **body})


# -- nobody else waits -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Crowd, Pace]]:
    """A gateway in a process of its own with a paced stream through it, and a crowd to ask it."""
    folder: Path = tmp_path_factory.mktemp("paced")
    with socket.create_server(("127.0.0.1", 0)) as listener, crowd() as others:
        port = free_port()
        with gateway_process(folder, routes(listener.getsockname()[1], others.port), port):
            pace = Pace(port)
            with pace.kept(listener):
                for _ in range(20):
                    time.sleep(0.2)
                    measure("ms that a stream waits for nothing (of 0.2 s each)", pace.worst_ms())
                yield port, others, pace


@pytest.mark.slow
@pytest.mark.parametrize("target", TWO, ids=lambda target: f"to-{target.name}")
@each_of_two
@pytest.mark.parametrize("what", BODIES)
def test_another_stream_hardly_waits_for_a_large_body(
    apart: tuple[int, Crowd, Pace], what: str, caller: Caller, target: Caller
) -> None:
    """Pitfall 128: less than 20 ms is what we aim at for 10 MB.

    Other work on the machine adds to each figure, so the best of five is held against three times as much. On the
    loop itself it was 40 ms for an image, hundreds for many messages.
    """
    port, others, pace = apart
    make, status = BODIES[what]
    body = written(make(caller), caller, f"heavy-{target.name}")
    worst_ms = []
    for _ in range(5):
        pace.worst_ms()
        reply, took_s = others.ask(port, caller.path(""), body)
        worst_ms.append(pace.worst_ms())
        assert reply.status == status, reply
        measure(f"ms that another stream waits ({what})", worst_ms[-1])
        measure(f"s until an answer ({what})", took_s)
        assert took_s < 10
    assert min(worst_ms) < (80 if "20 MB" in what else 60)


# -- everybody gets an answer ----------------------------------------------------------------------------------------


def send(gateway: Gateway, caller: Caller, body: bytes) -> tuple[Reply, float]:
    begun = time.perf_counter()
    reply = ask(gateway.port, post(caller.path("openai"), body))
    return reply, time.perf_counter() - begun


@each_of_two
@pytest.mark.parametrize("what", ["an image, 20 MB", "10,000 messages, 10 MB", "a tool schema of 10 MB"])
def test_a_large_body_arrives_upstream_as_it_was_sent(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, what: str
) -> None:
    upstream.perform(answers_as_asked)
    body = {**caller.body(caller.name, stream=False), **BODIES[what][0](caller)}
    reply, took_s = send(gateway, caller, orjson.dumps(body))
    assert reply.status == 200, reply
    assert orjson.loads(upstream.requests[0].body) == {**body, "model": "first"}
    measure(f"s until an answer to {what}", took_s)
    assert took_s < 10


@pytest.mark.parametrize("levels", [101, 254, 255, 1024, 1025, 100_000, 1_000_000, 15_000_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'], ids=["arrays", "objects"])
@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "open"])
def test_no_depth_is_more_than_a_bad_request(
    upstream: HostileUpstream, gateway: Gateway, levels: int, opening: bytes, is_closed: bool
) -> None:
    """No recursion error, whatever the depth and on either side of what orjson reads (1,024) and writes (254)."""
    levels = min(levels, 15_000_000 // len(opening))
    closing = (b"]" if opening == b"[" else b"}") * levels if is_closed else b""
    for caller in FOUR:
        body = b'{"metadata":' + opening * levels + (b"1" + closing + b"}" if is_closed else b"")
        reply, took_s = send(gateway, caller, body)
        assert reply.status == 400, reply
        assert told_error(reply, caller).startswith("body: ")
        assert took_s < 5
    assert not upstream.requests


@each_of_two
@pytest.mark.parametrize("place", [0, 5_000, 9_999])
def test_one_wrong_message_of_ten_thousand_is_named(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, place: int
) -> None:
    body = {**caller.body("openai", stream=False), **conversation(10_000, 100)(caller)}
    body["messages"][place] = {"role": "user", "content": [{"type": "text", "text": 5}]}
    reply, took_s = send(gateway, caller, orjson.dumps(body))
    assert reply.status == 400
    path = f"messages.{place}.content.0.text"
    assert told_error(reply, caller) == f"{path}: expected a string, got an integer"
    if caller is OPENAI_CALLER:
        assert orjson.loads(reply.body)["error"]["param"] == path
    measure("s to name one wrong message of 10,000", took_s)
    assert not upstream.requests
    assert took_s < 10


@each_of_two
def test_one_wrong_tool_of_five_thousand_is_named(upstream: HostileUpstream, gateway: Gateway, caller: Caller) -> None:
    body = {**caller.body("openai", stream=False), **tools(5_000, 1, 900)(caller)}
    tool = body["tools"][4_321]
    (tool.get("function") or tool)["name"] = 7
    reply, took_s = send(gateway, caller, orjson.dumps(body))
    assert reply.status == 400
    place = "tools.4321.function.name" if caller is OPENAI_CALLER else "tools.4321.name"
    assert told_error(reply, caller) == f"{place}: expected a string, got an integer"
    assert took_s < 10


@pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
def test_a_body_over_the_limit_is_413_in_its_dialect(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    """Pitfall 128: 40 MB that are really sent; who goes on sending gets to read the answer."""
    body = orjson.dumps(caller.body("openai", prompt="y" * 40 * MB))
    with connected(gateway.port) as client:
        client.send(post(caller.path("openai"), body, close=False))
        answer = client.read_answer()
    assert answer.status == 413
    assert b"exceeds limit of 33554432" in answer.body
    assert set(orjson.loads(answer.body)) == {"openai": {"error"}, "anthropic": {"type", "error", "request_id"}}.get(
        caller.dialect, {"error"}
    )
    assert not upstream.requests


# -- a client that does not wait -------------------------------------------------------------------------------------


@each_of_two
def test_a_client_that_leaves_while_its_body_is_read_costs_nothing_more(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    """Reading ten thousand messages takes a tenth of a second at least; several wait behind each other."""
    upstream.perform(answers_as_asked)
    body = orjson.dumps({**caller.body("openai", stream=False), **conversation(10_000, 100)(caller)})
    before = gateway.tasks
    for _ in range(4):
        with calling(gateway.port, post(caller.path("openai"), body)) as call:
            call.leave()
    took_s = until(lambda: len(gateway.lines) == 4, "all four are over")
    measure("s until four clients that left are forgotten", took_s)
    assert [line["end"] for line in gateway.lines] == ["client_left"] * 4
    until(lambda: gateway.tasks <= before, "no task is left")
    assert not upstream.requests
    reply, _ = send(gateway, caller, orjson.dumps(caller.body("openai", stream=False)))
    assert reply.status == 200
