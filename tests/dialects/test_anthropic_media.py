"""Images and files, of Anthropic clients and towards Anthropic upstreams (mapping.md §4.4)."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import BadRequest, Unsupported
from gateway.neutral import request as rq
from tests.dialects.requests import USER, Json, carried, chat, chat_tool, message, message_tool, parse, render

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
PDF = base64.b64encode(b"%PDF-1.7 and so on").decode()
NOTES = base64.b64encode("Grüße".encode()).decode()


def spelled(part: rq.Part, **options: Any) -> Json:
    """The block an Anthropic upstream gets for this part of a user's turn."""
    placed = replace(part, where="messages.0.content.1")
    request = replace(parse("openai", chat()), turns=(rq.Turn(rq.Role.USER, (rq.Text("See:"), placed)),))
    block: Json = render(request, "anthropic", **options).body["messages"][0]["content"][1]
    return block


@pytest.mark.parametrize(
    ("image", "source"),
    [
        (rq.Data("image/png", PNG), {"type": "base64", "media_type": "image/png", "data": PNG}),
        (rq.Data("image/gif", PNG), {"type": "base64", "media_type": "image/png", "data": PNG}),
        (rq.Data("image/jpg", "AAAA"), {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}),
        (rq.Data("", PNG), {"type": "base64", "media_type": "image/png", "data": PNG}),
        (rq.Url("https://x/y.png"), {"type": "url", "url": "https://x/y.png"}),
    ],
)
def test_images(image: rq.Source, source: Json) -> None:
    """Pitfall 68: what the first bytes say wins, and jpg is jpeg."""
    assert spelled(rq.Image(image)) == {"type": "image", "source": source}


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (rq.Image(rq.Data("image/tiff", "AAAA")), "image/tiff"),
        (rq.Image(rq.Url("http://x/y.png")), "https://"),
        (rq.Image(rq.FileRef("f")), "another vendor"),
        (rq.Document(rq.FileRef("f")), "another vendor"),
        (rq.Document(rq.Url("http://x/y.pdf")), "https://"),
        (rq.Document(rq.Data("application/zip", "AAAA"), "application/zip"), "application/zip"),
        (rq.Document(rq.Data("text/plain", "/////w=="), "text/plain"), "text/plain"),
        (rq.Audio("audio/wav", "AAAA"), "audio"),
    ],
)
def test_what_can_not_be_carried_is_refused_at_its_path(part: rq.Part, words: str) -> None:
    """Pitfall 67: never dropped in silence."""
    with pytest.raises(Unsupported) as raised:
        spelled(part)
    assert raised.value.param == "messages.0.content.1"
    assert words in raised.value.message


def test_a_server_that_takes_no_addresses() -> None:
    with pytest.raises(Unsupported, match="only the data"):
        spelled(rq.Image(rq.Url("https://x/y.png")), profile="deepseek")


def test_the_detail_of_an_image_is_dropped_and_named() -> None:
    request = replace(parse("openai", chat()), turns=(rq.Turn(rq.Role.USER, (rq.Image(rq.Url("https://x"), "low"),)),))
    assert render(request, "anthropic").dropped == ("detail",)
    usual = replace(request, turns=(rq.Turn(rq.Role.USER, (rq.Image(rq.Url("https://x"), "auto"),)),))
    assert render(usual, "anthropic").dropped == ()


