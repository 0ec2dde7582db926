"""An OpenAI chat server's answers, read; and answers spelled for OpenAI's clients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import DIALECTS
from gateway.dialects.openai.decoding import load
from gateway.dialects.openai.options import Options
from gateway.dialects.openai.think_tags import MAX_HELD, ThinkTags
from gateway.errors import UpstreamError
from gateway.neutral import events as ev
from gateway.neutral.events import BlockKind, Reason
from gateway.neutral.pieces import ContentPiece, Piece
from gateway.neutral.request import CustomTool, OpaqueValue, Request
from gateway.neutral.response import Block, fold
from tests.dialects.cases import STAMP, asked, sequence
from tests.dialects.requests import Json

PLAIN = asked("openai")
PATCHER = replace(PLAIN, tools=(CustomTool("patch"),))


def answer(finish: str | None = "stop", **message: Any) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


def read(body: Json, **options: Any) -> list[Block]:
    return fold(sequence(load(body, Options(**options)))).blocks


def deltas(told: list[ev.Event], request: Request = PLAIN) -> list[Json]:
    """What the chunks of these events say, one after the other."""
    data = DIALECTS["openai"].encoder(request, STAMP).encode(told)
    frames = [orjson.loads(frame[6:]) for frame in data.decode().split("\n\n") if frame.startswith("data: {")]
    return [frame["choices"][0]["delta"] for frame in frames if frame["choices"]]


def message(told: list[ev.Event], request: Request = PLAIN) -> Json:
    told = [ev.Start(), *told, ev.Finish(Reason.STOP), ev.End()]
    body: Json = DIALECTS["openai"].dump(fold(told), request, STAMP)["choices"][0]["message"]
    return body


# -- read ------------------------------------------------------------------------------------------------------------


def test_reasoning_details_of_every_type() -> None:
    """mapping.md §6.2."""
    details = [
        {"type": "reasoning.summary", "summary": "In short.", "index": 0},
        {"type": "reasoning.encrypted", "data": "D", "format": "openai-responses-v1", "index": 1},
        {"type": "reasoning.encrypted", "data": "E", "index": 2},
    ]
    blocks = read(answer(content="Yes", reasoning_details=details), profile="openrouter")
    assert [(block.kind, block.text, block.is_summary, block.payload) for block in blocks] == [
        (BlockKind.REASONING, "In short.", True, None),
        (BlockKind.REDACTED, "", False, OpaqueValue("openai-responses-v1", "D", "openrouter")),
        (BlockKind.REDACTED, "", False, OpaqueValue("openrouter-details", "E", "openrouter")),
        (BlockKind.TEXT, "Yes", False, None),
    ]


def test_annotations_behind_anything_but_text_cite_nothing() -> None:
    """They would make a block of text that nobody wrote."""
    note = {"type": "url_citation", "url_citation": {"url": "https://x"}}
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    first = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
    last = {"index": 0, "delta": {"annotations": [note]}, "finish_reason": "stop"}
    decoder = DIALECTS["openai"].decoder(Options())
    frames = b"".join(b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n" for choice in (first, last))
    told = fold(sequence([*decoder.feed(frames), *decoder.eof(is_framed=True)[1]]))
    assert [block.kind for block in told.blocks] == [BlockKind.TOOL]


@pytest.mark.parametrize(
    ("choice", "reason", "stop"),
    [
        ({"finish_reason": "stop", "stop_reason": "END"}, Reason.STOP_SEQUENCE, "END"),
        ({"finish_reason": "stop", "stop_reason": None, "matched_stop": "END"}, Reason.STOP_SEQUENCE, "END"),
        ({"finish_reason": "stop", "stop_reason": 151645}, Reason.STOP, None),
        ({"finish_reason": "stop_sequence"}, Reason.STOP, None),
        ({"finish_reason": "stop_sequence", "stop_reason": "END"}, Reason.STOP_SEQUENCE, "END"),
        ({"finish_reason": "length", "stop_reason": "END"}, Reason.LENGTH, None),
        *(
            ({"finish_reason": word}, reason, None)
            for word, reason in {
                "eos": Reason.STOP,
                "eos_token": Reason.STOP,
                "end_turn": Reason.STOP,
                "": Reason.STOP,
                "repetition": Reason.STOP,
                "max_tokens": Reason.LENGTH,
                "model_length": Reason.LENGTH,
                "function_call": Reason.TOOL_CALLS,
                "content_filter": Reason.CONTENT_FILTER,
            }.items()
        ),
    ],
)
def test_why_the_model_stopped(choice: Json, reason: Reason, stop: str | None) -> None:
    """mapping.md §7.1; the server's own word is kept."""
    body = answer(content="Hi")
    body["choices"][0] |= choice
    finish = fold(sequence(load(body, Options()))).finish
    assert (finish.reason, finish.stop_sequence, finish.raw) == (reason, stop, choice["finish_reason"])


