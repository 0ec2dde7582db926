"""What each proxy hands to the gateway, what it keeps to itself, and that it waits as long as the gateway does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from gateway.config import Server
from gateway.config.route import Timeouts
from tests.deploy.proxies import DEPLOY, PROXIES, Proxy, Running, running, settings_of
from tests.faults.callers import OPENAI_CALLER, ask, post
from tests.faults.harness import free_port
from tests.faults.hostile_upstream import HostileUpstream, Play, Seen
from tests.faults.voices import OPENAI, says, sized
from tests.sockets import connected

SECRET = "sk-planted-client-key-0123456789"
ANSWER = sized(OPENAI.whole("Salt"), 200, ("x-gateway-request-id", "req_planted"))


def as_gateway(seen: Seen) -> Play:
    """Stands in for the gateway: ready, and answers everything."""
    return says(sized(b"{}") if seen.target == "/readyz" else ANSWER)


@pytest.fixture(scope="module")
def before(kind: Proxy, the_upstream: HostileUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Each proxy before a server that shows what arrives."""
    the_upstream.direct(as_gateway)
    with running(kind, tmp_path_factory.mktemp(kind.name), the_upstream.port) as proxy:
        yield proxy
    the_upstream.direct(None)


@pytest.fixture
def seen(before: Running, upstream: HostileUpstream) -> list[Seen]:
    """What arrived since the test began, the proxy's own probes included."""
    upstream.requests.clear()
    return upstream.requests


def calls(seen: list[Seen]) -> list[Seen]:
    """What arrived besides the proxy's own probes."""
    return [each for each in seen if each.target != "/readyz"]


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n".encode()


INSIDE = [
    *(
        "/metrics",
        "/metrics/",
        "/metrics?name[]=up",
        "/METRICS",
        "/%6detrics",
        "/metrics%2F",
        "//metrics",
        "/./metrics",
    ),
    *("/v1/../metrics", "/docs", "/docs/x", "/console/", "/metrics/../metrics"),
]


@pytest.mark.parametrize("path", INSIDE)
def test_what_is_for_the_inside_is_not_seen_outside(before: Running, seen: list[Seen], path: str) -> None:
    reply = ask(before.port, get(path))
    # A path may pass as it is where it is none of the gateway's, which knows no `..` and no `//`.
    passed = [each.target for each in calls(seen)]
    assert passed in ([], [path])
    assert not re.match(r"/(metrics|docs|console)(/|$)", (passed or ["/"])[0].lower())
    if not passed:
        assert reply.status == 404
        assert orjson.loads(reply.body)["error"]["message"] == "no such path"


def test_other_paths_pass_as_they_are(before: Running, seen: list[Seen]) -> None:
    paths = ["/v1/models", "/v1/models/demo%3Ffault=cut@3", "/model-a%2Fb/production/predict?x=1&y=%20", "/metricsx"]
    for path in paths:
        assert ask(before.port, get(path)).status == 200
    assert [each.target for each in calls(seen)] == paths


def test_headers_of_a_call_pass_and_forwarding_is_told_by_the_proxy(before: Running, seen: list[Seen]) -> None:
    kept = {
        "authorization": f"Bearer {SECRET}",
        "x-api-key": SECRET,
        "anthropic-version": "2023-06-01",
        "x-gateway-strict": "1",
        "x-request-id": "theirs-1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    claimed = ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: gopher", "x-forwarded-host: elsewhere"]
    reply = ask(
        before.port, post("/v1/messages", b"{}", *(f"{name}: {value}" for name, value in kept.items()), *claimed)
    )
    (call,) = calls(seen)
    assert {name: call.values(name) for name in kept} == {name: [value] for name, value in kept.items()}
    assert call.values("host") == ["gateway"]
    assert call.values("x-forwarded-for") == ["127.0.0.1"]  # who called, once, and not what was claimed before it
    assert call.values("x-forwarded-proto") == ["http"]
    assert call.values("x-forwarded-host") == ["gateway"]
    assert reply.header("x-gateway-request-id") == "req_planted"


def test_no_key_and_no_prompt_is_written_anywhere(before: Running, seen: list[Seen]) -> None:
    prompt = "planted prompt " * 20_000  # more than fits a buffer in memory
    body = orjson.dumps(OPENAI_CALLER.body("m", messages=[{"role": "user", "content": prompt}]))
    fields = [f"authorization: Bearer {SECRET}", f"x-api-key: {SECRET}"]
    assert ask(before.port, post("/v1/messages", body, *fields)).status == 200
    written = before.written()
    assert b"/v1/messages" in written
    assert b"req_planted" in written  # leads from the proxy's line to the gateway's
    assert SECRET.encode() not in written
    assert b"planted prompt" not in written


def test_connections_to_the_gateway_are_kept(before: Running, upstream: HostileUpstream, seen: list[Seen]) -> None:
    request = post("/v1/chat/completions", b"{}", close=False)
    with connected(before.port) as client:
        for _ in range(5):
            client.send(request)
            assert client.read_answer().status == 200
    asked = [peer for peer in upstream.peers if any(each in calls(seen) for each in peer.requests)]
    assert len(calls(seen)) == 5
    assert len(asked) == 1


@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.name)
def test_without_a_gateway_sdks_get_an_error_that_they_repeat(proxy: Proxy, tmp_path: Path) -> None:
    with running(proxy, tmp_path, free_port()) as before:
        reply = ask(before.port, OPENAI_CALLER.request("demo"))
    assert reply.status == 503
    assert reply.header("content-type") == "application/json"
    assert reply.header("retry-after") == "1"
    error = orjson.loads(reply.body)
    assert error["type"] == "error"  # Anthropic's shape, and OpenAI's, in one
    assert set(error["error"]) == {"type", "message", "param", "code"}


# -- patience ---------------------------------------------------------------------------------------------------------

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def seconds(file: str, setting: str) -> float:
    """The duration that a file gives to a setting."""
    found = re.search(rf"\b{re.escape(setting)} (\d+)(ms|s|m|h)\b", settings_of(DEPLOY / file))
    assert found, f"{file}: no {setting}"
    return int(found[1]) * UNITS[found[2]]


NGINX, CADDY, HAPROXY = "nginx/triglot.conf", "caddy/Caddyfile", "haproxy/haproxy.cfg"


@pytest.mark.parametrize(
    ("file", "setting"),
    [(NGINX, "proxy_read_timeout"), (HAPROXY, "timeout server"), (HAPROXY, "timeout client")],
)
def test_proxies_wait_longer_than_a_request_may_take(file: str, setting: str) -> None:
    assert seconds(file, setting) > Timeouts().total


@pytest.mark.parametrize(
    ("file", "setting"), [(NGINX, "keepalive_timeout"), (CADDY, "keepalive"), (HAPROXY, "pool-purge-delay")]
)
def test_proxies_close_idle_connections_before_the_gateway_does(file: str, setting: str) -> None:
    assert seconds(file, setting) < Server().idle_timeout


def test_caddy_has_no_deadline_that_ends_a_stream() -> None:
    assert not re.search(
        r"\b(response_header_timeout|read_timeout|write_timeout|read_body|write)\s", settings_of(DEPLOY / CADDY)
    )
