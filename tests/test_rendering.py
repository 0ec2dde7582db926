"""What ties a client's call to a target: made of real conversations of coding agents, turn by turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from gateway.config import Config, parse
from gateway.dialects import DIALECTS
from gateway.dialects.base import Inbound
from gateway.rendering import tie
from gateway.routing.table import Table

DATA: Final = Path(__file__).parent / "data"


def config(balance: str) -> Config:
    simulated = "{dialect: openai, url: 'simulator://'}"
    targets = f"{{targets: [{{upstream: a}}, {{upstream: b}}], balance: {balance}}}"
    return parse(f"upstreams: {{a: {simulated}, b: {simulated}}}\nroutes: {{demo: {targets}}}", "routes.yaml", {})


def key(dialect: str, body: dict[str, Any], balance: str = "prefix", **headers: str) -> bytes:
    route, _ = Table(config(balance)).find(["demo"])
    return tie(route, DIALECTS[dialect].parse(Inbound(body)), headers)


def turns_of_claude_code() -> list[dict[str, Any]]:
    """The recorded conversation as it grew; the line in front of the system prompt is another each time."""
    body = orjson.loads((DATA / "claude_code_request.json").read_bytes())
    ends = [index for index, turn in enumerate(body["messages"]) if turn["role"] == "assistant"] + [None]
    grown = []
    for number, end in enumerate(ends):
        line = f"x-anthropic-billing-header: cc_version=2.1.330.b15; cc_entrypoint=sdk-cli; cch={number:05x};"
        system = [{"type": "text", "text": line}, *body["system"][1:]]
        grown.append({**body, "system": system, "messages": body["messages"][:end]})
    return grown


def test_all_turns_of_an_agents_conversation_are_tied_to_one_target() -> None:
    """Pitfall 71: what changes with each call must not lead it away from the cache that holds its beginning."""
    turns = turns_of_claude_code()
    assert len(turns) == 3
    keys = {key("anthropic", body) for body in turns}
    assert len(keys) == 1
    assert keys != {b""}


def test_another_conversation_of_the_same_agent_is_another_key() -> None:
    turns = turns_of_claude_code()
    other = orjson.loads(orjson.dumps(turns[0]).replace(b"note.txt", b"other.txt"))
    assert other != turns[0]
    assert key("anthropic", other) != key("anthropic", turns[0])


@pytest.mark.parametrize("name", ["codex_request"])
def test_an_agent_that_names_its_cache_is_tied_by_that_name(name: str) -> None:
    body = orjson.loads((DATA / f"{name}.json").read_bytes())
    named = {**body, "prompt_cache_key": "session-1"}
    longer = {**named, "input": [*body["input"], {"role": "user", "content": "Go on"}], "instructions": "Be brief."}
    assert key("responses", named) == key("responses", longer) != key("responses", {**named, "prompt_cache_key": "2"})


def test_sessions_and_users_tie_where_the_route_says_so() -> None:
    body = turns_of_claude_code()[0]
    user = "{sticky: user}"
    assert key("anthropic", body, user) == key("anthropic", {**body, "system": "Hi"}, user) != b""
    sticky = "{sticky: {header: X-Session}}"
    assert key("anthropic", body, sticky, **{"x-session": "1"}) != key("anthropic", body, sticky) == b""
    assert key("anthropic", body, "weighted") == b""
