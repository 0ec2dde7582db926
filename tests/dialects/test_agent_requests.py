"""What coding agents really send (`tests/data/README.md`): it is read whole, and nothing of it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from gateway.neutral import request as rq
from tests.dialects.requests import carried, parse

DATA: Final = Path(__file__).parents[1] / "data"


def recorded(name: str) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads((DATA / f"{name}.json").read_bytes())
    return body


def test_claude_codes_request_is_read_whole() -> None:
    """Pitfalls 69, 97: a system message between messages, and a user id that is JSON of 150 characters."""
    request = parse("anthropic", recorded("claude_code_request"), headers={"anthropic-version": "2023-06-01"})
    assert request.stream
    assert request.max_tokens == 32000
    assert len(request.system) == 3
    assert request.system[0].text.startswith("x-anthropic-billing-header:")
    assert [turn.role.value for turn in request.turns] == ["user", "system", *(["assistant", "user"] * 2)]
    assert len(request.tools) == 21
    assert all(isinstance(tool, rq.FunctionTool) and tool.schema for tool in request.tools)
    assert request.reasoning is not None
    assert (request.reasoning.mode, request.reasoning.effort) == ("auto", "high")
    assert len(request.user_id or "") > 140
    assert "context_management" in request.extras["anthropic"]


@pytest.mark.parametrize(
    ("display", "visible", "extras"),
    [("omitted", "omit", {}), ("updates", "summary", {}), ("next_beta", None, {"thinking.display": "next_beta"})],
)
def test_how_thinking_is_displayed_is_an_open_set(display: str, visible: str | None, extras: dict[str, str]) -> None:
    """Claude Code asks for `updates` where its own output is streamed, which no reference names."""
    body = recorded("claude_code_request")
    body["thinking"]["display"] = display
    request = parse("anthropic", body)
    assert request.reasoning is not None
    assert request.reasoning.visible == visible
    assert {name: value for name, value in request.extras["anthropic"].items() if "thinking" in name} == extras


def test_claude_codes_history_keeps_calls_results_and_thinking() -> None:
    """Its own thinking comes back with its signature, and each result says whether it is an error."""
    request = parse("anthropic", recorded("claude_code_request"))
    calls = [part for part in request.parts() if isinstance(part, rq.ToolCall)]
    results = [part for part in request.parts() if isinstance(part, rq.ToolResult)]
    assert [call.name for call in calls] == ["Bash", "Read"]
    assert orjson.loads(calls[0].arguments)["command"] == "echo hello > note.txt; cat note.txt"
    assert [result.call_id for result in results] == [call.id for call in calls]
    assert [result.is_error for result in results] == [False, True]
    assert [part.text for part in results[0].parts if isinstance(part, rq.Text)] == ["hello"]
    thoughts = [part for part in request.parts() if isinstance(part, rq.Reasoning)]
    assert [thought.signature for thought in thoughts] == [rq.OpaqueValue("anthropic", "c2lnbmF0dXJl")] * 2


# -- Codex -----------------------------------------------------------------------------------------------------------


def test_codexs_request_is_read_whole() -> None:
    """Pitfalls 75, 106, 108: ids on every item, a free-text tool, hosted tools, sealed reasoning replayed."""
    request = parse("responses", recorded("codex_request"))
    assert request.stream
    assert [turn.role.value for turn in request.turns] == ["user", "user", *(["assistant", "user"] * 2)]
    first, second = (turn.parts for turn in request.turns if turn.role is rq.Role.ASSISTANT)
    assert [type(part) for part in first] == [rq.Reasoning, rq.ToolCall]
    thought, call = second
    assert thought == rq.Reasoning("Hmm.", rq.OpaqueValue("openai-encrypted", "c2VjcmV0"), is_summary=True)
    assert isinstance(call, rq.ToolCall)
    assert (call.id, call.name, call.kind) == ("call_1", "apply_patch", "custom")
    assert call.arguments.startswith("*** Begin Patch\n")
    results = [part for part in request.parts() if isinstance(part, rq.ToolResult)]
    assert [result.call_id for result in results] == ["call_0", "call_1"]
    (patch,) = [tool for tool in request.tools if isinstance(tool, rq.CustomTool)]
    assert patch.format is not None
    assert patch.format["syntax"] == "lark"
    assert {tool.name for tool in request.tools if isinstance(tool, rq.HostedTool)} == {"tool_search", "web_search"}


def test_codexs_namespaces_are_read_into_their_tools() -> None:
    """Pitfall 106: for a model it doesn't know."""
    request = parse("responses", recorded("codex_namespace_request"))
    spaced = [tool for tool in request.tools if isinstance(tool, rq.FunctionTool) and tool.namespace]
    assert {tool.namespace for tool in spaced} == {"multi_agent_v1"}
    assert "spawn_agent" in {tool.name for tool in spaced}


@pytest.mark.parametrize("upstream", ["openai", "anthropic"])
@pytest.mark.parametrize("name", ["codex_request", "codex_namespace_request"])
def test_codexs_requests_are_carried_to_every_upstream_with_tools(name: str, upstream: str) -> None:
    """Pitfalls 75, 76, 106: functions instead of what the upstream doesn't know, each call with its result."""
    outbound = carried("responses", recorded(name), upstream)
    roles = [message["role"] for message in outbound.body["messages"] if message["role"] != "system"]
    conversation = ["assistant", "tool"] * 2 if upstream == "openai" else ["assistant", "user"] * 2
    assert roles[-4:] == conversation
    assert outbound.restoration
    assert "tools.web_search" in outbound.dropped
    orjson.dumps(outbound.body)
