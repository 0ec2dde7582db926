"""Pieces in any order → events in strict order. The rules are those of `protocol/mapping.md`, Sequencer."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Kind, Malformed, Overloaded, Truncated
from gateway.neutral.events import (
    ArgsDelta,
    BlockKind,
    BlockStart,
    BlockStop,
    Citation,
    End,
    Event,
    Failed,
    Finish,
    Ping,
    Reason,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Start,
    TextDelta,
    Usage,
)
from gateway.neutral.grammar import Grammar
from gateway.neutral.pieces import (
    BlockEnd,
    CitationPiece,
    ContentPiece,
    Piece,
    SignaturePiece,
    ToolPiece,
    WholePiece,
)
from gateway.neutral.request import OpaqueValue
from gateway.neutral.sequencer import MAX_WAITING, Sequencer

STOP = Finish(Reason.STOP)
SEAL = OpaqueValue("anthropic", "sealed")
BIG = 10_000


def text(content: str, key: int | None = None) -> ContentPiece:
    return ContentPiece(BlockKind.TEXT, content, key)


def think(content: str, key: int | None = None) -> ContentPiece:
    return ContentPiece(BlockKind.REASONING, content, key)


def refuse(content: str) -> ContentPiece:
    return ContentPiece(BlockKind.REFUSAL, content)


def call(
    key: int | None, fragment: str = "", *, id: str = "", name: str = "", kind: str = "function", position: int = 0
) -> ToolPiece:
    return ToolPiece(key, id, name, fragment, kind, position)


def spell(event: Event) -> str:
    """An event in a few characters: `+0 tool a f` starts block 0, `0 …` adds to it, `-0` stops it."""
    match event:
        case BlockStart():
            return f"+{event.index} " + (f"{event.id} {event.name}" if event.name else event.kind)
        case TextDelta() | ReasoningDelta() | RefusalDelta():
            return f"{event.index} {event.text}"
        case ArgsDelta():
            return f"{event.index} {event.fragment}"
        case ReasoningSignature():
            return f"{event.index} seal {event.value.data}"
        case Citation():
            return f"{event.index} cites {event.citation['n']}"
        case BlockStop():
            return f"-{event.index}"
        case Failed():
            return f"failed {type(event.error).__name__}: {event.error.message}"
        case _:
            return type(event).__name__.lower() + (f" {event.reason}" if isinstance(event, Finish) else "")


def run(*pieces: Piece, sequencer: Sequencer | None = None) -> list[str]:
    """What becomes of the pieces of an answer that has started."""
    events = (sequencer or Sequencer("seed")).feed([Start(), *pieces])
    assert events[0] == Start()
    return [spell(event) for event in events[1:]]


# -- rule 1: blocks ------------------------------------------------------------------------------------------------


def test_content_of_another_kind_stops_the_open_block_first() -> None:
    """Rule 1: order of blocks is order of first appearance, and each is stopped before the next one starts."""
    assert run(think("a"), think("b"), text("c"), text("d"), refuse("e"), call(0, "{}", id="i", name="f"), STOP) == [
        *("+0 reasoning", "0 a", "0 b", "-0"),
        *("+1 text", "1 c", "1 d", "-1"),
        *("+2 refusal", "2 e", "-2"),
        *("+3 i f", "3 {}", "-3", "finish tool_calls"),
    ]


def test_deltas_keep_what_only_their_kind_has() -> None:
    """Rule 1: kinds are separate, so a summary stays one and a refusal isn't text."""
    pieces: list[Piece] = [Start(), ContentPiece(BlockKind.REASONING, "s", is_summary=True), refuse("no"), text("t")]
    deltas = [event for event in Sequencer().feed(pieces) if not isinstance(event, Start | BlockStart | BlockStop)]
    assert deltas == [ReasoningDelta(0, "s", is_summary=True), RefusalDelta(1, "no"), TextDelta(2, "t")]


def test_blocks_that_the_wire_names_differently_are_not_joined() -> None:
    """Rule 1: two text blocks of an Anthropic stream stay two, even where no end of the first came."""
    assert run(text("a", 0), text("b", 0), text("c", 1)) == ["+0 text", "0 a", "0 b", "-0", "+1 text", "1 c"]


def test_a_whole_block_has_its_payload_in_its_start_and_no_delta() -> None:
    """Rule 1: redacted reasoning and unknown blocks stand alone, even two in a row."""
    hidden, odd = WholePiece(BlockKind.REDACTED, SEAL), WholePiece(BlockKind.OPAQUE, {"type": "odd"})
    events = Sequencer().feed([Start(), hidden, hidden, odd, text("x"), STOP])
    assert events[1:7] == [
        BlockStart(0, BlockKind.REDACTED, payload=SEAL),
        BlockStop(0),
        BlockStart(1, BlockKind.REDACTED, payload=SEAL),
        BlockStop(1),
        BlockStart(2, BlockKind.OPAQUE, payload={"type": "odd"}),
        BlockStop(2),
    ]


def test_a_citation_belongs_to_the_text_around_it() -> None:
    """Rule 1: it opens no block of its own inside text, and opens one where there is none."""
    cited = CitationPiece({"n": 1}, "anthropic", 0)
    assert run(text("a", 0), cited, text("b", 0)) == ["+0 text", "0 a", "0 cites 1", "0 b"]
    assert run(think("a"), cited) == ["+0 reasoning", "0 a", "-0", "+1 text", "1 cites 1"]


