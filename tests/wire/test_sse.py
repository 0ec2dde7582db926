"""Frames out of bytes, however these were cut and whatever ends their lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.sse import MAX_EVENT, EventTooLarge, Frame, Reader, write

Split = Callable[[bytes], list[bytes]]


def whole(data: bytes) -> list[bytes]:
    return [data]


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def in_threes(data: bytes) -> list[bytes]:
    return [data[at : at + 3] for at in range(0, len(data), 3)]


def cut_at(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def read(chunks: Iterable[bytes]) -> list[Frame]:
    reader = Reader()
    return [reader.parse(raw) for chunk in chunks for raw in reader.split(chunk)] + reader.eof()


def said(chunks: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """What the frames mean: event and data of those that are not keep-alives."""
    return [(frame.event, frame.data) for frame in read(chunks) if not frame.is_empty]


SPLITS = pytest.mark.parametrize("split", [whole, bytewise, in_threes])

CASES: dict[str, tuple[bytes, list[tuple[bytes, bytes]]]] = {
    "LF": (b"data: a\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [(b"", b"a"), (b"", b"b")]),
    "CR": (b"data: a\r\rdata: b\r\r", [(b"", b"a"), (b"", b"b")]),
    "mixed line ends": (b"event: e\rdata: a\n\r\ndata: b\r\n\ndata: c\n\r", [(b"e", b"a"), (b"", b"b"), (b"", b"c")]),
    "a CR then an LF is one line end": (b"data: a\r\ndata: b\n\n", [(b"", b"a\nb")]),
    "BOM": (b"\xef\xbb\xbfdata: a\n\n", [(b"", b"a")]),
    "BOM later is data": (b"data: a\n\n\xef\xbb\xbfdata: b\n\ndata: c\n\n", [(b"", b"a"), (b"", b"c")]),
    "BOM and CRLF": (b"\xef\xbb\xbfevent: e\r\ndata: a\r\n\r\n", [(b"e", b"a")]),
    "comments": (b": ping\n\n:\n\n: x\ndata: a\n: y\n\n", [(b"", b"a")]),
    "several data lines": (b"data: a\ndata:\ndata: b\n\n", [(b"", b"a\n\nb")]),
    "no space behind the colon": (b"event:e\ndata:a\n\ndata:[DONE]\n\n", [(b"e", b"a"), (b"", b"[DONE]")]),
    "only one space is taken": (b"data:  a \n\n", [(b"", b" a ")]),
    "no colon": (b"data\nevent\n\ndata: a\n\n", [(b"", b"a")]),
    "other fields": (b"id: 1\nretry: 2\nnonsense: 3\ndata: a\n\n", [(b"", b"a")]),
    "the last event field wins": (b"event: a\nevent: b\ndata: c\n\n", [(b"b", b"c")]),
    "field order": (b"data: a\nevent: e\n\n", [(b"e", b"a")]),
    "case matters": (b"Data: a\nDATA: b\ndata: c\n\n", [(b"", b"c")]),
    "blank lines": (b"\n\n\n\ndata: a\n\n\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
    "no blank line at the end": (b"data: a\n\ndata: b\n", [(b"", b"a"), (b"", b"b")]),
    "no line end at the end": (b"data: a\n\ndata: [DONE]", [(b"", b"a"), (b"", b"[DONE]")]),
    "a CR at the end": (b"event: e\rdata: a\r", [(b"e", b"a")]),
    "nothing": (b"", []),
}


@SPLITS
@pytest.mark.parametrize("case", CASES)
def test_frames_are_read_at_any_cut(case: str, split: Split) -> None:
    """Pitfall 111: any byte, CR/LF/CRLF, comments, several data lines, no space, no last blank line."""
    data, frames = CASES[case]
    assert said(split(data)) == frames


@SPLITS
def test_a_character_of_several_bytes_survives_a_cut_inside_it(split: Split) -> None:
    """Pitfall 110: frames are bytes; nothing is decoded before a frame is whole."""
    text = 'data: {"text":"Zürich 東京 \U0001f600"}\n\n'.encode()
    assert said(split(text)) == [(b"", text[6:-2])]


@SPLITS
@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_what_only_text_calls_a_line_end_is_data(separator: str, split: Split) -> None:
    """HARDENING.md 1.3: U+2028 and friends are legal inside JSON; `str.splitlines` splits there."""
    data = f'{{"a":"x{separator}y"}}'.encode()
    assert said(split(b"data: %s\n\n" % data)) == [(b"", data)]
    assert said(split(b"event: e\r\ndata: %s\r\n\r\n" % data)) == [(b"e", data)]


def test_a_frame_comes_out_with_its_last_byte() -> None:
    """Nothing waits for the next frame, for a CR neither: a stalled stream shows all it sent."""
    for end in (b"\n\n", b"\r\r", b"\r\n\r\n", b"\r\n\n", b"\n\r"):
        reader = Reader()
        assert reader.split(b"data: a" + end[:-2]) == []
        assert [reader.parse(raw).data for raw in reader.split(end[-2:])] == [b"a"]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], True),
        ([b"data: a\n\n"], True),
        ([b"data: a\n\ndata"], True),
        ([b"data: a\r\n\r\n"], True),
        ([b"data: a\r\r"], True),
        ([b"data: a\r\n\r"], False),
        ([b"data: a\n\r"], False),
        ([b"data: a\r\n\r", b"\ndata: b\r\n"], False),
        ([b"data: a\r\n\r", b"\ndata: b\r\n\r\n"], True),
    ],
)
def test_what_was_returned_may_end_in_half_a_line_end(chunks: list[bytes], expected: bool) -> None:
    """Where a frame of our own would stand in the middle of the upstream's CRLF."""
    reader = Reader()
    for chunk in chunks:
        reader.split(chunk)
    assert reader.is_between_frames is expected


