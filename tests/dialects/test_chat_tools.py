"""Tools as an OpenAI chat upstream is offered them, and what its answer has to give back."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import BadRequest, Unsupported
from gateway.neutral import request as rq
from gateway.neutral.restoring import ClientTool
from tests.dialects.requests import USER, Json, carried, chat, chat_tool, message, message_tool, parse, render

PATCH: Json = {
    "type": "custom",
    "custom": {
        "name": "patch",
        "description": "Apply",
        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: WORD"}},
    },
}
LONG = "mcp__" + "x" * 90


def truss(**fields: Any) -> Json:
    return {"messages": [USER], **fields}


def test_long_names_are_shortened_alike_everywhere_and_restored() -> None:
    """Pitfall 98."""
    calls = [{"type": "tool_use", "id": "a", "name": LONG, "input": {}}]
    body = message(
        messages=[USER, {"role": "assistant", "content": calls}, USER],
        tools=[message_tool(LONG), message_tool(LONG + "y")],
        tool_choice={"type": "tool", "name": LONG},
    )
    outbound = carried("anthropic", body, "openai")
    first, second = [tool["function"]["name"] for tool in outbound.body["tools"]]
    assert max(len(first), len(second)) <= 64
    assert first != second
    assert outbound.body["tool_choice"]["function"]["name"] == first
    assert outbound.body["messages"][1]["tool_calls"][0]["function"]["name"] == first
    assert outbound.restoration.tools == {first: ClientTool(LONG), second: ClientTool(LONG + "y")}
    assert not carried("anthropic", message(tools=[message_tool()]), "openai").restoration


def test_a_free_text_tool_becomes_a_function_of_one_string() -> None:
    """Pitfalls 106 and 107: its grammar is told in words."""
    call = {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    history = [
        USER,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "ok"},
    ]
    outbound = carried("truss", {"messages": history, "tools": [PATCH]}, "openai")
    (tool,) = outbound.body["tools"]
    assert tool["function"]["name"] == "patch"
    assert "start: WORD" in tool["function"]["description"]
    assert tool["function"]["parameters"]["required"] == ["input"]
    assert outbound.body["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"input":"*** Begin"}'
    assert outbound.restoration.tools == {"patch": ClientTool("patch", kind="custom")}


def test_a_free_text_tool_stays_one_where_the_server_knows_it() -> None:
    call = {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    history = [
        USER,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "ok"},
    ]
    choice = {"type": "custom", "custom": {"name": "patch"}}
    body = {"messages": history, "tools": [PATCH], "tool_choice": choice}
    outbound = carried("truss", body, "openai", profile="openai")
    assert outbound.body["tools"] == [PATCH]
    assert outbound.body["tool_choice"] == choice
    assert outbound.body["messages"][1]["tool_calls"] == [call]


def test_tools_of_a_namespace_are_functions_with_both_names() -> None:
    """Pitfall 106, mapping.md §5.1."""
    tools = (rq.FunctionTool("read", namespace="fs"), rq.FunctionTool("read"))
    request = rq.Request("demo", (rq.Turn(rq.Role.USER, (rq.Text("Hi"),)),), tools=tools)
    outbound = render(request, "openai")
    assert [tool["function"]["name"] for tool in outbound.body["tools"]] == ["fs__read", "read"]
    assert outbound.restoration.tools == {"fs__read": ClientTool("read", "fs")}


def test_tools_that_run_at_a_vendor_are_dropped_by_name() -> None:
    """Pitfall 108, mapping.md §3.2."""
    hosted = {"type": "web_search_20250305", "name": "web_search"}
    outbound = carried("anthropic", message(tools=[message_tool(), hosted]), "openai")
    assert [tool["function"]["name"] for tool in outbound.body["tools"]] == ["get_weather"]
    assert outbound.dropped == ("tools.web_search_20250305",)
    choice = {"type": "tool", "name": "web_search"}
    with pytest.raises(Unsupported) as raised:
        carried("anthropic", message(tools=[message_tool(), hosted], tool_choice=choice), "openai")
    assert raised.value.param == "tool_choice"
    nothing_left = carried("anthropic", message(tools=[hosted], tool_choice={"type": "auto"}), "openai")
    assert not {"tools", "tool_choice"} & set(nothing_left.body)


ALLOWED: Json = {
    "type": "allowed_tools",
    "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "now"}}]},
}


def test_a_list_of_allowed_tools() -> None:
    """mapping.md §5.3."""
    body = truss(tools=[chat_tool(), chat_tool("now")], tool_choice=ALLOWED)
    native = carried("truss", body, "openai", profile="openai")
    assert native.body["tool_choice"] == ALLOWED
    assert len(native.body["tools"]) == 2
    filtered = carried("truss", body, "openai")
    assert [tool["function"]["name"] for tool in filtered.body["tools"]] == ["now"]
    assert filtered.body["tool_choice"] == "required"
    assert filtered.adapted == ("tool_choice=tools_filtered",)


def test_strictness_goes_where_it_is_known() -> None:
    body = truss(tools=[chat_tool(strict=True)])
    assert carried("truss", body, "openai", profile="openai").body["tools"][0]["function"]["strict"] is True
    outbound = carried("truss", body, "openai")
    assert "strict" not in outbound.body["tools"][0]["function"]
    assert outbound.dropped == ("tools.strict",)


@pytest.mark.parametrize("arguments", ["", "  ", "\n"])
def test_blank_arguments_in_history_are_an_empty_object(arguments: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    body = truss(messages=[USER, {"role": "assistant", "tool_calls": [call]}])
    sent = carried("truss", body, "openai").body["messages"][1]
    assert sent["tool_calls"][0]["function"]["arguments"] == "{}"


# -- read ------------------------------------------------------------------------------------------------------------


def test_a_grammar_is_read_in_both_of_its_spellings() -> None:
    form = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
    flat = {"type": "custom", "custom": {**PATCH["custom"], "format": form}}
    for tool in (PATCH, flat):
        assert parse("openai", chat(tools=[tool])).tools == (rq.CustomTool("patch", "Apply", form),)
    text = {"type": "custom", "custom": {"name": "patch", "format": {"type": "text"}}}
    assert parse("openai", chat(tools=[text])).tools == (rq.CustomTool("patch", None, {"type": "text"}),)


def test_a_choice_may_name_tools_of_either_kind() -> None:
    tools = [{"type": "custom", "custom": {"name": "patch"}}, {"type": "function", "function": {"name": "f"}}]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": tools}}
    read = parse("openai", chat(tools=[PATCH], tool_choice=choice)).tool_choice
    assert read == rq.ToolChoice(rq.ChoiceMode.ALLOWED, ("patch", "f"))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "custom"}]}, "tools.0.custom"),
        (
            {"tools": [{"type": "custom", "custom": {"name": "p", "format": {"type": "x"}}}]},
            "tools.0.custom.format.type",
        ),
        (
            {"tools": [{"type": "custom", "custom": {"name": "p", "format": {"type": "grammar", "grammar": {}}}}]},
            "tools.0.custom.format.grammar.syntax",
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
            "tool_choice.allowed_tools.tools",
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "all"}}},
            "tool_choice.allowed_tools.mode",
        ),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
        ({"functions": [{}]}, "functions.0.name"),
    ],
)
def test_a_bad_tool_is_refused_at_its_path(fields: Json, param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        parse("openai", chat(**fields))
    assert raised.value.param == param