@pytest.mark.parametrize("word", ["abort", "error", "insufficient_system_resource"])
def test_a_model_that_gave_up_did_not_finish(word: str) -> None:
    """Pitfall 43."""
    with pytest.raises(UpstreamError, match=word):
        load(answer(word, content="Half"), Options())


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 3}, (9, 3, None, None, None)),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
            (9, 3, 4, None, None),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 3, "cached_tokens": 4}, (9, 3, 4, None, None)),
        ({"prompt_tokens": 9, "completion_tokens": 3, "prompt_cache_hit_tokens": 4}, (9, 3, 4, None, None)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 100},
            },
            (1110, 3, 1000, 100, None),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 2}},
            (9, 3, None, None, 2),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 3, "reasoning_tokens": 2}, (9, 3, None, None, 2)),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": None, "total_tokens": 99},
            (9, 3, None, None, None),
        ),
    ],
)
def test_token_counts_of_every_server(usage: Json, counts: tuple[int | None, ...]) -> None:
    """mapping.md §7.2, pitfalls 30 and 31."""
    told = fold(sequence(load(answer(content="Hi") | {"usage": usage}, Options()))).usage
    assert told is not None
    assert (told.input, told.output, told.cache_read, told.cache_write, told.reasoning) == counts


@pytest.mark.parametrize("profile", ["generic", "vllm"])
def test_an_answer_knows_what_kind_of_server_it_came_from(profile: str) -> None:
    """mapping.md §6.3: what it sealed goes back to such servers only."""
    (start, *_) = load(answer(content="Hi"), Options(profile))  # type: ignore[arg-type]
    assert isinstance(start, ev.Start)
    assert start.origin == profile


# -- tags ------------------------------------------------------------------------------------------------------------

TAGGED = {
    "<think>Hm.</think>Yes": ("Hm.", "Yes"),
    "\n<think>\nHm.\n\nWell </b.\n</think>\n\nYes <think>no</think>": ("Hm.\n\nWell </b.", "Yes <think>no</think>"),
    "Hm. So.\n</think>\n\nYes": ("Hm. So.", "Yes"),
    "<think>\n\n</think>\n\nYes": ("", "Yes"),
    "Yes, <b> is a tag.": ("", "Yes, <b> is a tag."),
    "<thinking> is none": ("", "<thinking> is none"),
    "<think>Cut": ("Cut", ""),
    "  ": ("", "  "),
    "</think>Yes": ("", "Yes"),
}


