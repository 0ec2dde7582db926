"""Conversations as an OpenAI chat upstream reads them: instructions, media, results, ids."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.errors import BadRequest, Unsupported
from gateway.neutral import request as rq
from tests.dialects.requests import USER, Json, carried, chat, message, message_tool, render

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
IMAGE: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
CHAT_IMAGE: Json = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
CALL: Json = {"type": "tool_use", "id": "a", "name": "get_weather", "input": {"city": "Oslo"}}


def user(*parts: Json) -> Json:
    return {"role": "user", "content": list(parts)}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def result(*parts: Json, **fields: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": "a", "content": list(parts), **fields}


def sent(*messages: Json, **options: Any) -> list[Json]:
    body = message(messages=list(messages), tools=[message_tool()])
    messages_: list[Json] = carried("anthropic", body, "openai", **options).body["messages"]
    return messages_


def results(*parts: Json, behind: Json | None = None, **options: Any) -> list[Json]:
    """What stands behind the calls."""
    said = user(*parts, behind) if behind else user(*parts)
    return sent(USER, {"role": "assistant", "content": [CALL]}, said, **options)[2:]


# -- instructions ----------------------------------------------------------------------------------------------------


def test_instructions_have_the_role_and_the_form_that_the_server_knows() -> None:
    """mapping.md §4.1."""
    body = message(system=[text("A"), text("B")])
    lead = carried("anthropic", body, "openai", profile="openai").body["messages"][0]
    assert lead == {"role": "developer", "content": [text("A"), text("B")]}
    lead = carried("anthropic", body, "openai", profile="vllm").body["messages"][0]
    assert lead == {"role": "system", "content": "A\n\nB"}


def test_a_billing_header_does_not_reach_other_vendors() -> None:
    """Pitfall 71: it changes with every call."""
    header = "x-anthropic-billing-header: cc_version=2.1; cch=0001;"
    for system in ([text(header), text("Be kind.")], f"{header}\nBe kind."):
        for upstream in ("openai", "truss"):
            messages = carried("anthropic", message(system=system), upstream).body["messages"]
            assert messages[0] == {"role": "system", "content": "Be kind."}
    assert sent(USER)[0] == carried("anthropic", message(system=[text(header)]), "openai").body["messages"][0]
    kept = carried("anthropic", message(system=header), "openai", keeps_billing_header=True).body["messages"]
    assert kept[0]["content"] == header


@pytest.mark.parametrize(
    ("mid_system", "roles", "adapted"),
    [
        ("user", ["user"], ("messages=system_in_user",)),
        ("native", ["user", "system", "user"], ()),
        ("hoist", ["system", "user"], ("messages=system_hoisted",)),
    ],
)
def test_instructions_in_mid_conversation(mid_system: str, roles: list[str], adapted: Any) -> None:
    """Pitfall 69, mapping.md §4.1."""
    body = message(messages=[USER, {"role": "system", "content": "Be brief"}, USER])
    outbound = carried("anthropic", body, "openai", mid_system=mid_system)
    assert [m["role"] for m in outbound.body["messages"]] == roles
    assert b"Be brief" in orjson.dumps(outbound.body)
    assert outbound.adapted == adapted


def test_instructions_never_stand_between_calls_and_their_results() -> None:
    """mapping.md §4.1."""
    calls: Json = {"role": "assistant", "content": [CALL]}
    messages = sent(USER, calls, {"role": "system", "content": "S"}, user(result(text("7"))), mid_system="native")
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "system"]


# -- media -----------------------------------------------------------------------------------------------------------


def test_images_keep_their_place_among_the_text() -> None:
    """mapping.md §4.4; text alone stays one string (pitfall 74)."""
    url = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    (said,) = sent(user(text("See:"), IMAGE, text("and"), url))
    there = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    assert said["content"] == [text("See:"), CHAT_IMAGE, text("and"), there]
    assert sent(user(text("A"), text("B")))[0]["content"] == "A\n\nB"


def test_a_truss_clients_media_arrive_as_they_are() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "http://x/y.bmp", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        {"type": "video_url", "video_url": {"url": "https://x/y.mp4"}},
    ]
    assert carried("truss", {"messages": [user(*parts)]}, "openai").body["messages"][0]["content"] == parts


def asked(*parts: rq.Part, **options: Any) -> Json:
    """The message that these parts of a user make."""
    request = rq.Request("demo", (rq.Turn(rq.Role.USER, parts),))
    (said,) = render(request, "openai", **options).body["messages"]
    return dict(said)


REPORT = rq.Document(source=rq.Data("application/pdf", PDF), mime="application/pdf", name="r.pdf", where="here")


def test_a_pdf_is_a_file_where_the_server_reads_files() -> None:
    """mapping.md §4.4; pitfall 67: refused by its path elsewhere."""
    file = {"filename": "r.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
    assert asked(rq.Text("See:"), REPORT)["content"] == [text("See:"), {"type": "file", "file": file}]
    nameless = asked(replace(REPORT, name=None))["content"][0]["file"]
    assert nameless["filename"] == "document.pdf"
    with pytest.raises(Unsupported, match="document") as raised:
        asked(REPORT, profile="vllm")
    assert raised.value.param == "here"


@pytest.mark.parametrize(
    "document",
    [
        rq.Document(text="Rain.", title="Weather", context="of today"),
        rq.Document(parts=(rq.Text("Rain."),), title="Weather", context="of today"),
    ],
)
def test_a_text_document_is_text_under_its_title(document: rq.Document) -> None:
    """mapping.md §4.4."""
    assert asked(document)["content"] == "Weather\nof today\n\nRain."


def test_text_in_base64_is_text_too() -> None:
    data = rq.Data("text/plain; charset=utf-8", base64.b64encode("Régn".encode()).decode())
    assert asked(rq.Document(source=data, name="a.txt"), profile="vllm")["content"] == "a.txt\n\nRégn"


def test_a_search_result_is_text_with_its_source() -> None:
    """mapping.md §4.4."""
    found = rq.SearchResult("https://x", "Oslo", (rq.Text("Rain."), rq.Text("Wind.")))
    assert asked(found)["content"] == "Oslo (https://x)\nRain.\nWind."


@pytest.mark.parametrize(
    "part",
    [
        rq.Image(rq.FileRef("f"), where="here"),
        rq.Document(source=rq.FileRef("f"), where="here"),
        rq.Document(source=rq.Url("https://x/y.pdf"), where="here"),
        rq.Opaque("anthropic", "browser_state", {}, where="here"),
    ],
)
def test_what_lies_elsewhere_is_refused_by_its_path(part: rq.Part) -> None:
    """Pitfall 67."""
    with pytest.raises(Unsupported) as raised:
        asked(rq.Text("See:"), part)
    assert raised.value.param == "here"


def test_citations_asked_of_a_document_are_dropped_by_name() -> None:
    request = rq.Request("demo", (rq.Turn(rq.Role.USER, (rq.Document(text="Rain.", is_cited=True),)),))
    assert render(request, "openai").dropped == ("citations",)


# -- results of tools ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "fields", "content"),
    [
        ([text("a"), text("b")], {}, "a\nb"),
        ([], {}, ""),
        ([text("no such file")], {"is_error": True}, "Error: no such file"),
        ([text("ERROR 5: no")], {"is_error": True}, "ERROR 5: no"),
        ([], {"is_error": True}, "Error: "),
    ],
)
def test_a_result_is_one_string(parts: list[Json], fields: Json, content: str) -> None:
    """mapping.md §4.3; pitfall 81: an error is told in the text."""
    assert results(result(*parts, **fields)) == [{"role": "tool", "tool_call_id": "a", "content": content}]


def test_a_result_keeps_its_parts_where_the_server_takes_them() -> None:
    assert results(result(text("a"), text("b")), tool_parts=True)[0]["content"] == [text("a"), text("b")]
    assert results(result(text("a")), tool_parts=True)[0]["content"] == "a"


def test_an_image_in_a_result_reaches_the_model() -> None:
    """Pitfall 65: below the results, in front of what the user says; in the result where the server takes it."""
    tool, said = results(result(text("Taken:"), IMAGE), behind=text("Well?"))
    assert tool == {"role": "tool", "tool_call_id": "a", "content": "Taken:\n[image attached below]"}
    assert said["content"] == [text("Image from tool result a:"), CHAT_IMAGE, text("Well?")]
    (tool,) = results(result(text("Taken:"), IMAGE), tool_images=True)
    assert tool["content"] == [text("Taken:"), CHAT_IMAGE]


def test_images_of_several_results_stand_behind_the_last() -> None:
    """Pitfall 59: nothing between calls and results."""
    calls = {"role": "assistant", "content": [CALL, {**CALL, "id": "b"}]}
    said = user(result(IMAGE), {**result(IMAGE), "tool_use_id": "b"})
    messages = sent(USER, calls, said)
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool", "user"]
    headings = [part["text"] for part in messages[-1]["content"] if part["type"] == "text"]
    assert headings == ["Image from tool result a:", "Image from tool result b:"]


def answered(*parts: rq.Part, **options: Any) -> tuple[list[Json], tuple[str, ...], tuple[str, ...]]:
    """What stands behind a call that these parts answer, and what is reported of it."""
    turns = (
        rq.Turn(rq.Role.ASSISTANT, (rq.ToolCall("a", "f", "{}"),)),
        rq.Turn(rq.Role.USER, (rq.ToolResult("a", parts),)),
    )
    outbound = render(rq.Request("demo", turns), "openai", **options)
    return outbound.body["messages"][1:], outbound.dropped, outbound.adapted


def test_documents_in_results() -> None:
    """mapping.md §4.3: text as text; a file behind the results where files are read, else only named, and reported."""
    (tool,), dropped, _ = answered(rq.Document(text="Rain.", title="Weather"))
    assert (tool["content"], dropped) == ("Weather\n\nRain.", ())
    (tool, said), dropped, _ = answered(REPORT)
    assert tool["content"] == "[file attached below]"
    assert said["content"][0] == text("File from tool result a:")
    assert said["content"][1]["file"]["filename"] == "r.pdf"
    assert dropped == ()
    (tool,), dropped, _ = answered(REPORT, profile="vllm")
    assert tool["content"] == "[a file that this model can't read: r.pdf]"
    assert dropped == ("messages.document",)


def test_other_things_in_results_become_text() -> None:
    """mapping.md §4.3."""
    (tool,), _, _ = answered(rq.SearchResult("https://x", "Oslo", (rq.Text("Rain."),)))
    assert tool["content"] == "Oslo (https://x)\nRain."
    (tool,), _, adapted = answered(rq.Opaque("anthropic", "tool_reference", {"tool_name": "f"}))
    assert (tool["content"], adapted) == ('{"tool_name":"f"}', ("messages.tool_reference=as_text",))


# -- calls and ids ---------------------------------------------------------------------------------------------------


def history(id_: str) -> list[Json]:
    return [
        USER,
        {"role": "assistant", "content": [{**CALL, "id": id_}]},
        user({"type": "tool_result", "tool_use_id": id_, "content": "7"}),
    ]


@pytest.mark.parametrize("id_", ["toolu_1", "functions.Bash:0", "x" * 64])
def test_ids_that_fit_are_kept(id_: str) -> None:
    """mapping.md §8: only towards Anthropic are they rewritten."""
    _, calls, answer = sent(*history(id_))
    assert calls["tool_calls"][0]["id"] == answer["tool_call_id"] == id_


def test_long_ids_are_shortened_alike_for_call_and_result() -> None:
    """Pitfall 99, mapping.md §8."""
    ids = set()
    for long in ("x" * 65, "x" * 66):
        _, calls, answer = sent(*history(long))
        assert calls["tool_calls"][0]["id"] == answer["tool_call_id"]
        assert answer["tool_call_id"].startswith("call_")
        assert len(answer["tool_call_id"]) == 29
        ids.add(answer["tool_call_id"])
    assert len(ids) == 2


def test_ids_of_nine_letters_for_mistral() -> None:
    """mapping.md §8."""
    _, calls, answer = sent(*history("toolu_1"), tool_ids="mistral9")
    assert calls["tool_calls"][0]["id"] == answer["tool_call_id"]
    assert len(answer["tool_call_id"]) == 9
    assert answer["tool_call_id"].isalnum()
    assert sent(*history("abcdef123"), tool_ids="mistral9")[2]["tool_call_id"] == "abcdef123"


def test_text_behind_a_call_moves_in_front_and_is_reported() -> None:
    """mapping.md §4.2."""
    blocks = [text("Let me see."), CALL, text("Wait.")]
    body = message(messages=[USER, {"role": "assistant", "content": blocks}, user(result(text("7")))])
    outbound = carried("anthropic", body, "openai")
    assert outbound.body["messages"][1]["content"] == "Let me see.\n\nWait."
    assert outbound.adapted == ("messages=text_before_calls",)


def test_a_vendors_own_blocks_in_an_answer_are_left_out_by_name() -> None:
    blocks = [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, text("Rain.")]
    outbound = carried("anthropic", message(messages=[USER, {"role": "assistant", "content": blocks}, USER]), "openai")
    assert outbound.body["messages"][1] == {"role": "assistant", "content": "Rain."}
    assert outbound.dropped == ("messages.server_tool_use",)


def test_caching_hints_never_reach_an_openai_upstream() -> None:
    """Pitfall 73: but a property of that name in arguments and schemas is the client's own."""
    cache = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    schema = {"type": "object", "properties": {"cache_control": {"type": "string"}}}
    call = {**CALL, "input": {"cache_control": "no"}, **cache}
    body = message(
        system=[text("S") | cache],
        messages=[user(text("Hi") | cache), {"role": "assistant", "content": [call]}, user(result(text("7")) | cache)],
        tools=[message_tool(input_schema=schema) | cache],
    )
    for profile in ("generic", "openai", "openrouter"):
        outbound = carried("anthropic", body, "openai", profile=profile)
        spelled = orjson.dumps(outbound.body)
        assert b"ephemeral" not in spelled
        assert outbound.body["tools"][0]["function"]["parameters"] == schema
        assert outbound.body["messages"][2]["tool_calls"][0]["function"]["arguments"] == '{"cache_control":"no"}'


