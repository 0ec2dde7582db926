"""Clients of other dialects towards a responses upstream, and responses clients towards all others."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.responses.sealed import join_item
from gateway.dialects.sealing import Sealer
from gateway.errors import Unsupported
from gateway.neutral import request as rq
from gateway.neutral.restoring import ClientTool
from tests.dialects.requests import (
    USER,
    Json,
    carried,
    chat,
    chat_tool,
    message,
    message_tool,
    parse,
    render,
    response,
    response_tool,
)

PNG = "iVBORw0KGgoAAAANSUhEUg=="
SEALED = ["reasoning.encrypted_content"]


def asked(**fields: Any) -> rq.Request:
    turns = fields.pop("turns", (rq.Turn(rq.Role.USER, (rq.Text("Hi"),)),))
    return rq.Request("demo", turns, **fields)


# -- fields ----------------------------------------------------------------------------------------------------------


def test_fields_go_under_their_names_here() -> None:
    """mapping.md §3.3, §5.1: flat formats, and `strict` is said where chat means false by silence."""
    schema = {"type": "object"}
    body = chat(
        max_completion_tokens=9,
        temperature=0.5,
        top_p=0.9,
        tools=[chat_tool("f"), chat_tool("g", strict=True)],
        parallel_tool_calls=False,
        response_format={"type": "json_schema", "json_schema": {"name": "out", "schema": schema, "strict": True}},
        verbosity="low",
        reasoning_effort="high",
        user="u",
        prompt_cache_key="k",
        service_tier="flex",
        metadata={"a": "b"},
        stream=True,
    )
    outbound = carried("openai", body, "responses")
    sent = outbound.body
    assert (sent["max_output_tokens"], sent["temperature"], sent["top_p"]) == (9, 0.5, 0.9)
    assert [(tool["name"], tool["strict"]) for tool in sent["tools"]] == [("f", False), ("g", True)]
    assert sent["parallel_tool_calls"] is False
    form = {"type": "json_schema", "name": "out", "schema": schema, "strict": True}
    assert sent["text"] == {"format": form, "verbosity": "low"}
    assert sent["reasoning"] == {"effort": "high", "summary": "auto"}
    assert (sent["include"], sent["store"], sent["stream"]) == (SEALED, False, True)
    assert (sent["safety_identifier"], sent["prompt_cache_key"], sent["service_tier"]) == ("u", "k", "flex")
    assert sent["metadata"] == {"a": "b"}
    assert outbound.path == "/responses"
    assert outbound.dropped == ()


def test_what_this_api_has_no_field_for_is_dropped_by_name() -> None:
    """mapping.md §3.3."""
    body = chat(stop=["x"], seed=1, presence_penalty=1, logit_bias={"1": 1}, logprobs=True, top_logprobs=2, top_k=3)
    dropped = carried("openai", body, "responses").dropped
    assert dropped == ("logit_bias", "logprobs", "presence_penalty", "seed", "stop", "top_k", "top_logprobs")
    assert carried("anthropic", message(stop_sequences=["x"]), "responses").dropped == ("stop_sequences",)


@pytest.mark.parametrize(
    ("client", "body", "param"),
    [
        ("openai", chat(n=2), "n"),
        ("openai", chat(modalities=["text", "audio"]), "modalities"),
        (
            "openai",
            chat(messages=[USER, {"role": "assistant", "content": "A"}], continue_final_message=True),
            "continue",
        ),
        ("anthropic", message(messages=[USER, {"role": "assistant", "content": "A"}]), "messages"),
        ("anthropic", message(max_tokens=0), "max_tokens"),
    ],
)
def test_what_would_change_the_answer_is_refused(client: str, body: Json, param: str) -> None:
    """Pitfall 79."""
    with pytest.raises(Unsupported) as raised:
        carried(client, body, "responses")
    assert str(raised.value.param).startswith(param)


@pytest.mark.parametrize(
    ("wanted", "profile", "sent"),
    [
        (None, "openai", None),
        (rq.ReasoningRequest("on", "max"), "openai", {"effort": "max", "summary": "auto"}),
        (rq.ReasoningRequest("on", "max"), "generic", {"effort": "high", "summary": "auto"}),
        (rq.ReasoningRequest("on", budget=2000), "openai", {"effort": "low", "summary": "auto"}),
        (rq.ReasoningRequest("on", budget=12000), "openai", {"effort": "medium", "summary": "auto"}),
        (rq.ReasoningRequest("on", budget=20000), "openai", {"effort": "high", "summary": "auto"}),
        (rq.ReasoningRequest("auto"), "openai", {"summary": "auto"}),
        (rq.ReasoningRequest("off"), "openai", {"effort": "none"}),
        (rq.ReasoningRequest("on", "low", visible="omit"), "openai", {"effort": "low"}),
    ],
)
def test_reasoning(wanted: rq.ReasoningRequest | None, profile: str, sent: Json | None) -> None:
    """mapping.md §6.1."""
    assert render(asked(reasoning=wanted), "responses", profile=profile).body.get("reasoning") == sent


def test_models_that_do_not_reason_are_not_asked_for_sealed_reasoning() -> None:
    assert "include" not in render(asked(), "responses", encrypted_reasoning=False).body


def test_instructions_stay_where_they_are() -> None:
    """mapping.md §4.1: leading ones are a field, later ones a message; never between a call and its result."""
    body = message(
        system=[{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}],
        messages=[USER, {"role": "system", "content": "Three."}, USER],
    )
    outbound = carried("anthropic", body, "responses")
    assert outbound.body["instructions"] == "One.\n\nTwo."
    roles = [item["role"] for item in outbound.body["input"]]
    assert roles == ["user", "developer", "user"]
    assert carried("anthropic", body, "responses", profile="generic").body["input"][1]["role"] == "system"


# -- tools -----------------------------------------------------------------------------------------------------------


def test_long_names_are_shortened_and_restored() -> None:
    """Pitfall 98."""
    long = "mcp__" + "x" * 90
    body = message(tools=[message_tool(long)], tool_choice={"type": "tool", "name": long})
    outbound = carried("anthropic", body, "responses")
    name = outbound.body["tools"][0]["name"]
    assert len(name) == 64
    assert outbound.body["tool_choice"] == {"type": "function", "name": name}
    assert outbound.restoration.tools == {name: ClientTool(long)}


def test_free_text_tools_stay_what_they_are() -> None:
    """Their calls come back as text, which the restoration leaves alone."""
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
    tools = (rq.CustomTool("patch", "P", grammar), rq.FunctionTool("f"))
    turns = (
        rq.Turn(rq.Role.ASSISTANT, (rq.ToolCall("a", "patch", "*** x", kind="custom"),)),
        rq.Turn(rq.Role.USER, (rq.ToolResult("a", (rq.Text("ok"),)),)),
    )
    choice = rq.ToolChoice(rq.ChoiceMode.ALLOWED, ("patch", "f"), is_required=True)
    sent = render(asked(turns=turns, tools=tools, tool_choice=choice), "responses").body
    assert sent["tools"][0] == {"type": "custom", "name": "patch", "description": "P", "format": grammar}
    assert sent["input"] == [
        {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": "*** x"},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "ok"},
    ]
    allowed = [{"type": "custom", "name": "patch"}, {"type": "function", "name": "f"}]
    assert sent["tool_choice"] == {"type": "allowed_tools", "mode": "required", "tools": allowed}


def test_hosted_tools_of_other_vendors_are_dropped_by_name() -> None:
    """Pitfall 108."""
    outbound = carried("anthropic", message(tools=[{"type": "web_search_20250305", "name": "web_search"}]), "responses")
    assert "tools" not in outbound.body
    assert outbound.dropped == ("tools.web_search_20250305",)


def test_ids_that_are_too_long_are_hashed_alike_for_call_and_result() -> None:
    """mapping.md §8."""
    turns = (
        rq.Turn(rq.Role.ASSISTANT, (rq.ToolCall("x" * 65, "f", "{}"), rq.ToolCall("functions.f:0", "f", "{}"))),
        rq.Turn(rq.Role.USER, (rq.ToolResult("x" * 65), rq.ToolResult("functions.f:0"))),
    )
    ids = [item["call_id"] for item in render(asked(turns=turns), "responses").body["input"]]
    assert ids[:2] == ids[2:]
    assert ids[0].startswith("call_")
    assert len(ids[0]) <= 64
    assert ids[1] == "functions.f:0"


# -- content ---------------------------------------------------------------------------------------------------------

DATA = rq.Data("image/png", PNG)


@pytest.mark.parametrize(
    ("part", "content"),
    [
        (rq.Image(DATA), {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}),
        (
            rq.Image(rq.Url("http://x/a"), "low"),
            {"type": "input_image", "image_url": "http://x/a", "detail": "low"},
        ),
        (rq.Audio("audio/wav", "QUJD"), {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}),
        (
            rq.Document(rq.Data("application/pdf", "QUJD"), "application/pdf", title="T"),
            {"type": "input_file", "filename": "T", "file_data": "data:application/pdf;base64,QUJD"},
        ),
        (rq.Document(rq.Url("https://x/a.pdf")), {"type": "input_file", "file_url": "https://x/a.pdf"}),
        (
            rq.Document(rq.Data("text/plain", "QUJD"), "text/plain", "a.txt"),
            {"type": "input_text", "text": "a.txt\nABC"},
        ),
        (rq.Document(text="words", title="T"), {"type": "input_text", "text": "T\nwords"}),
    ],
)
def test_media(part: rq.Part, content: Json) -> None:
    """mapping.md §4.4."""
    turns = (rq.Turn(rq.Role.USER, (rq.Text("see"), part)),)
    (item,) = render(asked(turns=turns), "responses").body["input"]
    assert item["content"] == [{"type": "input_text", "text": "see"}, content]


def test_passages_and_parts_are_text() -> None:
    parts = (rq.Document(parts=(rq.Text("b"),), title="a"), rq.SearchResult("https://x", "T", (rq.Text("found"),)))
    (item,) = render(asked(turns=(rq.Turn(rq.Role.USER, parts),)), "responses").body["input"]
    assert [part["text"] for part in item["content"]] == ["a", "b", "T (https://x)", "found"]


@pytest.mark.parametrize("part", [rq.Image(rq.FileRef("f")), rq.Document(rq.FileRef("f")), rq.Opaque("x", "thing", {})])
def test_what_is_another_vendors_own_is_refused_by_its_path(part: Any) -> None:
    """Pitfall 67."""
    placed = type(part)(**{name: getattr(part, name) for name in part.__dataclass_fields__} | {"where": "messages.0"})
    with pytest.raises(Unsupported) as raised:
        render(asked(turns=(rq.Turn(rq.Role.USER, (placed,)),)), "responses")
    assert raised.value.param == "messages.0"


@pytest.mark.parametrize(
    ("result", "output"),
    [
        (rq.ToolResult("a"), ""),
        (rq.ToolResult("a", (rq.Text("one"), rq.Text("two"))), "one\ntwo"),
        (rq.ToolResult("a", (rq.Text("boom"),), is_error=True), "Error: boom"),
        (rq.ToolResult("a", (rq.Text("error: boom"),), is_error=True), "error: boom"),
        (rq.ToolResult("a", (), is_error=True), "Error: "),
        (
            rq.ToolResult("a", (rq.Image(rq.Url("http://x/a")),), is_error=True),
            [
                {"type": "input_text", "text": "Error: "},
                {"type": "input_image", "image_url": "http://x/a", "detail": "auto"},
            ],
        ),
    ],
)
def test_results(result: rq.ToolResult, output: Any) -> None:
    """Pitfalls 65, 78, 81; mapping.md §4.3."""
    turns = (rq.Turn(rq.Role.ASSISTANT, (rq.ToolCall("a", "f", ""),)), rq.Turn(rq.Role.USER, (result,)))
    call, told = render(asked(turns=turns), "responses").body["input"]
    assert call["arguments"] == "{}"
    assert told["output"] == output


def test_the_order_of_an_answer_is_kept() -> None:
    """mapping.md §4.2: text behind a call stays behind it."""
    said = (rq.Text("a"), rq.Text("b"), rq.ToolCall("x", "f", "{}"), rq.Refusal("no"))
    turns = (rq.Turn(rq.Role.ASSISTANT, said), rq.Turn(rq.Role.USER, (rq.ToolResult("x"),)))
    items = render(asked(turns=turns), "responses").body["input"]
    assert [item["type"] for item in items] == ["message", "function_call", "message", "function_call_output"]
    assert items[0]["content"] == [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}]
    assert items[2]["content"] == [{"type": "refusal", "refusal": "no"}]


# -- reasoning that comes back ---------------------------------------------------------------------------------------


def thought(value: rq.OpaqueValue | None, text: str = "Hm.") -> tuple[rq.Turn, ...]:
    return (rq.Turn(rq.Role.ASSISTANT, (rq.Reasoning(text, value), rq.Text("Yes."))),)


def test_sealed_reasoning_goes_back_where_it_came_from() -> None:
    """mapping.md §6.3: id and encrypted content byte for byte, and the next answer begins where it stopped."""
    value = join_item("rs_1", "gAAAA+/=", "openai")
    first = render(asked(turns=thought(value)), "responses").body["input"][0]
    assert first == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": "gAAAA+/=",
    }
    unnamed = render(asked(turns=thought(rq.OpaqueValue("openai-encrypted", "gAAAA"))), "responses").body["input"][0]
    assert "id" not in unnamed
    assert unnamed["encrypted_content"] == "gAAAA"
    unsaid = render(asked(turns=thought(value, "")), "responses").body["input"][0]
    assert unsaid["summary"] == []


@pytest.mark.parametrize(
    "value",
    [
        None,
        rq.OpaqueValue("anthropic", "c2ln", "anthropic"),
        join_item("rs_1", "gAAAA", "vllm"),
        rq.OpaqueValue("none", "", "openai-compatible"),
    ],
)
def test_other_reasoning_does_not(value: rq.OpaqueValue | None) -> None:
    """Pitfall 87, the other way round."""
    outbound = render(asked(turns=thought(value)), "responses")
    assert [item["type"] for item in outbound.body["input"]] == ["message"]
    assert outbound.adapted == ("messages.thinking=foreign",)


def test_open_models_get_their_thoughts_back_as_text() -> None:
    turns = thought(rq.OpaqueValue("none", "", "vllm"))
    first = render(asked(turns=turns), "responses", profile="vllm").body["input"][0]
    assert first["content"] == [{"type": "reasoning_text", "text": "Hm."}]


def test_a_relayed_request_loses_only_what_its_upstream_could_not_read() -> None:
    """mapping.md §6.3: another vendor's reasoning, and our token for it, mean nothing to a responses upstream."""
    sealer = Sealer()
    items: list[Json] = [
        {"type": "reasoning", "id": "rs_a", "summary": [], "encrypted_content": "gAAAA"},
        {
            "type": "reasoning",
            "id": "rs_b",
            "summary": [],
            "encrypted_content": sealer.seal("anthropic", rq.OpaqueValue("anthropic", "c2ln", "anthropic")),
        },
        {
            "type": "reasoning",
            "id": "rs_c",
            "summary": [],
            "encrypted_content": sealer.seal("openai", join_item("rs_9", "gBBBB", "openai")),
        },
        {"type": "reasoning", "id": "rs_d", "summary": [], "encrypted_content": sealer.seal("deepseek")},
        {"role": "user", "content": "Hi"},
    ]
    dialect = DIALECTS["responses"]
    body = response(input=items)
    outbound = dialect.forward(body, parse("responses", body), "theirs", dialect.options())
    kept = {"type": "reasoning", "id": "rs_9", "summary": [], "encrypted_content": "gBBBB"}
    assert outbound.body["input"] == [items[0], kept, items[4]]
    untouched = response(input=[items[0], items[4]])
    assert dialect.forward(untouched, parse("responses", untouched), "theirs", dialect.options()).body == {
        **untouched,
        "model": "theirs",
    }


