"""mapping.md §4, §5 and §8 where they meet upstreams that speak responses, and what holds for every pair."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from gateway.dialects.base import Outbound
from gateway.errors import BadRequest, Kind, Unsupported
from tests.dialects.mapping import refusal
from tests.dialects.requests import (
    USER,
    Json,
    carried,
    chat,
    chat_call,
    chat_tool,
    message,
    message_tool,
    parse,
    render,
    response,
    response_tool,
)
from tests.dialects.sdk_types import faults
from tests.properties.bodies import SEEDS

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
CHAT_IMAGE: Json = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
USE: Json = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}


def user(*content: Json) -> Json:
    return {"role": "user", "content": list(content)}


def items(*messages: Json) -> list[Json]:
    """What a responses upstream is sent of an Anthropic client's messages."""
    found: list[Json] = carried("anthropic", message(messages=list(messages)), "responses").body["input"]
    return found


def output_of(*content: Json, **fields: object) -> object:
    """What a responses upstream is sent of a tool's result."""
    result = {"type": "tool_result", "tool_use_id": "t", "content": list(content), **fields}
    return items(USER, {"role": "assistant", "content": [USE]}, user(result))[2]["output"]


# -- every pair --------------------------------------------------------------------------------------------------------

PROFILES = {"openai": "openai", "anthropic": "anthropic", "responses": "openai"}


PAIRS = [(client, upstream) for client in SEEDS for upstream in PROFILES if client != upstream]


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_the_vendors_own_types_accept_every_translation(client: str, upstream: str) -> None:
    """Strict servers refuse fields that they don't know, and parts in the wrong place."""
    for outbound in translations(client, upstream):
        assert faults(upstream, outbound.body) == []


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_reports_name_what_the_client_sent(client: str, upstream: str) -> None:
    """mapping.md §3: names are the client's own, apart from the table's words for what is inside of messages."""
    inside = {
        "annotations",
        "cache_control",
        "citations",
        "detail",
        "prompt_cache_breakpoint",
        "thinking",
        "tool_calls",
    }
    made_up = {"max_tokens", "max_output_tokens", "tools"}
    for body, outbound in zip(SEEDS[client], translations(client, upstream), strict=True):
        names = {name.partition("=")[0].partition(".")[0] for name in (*outbound.dropped, *outbound.adapted)}
        assert names <= body.keys() | inside | made_up


def translations(client: str, upstream: str) -> list[Outbound]:
    """What the upstream's vendor is sent of everything that clients of the dialect may say."""
    options = {"profile": PROFILES[upstream]}
    return [carried(client, body, upstream, **options) for body in SEEDS[client]]


# -- §4.1 and §4.2 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("system", "sent"), [("A\nx-anthropic-billing-header: x\nB", "A\nB"), ("", None)])
def test_a_billing_header_does_not_reach_a_responses_upstream(system: str, sent: str | None) -> None:
    """Pitfall 71: it changes with each call and defeats every prefix cache. Empty instructions are left out."""
    assert carried("anthropic", message(system=system), "responses").body.get("instructions") == sent


def test_instructions_alone_are_the_first_item() -> None:
    """A chat may have nothing else; `input` may not be empty."""
    body = carried("openai", chat(messages=[{"role": "system", "content": "Say hi."}]), "responses").body
    assert body["input"] == [{"type": "message", "role": "developer", "content": "Say hi."}]
    assert "instructions" not in body


def test_a_conversation_without_words_is_one_empty_message() -> None:
    assert items({"role": "user", "content": ""}) == [{"type": "message", "role": "user", "content": ""}]


def test_an_image_in_later_instructions_is_refused() -> None:
    """As in leading ones: instructions are text everywhere else, where it would be lost in silence."""
    image = {"type": "input_image", "image_url": "https://example.org/a.png"}
    late = {"role": "system", "content": [image]}
    with pytest.raises(BadRequest) as caught:
        parse("responses", response(input=[USER, late, USER]))
    assert caught.value.param == "input.1.content.0"


def test_what_a_vendors_own_tools_did_is_left_out_by_name() -> None:
    """mapping.md §10: server tools leave nothing but the text behind."""
    searched = [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "text", "text": "Found."},
    ]
    body = message(messages=[USER, {"role": "assistant", "content": searched}, USER])
    outbound = carried("anthropic", body, "responses")
    assert [item["content"] for item in outbound.body["input"]] == ["Hi", "Found.", "Hi"]
    assert outbound.dropped == ("messages.server_tool_use", "messages.web_search_tool_result")
    with pytest.raises(Unsupported) as caught:
        render(replace(parse("anthropic", body), is_strict=True), "responses")
    assert caught.value.param == "messages.1.content.0"


