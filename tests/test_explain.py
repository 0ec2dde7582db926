"""What would become of a request: a pure function of configuration and call."""

from __future__ import annotations

import socket
from typing import Any

import orjson
import pytest

from gateway.config import parse
from gateway.dialects import DIALECTS
from gateway.errors import BadRequest, NoRoute
from gateway.explain import Explanation, call, explain, plain

ROUTES = """
upstreams:
  near:   {dialect: openai, url: "http://near:8000/v1", options: {profile: vllm}}
  claude: {dialect: anthropic, url: "https://api.example.com", key: sk-canary, breaker: {window: 45s}}
  haiku:  {dialect: truss, url: "https://m.example.com/predict", options: {input: prompt}}
routes:
  demo: near
  mixed:
    targets: [{upstream: near, context: 8192}, {upstream: claude, model: big, weight: 3}, {upstream: haiku, weight: 0}]
    fallback: [{upstream: haiku, model: last}, {upstream: near, model: least}]
    timeouts: {first_token: 20s}
  strict: {targets: [{upstream: claude}], strict: true}
  shared: {targets: [{upstream: near}, {upstream: claude}], balance: {sticky: {header: X-Session}}}
  "gpt-*": near
  "gpt-4*": claude
"""
CONFIG = parse(ROUTES, "routes.yaml", {})
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}


def explained(model: str, body: Any = None, dialect: str = "openai", **headers: str) -> Explanation:
    raw = None if body is None else orjson.dumps(body)
    return explain(CONFIG, DIALECTS[dialect], called(model, raw, dialect), headers)


def called(model: str, raw: bytes | None, dialect: str = "openai") -> Any:
    return call(CONFIG, DIALECTS[dialect], model, raw, {}, is_strict=False)


@pytest.mark.parametrize(
    ("model", "route", "match"),
    [
        ("demo", "demo", "exact name"),
        ("gpt-3", "gpt-*", "pattern with 4 literal characters"),
        ("gpt-4o", "gpt-4*", "pattern with 5 literal characters"),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_route_and_why_it_is_that_one(dialect: str, model: str, route: str, match: str) -> None:
    told = explained(model, dialect=dialect)
    assert (told.model, told.route, told.dialect) == (model, route, dialect)
    assert told.match.startswith(match)


def test_targets_come_in_the_order_of_the_plan_with_reasons() -> None:
    steps = explained("mixed").steps
    assert [(step.upstream, step.model, step.reason) for step in steps] == [
        ("claude", "big", "weight 3: first for 75% of requests"),
        ("near", "mixed", "weight 1: first for 25% of requests"),
        ("haiku", "mixed", "weight 0: stands by"),
        ("haiku", "last", "fallback 1 of 2"),
        ("near", "least", "fallback 2 of 2"),
    ]
    assert [step.context for step in steps] == [None, 8192, None, None, None]


def test_each_target_says_what_it_would_not_get() -> None:
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    claude, near, haiku, *_ = explained("mixed", {**CHAT, "seed": 3, "tools": [tool], "max_tokens": 9}).steps
    assert (claude.passes, claude.dropped, claude.refused) == (False, ("seed",), None)
    assert (near.passes, near.dropped, near.adapted, near.path) == (True, (), (), "/chat/completions")
    assert haiku.refused is not None
    assert (haiku.refused.kind, haiku.refused.param) == ("unsupported", "tools")
    assert haiku.dropped == ()


def test_a_strict_route_refuses_what_it_would_drop() -> None:
    told = explained("strict", {**CHAT, "seed": 3})
    assert told.is_strict
    assert told.steps[0].refused is not None
    assert "seed" in told.steps[0].refused.message


def test_a_client_may_be_strict_itself() -> None:
    strict = call(CONFIG, DIALECTS["openai"], "gpt-4", orjson.dumps({**CHAT, "seed": 3}), {}, is_strict=True)
    assert explain(CONFIG, DIALECTS["openai"], strict, {}).steps[0].refused is not None


def test_settings_that_apply_are_told() -> None:
    told = plain(explained("mixed"))
    assert told["settings"]["timeouts.first_token"] == 20
    assert told["settings"]["timeouts.idle"] == 60
    assert told["steps"][0]["settings"]["breaker.window"] == 45
    assert "targets" not in told["settings"]
    assert "sk-canary" not in orjson.dumps(told).decode()


def test_a_session_leads_to_its_target() -> None:
    firsts = {explained("shared", **{"x-session": str(session)}).steps[0].upstream for session in range(20)}
    assert firsts == {"near", "claude"}
    assert explained("shared", **{"x-session": "1"}).steps[0].reason == "choice 1 of this session"
    assert explained("shared").steps[0].reason == "weight 1: first for 50% of requests"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_without_a_body_there_is_a_least_one(dialect: str) -> None:
    told = explained("demo", dialect=dialect)
    assert told.steps[0].passes == (dialect == "openai")
    assert told.steps[0].refused is None
    assert told.prompt_tokens > 1


def test_the_model_asked_for_counts_whatever_the_body_says() -> None:
    assert explained("demo", {**CHAT, "model": "mixed"}).route == "demo"


def test_a_name_without_a_route_is_refused_with_a_hint() -> None:
    with pytest.raises(NoRoute, match='did you mean "demo"'):
        explained("dmeo")


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b'{"messages": [{"role": "user", "content": 7}]}', r"messages\.0\.content"),
        (b"{", "not valid JSON"),
        (b"[]", "expected an object"),
    ],
)
def test_a_wrong_body_is_refused_with_its_path(raw: bytes, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint):
        explain(CONFIG, DIALECTS["openai"], called("demo", raw), {})


def test_no_network_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket.socket, "__init__", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(explained("mixed").steps) == 5