def test_the_signature_is_the_last_of_its_reasoning_block() -> None:
    """Rule 1: reasoning after a signature is another block, even where the wire gives both one key."""
    assert run(think("a", 0), SignaturePiece(SEAL, 0), think("b", 0), SignaturePiece(SEAL, 0), text("c", 1)) == [
        *("+0 reasoning", "0 a", "0 seal sealed", "-0"),
        *("+1 reasoning", "1 b", "1 seal sealed", "-1"),
        *("+2 text", "2 c"),
    ]


def test_the_signature_seals_a_block_that_waits_too() -> None:
    """Rules 1 and 6: what is held back behind an incomplete call comes out in the same order and the same blocks."""
    pieces: list[Piece] = [
        call(0, "{", id="i", name="f"),
        think("a"),
        SignaturePiece(SEAL),
        think("b"),
        call(0, "}"),
        STOP,
    ]
    assert run(*pieces) == [
        *("+0 i f", "0 {", "0 }", "-0"),
        *("+1 reasoning", "1 a", "1 seal sealed", "-1"),
        *("+2 reasoning", "2 b", "-2", "finish tool_calls"),
    ]


def test_a_signature_without_reasoning_makes_a_block_of_its_own() -> None:
    """Rule 1: models that keep their reasoning to themselves still sign it."""
    assert run(SignaturePiece(SEAL, 0), text("x", 1)) == [
        *("+0 reasoning", "0 seal sealed", "-0"),
        *("+1 text", "1 x"),
    ]


def test_a_block_stops_as_soon_as_the_wire_says_so() -> None:
    """Rule 1: BlockEnd closes the block of its key, and nothing but that."""
    assert run(text("a", 0), BlockEnd(0)) == ["+0 text", "0 a", "-0"]
    assert run(call(0, "{", id="i", name="f"), BlockEnd(0)) == ["+0 i f", "0 {", "-0"]
    assert run(text("a", 0), BlockEnd(7), text("b", 0)) == ["+0 text", "0 a", "0 b"]
    assert run(text("a", 0), BlockEnd(0), BlockEnd(0), text("b", 0), STOP) == [
        *("+0 text", "0 a", "-0"),
        *("+1 text", "1 b", "-1", "finish stop"),
    ]


def test_a_block_end_frees_what_waited_for_it() -> None:
    """Rule 4: an ended call can't grow any more, whatever its text looks like."""
    assert run(call(0, "{", id="i", name="f"), text("x", 1), BlockEnd(1), BlockEnd(0)) == [
        *("+0 i f", "0 {", "-0"),
        *("+1 text", "1 x", "-1"),
    ]
    assert run(call(0, id="i", name="f"), BlockEnd(0), call(1, id="j", name="g")) == ["+0 i f", "-0"]


# -- rule 2: which call a fragment belongs to ----------------------------------------------------------------------


def test_another_id_with_a_name_is_another_call() -> None:
    """Rule 2: Ollama sends index 0 for all calls."""
    assert run(call(0, '{"a":1}', id="x", name="f"), call(0, '{"b":2}', id="y", name="f"), STOP) == [
        *("+0 x f", '0 {"a":1}', "-0"),
        *("+1 y f", '1 {"b":2}', "-1", "finish tool_calls"),
    ]


def test_another_id_without_a_name_continues_the_call() -> None:
    """Rule 2: a new call has both."""
    assert run(call(0, "{", id="x", name="f"), call(0, "}", id="y")) == ["+0 x f", "0 {", "0 }"]


def test_a_repeated_id_and_name_continue_the_call() -> None:
    """Rule 2: some servers repeat both with every fragment."""
    piece = call(0, "{", id="x", name="f")
    assert run(piece, call(0, "}", id="x", name="f"), STOP) == ["+0 x f", "0 {", "0 }", "-0", "finish tool_calls"]


def test_a_repeated_id_is_recognised_even_if_two_calls_share_it() -> None:
    """Rule 2: the client is told a unique id, the upstream's own still names the call."""
    first, second = call(0, "{}", id="x", name="f"), call(1, "{", id="x", name="g")
    assert run(first, second, call(1, "}", id="x", name="g"), STOP) == [
        *("+0 x f", "0 {}", "-0"),
        *("+1 x_2 g", "1 {", "1 }", "-1", "finish tool_calls"),
    ]


def test_without_an_index_the_id_finds_the_call() -> None:
    """Rule 2: no index, ids."""
    pieces: list[Piece] = [
        call(None, "{", id="x", name="f"),
        call(None, "{", id="y", name="g"),
        call(None, "}", id="x"),
    ]
    assert run(*pieces, call(None, "}", id="y"), STOP) == [
        *("+0 x f", "0 {", "0 }", "-0"),
        *("+1 y g", "1 {", "1 }", "-1", "finish tool_calls"),
    ]


