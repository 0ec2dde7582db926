"""What an OpenAI chat body says beyond the plain case, and each bad value by its path."""

from __future__ import annotations

import base64

import pytest

from gateway.errors import BadRequest, Unsupported
from gateway.neutral import request as rq
from tests.dialects.requests import USER, Json, chat, parse

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
ASSISTANT: Json = {"role": "assistant", "content": "So"}


def part(given: Json) -> rq.Part:
    (read,) = parse("openai", chat(messages=[{"role": "user", "content": [given]}])).parts()
    return read


def image(url: str, **fields: str) -> Json:
    return {"type": "image_url", "image_url": {"url": url, **fields}}


def file(**fields: str) -> Json:
    return {"type": "file", "file": fields}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"type": "input_text", "text": "Hi"}, rq.Text("Hi")),
        ({"type": "refusal", "refusal": "No"}, rq.Refusal("No")),
        (image("https://x/y.png", detail="low"), rq.Image(rq.Url("https://x/y.png"), "low")),
        (image(f"data:image/jpg;base64,{PNG}"), rq.Image(rq.Data("image/jpeg", PNG))),
        (image(f"data:image/png;base64,{PNG[:6]}\n {PNG[6:]}"), rq.Image(rq.Data("image/png", PNG))),
        ({"type": "image_url", "image_url": "https://x/y.png"}, rq.Image(rq.Url("https://x/y.png"))),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            rq.Audio("audio/wav", "AAAA"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "data:audio/mp3;base64,AAAA", "format": "mp3"}},
            rq.Audio("audio/mp3", "AAAA"),
        ),
        (
            file(file_data=f"data:application/pdf;base64,{PDF}", filename="a.pdf"),
            rq.Document(source=rq.Data("application/pdf", PDF), mime="application/pdf", name="a.pdf"),
        ),
        (file(file_data=PDF), rq.Document(source=rq.Data("application/pdf", PDF), mime="application/pdf")),
        (
            file(file_data="SGk=", filename="a.txt"),
            rq.Document(text="Hi", mime="text/plain", name="a.txt"),
        ),
        (
            file(file_data="AAAA", filename="a.bin"),
            rq.Document(
                source=rq.Data("application/octet-stream", "AAAA"), mime="application/octet-stream", name="a.bin"
            ),
        ),
        (file(file_id="f-1"), rq.Document(source=rq.FileRef("f-1"))),
        (
            {"type": "video_url", "video_url": {"url": "https://x"}},
            rq.Opaque("openai", "video_url", {"video_url": {"url": "https://x"}}),
        ),
    ],
)
def test_parts_of_every_kind(given: Json, read: rq.Part) -> None:
    """mapping.md §4.4, pitfall 68."""
    assert part(given) == read


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"type": "image_url"}, "image_url"),
        (image("data:image/png"), "image_url.url"),
        (image("data:image/png;base64,*"), "image_url.url"),
        ({"type": "input_audio", "input_audio": {"data": "*", "format": "wav"}}, "input_audio.data"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA"}}, "input_audio.format"),
        (file(), "file"),
        (file(file_data="*"), "file.file_data"),
        ({"type": "thinking", "thinking": [5]}, "thinking"),
        ({"type": "text", "text": "Hi", "cache_control": 5}, "cache_control"),
    ],
)
def test_a_bad_part_is_refused_at_its_path(given: Json, path: str) -> None:
    with pytest.raises(BadRequest) as raised:
        part(given)
    assert raised.value.param == f"messages.0.content.0.{path}"


@pytest.mark.parametrize(
    ("mark", "cache"),
    [
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, {"type": "ephemeral", "ttl": "1h"}),
        ({"prompt_cache_breakpoint": {"mode": "explicit"}}, {"type": "ephemeral"}),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}, {"type": "ephemeral", "ttl": "1h"}),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}, {"type": "ephemeral", "ttl": "1h"}),
    ],
)
def test_marks_for_caching(mark: Json, cache: Json) -> None:
    """mapping.md §3.1."""
    assert part({"type": "text", "text": "Hi", **mark}).cache == cache
    assert part(image("https://x/y.png") | mark).cache == cache


@pytest.mark.parametrize(
    ("fields", "last", "name"),
    [
        ({"continue_final_message": True, "add_generation_prompt": False}, {}, "continue_final_message"),
        ({}, {"prefix": True}, "messages.1.prefix"),
        ({}, {"partial": True}, "messages.1.partial"),
    ],
)
def test_an_answers_beginning_by_any_name(fields: Json, last: Json, name: str) -> None:
    """mapping.md §4.5."""
    request = parse("openai", chat(messages=[USER, ASSISTANT | last], **fields))
    assert request.prefill
    assert request.name_of("prefill") == name
    assert request.extras == {}
    assert not parse("openai", chat(messages=[USER, ASSISTANT])).prefill
    with pytest.raises(BadRequest) as raised:
        parse("openai", chat(messages=[ASSISTANT, USER | last], **fields))
    assert raised.value.param == name


def test_what_clients_echo_of_an_answer_is_nothing_unknown() -> None:
    """The SDKs' messages carry empty lists and nulls, and results their tool's name."""
    echoed = {**ASSISTANT, "annotations": [], "refusal": None, "audio": None, "function_call": None, "tool_calls": []}
    result = {"role": "tool", "tool_call_id": "a", "name": "f", "content": [{"type": "text", "text": "7"}]}
    request = parse("openai", chat(messages=[USER, echoed, result]))
    assert request.extras == {}
    assert [type(part) for part in request.parts()] == [rq.Text, rq.Text, rq.ToolResult, rq.Text]


@pytest.mark.parametrize("kind", ["regex", "grammar", "ebnf", "structural_tag"])
def test_an_engines_own_form_of_answer_goes_to_such_engines_only(kind: str) -> None:
    """openai-chat.md §3."""
    request = parse("openai", chat(response_format={"type": kind, "pattern": "x"}))
    assert isinstance(request.own_dialect_only, Unsupported)
    assert request.own_dialect_only.param == "response_format.type"
    assert parse("openai", chat()).own_dialect_only is None


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"role": "system", "content": [image("https://x")]}, "content.0"),
        ({"role": "function", "content": "42"}, "name"),
        ({"role": "assistant", "reasoning_content": 5}, "reasoning_content"),
        ({"role": "assistant", "reasoning_details": [{"type": "reasoning.encrypted"}]}, "reasoning_details.0.data"),
        ({"role": "assistant", "tool_calls": [{"id": "a", "type": "custom"}]}, "tool_calls.0.custom"),
        ({"role": "assistant", "function_call": {}}, "function_call.name"),
    ],
)
def test_a_bad_message_is_refused_at_its_path(message: Json, path: str) -> None:
    with pytest.raises(BadRequest) as raised:
        parse("openai", chat(messages=[message]))
    assert raised.value.param == f"messages.0.{path}"


def test_an_answer_in_sound_is_kept_for_its_own_vendor() -> None:
    said = {"role": "assistant", "audio": {"id": "audio_1"}}
    (read,) = parse("openai", chat(messages=[said])).parts()
    assert read == rq.Opaque("openai", "audio", {"id": "audio_1"})
