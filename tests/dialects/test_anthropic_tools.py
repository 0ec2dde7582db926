"""Tools, the choice among them and structured output, towards an Anthropic upstream (mapping.md §5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.dialects.anthropic.schemas import input_schema
from gateway.errors import Unsupported
from gateway.neutral import request as rq
from gateway.neutral.restoring import ClientTool
from tests.dialects.requests import (
    USER,
    WEATHER,
    Json,
    carried,
    chat,
    chat_call,
    chat_tool,
    message,
    message_tool,
    parse,
    render,
)

ANSWER: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
DESCRIBED = {**ANSWER, "description": "What the answer is"}
SCHEMA = rq.JsonSchemaFormat(ANSWER, "answer", "What the answer is", is_strict=True)


def with_tools(*tools: rq.Tool, **fields: Any) -> rq.Request:
    return replace(parse("openai", chat(max_tokens=64)), tools=tools, **fields)


# -- schemas ---------------------------------------------------------------------------------------------------------


def test_alternatives_at_the_root_become_one_object() -> None:
    """Pitfall 100: properties of all branches, required in each; other keys and their order stay."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "x",
        "type": "object",
        "description": "Finds.",
        "oneOf": [
            {"properties": {"id": {"type": "integer"}, "kind": {"type": "string"}}, "required": ["kind", "id"]},
            {"$ref": "#/$defs/ByName"},
            {"type": "string"},
        ],
        "$defs": {
            "ByName": {
                "type": "object",
                "properties": {"name": {"anyOf": [{"type": "string"}]}, "kind": {"const": 1}},
                "required": ["kind", "name"],
            }
        },
    }
    merged, is_repaired = input_schema(schema)
    assert is_repaired
    assert list(merged) == ["type", "description", "properties", "$defs", "required"]
    assert merged["properties"] == {
        "id": {"type": "integer"},
        "kind": {"anyOf": [{"type": "string"}, {"const": 1}]},
        "name": {"anyOf": [{"type": "string"}]},
    }
    assert merged["required"] == ["kind"]
    assert merged["description"] == "Finds. Give one of these sets of properties: kind, id; or kind, name."
    assert "oneOf" in schema


def test_all_of_the_branches_at_the_root_are_required() -> None:
    schema = {
        "properties": {"a": {}},
        "required": ["a"],
        "allOf": [{"properties": {"b": {}}, "required": ["b"]}, {"properties": {"c": {}}}],
    }
    merged, _ = input_schema(schema)
    assert merged == {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "required": ["a", "b"]}


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        (None, {"type": "object", "properties": {}}),
        ({"type": ["object", "null"], "properties": {}}, {"type": "object", "properties": {}}),
        ({"$defs": {"x": {"oneOf": [1]}}}, {"type": "object", "$defs": {"x": {"oneOf": [1]}}}),
        ({"anyOf": [{"required": [{}, 5, "a"]}], "required": {}}, None),
        ({"anyOf": []}, {"type": "object", "properties": {}}),
        ({"anyOf": [{"$ref": "#/$defs/x"}], "$defs": {"x": {"$ref": "#/$defs/x"}}}, None),
        ({"anyOf": [{"$ref": "#/nowhere/x"}, 7, {"$ref": 7}]}, {"type": "object", "properties": {}}),
    ],
)
def test_schemas_of_every_shape(schema: Json | None, sent: Json | None) -> None:
    """Pitfall 101; nothing a client sends breaks the repair, also not a definition that names itself."""
    repaired, _ = input_schema(schema)
    assert repaired["type"] == "object"
    assert sent is None or repaired == sent