def test_without_index_and_id_the_position_in_the_array_finds_the_call() -> None:
    """Rule 2: no index, no ids."""
    pieces: list[Piece] = [call(None, "{", name="f", position=0), call(None, "{", name="g", position=1)]
    pieces += [call(None, "}", name="f", position=0), call(None, "}", name="g", position=1)]
    assert run(*pieces, STOP) == [
        *("+0 call_seed0 f", "0 {", "0 }", "-0"),
        *("+1 call_seed1 g", "1 {", "1 }", "-1", "finish tool_calls"),
    ]


def test_without_index_and_id_a_complete_call_is_not_continued() -> None:
    """Rule 2: the same function called twice, each in a chunk of its own, is two calls."""
    assert run(call(None, "{}", name="f"), call(None, "{}", name="f"), STOP) == [
        *("+0 call_seed0 f", "0 {}", "-0"),
        *("+1 call_seed1 f", "1 {}", "-1", "finish tool_calls"),
    ]


def test_a_fragment_with_neither_index_id_nor_name_continues_the_latest_call() -> None:
    """Rule 2, its last clause."""
    pieces: list[Piece] = [call(None, "{}", id="x", name="f"), call(None, "{", id="y", name="g"), call(None, "}")]
    assert run(*pieces, STOP) == [
        *("+0 x f", "0 {}", "-0"),
        *("+1 y g", "1 {", "1 }", "-1", "finish tool_calls"),
    ]


# -- rule 3: when a call starts ------------------------------------------------------------------------------------


def test_a_call_starts_with_its_first_fragment() -> None:
    """Rule 3: a name alone may still grow."""
    sequencer = Sequencer()
    assert run(call(0, id="x", name="f"), sequencer=sequencer) == []
    assert [spell(event) for event in sequencer.feed([call(0, "{")])] == ["+0 x f", "0 {"]


def test_a_call_starts_when_another_block_begins_or_the_model_finishes() -> None:
    """Rule 3: a call without arguments."""
    assert run(call(0, id="x", name="f"), text("t")) == ["+0 x f", "-0", "+1 text", "1 t"]
    assert run(call(0, id="x", name="f"), STOP) == ["+0 x f", "-0", "finish tool_calls"]


def test_a_name_in_pieces_is_joined() -> None:
    """Rule 3: unless the piece repeats what is known."""
    assert run(call(0, id="x", name="get_"), call(0, name="weather"), call(0, "{}")) == ["+0 x get_weather", "0 {}"]
    assert run(call(0, id="x", name="f"), call(0, name="f"), call(0, "{}", name="f")) == ["+0 x f", "0 {}"]


def test_fragments_wait_for_the_name() -> None:
    """Rule 3: the name may come last."""
    assert run(call(0, "{", id="x"), call(0, '"a"'), call(0, ":1}", name="f")) == ["+0 x f", "0 {", '0 "a"', "0 :1}"]


def test_a_name_after_the_start_is_too_late() -> None:
    """Rule 3: the client has been told already."""
    assert run(call(0, "{", id="x", name="f"), call(0, "}", name="g")) == ["+0 x f", "0 {", "0 }"]


def test_a_late_id_is_used_until_the_call_starts() -> None:
    """Rule 3: before the start it counts."""
    assert run(call(0, name="f"), call(0, id="x"), call(0, "{}")) == ["+0 x f", "0 {}"]


@pytest.mark.parametrize("name", ["", "f"])
def test_a_late_id_after_the_start_is_ignored(name: str) -> None:
    """Rule 3: it makes no second call either, even with the name repeated."""
    assert run(call(0, "{", name="f"), call(0, "}", id="late", name=name), STOP) == [
        *("+0 call_seed0 f", "0 {", "0 }", "-0", "finish tool_calls"),
    ]


def test_missing_ids_are_made_from_the_seed_and_differ() -> None:
    """Rule 3 and mapping.md §8: deterministic, so that the same answer has the same ids."""
    pieces: list[Piece] = [call(0, "{}", name="f"), call(1, "{}", name="f"), STOP]
    ids = [word for word in run(*pieces) if word.startswith("+")]
    assert ids == ["+0 call_seed0 f", "+1 call_seed1 f"]
    assert run(*pieces, sequencer=Sequencer("other"))[0] == "+0 call_other0 f"


def test_duplicate_ids_get_a_suffix() -> None:
    """mapping.md §8: `_2`, `_3`, …, also where the upstream has taken that name itself."""
    pieces: list[Piece] = [call(key, "{}", id=id, name="f") for key, id in enumerate(["x", "x", "x_2", "x"])]
    assert [word for word in run(*pieces, STOP) if word.startswith("+")] == [
        *("+0 x f", "+1 x_2 f", "+2 x_2_2 f", "+3 x_3 f"),
    ]


def test_ids_are_told_as_they_are() -> None:
    """mapping.md §8: Kimi's `functions.name:0` comes back unchanged."""
    assert run(call(0, "{}", id="functions.f:0", name="f"))[0] == "+0 functions.f:0 f"


# -- rule 4: calls that overlap ------------------------------------------------------------------------------------


