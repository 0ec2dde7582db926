"""A request is found again: its id in upstream headers, in the answer and in the log; its client's trace upstream."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from gateway.config import parse
from tests.faults.callers import FOUR, OPENAI_CALLER, Caller, ask
from tests.faults.harness import Gateway, gateway_in_thread
from tests.faults.hostile_upstream import HostileUpstream, Seen
from tests.faults.voices import OPENAI, answers, says, sized
from tests.wire.test_trace_context import PARENT, TRACE

FAILURE = says(sized(b"{}", status=503))
STATE = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"


@pytest.fixture
def gateway(upstream: HostileUpstream) -> Iterator[Gateway]:
    """Two targets of one upstream, each asked once or, if its server breaks, a second time at once."""
    place = {"dialect": "openai", "url": f"http://127.0.0.1:{upstream.port}/v1"}
    routes = {"demo": {"targets": [{"upstream": "a"}], "fallback": [{"upstream": "b"}], "retries": {"backoff": "1ms"}}}
    whole = {"server": {"port": "0"}, "upstreams": {"a": place, "b": place}, "routes": routes}
    with gateway_in_thread(parse(orjson.dumps(whole), "tracing.yaml", {})) as gateway:
        yield gateway


def traced(request: bytes, *fields: str) -> bytes:
    """A request with some header fields more."""
    line, _, rest = request.partition(b"\r\n")
    return b"\r\n".join([line, *(field.encode() for field in fields), rest])


def told(seen: Seen) -> dict[str, list[str]]:
    return {name: seen.values(name) for name in ("traceparent", "tracestate") if seen.values(name)}


@pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
def test_the_upstream_gets_the_id_that_the_client_and_the_log_get(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    upstream.perform(answers(OPENAI))
    reply = ask(gateway.port, caller.request("demo"))
    (seen,) = upstream.requests
    assert seen.values("x-request-id") == [gateway.the_line()["request_id"]] == [reply.header("x-gateway-request-id")]
    assert told(seen) == {}
    assert "trace_id" not in gateway.the_line()


def test_no_two_calls_of_a_request_have_one_id(upstream: HostileUpstream, gateway: Gateway) -> None:
    """A server that makes its own id of it may be busy with both at a time."""
    upstream.perform(FAILURE, FAILURE, answers(OPENAI))
    assert ask(gateway.port, OPENAI_CALLER.request("demo")).status == 200
    first = gateway.the_line()["request_id"]
    ids = [seen.values("x-request-id") for seen in upstream.requests]
    assert ids == [[first], [f"{first}-2"], [f"{first}-3"]]


def test_a_clients_trace_goes_on_with_every_call(upstream: HostileUpstream, gateway: Gateway) -> None:
    upstream.perform(FAILURE, answers(OPENAI))
    ask(gateway.port, traced(OPENAI_CALLER.request("demo"), f"Traceparent: {PARENT}", f"TraceState: {STATE}"))
    assert [told(seen) for seen in upstream.requests] == [{"traceparent": [PARENT], "tracestate": [STATE]}] * 2
    assert gateway.the_line()["trace_id"] == TRACE


def test_a_state_in_several_fields_is_one(upstream: HostileUpstream, gateway: Gateway) -> None:
    upstream.perform(answers(OPENAI))
    first, second = STATE.split(",")
    fields = (f"traceparent: {PARENT}", f"tracestate: {first}", f"tracestate: {second}")
    ask(gateway.port, traced(OPENAI_CALLER.request("demo"), *fields))
    assert told(upstream.requests[0])["tracestate"] == [STATE]


@pytest.mark.parametrize(
    "fields",
    [
        (f"tracestate: {STATE}",),
        ("traceparent: nonsense", f"tracestate: {STATE}"),
        (f"traceparent: {PARENT}", f"traceparent: {PARENT}", f"tracestate: {STATE}"),
        (f"traceparent: {PARENT.replace('00-', 'ff-', 1)}",),
    ],
)
def test_what_is_no_trace_goes_nowhere(upstream: HostileUpstream, gateway: Gateway, fields: tuple[str, ...]) -> None:
    """And the request is served as any other."""
    upstream.perform(answers(OPENAI))
    assert ask(gateway.port, traced(OPENAI_CALLER.request("demo"), *fields)).status == 200
    assert told(upstream.requests[0]) == {}
    assert "trace_id" not in gateway.the_line()


def test_a_client_has_no_say_in_the_id(upstream: HostileUpstream, gateway: Gateway) -> None:
    upstream.perform(answers(OPENAI))
    ask(gateway.port, traced(OPENAI_CALLER.request("demo"), "x-request-id: mine"))
    assert upstream.requests[0].values("x-request-id") == [gateway.the_line()["request_id"]]
