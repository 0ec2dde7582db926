"""A client's responses request: what is read of it, and what is refused by which path."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.dialects.base import Inbound
from gateway.dialects.responses.parsing import FORM_SEALED, parse
from gateway.dialects.sealing import FOREIGN, Sealer
from gateway.errors import BadRequest, GatewayError, Unsupported
from gateway.neutral import request as rq
from tests.dialects.requests import Json, response, response_tool

PNG = "iVBORw0KGgoAAAANSUhEUg=="


def read(*items: Any, sealer: Sealer | None = None, **fields: Any) -> rq.Request:
    body = response(**{"input": list(items) or "Hi", **fields})
    return parse(Inbound(body, sealer=sealer or Sealer()))


def refused(*items: Any, **fields: Any) -> GatewayError:
    with pytest.raises((BadRequest, Unsupported)) as raised:
        read(*items, **fields)
    return raised.value


def user(*content: Any) -> Json:
    return {"role": "user", "content": list(content)}


def parts(request: rq.Request) -> list[tuple[str, ...]]:
    """Role and kinds of parts of each turn."""
    return [(turn.role.value, *(type(part).__name__ for part in turn.parts)) for turn in request.turns]


# -- the conversation ------------------------------------------------------------------------------------------------


def test_a_string_is_one_user_message() -> None:
    assert read().turns == (rq.Turn(rq.Role.USER, (rq.Text("Hi"),)),)


def test_instructions_come_before_leading_system_and_developer_items() -> None:
    """Pitfall 70, mapping.md §4.1; later ones keep their place."""
    request = read(
        {"role": "system", "content": "Two."},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Three."}]},
        {"role": "user", "content": "Hi"},
        {"role": "developer", "content": "Four."},
        instructions="One.",
    )
    assert [text.text for text in request.system] == ["One.", "Two.", "Three."]
    assert parts(request) == [("user", "Text"), ("system", "Text")]


CALL = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "f", "arguments": "{}", "status": "completed"}
OUTPUT = {"type": "function_call_output", "id": "fco_1", "call_id": "a", "output": "done"}
SAID = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Wait.", "annotations": [], "logprobs": []}],
}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "content": None}


def test_what_one_answer_was_is_one_turn() -> None:
    """Pitfalls 75, 76: reasoning, commentary and calls, then their results."""
    request = read(user(), THOUGHT, SAID, CALL, {**CALL, "call_id": "b"}, OUTPUT, {**OUTPUT, "call_id": "b"}, SAID)
    assert parts(request) == [
        ("user",),
        ("assistant", "Reasoning", "Text", "ToolCall", "ToolCall"),
        ("user", "ToolResult"),
        ("user", "ToolResult"),
        ("assistant", "Text"),
    ]
    call = request.turns[1].parts[2]
    assert call == rq.ToolCall("a", "f", "{}"), "a call pairs by call_id, not by the id of its item"


def test_reasoning_alone_makes_no_message() -> None:
    """Pitfall 77."""
    assert parts(read(user(), THOUGHT)) == [("user",), ("assistant", "Reasoning")]


def test_free_text_calls_keep_their_text_and_their_namespace() -> None:
    """Pitfall 106."""
    call = {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": '*** "x"\n', "namespace": "ns"}
    output = {"type": "custom_tool_call_output", "call_id": "a", "output": "ok"}
    request = read(user(), call, output)
    assert request.turns[1].parts == (rq.ToolCall("a", "patch", '*** "x"\n', kind="custom", namespace="ns"),)
    assert request.turns[2].parts == (rq.ToolResult("a", (rq.Text("ok"),)),)


def test_a_results_images_stay_images() -> None:
    """Pitfall 78."""
    url = f"data:image/png;base64,{PNG}"
    output = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": url, "detail": "high"}]
    (result,) = read(CALL, {**OUTPUT, "output": output}).turns[1].parts
    image = rq.Image(rq.Data("image/png", PNG), "high")
    assert result == rq.ToolResult("a", (rq.Text("see"), image))


def test_local_tools_are_calls_of_functions() -> None:
    """openai-responses.md §2."""
    shell = {"type": "local_shell_call", "call_id": "s", "action": {"command": ["ls"]}, "status": "completed"}
    patch = {"type": "apply_patch_call", "call_id": "p", "operation": {"path": "a"}, "status": "completed"}
    commands = {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}}
    results = [
        {"type": "local_shell_call_output", "id": "s", "output": "a.txt"},
        {"type": "apply_patch_call_output", "call_id": "p", "status": "failed", "output": "no"},
        {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "a.txt"}]},
    ]
    request = read(user(), shell, patch, commands, *results)
    assert request.turns[1].parts == (
        rq.ToolCall("s", "local_shell", '{"command":["ls"]}'),
        rq.ToolCall("p", "apply_patch", '{"path":"a"}'),
        rq.ToolCall("c", "shell", '{"commands":["ls"]}'),
    )
    assert [part for turn in request.turns[2:] for part in turn.parts] == [
        rq.ToolResult("s", (rq.Text("a.txt"),)),
        rq.ToolResult("p", (rq.Text("no"),), is_error=True),
        rq.ToolResult("c", (rq.Text('[{"stdout":"a.txt"}]'),)),
    ]


def test_items_nobody_can_carry_are_named() -> None:
    """openai-responses.md §2: the history of hosted tools, and whatever is new."""
    request = read(user(), {"type": "web_search_call", "id": "ws_1"}, {"type": "compaction", "encrypted_content": "x"})
    assert set(request.extras["responses"]) == {"input.web_search_call", "input.compaction"}
    assert parts(request) == [("user",)]


def test_another_agent_speaks_as_a_user_and_brings_tools() -> None:
    tools = {"type": "additional_tools", "role": "developer", "tools": [response_tool("late")]}
    request = read(tools, user(), {"type": "agent_message", "text": "Done."}, tools=[response_tool("first")])
    assert request.turns[-1] == rq.Turn(rq.Role.USER, (rq.Text("Done."),))
    assert [tool.name for tool in request.tools] == ["first", "late"]


# -- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "a"}, rq.Text("a")),
        ({"type": "output_text", "text": "a"}, rq.Text("a")),
        ({"type": "refusal", "refusal": "no"}, rq.Refusal("no")),
        ({"type": "input_image", "image_url": "https://x/a.png"}, rq.Image(rq.Url("https://x/a.png"))),
        (
            {"type": "image_url", "image_url": {"url": "https://x/a", "detail": "low"}},
            rq.Image(rq.Url("https://x/a"), "low"),
        ),
        ({"type": "input_image", "file_id": "file_1"}, rq.Image(rq.FileRef("file_1"))),
        ({"type": "input_file", "file_url": "https://x/a.pdf"}, rq.Document(rq.Url("https://x/a.pdf"))),
        ({"type": "input_file", "file_id": "file_1"}, rq.Document(rq.FileRef("file_1"))),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"},
            rq.Document(rq.Data("application/pdf", "QUJD"), "application/pdf", "a.pdf"),
        ),
        ({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}, rq.Audio("audio/wav", "QUJD")),
        (
            {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
            rq.Text("a", cache={"type": "ephemeral", "ttl": "1h"}),
        ),
        ({"type": "hologram", "x": 1}, rq.Opaque("responses", "hologram", {"x": 1})),
    ],
)
def test_parts(part: Json, expected: rq.Part) -> None:
    assert read(user(part)).turns[0].parts == (expected,)


# -- reasoning that comes back ---------------------------------------------------------------------------------------


def test_sealed_reasoning_is_what_it_was() -> None:
    """mapping.md §6.3: ours is opened, OpenAI's stays as it is, a forged one fits nowhere."""
    sealer = Sealer(b"key")
    value = rq.OpaqueValue("anthropic", "c2ln", "anthropic")
    for encrypted, signature in (
        (sealer.seal("anthropic", value), value),
        (sealer.seal("deepseek"), rq.OpaqueValue("none", "", "deepseek")),
        ("gAAAAB", rq.OpaqueValue("openai-encrypted", "gAAAAB")),
        (Sealer(b"other").seal("deepseek"), FOREIGN),
    ):
        (part,) = read({**THOUGHT, "encrypted_content": encrypted}, sealer=sealer).turns[0].parts
        assert part == rq.Reasoning("Hm.", signature, is_summary=True)