def test_frames_of_one_chunk_come_at_once() -> None:
    reader = Reader()
    raws = reader.split(b"data: a\n\ndata: b\n\ndata: c")
    assert raws == [b"data: a\n\n", b"data: b\n\n"]
    assert [reader.parse(raw) for raw in raws] == [Frame(b"", b"a", raws[0]), Frame(b"", b"b", raws[1])]


def test_a_keep_alive_is_a_frame_that_says_nothing() -> None:
    """Pass-through relays it, decoders skip it."""
    keep_alive, named, plain = read([b": ping\n\nevent: ping\n\ndata: a\n\n"])
    assert (keep_alive.is_empty, named.is_empty, plain.is_empty) == (True, False, False)
    assert keep_alive.raw == b": ping\n\n"


def test_eof_gives_the_rest_once() -> None:
    """Pitfall 111: a last frame whose blank line is missing is a frame."""
    reader = Reader()
    assert reader.split(b"data: a") == []
    assert reader.eof() == [Frame(b"", b"a", b"data: a")]
    assert reader.eof() == []


# -- any bytes -----------------------------------------------------------------------------------------------------

LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"event: e", b": c", b"id: 1", b"", b"\xef\xbb\xbf", "data: \u2028é".encode()]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n"])
STREAMS = st.lists(st.tuples(LINES, ENDS), max_size=12).map(lambda parts: b"".join(a + b for a, b in parts))
CUTS = st.lists(st.integers(0, 200), max_size=12)


@given(STREAMS | st.binary(max_size=60), CUTS)
def test_no_cut_changes_what_is_said(data: bytes, cuts: list[int]) -> None:
    """Pitfall 111, for any bytes: whole, byte by byte and at any cuts."""
    assert said(whole(data)) == said(bytewise(data)) == said(cut_at(data, cuts))


@given(STREAMS | st.binary(max_size=60), CUTS)
def test_raw_bytes_are_all_there(data: bytes, cuts: list[int]) -> None:
    """What pass-through relays is exactly what came: no byte lost, none twice."""
    assert b"".join(frame.raw for frame in read(cut_at(data, cuts))) == data


@given(st.lists(st.tuples(st.sampled_from([b"", b"e"]), st.text().map(lambda text: repr(text).encode()))), CUTS)
def test_what_was_written_is_read(frames: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    data = b"".join(write(data, event) for event, data in frames)
    assert said(cut_at(data, cuts)) == frames


def test_a_frame_is_written_with_its_event_first() -> None:
    """The form that both official SDKs and most clients send."""
    assert write(b'{"a":1}') == b'data: {"a":1}\n\n'
    assert write(b"{}", b"message_stop") == b"event: message_stop\ndata: {}\n\n"


# -- the limit -----------------------------------------------------------------------------------------------------


def test_an_event_over_the_limit_breaks_the_stream() -> None:
    """HARDENING.md §2: up to the limit a frame may grow, one byte more is too much, with both numbers told."""
    reader = Reader(max_event=100)
    assert reader.split(b"data: " + b"x" * 94) == []
    with pytest.raises(EventTooLarge, match="event of more than 101 bytes exceeds limit of 100"):
        reader.split(b"x")
    assert MAX_EVENT == 8 * 1024 * 1024


@pytest.mark.parametrize("line", [b"data: x\n", b": x\r\n", b"x", b"\xef\xbb\xbf"])
def test_an_endless_event_is_refused_and_not_collected(line: bytes) -> None:
    """Memory stays below the limit and one chunk, whatever the event consists of."""
    reader, fed = Reader(max_event=1000), 0

    def flood() -> None:
        nonlocal fed
        for _ in range(2000):
            fed += len(line)
            reader.split(line)

    with pytest.raises(EventTooLarge):
        flood()
    assert fed <= 1000 + len(line)
    assert sum(len(frame.raw) for frame in reader.eof()) <= 1000


def test_many_small_events_are_no_large_one() -> None:
    """The limit is on one event, not on a stream or a chunk."""
    assert len(Reader(max_event=10).split(b"data: x\n\n" * 1000)) == 1000