def test_text_around_a_call_keeps_its_place_among_items() -> None:
    """mapping.md §4.2: items keep the order, nothing is lost."""
    said = [{"type": "text", "text": "a"}, USE, {"type": "text", "text": "b"}]
    result = {"type": "tool_result", "tool_use_id": "t", "content": "r"}
    talk = items(USER, {"role": "assistant", "content": said}, user({"type": "text", "text": "c"}, result))
    assert [item["type"] for item in talk] == [
        "message",
        "message",
        "function_call",
        "message",
        "function_call_output",
        "message",
    ]


def test_calls_that_share_an_id_are_two_calls_of_either_kind() -> None:
    """mapping.md §8: some clients give back ids that repeat."""
    call = {"type": "custom", "id": "x", "custom": {"name": "patch", "input": "p"}}
    results = [{"role": "tool", "tool_call_id": "x", "content": text} for text in ("one", "two")]
    talk = [USER, {"role": "assistant", "tool_calls": [call, call]}, *results]
    sent = carried("openai", chat(messages=talk), "responses").body["input"][1:]
    assert [(item["type"], item["call_id"]) for item in sent] == [
        ("custom_tool_call", "x"),
        ("custom_tool_call", "x_2"),
        ("custom_tool_call_output", "x"),
        ("custom_tool_call_output", "x_2"),
    ]
    assert [item["output"] for item in sent[2:]] == ["one", "two"]


def test_an_agents_words_in_a_field_that_nobody_knows_are_named() -> None:
    request = parse("responses", response(input=[USER, {"type": "agent_message", "note": "hey"}]))
    assert render(request, "openai").dropped == ("input.note",)


def test_two_messages_of_the_assistant_do_not_run_together() -> None:
    """mapping.md §4.2: a responses client's comment and answer are one chat message, but not one word."""
    said = [{"role": "assistant", "content": text} for text in ("I'll look.", "It rains.")]
    body = carried("responses", response(input=[USER, *said, USER]), "openai").body
    assert body["messages"][1] == {"role": "assistant", "content": "I'll look.\n\nIt rains."}
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = carried("anthropic", message(messages=[USER, {"role": "assistant", "content": blocks}, USER]), "openai").body
    assert body["messages"][1]["content"] == "ab"


# -- §4.3 --------------------------------------------------------------------------------------------------------------


def test_what_only_one_vendor_knows_of_a_result_is_its_json() -> None:
    """mapping.md §4.3, and that is reported."""
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "g"}]}
    body = message(messages=[USER, {"role": "assistant", "content": [USE]}, user(result)])
    outbound = carried("anthropic", body, "responses")
    assert outbound.body["input"][2]["output"] == '{"type":"tool_reference","tool_name":"g"}'
    assert outbound.adapted == ("messages.tool_reference=as_text",)