@pytest.mark.parametrize("text", TAGGED)
@given(data=st.data())
def test_tags_are_found_wherever_the_text_is_cut(text: str, data: st.DataObject) -> None:
    """mapping.md §6.2: cut by chunk borders, or without an opening tag."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(part for part in parts if part) == TAGGED[text]


def split(parts: Any) -> tuple[str, str]:
    tags, found = ThinkTags(), list[Piece]()
    for part in parts:
        found += tags.split(part)
    found += tags.flush()
    contents = [piece for piece in found if isinstance(piece, ContentPiece)]
    assert all(piece.text for piece in contents), "nothing empty"
    texts = {kind: "".join(p.text for p in contents if p.kind is kind) for kind in BlockKind}
    return texts[BlockKind.REASONING], texts[BlockKind.TEXT]


def test_text_is_not_held_without_end() -> None:
    """HARDENING.md: memory is bounded."""
    tags = ThinkTags()
    found = [piece for _ in range(MAX_HELD // 1000 + 1) for piece in tags.split("x" * 1000)]
    assert isinstance(found[0], ev.Ping)
    assert isinstance(found[-1], ContentPiece)
    assert len(found[-1].text) > MAX_HELD


def test_thoughts_flow_while_they_are_thought() -> None:
    tags = ThinkTags()
    told = [[piece.text for piece in tags.split(part) if isinstance(piece, ContentPiece)] for part in ("<think>a", "b")]
    assert told == [["a"], ["b"]]


def test_a_whole_answer_is_taken_apart_too() -> None:
    blocks = read(answer(content="Hm.\n</think>\n\nYes"), profile="vllm", think_tags=True)
    assert [(block.kind, block.text) for block in blocks] == [(BlockKind.REASONING, "Hm."), (BlockKind.TEXT, "Yes")]
    (block,) = read(answer(content="Hm.\n</think>\n\nYes"), profile="vllm")
    assert block.text == "Hm.\n</think>\n\nYes"


# -- spelled ---------------------------------------------------------------------------------------------------------

CITED: list[ev.Event] = [
    ev.BlockStart(0, BlockKind.TEXT),
    ev.TextDelta(0, "See: "),
    ev.BlockStop(0),
    ev.BlockStart(1, BlockKind.TEXT),
    ev.TextDelta(1, "Rain"),
    ev.TextDelta(1, " now"),
    ev.Citation(1, {"type": "char_location"}, "anthropic"),
    ev.Citation(1, {"type": "web_search_result_location"}, "anthropic", url="https://x", title="Oslo"),
    ev.BlockStop(1),
]
NOTE = {"start_index": 5, "end_index": 13, "url": "https://x", "title": "Oslo"}


def test_citations_of_web_pages_are_annotations_on_their_text() -> None:
    """mapping.md §10; streamed, every entry has the index that SDKs join by (pitfall 93)."""
    assert message(CITED)["annotations"] == [{"type": "url_citation", "url_citation": NOTE}]
    assert deltas(CITED)[-1] == {"annotations": [{"type": "url_citation", "url_citation": NOTE, "index": 0}]}
    assert "annotations" not in message(CITED[:3])


CUSTOM: list[ev.Event] = [
    ev.BlockStart(0, BlockKind.TOOL, id="a", name="patch", call_kind="custom"),
    ev.ArgsDelta(0, "*** Be"),
    ev.ArgsDelta(0, 'gin "x"'),
    ev.BlockStop(0),
]


def test_free_text_calls_are_spelled_so_for_clients_that_declared_such_tools() -> None:
    """Pitfall 23."""
    assert deltas(CUSTOM, PATCHER) == [
        {"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": ""}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": "*** Be"}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": 'gin "x"'}}]},
    ]
    (call,) = message(CUSTOM, PATCHER)["tool_calls"]
    assert call == {"id": "a", "type": "custom", "custom": {"name": "patch", "input": '*** Begin "x"'}}


def test_free_text_calls_are_functions_for_all_other_clients() -> None:
    """Pitfall 23: the SDKs know no custom call in a stream."""
    head, arguments = deltas(CUSTOM)
    assert head["tool_calls"][0]["type"] == "function"
    assert orjson.loads(arguments["tool_calls"][0]["function"]["arguments"]) == {"input": '*** Begin "x"'}
    (call,) = message(CUSTOM)["tool_calls"]
    assert call["function"]["arguments"] == arguments["tool_calls"][0]["function"]["arguments"]


def test_a_free_text_call_without_text_has_none() -> None:
    assert len(deltas([CUSTOM[0], CUSTOM[-1]], PATCHER)) == 1
    assert message([CUSTOM[0], CUSTOM[-1]], PATCHER)["tool_calls"][0]["custom"]["input"] == ""


def sealed(value: OpaqueValue) -> list[ev.Event]:
    return [
        ev.BlockStart(0, BlockKind.REASONING),
        ev.ReasoningDelta(0, "Hm."),
        ev.ReasoningSignature(0, value),
        ev.BlockStop(0),
        ev.BlockStart(1, BlockKind.REASONING),
        ev.ReasoningDelta(1, "Well."),
        ev.BlockStop(1),
        ev.BlockStart(2, BlockKind.REDACTED, payload=OpaqueValue("anthropic", "D")),
        ev.BlockStop(2),
    ]


def test_seals_are_details_and_whole_answers_keep_their_text() -> None:
    """mapping.md §6.2, pitfall 93."""
    told = sealed(OpaqueValue("anthropic", "S"))
    signed = {"type": "reasoning.text", "text": "", "signature": "S", "format": "anthropic-claude-v1", "index": 0}
    redacted = {"type": "reasoning.encrypted", "data": "D", "format": "anthropic-claude-v1", "index": 2}
    assert [delta["reasoning_details"] for delta in deltas(told) if "reasoning_details" in delta] == [
        [signed],
        [redacted],
    ]
    assert message(told)["reasoning_details"] == [
        signed | {"text": "Hm."},
        {"type": "reasoning.text", "text": "Well.", "index": 1},
        redacted,
    ]
    assert message(told)["reasoning_content"] == "Hm.Well."


def test_reasoning_without_a_vendors_seal_gets_none_of_ours() -> None:
    """mapping.md §6.2: only Anthropic's clients need one."""
    told = sealed(OpaqueValue("none", "", "vllm"))[:4]
    assert deltas(told) == [{"reasoning_content": "Hm."}]
    assert "reasoning_details" not in message(told)


def test_the_stop_sequence_is_named() -> None:
    """mapping.md §7.1."""
    told: list[ev.Event] = [ev.Start(), ev.Finish(Reason.STOP_SEQUENCE, stop_sequence='"END"'), ev.End()]
    data = DIALECTS["openai"].encoder(asked("openai"), STAMP).encode(told)
    assert b'"finish_reason":"stop","stop_reason":"\\"END\\""}' in data
    choice = DIALECTS["openai"].dump(fold(told), asked("openai"), STAMP)["choices"][0]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", '"END"')
