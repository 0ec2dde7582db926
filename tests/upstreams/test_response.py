"""Responses as bytes, cut into reads in every way."""

from __future__ import annotations

import gc
import itertools
import random
import weakref
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.response import Phase, ResponseParser
from tests.upstreams.responses import CASES, CHUNKED, GOOD, Case, head


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def at_random_points(data: bytes) -> Iterator[bytes]:
    chance = random.Random(len(data))
    while data:
        size = chance.randint(1, 40)
        yield data[:size]
        data = data[size:]


def fed(parser: ResponseParser, parts: Iterator[bytes]) -> bytes:
    """The body that came of the parts, up to where a connection would stop."""
    body = b""
    for part in parts:
        body += parser.feed(part)
        if parser.phase is Phase.BROKEN:
            break
    return body


@pytest.mark.parametrize("split", [whole, bytewise, at_random_points])
@pytest.mark.parametrize("name", CASES)
def test_a_response_means_the_same_however_it_is_cut(name: str, split: Callable[[bytes], Iterator[bytes]]) -> None:
    case, parser = CASES[name], ResponseParser()
    body = fed(parser, split(case.data))
    if case.is_closed:
        parser.eof()
    assert parser.has_head is (case.body is not None)
    assert (body, parser.phase, parser.may_reuse) == (case.body or b"", case.phase, case.is_reused)
    assert bool(parser.fault) is (parser.phase is Phase.BROKEN)
    if case.body is not None:
        assert parser.status == case.status


@pytest.mark.parametrize("name", [name for name, case in GOOD.items() if case.is_reused])
def test_a_good_response_that_is_cut_anywhere_is_broken(name: str) -> None:
    data = GOOD[name].data
    for end in range(min(len(data), 400)):
        parser = ResponseParser()
        fed(parser, bytewise(data[:end]))
        if parser.phase is not Phase.OVER:
            parser.eof()
            assert parser.phase is Phase.BROKEN, data[:end]
            assert parser.has_begun is (end > 0)


def test_what_comes_of_one_read_is_joined() -> None:
    parser = ResponseParser()
    assert parser.feed(CHUNKED + b"1\r\na\r\n1\r\nb\r\n1\r\nc") == b"abc"
    assert parser.feed(b"\r\n2\r\n") == b""
    assert parser.feed(b"de\r\n1\r\nf\r\n") == b"def"


def test_the_head_is_told_as_it_came_and_nothing_of_what_came_before_it() -> None:
    parser = ResponseParser()
    parser.feed(head("link: </x>", status="HTTP/1.1 103 x") + head("X-A: 1", "x-a: 2", "Content-Length: 0"))
    assert parser.fields == [(b"X-A", b"1"), (b"x-a", b"2"), (b"Content-Length", b"0")]


def test_an_answer_to_head_has_no_body_whatever_it_says() -> None:
    parser = ResponseParser(has_body=False)
    parser.feed(head("content-length: 5"))
    assert (parser.phase, parser.may_reuse) == (Phase.OVER, False)


def test_switching_protocols_is_final_and_nothing_behind_it_is_read() -> None:
    parser = ResponseParser()
    parser.feed(head("upgrade: websocket", "connection: upgrade", status="HTTP/1.1 101 x") + b"\x81\x05hello")
    assert (parser.status, parser.may_reuse) == (101, False)


def test_what_comes_behind_the_end_spoils_the_connection_only() -> None:
    parser = ResponseParser()
    parser.feed(GOOD["a length"].data)
    assert parser.may_reuse
    assert parser.feed(b"X") == b""
    assert (parser.phase, parser.may_reuse, parser.fault) == (Phase.OVER, False, "")


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_no_bytes_do_more_than_break_a_response(tail: bytes, cuts: list[int]) -> None:
    for data in (tail, b"HTTP/1.1 " + tail, CHUNKED + tail, head("content-length: 50") + tail):
        parser, marks = ResponseParser(), [0, *sorted(cuts), len(data)]
        for start, end in itertools.pairwise(marks):
            parser.feed(data[start:end])
        parser.eof()
        assert parser.phase in (Phase.OVER, Phase.BROKEN)


@pytest.mark.parametrize("case", [GOOD["a length"], CASES["noise"]], ids=["over", "broken"])
def test_a_parser_that_is_done_does_not_wait_for_the_garbage_collector(case: Case) -> None:
    class Watched(ResponseParser):
        """One that can be watched."""

    gc.disable()
    try:
        parser = Watched()
        parser.feed(case.data)
        seen = weakref.ref(parser)
        del parser
        assert seen() is None
    finally:
        gc.enable()
