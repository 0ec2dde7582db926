"""Work on large bodies: beside the loop, one at a time, and nobody waits for what nobody wants any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from gateway.aside import LARGE, Aside


@pytest.fixture
def aside() -> Iterator[Aside]:
    aside = Aside()
    yield aside
    aside.close()


async def test_a_small_body_stays_where_it_is(aside: Aside) -> None:
    assert await aside.run(LARGE - 1, threading.get_ident) == threading.get_ident()


async def test_large_bodies_go_to_one_thread_one_after_the_other(aside: Aside) -> None:
    running: list[int] = []
    most: list[int] = []

    def job() -> int:
        running.append(1)
        most.append(len(running))
        running.pop()
        return threading.get_ident()

    threads = set(await asyncio.gather(*(aside.run(LARGE, job) for _ in range(20))))
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert most == [1] * 20


@pytest.mark.parametrize("size", [LARGE - 1, LARGE])
async def test_an_error_is_the_callers(aside: Aside, size: int) -> None:
    def job() -> None:
        raise LookupError("seen")

    with pytest.raises(LookupError, match="seen"):
        await aside.run(size, job)


async def test_a_caller_that_is_cancelled_leaves_at_once_and_what_waits_never_runs(aside: Aside) -> None:
    begun, may_end, ran = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def long() -> None:
        loop.call_soon_threadsafe(begun.set)
        assert may_end.wait(10)

    first = asyncio.ensure_future(aside.run(LARGE, long))
    await begun.wait()
    second = asyncio.ensure_future(aside.run(LARGE, ran.set))
    await asyncio.sleep(0)
    for task in (first, second):
        task.cancel()
    await asyncio.wait({first, second}, timeout=5)
    assert first.cancelled()
    assert second.cancelled()
    may_end.set()
    await aside.run(LARGE, lambda: None)  # behind both
    assert not ran.is_set()


async def test_nothing_begins_after_the_end(aside: Aside) -> None:
    aside.close()
    with pytest.raises(RuntimeError):
        await aside.run(LARGE, lambda: None)