# -- what clients of other dialects leave unclean ----------------------------------------------------------------------


def test_images_go_out_as_one_line_under_their_true_type() -> None:
    """mapping.md §4.4: an Anthropic client's base64 may be broken into lines, and its type be another."""
    broken = {"type": "base64", "media_type": "image/jpg", "data": f"{PNG[:20]}\n{PNG[20:]}"}
    body = carried("anthropic", message(messages=[user({"type": "image", "source": broken})]), "openai").body
    assert body["messages"][0]["content"] == [CHAT_IMAGE]


def test_base64_that_is_none_is_refused_at_its_path() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "!"}
    with pytest.raises(BadRequest) as caught:
        carried("anthropic", message(messages=[user({"type": "image", "source": source})]), "openai")
    assert caught.value.param == "messages.0.content.0"


def test_what_is_said_about_a_file_stands_in_front_of_it() -> None:
    """mapping.md §4.4: a file part has a name and no other words."""
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
    body = carried("anthropic", message(messages=[user({**pdf, "title": "T", "context": "Of May."})]), "openai").body
    said, file = body["messages"][0]["content"]
    assert said == {"type": "text", "text": "Of May."}
    assert file["file"]["filename"] == "T"


def test_empty_texts_leave_no_blank_lines() -> None:
    empty, said = {"type": "text", "text": ""}, {"type": "text", "text": "q"}
    assert carried("anthropic", message(messages=[user(empty, said)]), "openai").body["messages"][0]["content"] == "q"
    assert carried("anthropic", message(messages=[user(empty)]), "openai").body["messages"][0]["content"] == ""


def test_the_old_function_calls_pair_whatever_stands_between() -> None:
    """mapping.md §4.2: they have no ids, and pair by order."""
    call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    result = {"role": "function", "name": "f", "content": "r"}
    talk = [USER, call, {"role": "system", "content": "s"}, result, call, result]
    outbound = carried("openai", chat(messages=talk), "truss")
    pairs = [
        (m["tool_calls"][0]["id"] if "tool_calls" in m else m["tool_call_id"])
        for m in outbound.body["messages"][1:]
        if m["role"] in ("assistant", "tool")
    ]
    assert pairs[0] == pairs[1] != pairs[2] == pairs[3]
    assert "tool_result" not in " ".join(outbound.adapted)
