"""For any answer that the grammar allows: what a dialect's decoder reads is what its encoder was told, up to LOSSY."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects import DIALECTS
from gateway.neutral.events import BlockKind, Event, Reason
from gateway.neutral.grammar import Grammar, State
from gateway.neutral.response import fold
from gateway.neutral.sequencer import Sequencer
from tests.dialects.cases import STAMP, asked
from tests.properties.answers import Told, answers, joined, renamed, text_only, told

TEXT, REASONING, REFUSAL = BlockKind.TEXT, BlockKind.REASONING, BlockKind.REFUSAL


def of_messages(answer: Told) -> Told:
    """`LOSSY` of Anthropic: refusals are text, filters are refusals."""
    return renamed(answer, {REFUSAL: TEXT}, {Reason.CONTENT_FILTER: Reason.REFUSAL})


def of_chat(answer: Told) -> Told:
    """`LOSSY` of OpenAI Chat: no ends of blocks, five reasons."""
    reasons = {
        Reason.CONTEXT_WINDOW: Reason.LENGTH,
        Reason.REFUSAL: Reason.CONTENT_FILTER,
        Reason.PAUSE: Reason.STOP,
    }
    renamed_ = renamed(answer, {}, reasons)
    if renamed_.reason is Reason.STOP and any(block[0] is REFUSAL for block in answer.blocks):
        renamed_ = renamed(renamed_, {}, {Reason.STOP: Reason.REFUSAL})
    return joined(renamed_, TEXT, REASONING, REFUSAL)


def of_responses(answer: Told) -> Told:
    """`LOSSY` of OpenAI Responses: a refusal shows in its part alone, redacted reasoning is sealed."""
    reasons = {
        Reason.STOP_SEQUENCE: Reason.STOP,
        Reason.CONTEXT_WINDOW: Reason.LENGTH,
        Reason.REFUSAL: Reason.STOP,
        Reason.PAUSE: Reason.STOP,
    }
    kept = renamed(answer, {BlockKind.REDACTED: REASONING}, reasons)
    if any(block[0] is REFUSAL for block in kept.blocks):
        kept = renamed(kept, {}, {Reason.STOP: Reason.REFUSAL, Reason.TOOL_CALLS: Reason.REFUSAL})
    return replace(kept, blocks=tuple((*block[:4], None) for block in kept.blocks))


KEPT: Final[Mapping[str, Callable[[Told], Told]]] = {
    "anthropic": of_messages,
    "openai": of_chat,
    "responses": of_responses,
}
"""dialect → what of an answer it carries."""


def decoded(name: str, chunks: Iterable[bytes]) -> list[Event]:
    """The events an upstream of this dialect would have told with these bytes, checked against the grammar."""
    decoder, sequencer, grammar = DIALECTS[name].decoder(DIALECTS[name].options()), Sequencer("s"), Grammar()
    events = [event for chunk in chunks for event in sequencer.feed(decoder.feed(chunk))]
    events += sequencer.feed(decoder.eof(is_framed=True)[1])
    for event in events:
        grammar.check(event)
    assert grammar.state is State.ENDED
    return events


def split(data: bytes, points: Iterable[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(point % (len(data) + 1) for point in points)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def without_signs(answer: Told) -> Told:
    """Signatures are compared only where a vendor made them; ours stand for none."""
    blocks = tuple((*block[:4], _vendors(block[4])) for block in answer.blocks)
    return Told(blocks, answer.reason, answer.stop_sequence, answer.usage)


def _vendors(value: Any) -> Any:
    is_ours = value is not None and "gw1." in getattr(value, "data", "")
    return None if value is None or is_ours else (value.format, value.data)


def test_every_dialect_says_what_it_keeps() -> None:
    assert {*KEPT, "truss"} == set(DIALECTS)


@pytest.mark.parametrize("name", KEPT)
@settings(max_examples=150, deadline=None)
@given(events=answers(), points=st.lists(st.integers(0, 10**6), max_size=8))
def test_a_decoder_undoes_its_encoder(name: str, events: list[Event], points: list[int]) -> None:
    encoder = DIALECTS[name].encoder(asked(name), STAMP)
    data = b"".join(encoder.encode([event]) for event in events)
    expected = without_signs(KEPT[name](told(events)))
    assert without_signs(told(decoded(name, split(data, points)))) == expected


@pytest.mark.parametrize("name", KEPT)
@settings(max_examples=150, deadline=None)
@given(events=answers())
def test_load_undoes_dump(name: str, events: list[Event]) -> None:
    dialect = DIALECTS[name]
    body = orjson.loads(orjson.dumps(dialect.dump(fold(events), asked(name), STAMP)))
    loaded = Sequencer("s").feed(dialect.load(body, dialect.options()))
    grammar = Grammar()
    for event in loaded:
        grammar.check(event)
    assert in_no_order(without_signs(told(loaded))) == in_no_order(without_signs(KEPT[name](told(events))))


def in_no_order(answer: Told) -> Any:
    """A whole message of some dialects has one field for all text, one for all calls: order is lost, content is not."""
    texts = {kind: "".join(block[1] for block in answer.blocks if block[0] is kind) for kind in (TEXT, REFUSAL)}
    calls = [(*block[2:4], orjson.loads(block[1])) for block in answer.blocks if block[0] is BlockKind.TOOL]
    thoughts = "".join(block[1] for block in answer.blocks if block[0] is REASONING)
    return texts, calls, thoughts, answer.reason, answer.stop_sequence, answer.usage


@settings(max_examples=150, deadline=None)
@given(events=answers(text_only), points=st.lists(st.integers(0, 10**6), max_size=8))
def test_raw_text_keeps_its_characters(events: list[Event], points: list[int]) -> None:
    encoder = DIALECTS["truss"].encoder(asked("truss"), STAMP)
    data = b"".join(encoder.encode([event]) for event in events)
    sent = "".join(block[1] for block in told(events).blocks)
    read = told(decoded("truss", split(data, points)))
    assert "".join(block[1] for block in read.blocks) == sent