@pytest.mark.parametrize(
    ("document", "block"),
    [
        (
            rq.Document(rq.Data("application/pdf", PDF), "application/pdf", "a.pdf"),
            {"source": {"type": "base64", "media_type": "application/pdf", "data": PDF}, "title": "a.pdf"},
        ),
        (
            rq.Document(rq.Data("application/octet-stream", PDF)),
            {"source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
        ),
        (
            rq.Document(rq.Data("text/markdown", NOTES), "text/markdown", "a.md", title="Notes"),
            {"source": {"type": "text", "media_type": "text/plain", "data": "Grüße"}, "title": "Notes"},
        ),
        (
            rq.Document(text="Hello", context="From a letter", is_cited=True),
            {
                "source": {"type": "text", "media_type": "text/plain", "data": "Hello"},
                "context": "From a letter",
                "citations": {"enabled": True},
            },
        ),
        (rq.Document(rq.Url("https://x/y.pdf")), {"source": {"type": "url", "url": "https://x/y.pdf"}}),
        (
            rq.Document(parts=(rq.Text("A"), rq.Image(rq.Url("https://x")))),
            {
                "source": {
                    "type": "content",
                    "content": [
                        {"type": "text", "text": "A"},
                        {"type": "image", "source": {"type": "url", "url": "https://x"}},
                    ],
                }
            },
        ),
    ],
)
def test_documents(document: rq.Document, block: Json) -> None:
    assert spelled(document) == {"type": "document", **block}


def test_an_image_in_a_result_stays_in_it() -> None:
    """Pitfall 66."""
    turns = (
        rq.Turn(rq.Role.USER, (rq.Text("Look"),)),
        rq.Turn(rq.Role.ASSISTANT, (rq.ToolCall("a", "see", "{}"),)),
        rq.Turn(rq.Role.USER, (rq.ToolResult("a", (rq.Text("here"), rq.Image(rq.Data("image/png", PNG)))),)),
    )
    request = replace(parse("openai", chat(tools=[chat_tool("see")])), turns=turns)
    (result,) = render(request, "anthropic").body["messages"][2]["content"]
    assert [block["type"] for block in result["content"]] == ["text", "image"]
    assert result["content"][1]["source"]["data"] == PNG


# -- what Anthropic clients send -------------------------------------------------------------------------------------

SOURCES: list[tuple[Json, rq.Document]] = [
    (
        {"type": "base64", "media_type": "application/pdf", "data": PDF},
        rq.Document(rq.Data("application/pdf", PDF), "application/pdf"),
    ),
    ({"type": "text", "media_type": "text/plain", "data": "Hello"}, rq.Document(mime="text/plain", text="Hello")),
    ({"type": "content", "content": "Hello"}, rq.Document(mime="text/plain", parts=(rq.Text("Hello"),))),
    (
        {"type": "content", "content": [{"type": "text", "text": "A"}]},
        rq.Document(mime="text/plain", parts=(rq.Text("A"),)),
    ),
    ({"type": "url", "url": "https://x/y.pdf"}, rq.Document(rq.Url("https://x/y.pdf"))),
    ({"type": "file", "file_id": "file_1"}, rq.Document(rq.FileRef("file_1"))),
]


@pytest.mark.parametrize(("source", "document"), SOURCES)
def test_documents_of_every_source_are_read(source: Json, document: rq.Document) -> None:
    block = {"type": "document", "source": source, "title": "T", "context": "C", "citations": {"enabled": True}}
    (read,) = parse("anthropic", message(messages=[{"role": "user", "content": [block]}])).turns[0].parts
    assert read == replace(document, title="T", context="C", is_cited=True)
    assert read.where == "messages.0.content.0"


@pytest.mark.parametrize("source", [source for source, _ in SOURCES[:-1]])
def test_documents_come_back_out_as_they_were(source: Json) -> None:
    block = {"type": "document", "source": source, "title": "T"}
    sent = carried("anthropic", message(messages=[{"role": "user", "content": [block]}]), "anthropic").body
    expected = (
        {"type": "content", "content": [{"type": "text", "text": "Hello"}]}
        if source.get("content") == "Hello"
        else source
    )
    assert sent["messages"][0]["content"] == [{"type": "document", "source": expected, "title": "T"}]


def test_results_hold_everything_they_may() -> None:
    """anthropic-messages.md §3: text, images, search results, documents, and what only Anthropic knows."""
    found = {"type": "search_result", "source": "https://x", "title": "X", "content": [{"type": "text", "text": "x"}]}
    content = [
        {"type": "text", "text": "A"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        found,
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "D"}},
        {"type": "tool_reference", "tool_name": "now"},
    ]
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": content}
    history = [USER, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    body = message(messages=history, tools=[message_tool("f")])
    (read,) = parse("anthropic", body).turns[2].parts
    assert read == rq.ToolResult(
        "a",
        (
            rq.Text("A"),
            rq.Image(rq.Data("image/png", PNG)),
            rq.SearchResult("https://x", "X", (rq.Text("x"),)),
            rq.Document(mime="text/plain", text="D"),
            rq.Opaque("anthropic", "tool_reference", {"type": "tool_reference", "tool_name": "now"}),
        ),
    )
    assert carried("anthropic", body, "anthropic").body["messages"][2]["content"] == [result]


@pytest.mark.parametrize(
    ("block", "path"),
    [
        ({"type": "document"}, "source"),
        ({"type": "document", "source": {"type": "path"}}, "source.type"),
        ({"type": "document", "source": {"type": "text"}}, "source.data"),
        ({"type": "document", "source": {"type": "url"}}, "source.url"),
        ({"type": "document", "source": {"type": "content", "content": 7}}, "source.content"),
        ({"type": "document", "source": {"type": "content", "content": [{"type": 7}]}}, "source.content.0.type"),
        ({"type": "document", "source": {"type": "url", "url": "u"}, "citations": 1}, "citations"),
        ({"type": "search_result", "title": "T", "content": []}, "source"),
        ({"type": "search_result", "source": "s", "title": "T", "content": [{"type": "image"}]}, "content.0.source"),
        ({"type": "redacted_thinking"}, "data"),
        ({"type": "thinking", "thinking": 7}, "thinking"),
        ({"type": "text", "text": "A", "cache_control": "yes"}, "cache_control"),
        ({"type": "text", "text": "A", "citations": [7]}, "citations"),
    ],
)
def test_a_bad_block_is_refused_at_its_path(block: Json, path: str) -> None:
    with pytest.raises(BadRequest) as raised:
        parse("anthropic", message(messages=[USER, {"role": "user", "content": [block]}]))
    assert raised.value.param == f"messages.1.content.0.{path}"
