"""Answers of Anthropic's dialect: what its decoder makes of odd streams, and its encoder of other servers' events."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.anthropic.decoding import Decoder
from gateway.dialects.anthropic.options import Options
from gateway.dialects.base import Stamp
from gateway.dialects.sealing import Sealer
from gateway.errors import Malformed
from gateway.neutral import events as ev
from gateway.neutral.events import BlockKind, Event, Failed, Reason
from gateway.neutral.request import OpaqueValue
from gateway.neutral.response import fold
from gateway.neutral.sequencer import Sequencer
from tests.dialects.cases import asked

Json = dict[str, Any]
USED: Json = {"input_tokens": 5, "output_tokens": 1}
START: Json = {"type": "message_start", "message": {"id": "m", "model": "x", "usage": USED}}
STOP: Json = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}


def begin(index: int, type_: str, **block: Any) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": {"type": type_, **block}}


def delta(index: int, type_: str, **fields: Any) -> Json:
    return {"type": "content_block_delta", "index": index, "delta": {"type": type_, **fields}}


def end(index: int) -> Json:
    return {"type": "content_block_stop", "index": index}


def decoded(*bodies: Json, max_event: int = 1 << 20, **options: Any) -> list[Event]:
    """The events of a stream without a single `event:` line."""
    decoder = Decoder(Options(**options), max_event)
    stream = b"".join(b"data: %b\n\n" % orjson.dumps(body) for body in bodies)
    return Sequencer("s").feed([*decoder.feed(stream), *decoder.eof(is_framed=True)[1]])


def blocks(*bodies: Json) -> list[tuple[str, str]]:
    return [(block.kind.value, block.text) for block in fold(decoded(START, *bodies, STOP)).blocks]


# -- decoding --------------------------------------------------------------------------------------------------------


def test_whole_inputs_keep_their_place_where_nobody_closes_a_block() -> None:
    """mapping.md §11: the next start implies the stop, so that text behind a call does not swallow its arguments."""
    told = blocks(
        begin(0, "tool_use", id="a", name="f", input={"x": 1}),
        begin(1, "text", text="Then"),
        begin(2, "tool_use", id="b", name="g", input='{"y":2}'),
        begin(3, "tool_use", id="c", name="h", input={}),
    )
    assert told == [("tool", '{"x":1}'), ("text", "Then"), ("tool", '{"y":2}'), ("tool", "")]


def test_deltas_win_over_an_input_in_the_start_and_late_ones_are_no_news() -> None:
    use = begin(0, "tool_use", id="a", name="f", input={"x": 1})
    assert blocks(use, delta(0, "input_json_delta", partial_json='{"x":2}'), end(0)) == [("tool", '{"x":2}')]
    late = delta(0, "input_json_delta", partial_json='{"x":1}')
    assert blocks(use, begin(1, "text", text="A"), late, end(0), end(1)) == [("tool", '{"x":1}'), ("text", "A")]


def test_input_of_a_server_tool_is_gathered() -> None:
    """Its fragments belong to no call of the client's (anthropic-messages.md §7)."""
    use = begin(0, "server_tool_use", id="srvtoolu_1", name="web_search", input={})
    parts = [delta(0, "input_json_delta", partial_json=part) for part in ('{"query":', '"x"}')]
    for closing in ([end(0)], []):
        events = decoded(START, use, *parts, *closing, begin(1, "text", text="Y"), end(1), STOP)
        (opaque, text) = fold(events).blocks
        assert opaque.payload == {
            "type": "server_tool_use",
            "id": "srvtoolu_1",
            "name": "web_search",
            "input": {"query": "x"},
        }
        assert text.text == "Y"
        assert all(not isinstance(event, ev.ArgsDelta) for event in events)


def test_an_unknown_block_is_opaque_whatever_its_deltas_are() -> None:
    told = decoded(START, begin(0, "compaction"), delta(0, "text_delta", text="hidden"), end(0), STOP)
    (block,) = fold(told).blocks
    assert (block.kind, block.payload) == (BlockKind.OPAQUE, {"type": "compaction", "text": "hidden"})


def test_opaque_input_has_a_bound() -> None:
    part = delta(0, "input_json_delta", partial_json="x" * 600)
    events = decoded(START, begin(0, "server_tool_use", input={}), part, part, max_event=1000)
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, Malformed)


def test_where_an_answer_comes_from() -> None:
    """mapping.md §6.3: what a server seals may go back to servers of its kind."""
    thought = [begin(0, "thinking", thinking="Hm."), delta(0, "signature_delta", signature="S"), end(0)]
    redacted = begin(1, "redacted_thinking", data="R")
    events = decoded(START, *thought, redacted, end(1), STOP, profile="deepseek")
    assert isinstance(events[0], ev.Start)
    assert events[0].origin == "deepseek"
    assert ev.ReasoningSignature(0, OpaqueValue("anthropic", "S", "deepseek")) in events
    assert fold(events).blocks[1].payload == OpaqueValue("anthropic", "R", "deepseek")


