"""Answers that the grammar of events allows, at random, and what each dialect keeps of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
from hypothesis import strategies as st

from gateway.neutral.events import (
    ArgsDelta,
    BlockKind,
    BlockStart,
    BlockStop,
    End,
    Event,
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
from gateway.neutral.request import OpaqueValue
from gateway.neutral.response import Block, Response, fold

VENDOR: Final = OpaqueValue("anthropic", "c2VhbGVk")
"""A signature whose format every dialect carries."""

texts = st.text(min_size=1, max_size=12).filter(lambda text: not text.isspace())
"""What a delta says; blank ones between blocks may be held or dropped (Sequencer, rule 6)."""
more_texts = st.lists(st.one_of(texts, st.sampled_from(["\n", " ", "\u2028", '"', "\\", "🌊"])), max_size=3)
json_texts = st.dictionaries(st.text(max_size=4), st.one_of(st.integers(-9, 9), st.text(max_size=6)), max_size=3).map(
    lambda value: orjson.dumps(value).decode()
)
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)


def cut(text: str, points: Iterable[int]) -> list[str]:
    """The text in pieces, none of them empty."""
    edges = sorted({0, len(text), *(point % (len(text) + 1) for point in points)})
    return [text[a:b] for a, b in itertools.pairwise(edges)]


@st.composite
def text_blocks(draw: st.DrawFn, kind: BlockKind, delta: Callable[[int, str], Event]) -> Callable[[int], list[Event]]:
    """A block of text, refusal or reasoning, once its index is known."""
    said = [draw(texts), *draw(more_texts)]
    is_signed = kind is BlockKind.REASONING and draw(st.booleans())
    return lambda index: [
        BlockStart(index, kind),
        *(delta(index, text) for text in said),
        *([ReasoningSignature(index, VENDOR)] if is_signed else []),
        BlockStop(index),
    ]


@st.composite
def tool_blocks(draw: st.DrawFn) -> Callable[[int], list[Event]]:
    """A call; its arguments are an object, in pieces, or nothing at all."""
    name, arguments = draw(names), draw(st.one_of(json_texts, st.just("")))
    points = draw(st.lists(st.integers(0, 99), max_size=3))
    return lambda index: [
        BlockStart(index, BlockKind.TOOL, id=f"call_{index}", name=name),
        *(ArgsDelta(index, piece) for piece in cut(arguments, points)),
        BlockStop(index),
    ]


blocks = st.one_of(
    text_blocks(BlockKind.TEXT, TextDelta),
    text_blocks(BlockKind.TEXT, TextDelta),
    text_blocks(BlockKind.REASONING, ReasoningDelta),
    text_blocks(BlockKind.REFUSAL, RefusalDelta),
    tool_blocks(),
    st.just(
        lambda index: [
            BlockStart(index, BlockKind.REDACTED, payload=OpaqueValue("anthropic", "cmVkYWN0ZWQ=")),
            BlockStop(index),
        ]
    ),
)
text_only = st.lists(text_blocks(BlockKind.TEXT, TextDelta), min_size=1, max_size=2)
counts = st.integers(0, 10**6)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Counts that agree with each other: the cache is part of the prompt, reasoning of the output."""
    read, write, plain, reasoning, said = (draw(counts) for _ in range(5))
    return Usage(
        input=read + write + plain,
        output=reasoning + said,
        cache_read=read,
        cache_write=write,
        reasoning=reasoning,
        is_final=True,
    )


@st.composite
def answers(draw: st.DrawFn, content: Any = None) -> list[Event]:
    """A whole stream of events, pings anywhere."""
    made = draw(st.lists(blocks, max_size=5) if content is None else content)
    inner = [event for index, block in enumerate(made) for event in block(index)]
    has_calls = any(isinstance(event, BlockStart) and event.kind is BlockKind.TOOL for event in inner)
    reason = draw(st.sampled_from([Reason.TOOL_CALLS, Reason.LENGTH] if has_calls else _REASONS))
    matched = draw(st.text(min_size=1, max_size=4)) if reason is Reason.STOP_SEQUENCE else None
    finish = Finish(reason, stop_sequence=matched)
    usage = draw(usages())
    stream: list[Event] = [Start(id="up", model="m", created=1, usage=usage), *inner, finish, usage, End()]
    for at in draw(st.lists(st.integers(1, max(1, len(stream) - 2)), max_size=2)):
        stream.insert(at, Ping())
    return stream


_REASONS: Final = [
    Reason.STOP,
    Reason.LENGTH,
    Reason.STOP_SEQUENCE,
    Reason.CONTENT_FILTER,
    Reason.REFUSAL,
    Reason.CONTEXT_WINDOW,
    Reason.PAUSE,
]


# -- what is compared ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Told:
    """What an answer says: (kind, text, id, name, signature or payload) of each block, why it ended, its usage."""

    blocks: tuple[tuple[Any, ...], ...]
    reason: Reason
    stop_sequence: str | None
    usage: tuple[int, ...]


def told(events: Sequence[Event]) -> Told:
    """The content of a stream of events."""
    response = fold(events)
    usage = response.usage or Usage()
    numbers = (usage.input, usage.output, usage.cache_read, usage.cache_write, usage.reasoning)
    return Told(
        tuple(_spelled(block) for block in response.blocks),
        response.finish.reason,
        response.finish.stop_sequence,
        tuple(number or 0 for number in numbers),
    )


def _spelled(block: Block) -> tuple[Any, ...]:
    value = block.signature or block.payload
    text = block.text
    if block.kind is BlockKind.TOOL:
        text = block.text or "{}"  # no arguments are no arguments, however they are spelled
    return (block.kind, text, block.id, block.name, value)


def joined(answer: Told, *kinds: BlockKind) -> Told:
    """The answer of a dialect that does not say where a block of these kinds ends: neighbours are one."""
    merged: list[tuple[Any, ...]] = []
    for block in answer.blocks:
        last = merged[-1] if merged else None
        if last and last[0] is block[0] and block[0] in kinds and last[4] is None:
            merged[-1] = (block[0], last[1] + block[1], *block[2:])
        else:
            merged.append(block)
    return dataclasses.replace(answer, blocks=tuple(merged))


def renamed(answer: Told, kinds: Mapping[BlockKind, BlockKind], reasons: Mapping[Reason, Reason]) -> Told:
    """The answer of a dialect that lacks words for some kinds of block and some reasons."""
    reason = reasons.get(answer.reason, answer.reason)
    return dataclasses.replace(
        answer,
        blocks=tuple((kinds.get(block[0], block[0]), *block[1:]) for block in answer.blocks),
        reason=reason,
        stop_sequence=answer.stop_sequence if reason is Reason.STOP_SEQUENCE else None,
    )


def whole(events: Sequence[Event]) -> Response:
    """The answer, folded."""
    return fold(events)