def test_interleaved_calls_come_out_one_after_the_other() -> None:
    """Rule 4: fragments 0, 1, 0, 1. The first stays live, the second waits, then streams on."""
    sequencer = Sequencer()
    assert run(call(0, '{"a"', id="x", name="f"), call(1, '{"b"', id="y", name="g"), sequencer=sequencer) == [
        *("+0 x f", '0 {"a"'),
    ]
    assert [spell(event) for event in sequencer.feed([call(0, ":1}")])] == ["0 :1}", "-0", "+1 y g", '1 {"b"']
    assert [spell(event) for event in sequencer.feed([call(1, ":2}")])] == ["1 :2}"]
    assert [spell(event) for event in sequencer.feed([STOP])] == ["-1", "finish tool_calls"]


def test_a_complete_call_makes_room_at_once() -> None:
    """Rule 4: the newcomer streams without being held."""
    assert run(call(0, "{}", id="x", name="f"), call(1, "{", id="y", name="g"), call(1, "}")) == [
        *("+0 x f", "0 {}", "-0"),
        *("+1 y g", "1 {", "1 }"),
    ]


def test_completeness_is_asked_only_when_something_waits() -> None:
    """Rule 4: a call that looks complete goes on as long as nobody else comes."""
    assert run(call(0, "{}", id="x", name="f"), call(0, " ")) == ["+0 x f", "0 {}", "0  "]


def test_a_call_without_arguments_yet_stays_live() -> None:
    """Rule 4: all heads first, arguments later, as some servers send parallel calls."""
    heads: list[Piece] = [call(0, id="x", name="f"), call(1, id="y", name="g")]
    assert run(*heads, call(1, "{1}"), call(0, "{0}")) == ["+0 x f", "0 {0}", "-0", "+1 y g", "1 {1}"]


def test_brackets_in_strings_do_not_complete_a_call() -> None:
    """Rule 4: a scanner of depth and strings decides, across fragments and escapes."""
    live: list[Piece] = [call(0, '{"a":"}', id="x", name="f"), call(1, "{}", id="y", name="g")]
    assert run(*live, call(0, '\\"}'), call(0, '"')) == ["+0 x f", '0 {"a":"}', '0 \\"}', '0 "']
    assert run(*live, call(0, '\\"}'), call(0, '"}'))[-3:] == ["-0", "+1 y g", "1 {}"]


def test_the_oldest_that_waits_goes_live_first() -> None:
    """Rule 4: promotion in order of arrival, through all that are complete."""
    pieces: list[Piece] = [
        call(0, "{", id="x", name="f"),
        call(2, "{}", id="z", name="h"),
        call(1, "{", id="y", name="g"),
    ]
    assert run(*pieces, call(0, "}")) == ["+0 x f", "0 {", "0 }", "-0", "+1 z h", "1 {}", "-1", "+2 y g", "2 {"]


def test_what_still_waits_at_the_finish_comes_in_key_order() -> None:
    """Rule 4: each as one complete block."""
    pieces: list[Piece] = [
        call(0, "{", id="x", name="f"),
        call(2, "{2}", id="z", name="h"),
        call(1, "{1}", id="y", name="g"),
    ]
    assert run(*pieces, STOP) == [
        *("+0 x f", "0 {", "-0"),
        *("+1 y g", "1 {1}", "-1"),
        *("+2 z h", "2 {2}", "-2", "finish tool_calls"),
    ]


def test_text_that_waits_at_the_finish_keeps_its_place() -> None:
    """Rule 4 and rule 6: only calls are sorted among themselves."""
    pieces: list[Piece] = [
        call(0, "{", id="x", name="f"),
        call(2, "{2}", id="z", name="h"),
        text("t"),
        call(1, "{1}", name="g"),
    ]
    starts = [word for word in run(*pieces, STOP) if word.startswith("+")]
    assert starts == ["+0 x f", "+1 call_seed1 g", "+2 text", "+3 z h"]


def test_a_free_text_call_is_complete_as_soon_as_another_comes() -> None:
    """Rule 4, custom tools: free text has no brackets to count."""
    pieces: list[Piece] = [call(0, "*** Begin {", id="x", name="patch", kind="custom"), call(1, "{}", id="y", name="g")]
    assert run(*pieces) == ["+0 x patch", "0 *** Begin {", "-0", "+1 y g", "1 {}"]
    assert Sequencer().feed([Start(), *pieces])[1] == BlockStart(0, BlockKind.TOOL, "x", "patch", "custom")


# -- rule 5: too late ----------------------------------------------------------------------------------------------


def test_fragments_of_a_stopped_call_are_dropped_and_counted() -> None:
    """Rule 5: never into another block. Blank ones are no fault."""
    sequencer = Sequencer()
    pieces: list[Piece] = [
        call(0, "{}", id="x", name="f"),
        call(1, "{", id="y", name="g"),
        call(0, " \n"),
        call(0, "more"),
    ]
    assert run(*pieces, call(1, "}"), sequencer=sequencer) == ["+0 x f", "0 {}", "-0", "+1 y g", "1 {", "1 }"]
    assert sequencer.dropped == 1


def test_fragments_of_an_ended_call_are_dropped_even_while_it_waits() -> None:
    """Rule 5: what the wire has ended is over, whether or not its block came out."""
    sequencer = Sequencer()
    pieces: list[Piece] = [
        call(0, "{", id="x", name="f"),
        call(1, "{}", id="y", name="g"),
        BlockEnd(1),
        call(1, "more"),
    ]
    assert run(*pieces, STOP, sequencer=sequencer)[-4:] == ["+1 y g", "1 {}", "-1", "finish tool_calls"]
    assert sequencer.dropped == 1