# -- a responses client elsewhere ------------------------------------------------------------------------------------


def test_a_responses_clients_tools_work_everywhere() -> None:
    """Pitfalls 106, 107, 108."""
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
    tools = [
        {"type": "custom", "name": "patch", "description": "P", "format": grammar},
        {"type": "namespace", "name": "ns", "description": "D", "tools": [response_tool("ask")]},
        {"type": "web_search"},
    ]
    calls = [
        {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": "*** x"},
        {"type": "function_call", "call_id": "b", "name": "ask", "namespace": "ns", "arguments": "{}"},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "ok"},
        {"type": "function_call_output", "call_id": "b", "output": "ok"},
    ]
    body = response(input=[{"role": "user", "content": "Hi"}, *calls], tools=tools)
    restored = {"patch": ClientTool("patch", kind="custom"), "ns__ask": ClientTool("ask", "ns")}
    for upstream in ("openai", "anthropic"):
        outbound = carried("responses", body, upstream)
        assert outbound.restoration.tools == restored
        assert "tools.web_search" in outbound.dropped
        assert "start: /x/" in str(outbound.body["tools"])
    names = [block["name"] for block in outbound.body["messages"][1]["content"]]
    assert names == ["patch", "ns__ask"]
    assert outbound.body["messages"][1]["content"][0]["input"] == {"input": "*** x"}


def test_what_is_lost_is_named_in_the_clients_words() -> None:
    """mapping.md §3: a responses client's own names."""
    body = response(
        truncation="auto",
        include=["message.output_text.logprobs"],
        reasoning={"context": "auto"},
        client_metadata={"a": "b"},
        text={"verbosity": "low"},
    )
    dropped = carried("responses", body, "anthropic").dropped
    assert dropped == ("client_metadata", "include", "reasoning.context", "text.verbosity", "truncation")
    assert carried("responses", response(), "anthropic").adapted == ("max_output_tokens=default",)
