"""Pitfalls 58 to 82: conversations, in the order and the shape that each upstream insists on."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.errors import BadRequest, ClientError, Unsupported
from tests.dialects.requests import USER, chat, message
from tests.pitfalls.bodies import (
    DATA_URL,
    IMAGE_BLOCK,
    IMAGE_PART,
    PNG,
    Json,
    assistant,
    calls,
    converse,
    r_to_chat,
    response,
    result,
    sent_to,
    talk,
    text,
    to_chat,
    to_messages,
    tool,
    use,
    user,
)


def test_results_are_one_message_in_the_order_of_the_calls() -> None:
    """Pitfall 58."""
    asked = assistant(tool_calls=calls("a", "b", "c"))
    sent = to_messages(talk(asked, tool("c", "3"), tool("a", "1"), tool("b", "2"), user("So?")))
    kinds = [(each["type"], each.get("tool_use_id")) for each in sent[2]["content"]]
    assert kinds == [("tool_result", "a"), ("tool_result", "b"), ("tool_result", "c"), ("text", None)]
    assert [each["role"] for each in sent] == ["user", "assistant", "user"]


def test_nothing_stands_between_calls_and_results() -> None:
    """Pitfall 59."""
    mixed = user([result("a", "1"), text("So?")])
    sent = to_chat(converse(assistant([use("a")]), mixed))
    assert [each["role"] for each in sent[1:]] == ["assistant", "tool", "user"]
    assert sent[3]["content"] == "So?"


def test_a_history_that_does_not_pair_is_repaired_or_refused() -> None:
    """Pitfall 60: repaired and told; refused where the client is strict."""
    cases: list[tuple[tuple[Json, ...], str]] = [
        ((assistant(tool_calls=calls("a")), user("So?")), "messages=tool_result_synthesised"),
        ((tool("x", "1"), user("So?")), "messages=tool_result_as_text"),
    ]
    for history, told in cases:
        outbound = sent_to("anthropic", "openai", talk(*history))
        assert told in outbound.adapted
        blocks = [block for each in outbound.body["messages"] for block in each["content"]]
        used = [block["id"] for block in blocks if block["type"] == "tool_use"]
        assert [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"] == used


@pytest.mark.parametrize("content", ["", None])
def test_calls_without_text_have_no_empty_text(content: str | None) -> None:
    """Pitfall 61."""
    sent = to_messages(talk(assistant(content, tool_calls=calls("a")), tool("a", "1")))
    assert [block["type"] for block in sent[1]["content"]] == ["tool_use"]


def test_text_and_calls_both_survive() -> None:
    """Pitfall 62."""
    sent = to_messages(talk(assistant("Let me see.", tool_calls=calls("a")), tool("a", "1")))
    assert [block["type"] for block in sent[1]["content"]] == ["text", "tool_use"]


def test_text_with_an_empty_list_of_calls() -> None:
    """Pitfall 63."""
    sent = to_messages(talk(assistant("Hello", tool_calls=[]), user("So?")))
    assert sent[1]["content"] == [text("Hello")]


@pytest.mark.parametrize("blank", ["", "  \n"])
def test_empty_text_is_stripped_for_anthropic(blank: str) -> None:
    """Pitfall 64."""
    sent = to_messages(talk(user([text(blank), text("Hi")]), assistant(blank), user("So?")))
    assert all(block["text"].strip() for each in sent for block in each["content"])


def test_an_image_in_a_result_reaches_the_model() -> None:
    """Pitfall 65: below the results, or in place where the server takes that."""
    body = converse(assistant([use("a"), use("b")]), user([result("a", [text("see"), IMAGE_BLOCK]), result("b", "2")]))
    sent = to_chat(body)
    assert [each["role"] for each in sent[2:]] == ["tool", "tool", "user"]
    assert {"type": "image_url", "image_url": {"url": DATA_URL}} in sent[4]["content"]
    assert "a" in orjson.dumps([part for part in sent[4]["content"] if part["type"] == "text"]).decode()
    in_place = to_chat(body, tool_images=True)
    assert [each["role"] for each in in_place[2:]] == ["tool", "tool"]
    assert IMAGE_PART in in_place[2]["content"]


def test_an_image_in_a_tool_message_becomes_one_in_the_result() -> None:
    """Pitfall 66."""
    sent = to_messages(talk(assistant(tool_calls=calls("a")), tool("a", [text("see"), IMAGE_PART])))
    assert sent[2]["content"][0]["content"] == [text("see"), IMAGE_BLOCK]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "http://example.com/x.png"}},
        {"type": "video_url", "video_url": {"url": "https://example.com/x.mp4"}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "image_url", "image_url": {"url": "data:image/bmp;base64,Qk0AAAAA"}},
    ],
    ids=["audio", "http image", "video", "file id", "bmp"],
)
def test_media_that_can_not_be_carried_is_refused_by_its_path(part: Json) -> None:
    """Pitfall 67."""
    with pytest.raises(ClientError) as raised:
        to_messages(chat(messages=[user([text("See:"), part])]))
    assert (raised.value.param or "").startswith("messages.0.content.1")


@pytest.mark.parametrize(
    ("url", "mime"),
    [
        (f"data:image/jpg;base64,{PNG}", "image/png"),
        (f"data:image/png;base64,{PNG[:20]}\n{PNG[20:]}", "image/png"),
        ("data:image/jpg;base64,/9j/4AAQSkZJRgABAQ", "image/jpeg"),
        (f"data:;base64,{PNG.rstrip('=')}", "image/png"),
    ],
    ids=["wrong type", "line ends", "jpg", "no padding"],
)
def test_sloppy_data_urls(url: str, mime: str) -> None:
    """Pitfall 68."""
    (sent,) = to_messages(chat(messages=[user([{"type": "image_url", "image_url": {"url": url}}])]))
    source = sent["content"][0]["source"]
    assert source["media_type"] == mime
    assert len(source["data"]) % 4 == 0
    assert "\n" not in source["data"]


@pytest.mark.parametrize("upstream", ["openai", "anthropic", "truss"])
def test_instructions_in_mid_conversation(upstream: str) -> None:
    """Pitfall 69: never a system message behind the first, where the server has not said that it takes one."""
    body = message(messages=[USER, {"role": "system", "content": "Be brief."}, user("So?")])
    sent = sent_to(upstream, "anthropic", body).body["messages"]
    assert [each["role"] for each in sent] == ["user"]
    assert "Be brief." in orjson.dumps(sent).decode()


def test_leading_instructions_are_one_text_in_their_order() -> None:
    """Pitfall 70."""
    lead: list[Json] = [{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}]
    assert sent_to("anthropic", "openai", chat(messages=[*lead, USER])).body["system"] == "A\n\nB"


BILLING = "x-anthropic-billing-header: cc_version=1; cch=abc;"


@pytest.mark.parametrize("system", [[text(BILLING), text("Be brief.")], f"{BILLING}\nBe brief."])
def test_the_billing_header_is_removed(system: Any) -> None:
    """Pitfall 71: it changes with each request, and no cache would ever be hit."""
    for upstream in ("openai", "truss"):
        sent = sent_to(upstream, "anthropic", message(system=system)).body["messages"]
        assert sent[0] == {"role": "system", "content": "Be brief."}


def test_the_same_request_twice_is_the_same_bytes() -> None:
    """Pitfall 72."""
    bodies = [
        ("openai", talk(assistant(tool_calls=calls("functions.f:0")), tool("functions.f:0", "1")), "anthropic"),
        ("anthropic", converse(assistant([use("a", "x" * 90)]), user([result("a", "1")])), "openai"),
    ]
    for client, body, upstream in bodies:
        one, two = (orjson.dumps(sent_to(upstream, client, body).body) for _ in range(2))
        assert one == two


def test_cache_hints_stay_with_those_who_know_them() -> None:
    """Pitfall 73: in an argument or a schema that name means something else."""
    hint = {"cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}}
    schema = {"type": "object", "properties": {"cache_control": {"type": "string"}}}
    body = message(
        system=[text("S", **hint)],
        messages=[
            user([text("Hi", **hint)]),
            assistant([use("a", "f", cache_control="mine") | hint]),
            user([result("a", [text("1", **hint)]) | hint]),
        ],
        tools=[{"name": "f", "input_schema": schema, **hint}],
        cache_control={"type": "ephemeral"},
    )
    for upstream in ("openai", "responses"):
        outbound = sent_to(upstream, "anthropic", body)
        data = orjson.dumps(outbound.body).decode()
        assert "ephemeral" not in data
        assert "mine" in data
        assert data.count("cache_control") == 2
        assert outbound.dropped == ("cache_control",)


def test_a_single_text_is_a_plain_string() -> None:
    """Pitfall 74."""
    assert to_chat(message(messages=[user([text("Hi")])])) == [USER]


REASONING: Json = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
COMMENT: Json = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me see."}]}


def item_call(call_id: str, **fields: Any) -> Json:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"} | fields


def item_output(call_id: str, output: Any = "1") -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def test_one_turn_of_items_is_one_message() -> None:
    """Pitfall 75."""
    sent = r_to_chat(response(user("Hi"), REASONING, COMMENT, item_call("a"), item_output("a")))
    assert [each["role"] for each in sent] == ["user", "assistant", "tool"]
    assert sent[1]["content"] == "Let me see."
    assert [each["id"] for each in sent[1]["tool_calls"]] == ["a"]


def test_parallel_call_items_are_one_message() -> None:
    """Pitfall 76."""
    sent = r_to_chat(response(user("Hi"), item_call("a"), item_call("b"), item_output("a"), item_output("b")))
    assert [each["role"] for each in sent] == ["user", "assistant", "tool", "tool"]
    assert len(sent[1]["tool_calls"]) == 2


def test_reasoning_alone_is_no_message() -> None:
    """Pitfall 77."""
    sent = r_to_chat(response(user("Hi"), REASONING, user("So?")))
    assert [each["role"] for each in sent if each["content"] in ("", None)] == []
    assert "assistant" not in [each["role"] for each in sent]


def test_an_output_with_an_image_keeps_it() -> None:
    """Pitfall 78."""
    output = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": DATA_URL}]
    body = response(user("Hi"), item_call("a"), item_output("a", output))
    sent = sent_to("anthropic", "responses", body).body["messages"]
    assert sent[2]["content"][0]["content"] == [text("see"), IMAGE_BLOCK]
    assert DATA_URL in orjson.dumps(r_to_chat(body)).decode()


@pytest.mark.parametrize(("client", "upstream"), [("anthropic", "openai"), ("openai", "anthropic")])
def test_a_beginning_of_the_answer_is_refused_where_it_can_not_be_given(client: str, upstream: str) -> None:
    """Pitfall 79."""
    history = [USER, assistant("So")]
    body = message(messages=history) if client == "anthropic" else chat(messages=history)
    with pytest.raises((BadRequest, Unsupported)) as raised:
        sent_to(upstream, client, body)
    assert (raised.value.param or "").startswith("messages")


def test_a_beginning_of_the_answer_goes_by_profile() -> None:
    """Pitfall 80: and the template is told not to open a thought of its own."""
    body = message(messages=[USER, assistant("So")])
    sent = sent_to("openai", "anthropic", body, profile="vllm").body
    assert (sent["add_generation_prompt"], sent["continue_final_message"]) == (False, True)
    assert sent["messages"][-1] == assistant("So")
    deepseek = sent_to("openai", "anthropic", body, profile="deepseek").body["messages"][-1]
    assert deepseek["prefix"] is True
    with pytest.raises(ClientError):
        sent_to("openai", "anthropic", body, profile="openai")


def test_a_failed_tool_says_so_in_its_text() -> None:
    """Pitfall 81."""
    body = converse(assistant([use("a")]), user([result("a", "no such city", is_error=True)]))
    assert to_chat(body)[2]["content"] == "Error: no such city"


@pytest.mark.parametrize("arguments", ["", "null", "[1]", "7", '"x"', '{"x":', "not json", "[[[[["])
def test_arguments_of_a_history_are_always_an_object(arguments: str) -> None:
    """Pitfall 82."""
    sent = to_messages(talk(assistant(tool_calls=calls("a", arguments=arguments)), tool("a", "1")))
    assert isinstance(sent[1]["content"][0]["input"], dict)