# -- rule 6: text around calls -------------------------------------------------------------------------------------


def test_blank_text_between_calls_is_dropped() -> None:
    """Rule 6: no text follows."""
    assert run(call(0, "{}", id="x", name="f"), text("\n\n"), call(1, "{}", id="y", name="g"), text(" "), STOP) == [
        *("+0 x f", "0 {}", "-0"),
        *("+1 y g", "1 {}", "-1", "finish tool_calls"),
    ]


def test_blank_text_before_real_text_is_kept() -> None:
    """Rule 6: flushed in front of it, as one block, whatever key the blank had."""
    pieces: list[Piece] = [call(0, "{}", id="x", name="f"), text("\n", 1), text(" ", 2), text("t", 3)]
    assert run(*pieces) == ["+0 x f", "0 {}", "-0", "+1 text", "1 \n", "1  ", "1 t"]


def test_blank_text_waits_for_real_text_beyond_reasoning() -> None:
    """Rule 6: it makes no block of its own before content of another kind."""
    pieces: list[Piece] = [call(0, "{}", id="x", name="f"), text("\n"), think("r"), text("t")]
    assert run(*pieces)[3:] == ["+1 reasoning", "1 r", "-1", "+2 text", "2 \n", "2 t"]


def test_blank_text_inside_text_is_text() -> None:
    """Rule 6 speaks of a live call; anywhere else every character counts, also where the text still waits."""
    assert run(text("\n"), text(" "), text("a"), text(" ")) == ["+0 text", "0 \n", "0  ", "0 a", "0  "]
    pieces: list[Piece] = [call(0, "{", id="x", name="f"), text("a"), text(" "), call(0, "}"), text("b")]
    assert run(*pieces)[4:] == ["+1 text", "1 a", "1  ", "1 b"]


def test_text_stops_a_complete_or_empty_call() -> None:
    """Rule 6: real text."""
    assert run(call(0, "{}", id="x", name="f"), text("t")) == ["+0 x f", "0 {}", "-0", "+1 text", "1 t"]
    assert run(call(0, " ", id="x", name="f"), text("t")) == ["+0 x f", "0  ", "-0", "+1 text", "1 t"]


@pytest.mark.parametrize("kind", [BlockKind.TEXT, BlockKind.REASONING, BlockKind.REFUSAL])
def test_content_waits_while_a_call_is_incomplete(kind: BlockKind) -> None:
    """Rule 6: the same for reasoning."""
    late: list[Piece] = [ContentPiece(kind, "a"), ContentPiece(kind, "b")]
    assert run(call(0, "{", id="x", name="f"), *late, call(0, "}"), ContentPiece(kind, "c")) == [
        *("+0 x f", "0 {", "0 }", "-0"),
        *(f"+1 {kind}", "1 a", "1 b", "1 c"),
    ]


# -- rule 7: nothing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [text(""), think(""), refuse(""), call(0), call(None)])
def test_an_empty_delta_creates_nothing(empty: Piece) -> None:
    """Rule 7: not before, in, or after a block, and it doesn't stop one."""
    assert run(empty, text("a"), empty, text("b"), empty, STOP) == ["+0 text", "0 a", "0 b", "-0", "finish stop"]


def test_blank_reasoning_creates_no_block() -> None:
    """Pitfall 94; where real reasoning follows, it keeps its first blanks."""
    assert run(think("\n"), text("a"), think(" "), STOP) == ["+0 text", "0 a", "-0", "finish stop"]
    assert run(think("\n"), think("r"), think("\n"), text("a")) == [
        *("+0 reasoning", "0 \n", "0 r", "0 \n", "-0"),
        *("+1 text", "1 a"),
    ]


# -- rule 8: reasoning after text ----------------------------------------------------------------------------------


def test_reasoning_may_come_after_text() -> None:
    """Rule 8: a new block, in the order it came."""
    assert run(think("a"), text("b"), think("c"), text("d"), STOP) == [
        *("+0 reasoning", "0 a", "-0", "+1 text", "1 b", "-1"),
        *("+2 reasoning", "2 c", "-2", "+3 text", "3 d", "-3", "finish stop"),
    ]


# -- rule 9: finish ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "told"),
    [(Reason.STOP, Reason.TOOL_CALLS), (Reason.LENGTH, Reason.LENGTH), (Reason.TOOL_CALLS, Reason.TOOL_CALLS)],
)
def test_an_answer_with_calls_finishes_with_tool_calls_unless_it_was_cut(said: Reason, told: Reason) -> None:
    """Rule 9: stop becomes tool_calls, length stays length."""
    events = Sequencer().feed([Start(), call(0, "{}", name="f"), Finish(said, raw="raw", is_inferred=True)])
    assert events[-2:] == [BlockStop(0), Finish(told, raw="raw", is_inferred=True)]


def test_an_answer_without_calls_keeps_its_reason() -> None:
    """Rule 9: only calls change it."""
    assert run(text("a"), STOP) == ["+0 text", "0 a", "-0", "finish stop"]
    assert run(STOP) == ["finish stop"]