def test_only_what_was_found_on_the_web_has_an_address() -> None:
    """mapping.md §10."""
    web = {"type": "web_search_result_location", "url": "https://x", "title": "X", "cited_text": "x"}
    page = {"type": "page_location", "cited_text": "x", "document_index": 0}
    citations = [delta(0, "citations_delta", citation=citation) for citation in (web, page)]
    (block,) = fold(decoded(START, begin(0, "text", text="A"), *citations, end(0), STOP)).blocks
    assert [(c.url, c.title, c.citation["type"]) for c in block.citations] == [
        ("https://x", "X", "web_search_result_location"),
        ("", "", "page_location"),
    ]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", Reason.STOP),
        ("length", Reason.LENGTH),
        ("tool_calls", Reason.TOOL_CALLS),
        ("content_filter", Reason.CONTENT_FILTER),
        ("pause_turn", Reason.PAUSE),
        ("model_context_window_exceeded", Reason.CONTEXT_WINDOW),
        ("something new", Reason.STOP),
    ],
)
def test_words_for_the_end(word: str, reason: Reason) -> None:
    """mapping.md §11: also OpenAI's; the last that is not null counts."""
    last = {"type": "message_delta", "delta": {"stop_reason": word}}
    null = {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 9}}
    answer = fold(decoded(START, last, null))
    assert (answer.finish.reason, answer.finish.raw) == (reason, word)
    assert answer.usage is not None
    assert (answer.usage.input, answer.usage.output) == (5, 9)


# -- encoding --------------------------------------------------------------------------------------------------------

SEALER = Sealer(b"secret")
STAMP = Stamp("0" * 24, 1, SEALER)


def encoded(*told: Event) -> list[Json]:
    data = DIALECTS["anthropic"].encoder(asked("anthropic"), STAMP).encode(told)
    return [orjson.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: ")]


def thought(signature: OpaqueValue | None, origin: str = "vllm") -> list[Event]:
    seal: list[Event] = [ev.ReasoningSignature(0, signature)] if signature else []
    begun: list[Event] = [ev.Start(origin=origin), ev.BlockStart(0, BlockKind.REASONING), ev.ReasoningDelta(0, "Hm.")]
    return [*begun, *seal, ev.BlockStop(0), ev.Finish(Reason.STOP), ev.End()]


@pytest.mark.parametrize(
    ("signature", "opened"),
    [
        (None, OpaqueValue("none", "", "vllm")),
        (OpaqueValue("openai-encrypted", "X"), OpaqueValue("openai-encrypted", "X", "vllm")),
        (OpaqueValue("openai-encrypted", "X", "openai"), OpaqueValue("openai-encrypted", "X", "openai")),
        (OpaqueValue("anthropic", "S", "anthropic"), None),
    ],
)
def test_every_thought_is_signed(signature: OpaqueValue | None, opened: OpaqueValue | None) -> None:
    """Pitfalls 21 and 89, mapping.md §6.3: by Anthropic, or by us, so that its maker gets it back; whole too."""
    told = thought(signature)
    (signed,) = [frame["delta"] for frame in encoded(*told) if frame.get("delta", {}).get("type") == "signature_delta"]
    assert SEALER.open(signed["signature"]) == opened
    whole = DIALECTS["anthropic"].dump(fold(told), asked("anthropic"), STAMP)
    assert whole["content"][0]["signature"] == signed["signature"]
    assert opened is not None or signed["signature"] == "S"


@pytest.mark.parametrize(("format_", "is_ours"), [("anthropic", False), ("openai-encrypted", True)])
def test_redacted_thoughts_of_other_servers_are_sealed_by_us(format_: str, is_ours: bool) -> None:
    payload = OpaqueValue(format_, "R", "openai")
    begun: list[Event] = [
        ev.Start(origin="openai"),
        ev.BlockStart(0, BlockKind.REDACTED, payload=payload),
        ev.BlockStop(0),
    ]
    frames = encoded(*begun, ev.Finish(Reason.STOP), ev.End())
    data = frames[1]["content_block"]["data"]
    assert SEALER.open(data) == (payload if is_ours else None)
    assert is_ours or data == "R"


def test_why_it_was_refused() -> None:
    """mapping.md §7.1."""
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    plain = {"type": "refusal", "category": None, "explanation": None}
    for reason, detail, told in (
        (Reason.REFUSAL, details, details),
        (Reason.REFUSAL, None, plain),
        (Reason.CONTENT_FILTER, {"reason": "content_filter"}, plain),
    ):
        frames = encoded(ev.Start(), ev.Finish(reason, detail=detail), ev.End())
        assert frames[1]["delta"]["stop_reason"] == "refusal"
        assert frames[1]["delta"]["stop_details"] == told


def test_usage_comes_back_as_it_went() -> None:
    """Pitfall 30, mapping.md §7.2: {10, 100, 1000, 50} is 1110 in and 50 out, and back."""
    used = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 1000,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 8},
    }
    last = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": used}
    told = decoded(START, last)
    usage = fold(told).usage
    assert usage is not None
    assert (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning) == (1110, 1000, 100, 50, 8)
    assert encoded(*told)[-2]["usage"] == used


def test_citations_of_other_dialects_are_dropped() -> None:
    """mapping.md §10."""
    quoted = ev.Citation(0, {"type": "url_citation"}, "responses", "https://x", "X")
    text: list[Event] = [ev.BlockStart(0, BlockKind.TEXT), ev.TextDelta(0, "A"), quoted, ev.BlockStop(0)]
    told: list[Event] = [ev.Start(), *text, ev.Finish(Reason.STOP), ev.End()]
    assert not any(frame.get("delta", {}).get("type") == "citations_delta" for frame in encoded(*told))
    assert DIALECTS["anthropic"].dump(fold(told), asked("anthropic"), STAMP)["content"][0]["citations"] is None
