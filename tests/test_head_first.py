"""The head of an answer and what follows it leave in one write."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.head_first import HeadFirst

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Written(asyncio.Transport):
    """What reached the connection, a piece for each write."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        assert not self.is_closed
        self.pieces.append(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def answering() -> tuple[Written, HeadFirst]:
    written = Written()
    return written, HeadFirst(written, asyncio.get_running_loop())


async def test_head_and_body_leave_in_one_write() -> None:
    written, answer = answering()
    for piece in (HEAD, b"one", b"two"):
        answer.write(piece)
    await asyncio.sleep(0)
    assert written.pieces == [HEAD + b"one", b"two"]


async def test_a_head_that_nothing_follows_leaves_by_itself() -> None:
    """The answer to a HEAD, or content that makes no bytes yet."""
    written, answer = answering()
    answer.write(HEAD)
    assert written.pieces == []
    await asyncio.sleep(0)
    answer.write(b"later")
    assert written.pieces == [HEAD, b"later"]


async def test_an_interim_answer_is_no_head() -> None:
    """Its client waits for it, and sends no body before."""
    written, answer = answering()
    answer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    answer.write(HEAD)
    answer.write(b"one")
    assert written.pieces == [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"one"]


@pytest.mark.parametrize("end", ["flush", "close"])
async def test_a_head_is_never_lost(end: str) -> None:
    written, answer = answering()
    answer.write(HEAD)
    getattr(answer, end)()
    await asyncio.sleep(0)
    assert written.pieces == [HEAD]
    assert answer.is_closing() is (end == "close")