def test_results_of_every_form_for_a_responses_upstream() -> None:
    """mapping.md §4.3."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    assert output_of() == ""
    assert output_of({"type": "text", "text": "a"}, {"type": "text", "text": "b"}) == "a\nb"
    assert output_of({"type": "text", "text": "bad"}, is_error=True) == "Error: bad"
    assert output_of({"type": "text", "text": "ERROR 5"}, is_error=True) == "ERROR 5"
    assert output_of(image) == [
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
    ]


# -- §4.4 --------------------------------------------------------------------------------------------------------------


def test_documents_keep_their_titles_and_context() -> None:
    """mapping.md §4.4: as text, since this API has no field for them."""
    text = {"type": "document", "source": {"type": "text", "data": "d"}, "title": "T", "context": "C"}
    pdf = {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        "title": "T",
        "context": "C",
    }
    assert items(user(text))[0]["content"] == "T\nC\nd"
    assert items(user(pdf))[0]["content"] == [
        {"type": "input_text", "text": "C"},
        {"type": "input_file", "filename": "T", "file_data": f"data:application/pdf;base64,{PDF}"},
    ]


def test_an_empty_document_makes_no_empty_part() -> None:
    empty = {"type": "document", "source": {"type": "text", "data": ""}}
    assert items(user(empty, {"type": "text", "text": "q"}))[0]["content"] == "q"


def test_documents_to_be_cited_are_named() -> None:
    """mapping.md §4.4: citations are dropped, so a strict client is refused."""
    document = {"type": "document", "source": {"type": "text", "data": "d"}, "citations": {"enabled": True}}
    body = message(messages=[user(document)])
    assert carried("anthropic", body, "responses").dropped == ("citations",)
    with pytest.raises(Unsupported) as caught:
        render(replace(parse("anthropic", body), is_strict=True), "responses")
    assert caught.value.param == "messages.0.content.0.citations"


def test_base64_goes_out_as_one_line() -> None:
    source = {"type": "base64", "media_type": "image/jpg", "data": f"{PNG[:20]}\n{PNG[20:]}"}
    content = items(user({"type": "image", "source": source}))[0]["content"]
    assert content[0]["image_url"] == f"data:image/png;base64,{PNG}"


@pytest.mark.parametrize(("name", "mime"), [("a.pdf", "application/pdf"), ("a.bin", "application/octet-stream")])
def test_a_responses_client_may_send_bare_base64(name: str, mime: str) -> None:
    """As chat clients may."""
    part = {"type": "input_file", "file_data": PDF, "filename": name}
    body = carried("responses", response(input=[user(part)]), "openai").body
    assert body["messages"][0]["content"][0]["file"] == {"filename": name, "file_data": f"data:{mime};base64,{PDF}"}


def test_a_file_that_is_no_base64_is_refused_at_its_path() -> None:
    part = {"type": "input_file", "file_data": "!", "filename": "a.pdf"}
    error = refusal("responses", response(input=[user(part)]), "openai")
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, "input.0.content.0.file_data")


@pytest.mark.parametrize(
    ("client", "body", "name", "where"),
    [
        (
            "anthropic",
            message(messages=[user({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}})]),
            "cache_control",
            "messages.0.content.0.",
        ),
        ("anthropic", message(cache_control={"type": "ephemeral"}), "cache_control", ""),
        (
            "responses",
            response(
                input=[user({"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}})]
            ),
            "prompt_cache_breakpoint",
            "input.0.content.0.",
        ),
    ],
)
def test_a_mark_of_the_cache_goes_by_the_clients_word_for_it(client: str, body: Json, name: str, where: str) -> None:
    """mapping.md §3.2: one entry; a strict client hears where the first one is."""
    request = parse(client, body)
    assert render(request, "openai").dropped == (name,)
    with pytest.raises(Unsupported) as caught:
        render(replace(request, is_strict=True), "openai")
    assert caught.value.param == f"{where}{name}"


def test_a_choice_of_no_tool_is_kept_where_there_is_none() -> None:
    """mapping.md §5.3: nothing is lost, so that a strict client is served."""
    for upstream in ("anthropic", "responses", "truss"):
        request = replace(parse("openai", chat(tool_choice="none", max_tokens=9)), is_strict=True)
        assert render(request, upstream).dropped == ()


@pytest.mark.parametrize(
    ("client", "body", "where"),
    [
        (
            "anthropic",
            message(messages=[user({"type": "text", "text": "a", "pace": 1})]),
            "messages.0.content.0.pace",
        ),
        ("openai", chat(messages=[user({"type": "text", "text": "a", "pace": 1})]), "messages.0.content.0.pace"),
        ("openai", chat(messages=[user({**CHAT_IMAGE, "pace": 1})]), "messages.0.content.0.pace"),
        ("responses", response(input=[user({"type": "input_text", "text": "a", "pace": 1})]), "input.0.content.0.pace"),
    ],
)
def test_a_field_of_a_part_that_nobody_knows_is_named(client: str, body: Json, where: str) -> None:
    """mapping.md §3.1: unknown fields are dropped, and reported."""
    upstream = "anthropic" if client != "anthropic" else "openai"
    request = parse(client, body)
    assert render(request, upstream).dropped == ("pace",)
    with pytest.raises(Unsupported) as caught:
        render(replace(request, is_strict=True), upstream)
    assert caught.value.param == where


def test_what_answers_repeat_is_no_question() -> None:
    """Clients give parts back as they got them, with fields that say nothing."""
    call = {**USE, "caller": {"type": "direct"}}
    text = {"type": "text", "text": "a", "citations": None}
    body = message(messages=[USER, {"role": "assistant", "content": [text, call]}, USER])
    assert carried("anthropic", body, "openai").dropped == ()
    said = {"type": "output_text", "text": "a", "annotations": [], "logprobs": []}
    assert (
        carried("responses", response(input=[USER, {"role": "assistant", "content": [said]}, USER]), "openai").dropped
        == ()
    )


# -- §5 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "sent"), [("", "{}"), (" ", "{}"), ('{"a":1}', '{"a":1}'), ('{"a":', '{"a":')])
def test_arguments_of_a_history_stay_text(arguments: str, sent: str) -> None:
    """mapping.md §5.5: only blank ones are mended."""
    talk = [USER, {"role": "assistant", "tool_calls": [chat_call("c", "f", arguments)]}]
    assert carried("openai", chat(messages=talk), "responses").body["input"][1]["arguments"] == sent


SEARCH: Json = {"type": "web_search"}
ALLOWED: Json = {"type": "allowed_tools", "mode": "auto", "tools": [SEARCH, {"type": "function", "name": "f"}]}


def test_a_list_that_allows_a_hosted_tool_is_what_is_declared() -> None:
    """mapping.md §5.3: a server refuses a list that names a tool it was not told of."""
    body = response(tools=[SEARCH, response_tool("f"), response_tool("g")], tool_choice=ALLOWED)
    outbound = carried("responses", body, "openai", profile="openai")
    assert [tool["function"]["name"] for tool in outbound.body["tools"]] == ["f"]
    assert outbound.body["tool_choice"] == "auto"
    assert outbound.adapted == ("tool_choice=tools_filtered",)


def test_a_list_of_tools_that_nobody_declared() -> None:
    """Nothing is left to call: demanded, that is refused; otherwise the list is dropped, and named."""
    tools = [{"type": "function", "function": {"name": "nope"}}]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": tools}}
    free = carried("openai", chat(tools=[chat_tool("f")], tool_choice=choice), "responses")
    assert (free.body.get("tools"), free.body.get("tool_choice")) == (None, None)
    assert free.dropped == ("tool_choice",)
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools}}
    for upstream in ("anthropic", "responses", "truss"):
        assert refusal("openai", chat(tools=[chat_tool("f")], tool_choice=choice), upstream).param == "tool_choice"


def test_an_empty_list_of_allowed_tools_is_refused_at_its_path() -> None:
    choice = {"type": "allowed_tools", "mode": "auto", "tools": []}
    error = refusal("responses", response(tools=[response_tool("f")], tool_choice=choice), "openai")
    assert error.param == "tool_choice.tools"


@pytest.mark.parametrize("named", ["f", "ns__f"])
@pytest.mark.parametrize("upstream", ["openai", "anthropic", "truss"])
def test_a_choice_finds_its_tool_in_a_namespace(named: str, upstream: str) -> None:
    """mapping.md §5.1, §5.2: the choice goes by the name that is declared."""
    space = {"type": "namespace", "name": "ns", "description": "", "tools": [{"type": "function", "name": "f"}]}
    body = response(tools=[space], tool_choice={"type": "function", "name": named})
    choice = carried("responses", body, upstream).body["tool_choice"]
    assert (choice.get("name") or choice["function"]["name"]) == "ns__f"


def test_a_tier_that_another_vendor_calls_otherwise_is_reported() -> None:
    """mapping.md §3.2: ADAPT."""
    outbound = carried("anthropic", message(service_tier="standard_only"), "responses")
    assert (outbound.body["service_tier"], outbound.adapted) == ("default", ("service_tier=default",))


@pytest.mark.parametrize("upstream", ["openai", "responses", "truss"])
def test_a_wish_to_cache_inside_a_schema_is_a_property_like_any_other(upstream: str) -> None:
    """Pitfall 73: only the vendor's own marks are taken out."""
    schema = {"type": "object", "properties": {"cache_control": {"type": "object"}}}
    use = {**USE, "input": {"cache_control": {"type": "ephemeral"}}}
    body = message(
        tools=[message_tool("f", input_schema=schema)], messages=[USER, {"role": "assistant", "content": [use]}, USER]
    )
    sent = carried("anthropic", body, upstream).body
    tool = sent["tools"][0]
    assert tool.get("function", tool)["parameters"] == schema
    assert '{\\"cache_control\\":{\\"type\\":\\"ephemeral\\"}}' in str(sent).replace('"', '\\"')
