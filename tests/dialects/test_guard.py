"""The machinery of the guards by itself, with a small wire of its own whose frames are numbered."""

from __future__ import annotations

from enum import Enum, auto
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.base import Fault
from gateway.dialects.guard import FrameGuard, Reading


class State(Enum):
    BEGUN = auto()
    OVER = auto()


class Kind(Enum):
    COMMENT = auto()
    WORD = auto()
    LAST = auto()
    BAD = auto()


TRANSITIONS = {
    State.BEGUN: {Kind.COMMENT: State.BEGUN, Kind.WORD: State.BEGUN, Kind.LAST: State.OVER},
    State.OVER: dict[Kind, State](),
}


class Reader:
    """Remembers what it was asked, which is little."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def read(self, frame: bytes) -> Reading[Kind]:
        self.asked.append(frame)
        if frame.startswith(b"word ") and b"\n" not in frame:
            return Reading(Kind.WORD, b"word ")
        return Reading({b":": Kind.COMMENT, b"last": Kind.LAST}.get(frame.split(b" ")[0], Kind.BAD))


def numbered() -> tuple[FrameGuard[State, Kind], Reader]:
    reader = Reader()
    return FrameGuard(TRANSITIONS, State.BEGUN, reader, b"#%d"), reader


def words(*numbers: int) -> bytes:
    return b"".join(b"word x #%d\n\n" % number for number in numbers)


@given(st.integers(1, 300), st.lists(st.integers(0, 300), max_size=5))
def test_numbers_count_from_0_in_any_writes(count: int, cuts: list[int]) -> None:
    """Pitfall 117: also where the number gets another digit, and whether or not frames come together."""
    guard, reader = numbered()
    edges = [0, *sorted(min(cut, count) for cut in cuts), count]
    for begin, end in pairwise(edges):
        assert guard.check(words(*range(begin, end))) is None
    assert guard.check(b"last #%d\n\n" % count) is None
    assert guard.end() is None
    assert len(reader.asked) == 2, "only the first of a kind is read"


@given(st.lists(st.integers(0, 12), min_size=1, max_size=12), st.lists(st.integers(0, 12), max_size=3))
def test_a_wrong_number_is_a_fault(numbers: list[int], cuts: list[int]) -> None:
    guard, _ = numbered()
    edges = [0, *sorted(min(cut, len(numbers)) for cut in cuts), len(numbers)]
    faults = [guard.check(words(*numbers[begin:end])) for begin, end in pairwise(edges)]
    first = next((fault for fault in faults if fault is not None), None)
    assert first == (None if numbers == list(range(len(numbers))) else Fault("begun", "misnumbered"))


def test_comments_are_not_numbered() -> None:
    guard, _ = numbered()
    assert guard.check(b": x\n\n" + words(0) + b": x\n\n" + words(1, 2) + b": x\n\n" + words(3)) is None
    assert guard.check(words(3)) == Fault("begun", "misnumbered")


@pytest.mark.parametrize("number", [1, 5, 400])
def test_numbers_of_what_was_refused_are_spent(number: int) -> None:
    """The error that is told instead has whatever number the encoder came to."""
    guard, _ = numbered()
    assert guard.check(words(0)) is None
    assert guard.check(words(1) + b"bad #2\n\n") == Fault("begun", "bad")
    assert guard.check(b"last #%d\n\n" % number) is None
    assert guard.end() is None


def test_what_looks_like_the_frame_before_may_hold_nothing_else() -> None:
    """The short cut ends with the line: a number further on is not this frame's."""
    for bad in (b"word x\nword y #1\n\n", b"word x #1\n", b"word x #1", b"word x #1\n\nword", b"word x #1 \n\n"):
        guard, _ = numbered()
        assert guard.check(words(0)) is None
        assert guard.check(bad) is not None, bad
