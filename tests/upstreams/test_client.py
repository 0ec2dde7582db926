"""What a call comes back with, before anybody asks how it got there."""

from __future__ import annotations

from collections.abc import AsyncIterator

from gateway.upstreams.client import Answer, AtOnce


class Handing:
    """A stream that hands over three pieces in the moment they come."""

    def __init__(self) -> None:
        self._pieces = [b"a", b"b", b"c"]

    async def next(self, at_once: AtOnce | None = None) -> bytes | None:
        while self._pieces:
            piece = self._pieces.pop(0)
            if at_once is None:
                return piece
            if not at_once(piece):
                return b""
        return None


async def iterated() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


async def test_a_stream_that_can_hands_over_what_comes_at_once() -> None:
    taken: list[bytes] = []

    def two(piece: bytes) -> bool:
        taken.append(piece)
        return len(taken) < 2

    answer = Answer(200, {}, Handing())
    assert await answer.next(two) == b""
    assert taken == [b"a", b"b"]
    assert [await answer.next(), await answer.next()] == [b"c", None]


async def test_any_other_stream_is_read_piece_by_piece() -> None:
    def never(piece: bytes) -> bool:
        raise AssertionError("such a stream can't hand anything over")

    answer = Answer(200, {}, iterated())
    assert [await answer.next(never) for _ in range(3)] == [b"a", b"b", None]
