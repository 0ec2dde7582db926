"""Headers pass in neither direction unless they are on a list (HARDENING.md §3)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.callers import CALLERS, FOUR, Caller, ask, calling
from tests.faults.harness import KEY, PAIR_IDS, PAIRS, Gateway
from tests.faults.hostile_upstream import HostileUpstream
from tests.faults.voices import ANTHROPIC, OPENAI, RAW, RESPONSES, TEXT, Voice, answers, head, says, sized

SENT = {"host", "accept", "accept-encoding", "content-type", "content-length", "user-agent", "x-request-id"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
AUTH = {"openai": ("authorization", f"Bearer {KEY}"), "anthropic": ("x-api-key", KEY)}
AUTH["truss"] = AUTH["responses"] = AUTH["openai"]
NOISE = (
    "authorization: Bearer of-the-client",
    "x-api-key: of-the-client",
    "api-key: of-the-client",
    "cookie: session=of-the-client",
    "x-forwarded-for: 10.0.0.1",
    "x-forwarded-host: evil.example",
    "x-forwarded-proto: https",
    "forwarded: for=10.0.0.1",
    "x-real-ip: 10.0.0.1",
    "via: 1.1 evil",
    "te: trailers",
    "keep-alive: timeout=5",
    "proxy-authorization: Basic b2Y=",
    "proxy-connection: keep-alive",
    "upgrade: h2c",
    "expect-ct: x",
    "accept-encoding: gzip, br",
    "origin: https://evil.example",
    "referer: https://evil.example/",
    "openai-organization: evil",
    "anthropic-beta: evil",
    "x-http-method-override: DELETE",
    f"traceparent: {TRACE}",  # the one that is a client's and passes, because it is valid
    "tracestate: not a list of pairs",
    "baggage: user=of-the-client",
    "x-anything: else",
)


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
@pytest.mark.parametrize("stream", [True, False])
def test_an_upstream_gets_our_headers_and_none_of_the_clients(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, stream: bool
) -> None:
    upstream.perform(answers(voice))
    assert ask(gateway.port, caller.request(voice.upstream, *NOISE, stream=stream)).status == 200
    seen = upstream.requests[0]
    name, value = AUTH[voice.upstream]
    allowed = SENT | {name, "traceparent"} | ({"anthropic-version"} if voice.upstream == "anthropic" else set())
    if voice.upstream == caller.dialect == "anthropic":  # says what the body means, which is forwarded as it is
        allowed |= {"anthropic-beta"}
    assert {key for key, _ in seen.headers} <= allowed
    assert len({key for key, _ in seen.headers}) == len(seen.headers), "a header came twice"
    assert seen.values("accept-encoding") == ["identity"]
    assert seen.values("host") == [f"127.0.0.1:{upstream.port}"]
    assert seen.values(name) == [value]
    assert seen.values("traceparent") == [TRACE]
    assert seen.values("x-request-id")[0].startswith("req_")
    assert "of-the-client" not in str(seen.headers)
    assert "openai" not in seen.values("user-agent")[0]


OURS = {
    "content-type",
    "content-length",
    "transfer-encoding",
    "connection",
    "cache-control",
    "x-accel-buffering",
    "x-request-id",
    "request-id",
}
FROM_UPSTREAM = (
    ("server", "nginx/1.2.3 on host-17"),
    ("date", "Mon, 01 Jan 2001 00:00:00 GMT"),
    ("set-cookie", "a=b"),
    ("access-control-allow-origin", "*"),
    ("access-control-allow-credentials", "true"),
    ("strict-transport-security", "max-age=1"),
    ("keep-alive", "timeout=99"),
    ("proxy-authenticate", "Basic"),
    ("upgrade", "h2c"),
    ("via", "1.1 secret-proxy"),
    ("alt-svc", 'h3=":443"'),
    ("location", "http://evil.example/"),
    ("refresh", "0; url=http://evil.example/"),
    ("www-authenticate", "Basic"),
    ("link", "<http://evil.example>"),
    ("x-powered-by", "secret"),
    ("x-request-id", "of-the-upstream"),
    ("request-id", "of-the-upstream"),
    ("content-encoding", "identity"),
    ("content-disposition", "attachment"),
    ("x-gateway-route", "forged"),
    ("x-gateway-upstream", "forged"),
    ("etag", "x"),
)


@pytest.mark.parametrize(("caller", "voice"), PAIRS, ids=PAIR_IDS)
@pytest.mark.parametrize("what", ["stream", "whole", "refusal"])
def test_a_client_gets_our_headers_and_none_of_the_upstreams(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, voice: Voice, what: str
) -> None:
    extra = "".join(f"{name}: {value}\r\n" for name, value in FROM_UPSTREAM).encode()
    good = {"stream": voice.stream(), "whole": sized(voice.whole(TEXT)), "refusal": sized(b"{}", 400)}[what]
    line, _, rest = good.partition(b"\r\n")
    upstream.perform(says(line + b"\r\n" + extra + rest))
    reply = ask(gateway.port, caller.request(voice.upstream, stream=what == "stream"))
    assert reply.status == (400 if what == "refusal" else 200), reply
    assert {name for name in reply.names if not name.startswith("x-gateway-")} <= OURS
    assert len(reply.names) == len(reply.headers), "a header came twice"
    assert reply.header("x-gateway-route") != "forged"
    assert reply.header("x-gateway-upstream") == voice.upstream
    assert "of-the-upstream" not in str(reply.headers)


@pytest.mark.parametrize("status", [200, 429])
@pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
def test_rate_limits_reach_every_client_in_its_own_spelling(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, status: int
) -> None:
    """mapping.md §9.2, pitfall 53: with an answer, and with a refusal beside when to come back."""
    fields = (("x-ratelimit-remaining-requests", "7"), ("retry-after", "3"), ("x-should-retry", "false"))
    body = OPENAI.whole(TEXT) if status == 200 else b'{"error":{"message":"later"}}'
    upstream.perform(says(sized(body, status, *fields)))
    reply = ask(gateway.port, caller.request("openai", stream=False))
    assert reply.status == status
    spelled = {"anthropic": "anthropic-ratelimit-requests-remaining"}
    assert reply.header(spelled.get(caller.name, "x-ratelimit-remaining-requests")) == "7"
    assert (reply.header("retry-after"), reply.header("x-should-retry")) == ("3", "false")
    assert len([name for name in reply.names if "ratelimit" in name]) == 1


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
@pytest.mark.parametrize("value", ["a\x01b", "ümlaut", "x" * 9000])
def test_strange_values_of_listed_headers_break_nothing(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller, value: str
) -> None:
    fields = (("x-ratelimit-x", value), ("content-type", f"text/event-stream; charset={value[:50]}"))
    top = head(200, *fields, ("transfer-encoding", "chunked"))
    upstream.perform(says(top + OPENAI.stream().partition(b"\r\n\r\n")[2]))
    reply = ask(gateway.port, caller.request("openai"))
    assert reply.status in (200, 502)


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
def test_names_of_unknown_fields_can_not_inject_headers(
    upstream: HostileUpstream, gateway: Gateway, caller: Caller
) -> None:
    upstream.perform(answers(OPENAI))
    hostile: dict[str, Any] = {
        "x\r\nset-cookie: a=b": 1,
        "x\nset-cookie: a=b": 1,
        "ünïcode": 1,
        "a,b": 1,
        "\x00": 1,
        "y" * 5000: 1,
        "fine_name": 1,
        **{f"field_{n}": 1 for n in range(2000)},
    }
    for voice in (ANTHROPIC, OPENAI, RAW, RESPONSES):
        upstream.perform(answers(voice))
        with calling(gateway.port, caller.request(voice.upstream, stream=False, **hostile)) as call:
            reply = call.read_reply()
        assert reply.status in (200, 400), reply
        assert "set-cookie" not in reply.names
        top = call.received.partition(b"\r\n\r\n")[0]
        assert len(top) < 8192
        assert b"a=b" not in top
        assert top.isascii()


@pytest.mark.parametrize("caller", FOUR, ids=lambda caller: caller.name)
def test_an_upstreams_id_can_not_inject_headers(upstream: HostileUpstream, gateway: Gateway, caller: Caller) -> None:
    stream = OPENAI.stream().replace(b'"id":"c1"', b'"id":"c1\\r\\nx-evil: 1"')
    body = stream.partition(b"\r\n\r\n")[2]
    raw = b"".join(part for part in body.split(b"\r\n")[1::2])
    upstream.perform(says(sized(raw, media_type="text/event-stream")))
    reply = ask(gateway.port, caller.request("openai"))
    assert reply.status == 200
    assert "x-evil" not in reply.names
    assert not reply.header("x-gateway-upstream-id")
