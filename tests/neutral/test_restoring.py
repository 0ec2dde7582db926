"""The client's own tools come back, whatever they were called upstream."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from gateway.neutral.events import (
    ArgsDelta,
    BlockKind,
    BlockStart,
    BlockStop,
    End,
    Event,
    Finish,
    Reason,
    ReasoningDelta,
    Start,
    TextDelta,
)
from gateway.neutral.grammar import Grammar
from gateway.neutral.pieces import ContentPiece, Piece, ToolPiece
from gateway.neutral.restoring import ClientTool, Restoration, restored, unwrap_custom
from gateway.neutral.sequencer import Sequencer


def told(restoration: Restoration, *pieces: Piece) -> list[Event]:
    """The events of a whole answer, checked against the grammar."""
    events = restored(Sequencer("s"), restoration).feed([Start(), *pieces, End()])
    grammar = Grammar()
    for event in events:
        grammar.check(event)
    return events


def blocks(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Start | End)]


def test_nothing_to_restore_costs_nothing() -> None:
    sequencer = Sequencer("s")
    assert restored(sequencer, Restoration()) is sequencer


def test_a_shortened_name_is_restored_with_its_namespace() -> None:
    """Pitfall 98, mapping.md §5.2."""
    restoration = Restoration({"ns__say": ClientTool("say", "ns")})
    events = blocks(told(restoration, ToolPiece(0, "a", "ns__say", "{}"), Finish(Reason.TOOL_CALLS)))
    assert events[0] == BlockStart(0, BlockKind.TOOL, id="a", name="say", namespace="ns")


def test_unknown_names_pass_unchanged() -> None:
    """mapping.md §5.2."""
    restoration = Restoration({"x": ClientTool("y")})
    events = blocks(told(restoration, ToolPiece(0, "a", "z", "{}"), Finish(Reason.TOOL_CALLS)))
    assert events[0] == BlockStart(0, BlockKind.TOOL, id="a", name="z")


def test_free_text_is_unwrapped_when_it_is_whole() -> None:
    """Pitfall 106."""
    restoration = Restoration({"patch": ClientTool("patch", kind="custom")})
    pieces: list[Piece] = [
        ToolPiece(0, "a", "patch", '{"input":"a\\'),
        ToolPiece(0, fragment='nb"}'),
        Finish(Reason.TOOL_CALLS),
    ]
    assert blocks(told(restoration, *pieces)) == [
        BlockStart(0, BlockKind.TOOL, id="a", name="patch", call_kind="custom"),
        ArgsDelta(0, "a\nb"),
        BlockStop(0),
        Finish(Reason.TOOL_CALLS),
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input":"x"}', "x"),
        ('{"patch":"x"}', "x"),
        ('"x"', "x"),
        ("*** Begin", "*** Begin"),
        ('{"a":"x","b":"y"}', '{"a":"x","b":"y"}'),
        ('{"input":1}', '{"input":1}'),
        ("[1]", "[1]"),
        ('{"input":""}', ""),
    ],
)
def test_sloppy_wrappers_are_understood(arguments: str, text: str) -> None:
    """openai-responses.md §4."""
    assert unwrap_custom(arguments) == text


def test_the_output_tool_becomes_text() -> None:
    """mapping.md §5.4: its arguments are the answer, and the model did not stop for a call."""
    restoration = Restoration(output_tool="json_output")
    pieces: list[Piece] = [
        ToolPiece(0, "a", "json_output", '{"x":'),
        ToolPiece(0, fragment="1}"),
        Finish(Reason.TOOL_CALLS),
    ]
    assert blocks(told(restoration, *pieces)) == [
        BlockStart(0, BlockKind.TEXT),
        TextDelta(0, '{"x":'),
        TextDelta(0, "1}"),
        BlockStop(0),
        Finish(Reason.STOP),
    ]


def test_the_output_tool_beside_a_real_call_leaves_the_reason() -> None:
    restoration = Restoration(output_tool="json_output")
    pieces: list[Piece] = [
        ToolPiece(0, "a", "json_output", "{}"),
        ToolPiece(1, "b", "f", "{}"),
        Finish(Reason.TOOL_CALLS),
    ]
    assert blocks(told(restoration, *pieces))[-1] == Finish(Reason.TOOL_CALLS)


def test_hidden_reasoning_leaves_its_block_and_no_text() -> None:
    """mapping.md §6.2: as Anthropic's own `display: omitted`."""
    restoration = Restoration(hides_reasoning=True)
    pieces: list[Piece] = [
        ContentPiece(BlockKind.REASONING, "secret"),
        ContentPiece(BlockKind.TEXT, "yes"),
        Finish(Reason.STOP),
    ]
    events = told(restoration, *pieces)
    assert not [event for event in events if isinstance(event, ReasoningDelta)]
    assert BlockStart(0, BlockKind.REASONING) in events
    assert TextDelta(1, "yes") in events


@pytest.mark.parametrize("hides", [True, False])
@pytest.mark.parametrize("kind", [BlockKind.TEXT, BlockKind.REASONING])
def test_more_texts_are_restored_as_pieces_are(kind: BlockKind, *, hides: bool) -> None:
    """One or several at once."""
    restoration = Restoration({"x": ClientTool("y")}, hides_reasoning=hides)
    quick, slow = restored(Sequencer("s"), restoration), restored(Sequencer("s"), restoration)
    first: list[Piece] = [Start(), ContentPiece(kind, "a")]
    assert quick.feed(first) == slow.feed(first)
    for texts in (["b"], ["c", "d"]):
        told = quick.more(texts)
        assert told == slow.feed([ContentPiece(kind, text) for text in texts])
        assert len(told) == (0 if hides and kind is BlockKind.REASONING else len(texts))


@pytest.mark.parametrize(
    "restoration",
    [
        Restoration({"x": ClientTool("y")}),
        Restoration({"x": ClientTool("y", kind="custom")}),
        Restoration(output_tool="x"),
        Restoration(output_tool="y", hides_reasoning=True),
    ],
)
def test_pieces_one_by_one_are_restored_as_all_at_once(restoration: Restoration) -> None:
    """What a single event is of is kept from one read to the next."""
    pieces: list[Piece] = [
        Start(),
        ContentPiece(BlockKind.REASONING, "hm"),
        ContentPiece(BlockKind.TEXT, "a"),
        ContentPiece(BlockKind.TEXT, "b"),
        ToolPiece(0, "id", "x", '{"input":'),
        ToolPiece(0, fragment='"a'),
        ToolPiece(0, fragment='b"}'),
        ToolPiece(1, "id2", "z", '{"n":'),
        ToolPiece(1, fragment="1}"),
        Finish(Reason.TOOL_CALLS),
        End(),
    ]
    single = restored(Sequencer("s"), restoration)
    assert [event for piece in pieces for event in single.feed([piece])] == told(restoration, *pieces[1:-1])