def test_content_after_the_finish_is_dropped_and_counted() -> None:
    """Rule 9: exactly one Finish, after all blocks; encoders trust that."""
    sequencer = Sequencer()
    late: list[Piece] = [
        text("late"),
        text(" "),
        call(0, "{}", name="f"),
        BlockEnd(0),
        WholePiece(BlockKind.REDACTED, SEAL),
    ]
    pieces: list[Piece] = [text("a"), STOP, *late, STOP, Usage(output=3), End()]
    assert run(*pieces, sequencer=sequencer) == ["+0 text", "0 a", "-0", "finish stop", "usage", "end"]
    assert sequencer.dropped == 3


@pytest.mark.parametrize(
    "pieces",
    [
        [call(0, "{}", id="x")],
        [call(0, "{}", id="x"), BlockEnd(0)],
        [call(0, "{", id="y", name="f"), call(1, "{}", id="x"), text("t")],
    ],
)
def test_a_call_that_never_got_a_name_breaks_the_answer(pieces: list[Piece]) -> None:
    """Rule 3: a call can't start without its name, and can't be dropped in silence."""
    told = run(*pieces, STOP, End())
    assert told[-1] == "failed Malformed: tool call without a name: the upstream never sent one"
    assert not [word for word in told if word.startswith("finish")]


# -- rule 10: the end ----------------------------------------------------------------------------------------------


def test_an_end_without_a_finish_is_a_failure() -> None:
    """Rule 10 and mapping.md §9: a cut stream never looks finished."""
    assert run(text("a"), End()) == [
        "+0 text",
        "0 a",
        "failed Truncated: the upstream's answer ended before it was finished",
    ]
    assert [type(event) for event in Sequencer().feed([End()])] == [Failed]


def test_nothing_comes_after_the_end() -> None:
    """Rule 10: neither in the same read nor in a later one."""
    sequencer = Sequencer()
    after: list[Piece] = [text("b"), Usage(), Ping(), STOP, End(), Failed(Truncated("x"))]
    assert run(text("a"), STOP, End(), *after, sequencer=sequencer) == ["+0 text", "0 a", "-0", "finish stop", "end"]
    assert sequencer.feed(after) == []


def test_nothing_comes_after_a_failure() -> None:
    """mapping.md §9.1: the open block isn't closed and what waits isn't told."""
    sequencer, failed = Sequencer(), Failed(Overloaded("later", kind=Kind.RATE_LIMIT, retry_after_s=2))
    events = sequencer.feed([Start(), call(0, "{", name="f"), text("waits"), failed, call(0, "}"), STOP, End()])
    assert events[-2:] == [ArgsDelta(0, "{"), failed]
    assert sequencer.feed([text("b"), call(0, "}"), STOP, End()]) == []


# -- the beginning, and limits -------------------------------------------------------------------------------------


def test_an_answer_starts_once_whatever_the_server_says() -> None:
    """mapping.md §2: Start is exactly once and first; a server may forget it, or repeat it."""
    assert Sequencer().feed([Ping(), text("a")])[:2] == [Ping(), Start()]
    assert Sequencer().feed([Usage(input=1)]) == [Start(), Usage(input=1)]
    assert Sequencer().feed([Start("one"), text("a"), Start("two"), text("b")])[0::3] == [
        Start("one"),
        TextDelta(0, "b"),
    ]


def test_a_failure_needs_no_start() -> None:
    """mapping.md §2: before anything was said, there is only the error."""
    failed = Failed(Truncated("cut"))
    assert Sequencer().feed([failed]) == [failed]


def test_usage_and_pings_pass_at_any_time() -> None:
    """mapping.md §2: they belong to no block."""
    assert run(text("a"), Ping(), Usage(output=1), text("b"), STOP, Usage(output=2), Ping(), End()) == [
        *("+0 text", "0 a", "ping", "usage", "0 b", "-0", "finish stop", "usage", "ping", "end"),
    ]