def test_a_repaired_schema_is_reported_and_nested_alternatives_stay() -> None:
    nested = {"type": "object", "properties": {"x": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}
    outbound = render(
        with_tools(rq.FunctionTool("a", None, {"anyOf": [nested]}), rq.FunctionTool("b", None, nested)), "anthropic"
    )
    assert outbound.body["tools"][0]["input_schema"]["properties"] == nested["properties"]
    assert outbound.body["tools"][1]["input_schema"] == nested
    assert outbound.adapted == ("tools.a.input_schema=merged",)


# -- names, ids, kinds -----------------------------------------------------------------------------------------------


def test_long_names_and_odd_ids_are_spelled_alike_everywhere() -> None:
    """Pitfalls 98 and 99: in definition, choice, call and result; the answer gets its own name back."""
    long, id_ = "n" * 129, "functions.f:0"
    call = {"role": "assistant", "tool_calls": [chat_call(id_, long, "{}"), chat_call("functions.f:1", long, "{}")]}
    results = [{"role": "tool", "tool_call_id": i, "content": "x"} for i in (id_, "functions.f:1")]
    choice = {"type": "function", "function": {"name": long}}
    body = chat(messages=[USER, call, *results], tools=[chat_tool(long)], tool_choice=choice)
    outbound = carried("openai", body, "anthropic")
    (tool,) = outbound.body["tools"]
    assert len(tool["name"]) == 64
    calls = outbound.body["messages"][1]["content"]
    assert {block["name"] for block in calls} == {tool["name"]} == {outbound.body["tool_choice"]["name"]}
    ids = [block["id"] for block in calls]
    assert ids == [block["tool_use_id"] for block in outbound.body["messages"][2]["content"]]
    assert len(set(ids)) == 2
    assert all(i.startswith("toolu_") and len(i) == 30 for i in ids)
    assert outbound.restoration.tools == {tool["name"]: ClientTool(long)}


def test_name_limits_are_the_profiles() -> None:
    name = "n" * 100
    assert carried("openai", chat(tools=[chat_tool(name)]), "anthropic").body["tools"][0]["name"] == name
    legacy = carried("openai", chat(tools=[chat_tool(name)]), "anthropic", profile="anthropic-legacy")
    assert len(legacy.body["tools"][0]["name"]) == 64


def test_free_text_tools_become_functions() -> None:
    """Pitfalls 106 and 107: with their grammar, also in the history; calls come back as free text."""
    grammar = {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'}
    tool = rq.CustomTool("patch", "Patches.", grammar, namespace="code")
    turns = (
        rq.Turn(rq.Role.USER, (rq.Text("Go"),)),
        rq.Turn(rq.Role.ASSISTANT, (rq.ToolCall("a", "patch", "*** Begin", "custom", "code"),)),
        rq.Turn(rq.Role.USER, (rq.ToolResult("a", (rq.Text("done"),)),)),
    )
    outbound = render(with_tools(tool, turns=turns), "anthropic")
    (declared,) = outbound.body["tools"]
    assert declared["name"] == "code__patch"
    assert declared["input_schema"]["required"] == ["input"]
    assert declared["description"].startswith("Patches.")
    assert 'start: "x"' in declared["description"]
    assert outbound.body["messages"][1]["content"][0]["input"] == {"input": "*** Begin"}
    assert outbound.restoration.tools == {"code__patch": ClientTool("patch", "code", "custom")}


def test_hosted_tools_are_dropped_by_name() -> None:
    """Pitfall 108; a choice that demands one is refused."""
    hosted = rq.HostedTool("openai_responses", "web_search", {"type": "web_search"}, where="tools.1")
    request = with_tools(rq.FunctionTool("f"), hosted)
    outbound = render(request, "anthropic")
    assert [tool["name"] for tool in outbound.body["tools"]] == ["f"]
    assert outbound.dropped == ("tools.web_search",)
    with pytest.raises(Unsupported, match="another vendor"):
        render(replace(request, tool_choice=rq.ToolChoice(rq.ChoiceMode.NAMED, ("web_search",))), "anthropic")


def test_a_list_of_allowed_tools_is_what_is_declared() -> None:
    tools = [rq.FunctionTool(name) for name in "abc"]
    for is_required, kind in ((False, "auto"), (True, "any")):
        choice = rq.ToolChoice(rq.ChoiceMode.ALLOWED, ("a", "c"), is_required)
        sent = render(with_tools(*tools, tool_choice=choice), "anthropic").body
        assert [tool["name"] for tool in sent["tools"]] == ["a", "c"]
        assert sent["tool_choice"] == {"type": kind}


def test_calls_in_a_history_without_tools_are_declared_and_forbidden() -> None:
    """mapping.md §5.3."""
    call = {"role": "assistant", "tool_calls": [chat_call("a", "f", "{}"), chat_call("b", "f", "{}")]}
    results = [{"role": "tool", "tool_call_id": i, "content": "x"} for i in "ab"]
    outbound = carried("openai", chat(messages=[USER, call, *results]), "anthropic")
    assert outbound.body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    assert outbound.body["tool_choice"] == {"type": "none"}
    assert "tools=from_history" in outbound.adapted


def test_strict_is_for_servers_that_know_it() -> None:
    """mapping.md §5.1."""
    request = with_tools(rq.FunctionTool("f", None, WEATHER, is_strict=True))
    assert render(request, "anthropic", profile="anthropic").body["tools"][0]["strict"] is True
    plain = render(request, "anthropic")
    assert "strict" not in plain.body["tools"][0]
    assert plain.dropped == ("tools.strict",)


# -- structured output -----------------------------------------------------------------------------------------------


def test_a_schema_goes_where_the_server_takes_one() -> None:
    request = replace(with_tools(output=SCHEMA), reasoning=rq.ReasoningRequest("on", "high"))
    body = render(request, "anthropic", profile="anthropic").body
    assert body["output_config"] == {"effort": "high", "format": {"type": "json_schema", "schema": DESCRIBED}}
    assert body["thinking"] == {"type": "adaptive"}
    assert "tools" not in body


def test_a_schema_is_a_tool_elsewhere() -> None:
    """mapping.md §5.4: thinking is off, and the answer is unwrapped."""
    request = replace(with_tools(output=SCHEMA, max_tokens=4096), reasoning=rq.ReasoningRequest("on", "low"))
    outbound = render(request, "anthropic")
    assert outbound.body["tools"] == [
        {"name": "json_output", "description": "What the answer is", "input_schema": ANSWER}
    ]
    assert outbound.body["tool_choice"] == {"type": "tool", "name": "json_output"}
    assert outbound.body["thinking"] == {"type": "disabled"}
    assert outbound.restoration.output_tool == "json_output"
    assert outbound.adapted == ("response_format=tool", "thinking=disabled_by_output")


def test_a_schema_beside_tools() -> None:
    """The model calls one of them or answers. Where a call is demanded, no text comes that a schema could be for:
    instructor asks for both.
    """
    tools = (rq.FunctionTool("f"), rq.FunctionTool("json_output"))
    request = replace(with_tools(*tools, output=SCHEMA), names={"output": "response_format"})
    outbound = render(request, "anthropic")
    assert [tool["name"] for tool in outbound.body["tools"]] == ["f", "json_output", "json_output_"]
    assert outbound.body["tool_choice"] == {"type": "any"}
    assert outbound.restoration.output_tool == "json_output_"
    none = replace(request, tool_choice=rq.ToolChoice(rq.ChoiceMode.NONE))
    assert render(none, "anthropic").body["tool_choice"] == {"type": "tool", "name": "json_output_"}
    demanded = render(replace(request, tool_choice=rq.ToolChoice(rq.ChoiceMode.NAMED, ("f",))), "anthropic")
    assert [tool["name"] for tool in demanded.body["tools"]] == ["f", "json_output"]
    assert demanded.body["tool_choice"] == {"type": "tool", "name": "f"}
    assert "response_format=left_out_for_tool_choice" in demanded.adapted


@pytest.mark.parametrize("schema", [{"type": "array", "items": {}}, {"type": "string"}])
def test_a_schema_that_is_no_objects_can_not_be_a_tool(schema: Json) -> None:
    """A client's shape of output is never changed in silence (mapping.md §3)."""
    request = replace(with_tools(output=rq.JsonSchemaFormat(schema)), names={"output": "response_format"})
    with pytest.raises(Unsupported) as raised:
        render(request, "anthropic")
    assert raised.value.param == "response_format"
    format_ = render(request, "anthropic", profile="anthropic").body["output_config"]["format"]
    assert format_["schema"] == schema


def test_a_schema_over_a_history_of_calls() -> None:
    call = {"role": "assistant", "tool_calls": [chat_call("a", "f", "{}")]}
    history = [USER, call, {"role": "tool", "tool_call_id": "a", "content": "x"}]
    outbound = render(replace(parse("openai", chat(messages=history)), output=SCHEMA), "anthropic")
    assert [tool["name"] for tool in outbound.body["tools"]] == ["f", "json_output"]
    assert outbound.body["tool_choice"] == {"type": "tool", "name": "json_output"}


def test_any_json_object_is_asked_for_in_words() -> None:
    """mapping.md §3.1."""
    outbound = carried("openai", chat(response_format={"type": "json_object"}), "anthropic")
    assert "single JSON object" in outbound.body["system"]
    assert "response_format=instruction" in outbound.adapted


# -- what Anthropic clients declare ----------------------------------------------------------------------------------


def test_what_only_anthropic_says_of_a_tool_stays_with_it() -> None:
    """mapping.md §5.1; `cache_control` as a property of a schema is no cache control (pitfall 73)."""
    schema = {"type": "object", "properties": {"cache_control": {"type": "string"}}}
    extras = {"defer_loading": True, "eager_input_streaming": True, "input_examples": [{}], "allowed_callers": []}
    tool = {"name": "f", "input_schema": schema, "type": "custom", "cache_control": {"type": "ephemeral"}, **extras}
    (read,) = parse("anthropic", message(tools=[tool])).tools
    assert read == rq.FunctionTool("f", None, schema, cache={"type": "ephemeral"}, extras=extras)
    sent = carried("anthropic", message(tools=[tool]), "openai")
    assert sent.body["tools"] == [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    assert set(sent.dropped) == {"cache_control", *(f"tools.{name}" for name in extras)}


@pytest.mark.parametrize(
    ("tool", "name", "required"),
    [
        ({"type": "bash_20250124", "name": "bash"}, "bash", []),
        ({"type": "text_editor_20250728"}, "str_replace_based_edit_tool", ["command", "path"]),
        ({"type": "text_editor_20250124", "name": "str_replace_editor"}, "str_replace_editor", ["command", "path"]),
        ({"type": "memory_20250818", "name": "memory"}, "memory", ["command"]),
    ],
)
def test_tools_that_the_client_runs_are_functions_elsewhere(tool: Json, name: str, required: list[str]) -> None:
    """mapping.md §5.1: other models are taught them by a schema; the client's program gets the call as ever."""
    (sent,) = carried("anthropic", message(tools=[tool]), "openai").body["tools"]
    assert sent["function"]["name"] == name
    assert sent["function"]["description"]
    assert sent["function"]["parameters"]["required"] == required


def test_hosted_and_unteachable_tools() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    request = parse("anthropic", message(tools=[search]))
    assert request.tools == (rq.HostedTool("anthropic", "web_search_20250305", search),)
    assert request.own_dialect_only is None
    computer = parse("anthropic", message(tools=[message_tool(), {"type": "computer_20250124", "name": "computer"}]))
    assert computer.own_dialect_only is not None
    assert computer.own_dialect_only.param == "tools.1.type"