def test_what_a_model_really_thought_wins_over_its_summary() -> None:
    item = {**THOUGHT, "content": [{"type": "reasoning_text", "text": "Hm, hm."}]}
    assert read(item).turns[0].parts == (rq.Reasoning("Hm, hm."),)


def test_redacted_reasoning_comes_back_as_such() -> None:
    token = Sealer().seal("anthropic", rq.OpaqueValue("redacted:anthropic", "ZGF0YQ==", "anthropic"))
    (part,) = read({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": token}).turns[0].parts
    assert part == rq.RedactedReasoning(rq.OpaqueValue("anthropic", "ZGF0YQ==", "anthropic"))


# -- tools -----------------------------------------------------------------------------------------------------------


def test_tools_of_a_namespace_are_tools_with_a_namespace() -> None:
    """Pitfalls 106 and 107."""
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
    children = [response_tool("ask"), {"type": "custom", "name": "patch", "format": grammar}]
    request = read(tools=[{"type": "namespace", "name": "ns", "description": "D", "tools": children}])
    function, custom = request.tools
    assert isinstance(function, rq.FunctionTool)
    assert (function.name, function.namespace) == ("ask", "ns")
    assert custom == rq.CustomTool("patch", None, grammar, "ns")
    assert "tools.namespace.description" in request.extras["responses"]


def test_hosted_tools_are_kept_apart() -> None:
    """Pitfall 108."""
    assert read(tools=[{"type": "web_search", "x": 1}]).tools == (rq.HostedTool("responses", "web_search", {"x": 1}),)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", rq.ToolChoice(rq.ChoiceMode.REQUIRED)),
        ({"type": "function", "name": "f"}, rq.ToolChoice(rq.ChoiceMode.NAMED, ("f",))),
        ({"type": "custom", "name": "f"}, rq.ToolChoice(rq.ChoiceMode.NAMED, ("f",))),
        ({"type": "web_search"}, rq.ToolChoice(rq.ChoiceMode.NAMED, ("web_search",))),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}, {"type": "mcp"}],
            },
            rq.ToolChoice(rq.ChoiceMode.ALLOWED, ("f", "mcp"), is_required=True),
        ),
    ],
)
def test_choices(choice: Any, expected: rq.ToolChoice) -> None:
    """mapping.md §5.3."""
    assert read(tools=[response_tool("f")], tool_choice=choice).tool_choice == expected