FLOODS: dict[str, Piece] = {
    "text behind an incomplete call": text("x" * 100),
    "blank text behind a call": text(" " * 100),
    "reasoning behind an incomplete call": think("x" * 100),
    "arguments of the live call": call(0, "x" * 100),
    "redacted reasoning": WholePiece(BlockKind.REDACTED, OpaqueValue("anthropic", "x" * 100)),
    "signatures": SignaturePiece(OpaqueValue("anthropic", "x" * 100)),
    "citations": CitationPiece({"n": "x" * 100}, "anthropic"),
    "opaque blocks": WholePiece(BlockKind.OPAQUE, {"x": "x" * 100}),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_what_an_upstream_can_make_us_remember_is_bounded(flood: Piece) -> None:
    """Memory of a stream is bounded: beyond `max_waiting` characters it counts as broken."""
    sequencer = Sequencer(max_waiting=BIG)
    assert "failed" not in run(call(0, '{"', id="x", name="f"), *[flood] * 50, sequencer=sequencer)[-1]
    events = sequencer.feed([flood] * 50)
    assert spell(events[-1]) == f"failed Malformed: more than {BIG} characters of tool calls and waiting text"
    assert sequencer.feed([flood]) == []


def test_the_length_of_a_name_is_bounded() -> None:
    """A name may come in pieces, not without an end."""
    pieces: list[Piece] = [call(0, name=f"{number:0100}") for number in range(100)]
    told = run(*pieces, sequencer=Sequencer(max_waiting=BIG))
    assert told[-1].startswith("failed Malformed: more than")


def test_the_number_of_calls_is_bounded() -> None:
    """A call costs memory even if it says nothing."""
    told = run(*[call(key, name="f") for key in range(20)], sequencer=Sequencer(max_waiting=BIG))
    assert told[-1].startswith("failed Malformed: more than")


def test_text_that_does_not_wait_is_not_counted() -> None:
    """The bound is on what is remembered, never on the length of an answer."""
    assert len(run(*[text("x" * 100)] * 300, STOP, sequencer=Sequencer(max_waiting=BIG))) == 303
    assert MAX_WAITING == 8 * 1024 * 1024


def test_what_goes_on_at_once_takes_no_room() -> None:
    """A whole answer's text is one piece, as large as `max_answer` lets it be."""
    told = run(text("x" * 10 * BIG), think("y" * 10 * BIG), STOP, sequencer=Sequencer(max_waiting=BIG))
    assert not any(line.startswith("failed") for line in told)


def test_a_broken_stream_lets_go_of_what_waited() -> None:
    """Its sequencer lives as long as the client takes to hear of it."""
    sequencer = Sequencer(max_waiting=BIG)
    events = sequencer.feed([call(0, "{", name="f"), text("x" * BIG), text("x" * BIG)])
    assert isinstance(events[-1], Failed)
    assert held_by(sequencer) < 100


# -- for any sequence ----------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["", " ", "\n", "a", "{", "}", "{}", '"', "\\", "ab c", "é\u2028"])
KEYS = st.sampled_from([None, 0, 1, 2])
CONTENT = st.builds(
    ContentPiece, st.sampled_from([BlockKind.TEXT, BlockKind.REASONING, BlockKind.REFUSAL]), WORDS, KEYS
)
TOOL = st.builds(
    ToolPiece,
    KEYS,
    st.sampled_from(["", "x", "y"]),
    st.sampled_from(["", "f", "g"]),
    WORDS,
    st.sampled_from(["function", "function", "custom"]),
    st.integers(0, 2),
)
OTHER: st.SearchStrategy[Piece] = st.sampled_from(
    [
        SignaturePiece(SEAL),
        SignaturePiece(SEAL, 0),
        WholePiece(BlockKind.REDACTED, SEAL),
        WholePiece(BlockKind.OPAQUE, {"type": "odd"}),
        CitationPiece({"n": 1}, "anthropic", 0),
        BlockEnd(0),
        BlockEnd(1),
        Start("again"),
        Usage(output=1),
        Ping(),
    ]
)
END: st.SearchStrategy[Piece] = st.sampled_from(
    [STOP, Finish(Reason.LENGTH), End(), Failed(Truncated("cut")), Failed(Malformed("odd"))]
)
PIECES = st.lists(st.one_of(CONTENT, TOOL, TOOL, OTHER), max_size=30)


@given(st.lists(st.one_of(CONTENT, TOOL, OTHER, END), max_size=30), PIECES)
def test_any_pieces_give_events_in_strict_order(some: list[Piece], more: list[Piece]) -> None:
    """What comes out obeys the grammar, so encoders may trust it: also after a finish, an end, a failure."""
    grammar = Grammar()
    for event in Sequencer().feed([*some, STOP, *more, End()]):
        grammar.check(event)
    assert grammar.state.name in ("ENDED", "FAILED")


@given(st.lists(st.one_of(CONTENT, TOOL, OTHER, END), max_size=30))
def test_pieces_may_come_one_by_one_or_all_at_once(pieces: list[Piece]) -> None:
    """Nothing depends on how the network cut the answer."""
    sequencer = Sequencer()
    assert [event for piece in pieces for event in sequencer.feed([piece])] == Sequencer().feed(pieces)


@given(
    st.lists(st.one_of(CONTENT, TOOL, OTHER, END), max_size=30), st.lists(st.sampled_from(["a", " ", "\n"]), max_size=3)
)
def test_more_texts_mean_what_the_last_piece_again_would_mean(pieces: list[Piece], texts: list[str]) -> None:
    """Wherever they come: in a block, while a call waits, after blanks that are held, after a finish or a failure."""
    quick, slow = Sequencer(max_waiting=BIG), Sequencer(max_waiting=BIG)
    for piece in pieces:
        assert quick.feed([piece]) == slow.feed([piece])
        if isinstance(piece, ContentPiece):
            again = slow.feed([replace(piece, text=text) for text in texts])
            assert quick.more(texts[:1]) + quick.more(texts[1:]) == again
    assert quick.dropped == slow.dropped


class UnusualContent(ContentPiece):
    """Content that the quick way of `feed` does not know."""


class UnusualTool(ToolPiece):
    """A fragment that the quick way of `feed` does not know."""


def unusual(piece: Piece) -> Piece:
    match piece:
        case ContentPiece():
            return UnusualContent(piece.kind, piece.text, piece.key, piece.is_summary)
        case ToolPiece():
            return UnusualTool(piece.key, piece.id, piece.name, piece.fragment, piece.call_kind, piece.position)
        case _:
            return piece


@given(st.lists(st.one_of(CONTENT, TOOL, TOOL, OTHER, END), max_size=30), st.sampled_from([5, BIG]))
def test_the_quick_way_means_what_the_usual_one_does(pieces: list[Piece], max_waiting: int) -> None:
    """Text and arguments that only go on: a cache of the rules, never one of its own."""
    quick, usual = Sequencer(max_waiting=1024 + max_waiting), Sequencer(max_waiting=1024 + max_waiting)
    for piece in pieces:
        assert quick.feed([piece]) == usual.feed([unusual(piece)])
    assert quick.dropped == usual.dropped


def solid(characters: Iterable[str]) -> str:
    return "".join("".join(characters).split())


@given(st.lists(st.one_of(CONTENT, OTHER), max_size=30))
def test_without_calls_no_character_is_lost_but_blank_reasoning(pieces: list[Piece]) -> None:
    """Every character comes out in order, in a block of its kind."""
    events = Sequencer().feed([Start(), *pieces, STOP])
    for kind, delta in ((BlockKind.TEXT, TextDelta), (BlockKind.REFUSAL, RefusalDelta)):
        fed = "".join(piece.text for piece in pieces if isinstance(piece, ContentPiece) and piece.kind is kind)
        assert fed == "".join(event.text for event in events if isinstance(event, delta))
    thought = [piece.text for piece in pieces if isinstance(piece, ContentPiece) and piece.kind is BlockKind.REASONING]
    assert solid(thought) == solid(event.text for event in events if isinstance(event, ReasoningDelta))


CALLS = st.lists(
    st.tuples(st.sampled_from(["{}", '{"a":1}', '{"s":"}{\\\\"}', '{"n":{"m":[1,2]}}']), st.integers(1, 5)),
    min_size=1,
    max_size=4,
)


@st.composite
def interleaved(draw: st.DrawFn) -> tuple[list[str], list[str], list[Piece]]:
    """Calls cut into fragments, their texts, real text, and one order in which all of it may arrive."""
    calls = draw(CALLS)
    texts = draw(st.lists(st.sampled_from(["a", "b c", " d\n"]), max_size=4))
    queues: list[list[Piece]] = [[text(each) for each in texts]] if texts else []
    for key, (arguments, width) in enumerate(calls):
        cuts = [arguments[at : at + width] for at in range(0, len(arguments), width)]
        queues.append([call(key, id=f"id{key}", name=f"f{key}"), *[call(key, cut) for cut in cuts]])
    pieces: list[Piece] = []
    while queues:
        queue = draw(st.sampled_from(queues))
        pieces.append(queue.pop(0))
        queues = [each for each in queues if each]
    return [arguments for arguments, _ in calls], texts, pieces


@given(interleaved())
def test_calls_in_any_order_come_out_whole_and_one_by_one(case: tuple[list[str], list[str], list[Piece]]) -> None:
    """Rules 4 and 6: no argument and no text is lost or lands in another block, whatever overlapped.

    A call that text stops while it is empty is the exception that rule 6 makes, and it is counted.
    """
    arguments, texts, pieces = case
    sequencer = Sequencer()
    events = sequencer.feed([Start(), *pieces, STOP])
    names = {event.index: event.name for event in events if isinstance(event, BlockStart) and event.name}
    told = dict.fromkeys(names.values(), "")
    for event in events:
        if isinstance(event, ArgsDelta):
            told[names[event.index]] += event.fragment
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "".join(texts)
    assert sorted(names.values()) == [f"f{key}" for key in range(len(arguments))]
    for key, expected in enumerate(arguments):
        assert told[f"f{key}"] == expected or (sequencer.dropped and told[f"f{key}"] == "")
    indexes = [event.index for event in events if isinstance(event, BlockStart | TextDelta | ArgsDelta | BlockStop)]
    assert [index for index, _ in groupby(indexes)] == sorted(set(indexes)), "blocks are interleaved"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [("", Reason.TOOL_CALLS), ("{}", Reason.TOOL_CALLS), ('{"x":', Reason.STOP), ('"half', Reason.STOP)],
)
def test_an_end_that_nobody_explained_is_for_its_calls_only_if_they_are_whole(arguments: str, reason: Reason) -> None:
    """mapping.md §9.1: `[DONE]` without a finish, tool_calls if tools complete, else stop."""
    pieces: list[Piece] = [
        ToolPiece(0, "a", "f", "{}"),
        ToolPiece(1, "b", "g", arguments),
        Finish(Reason.STOP, is_inferred=True),
    ]
    told = Sequencer("s").feed(pieces)
    assert told[-1] == Finish(reason, is_inferred=True)
    explained = Sequencer("s").feed([*pieces[:-1], Finish(Reason.STOP)])
    assert explained[-1] == Finish(Reason.TOOL_CALLS), "rule 9, where the upstream said that it stopped"


def held_by(sequencer: Sequencer) -> int:
    """Bytes of text that it keeps, pickled to reach all of it."""
    return len(pickle.dumps([sequencer._waiting, sequencer._calls, sequencer._all_calls, sequencer._held_space]))