# -- settings --------------------------------------------------------------------------------------------------------


def test_settings_are_read_by_their_own_names() -> None:
    schema = {"type": "object"}
    form = {"type": "json_schema", "name": "out", "schema": schema, "strict": True}
    request = read(
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        parallel_tool_calls=False,
        text={"format": form, "verbosity": "low"},
        reasoning={"effort": "high", "summary": "auto"},
        include=["reasoning.encrypted_content", "file_search_call.results"],
        stream=True,
        safety_identifier="s",
        user="u",
        prompt_cache_key="k",
        service_tier="flex",
        metadata={"a": "b"},
        store=True,
        truncation="disabled",
    )
    assert (request.max_tokens, request.temperature, request.top_p, request.parallel_tools) == (9, 0.5, 0.9, False)
    assert request.output == rq.JsonSchemaFormat(schema, "out", None, True)
    assert request.verbosity == "low"
    assert request.reasoning == rq.ReasoningRequest("on", "high", visible="summary")
    assert (request.user_id, request.cache_key, request.service_tier) == ("s", "k", "flex")
    assert (request.stream, request.include_usage, request.form) == (True, True, FORM_SEALED)
    assert request.extras == {}, "nothing of it is lost"
    assert request.name_of("max_tokens") == "max_output_tokens"
    assert request.name_of("user_id") == "safety_identifier"


def test_an_answer_repeats_its_request() -> None:
    """openai-responses.md §3: tools of unknown types would break strict clients."""
    tools = [response_tool("f"), {"type": "hologram"}]
    echo = read(instructions="Be brief.", tools=tools, text={"verbosity": "low"}, temperature=0.5).echo
    assert echo == {
        "instructions": "Be brief.",
        "tools": [response_tool("f")],
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "temperature": 0.5,
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ],
)
def test_what_needs_a_memory_is_refused(fields: Json, param: str) -> None:
    """openai-responses.md §1: with OpenAI's code for a parameter that isn't supported."""
    error = refused(**fields)
    assert isinstance(error, Unsupported)
    assert error.param == param
    assert isinstance(refused({"type": "item_reference", "id": "msg_1"}), Unsupported)


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([{"role": "robot", "content": "x"}], "input.0.role"),
        ([{"role": "user"}], "input.0.content"),
        ([user({"type": "input_text"})], "input.0.content.0.text"),
        ([user("x")], "input.0.content.0"),
        ([user({"type": "input_image", "image_url": 7})], "input.0.content.0.image_url"),
        ([user({"type": "input_image", "image_url": "data:image/png;base64,@@"})], "input.0.content.0.image_url"),
        ([user({"type": "input_file"})], "input.0.content.0.file_data"),
        (["x"], "input.0"),
        ([{}], "input.0.type"),
        ([{"role": "system", "content": [{"type": "input_image", "file_id": "f"}]}], "input.0.content.0"),
        ([{**CALL, "call_id": None}], "input.0.call_id"),
        ([{**CALL, "arguments": [1]}], "input.0.arguments"),
        ([{**OUTPUT, "output": 7}], "input.0.output"),
        ([{**THOUGHT, "summary": [{"type": "summary_text"}]}], "input.0.summary.0.text"),
        ([{"type": "item_reference", "id": "x"}], "input.0.id"),
        ([{"type": "shell_call", "action": {}}], "input.0.call_id"),
    ],
)
def test_bad_items_are_refused_by_their_path(items: list[Any], param: str) -> None:
    assert refused(*items).param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"model": None}, "model"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"tools": [{"name": "f"}]}, "tools.0.type"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]}, "tools.0.tools.0.type"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"reasoning": "high"}, "reasoning"),
        ({"truncation": "never"}, "truncation"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_bad_fields_are_refused_by_their_path(fields: Json, param: str) -> None:
    assert refused(**fields).param == param
