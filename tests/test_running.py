"""Requests under way can be ended from outside, for one reason each, and only while they are."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref

import pytest

from gateway.running import Interruption, Running


class Over(Exception):
    pass


async def test_an_interrupted_block_raises_the_reason_wherever_it_waits() -> None:
    running = Running()

    async def request() -> None:
        with running.one():
            await asyncio.sleep(60)

    task = asyncio.ensure_future(request())
    await asyncio.sleep(0)
    assert len(running) == 1
    running.end(lambda: Over("time is up"))
    with pytest.raises(Over, match="time is up"):
        await task
    assert len(running) == 0


async def test_what_an_interrupted_request_held_is_let_go_of_at_once() -> None:
    """Not only when the garbage collector comes by: it may be a large body."""

    class Body:
        pass

    running, held = Running(), []

    async def request() -> None:
        body = Body()
        held.append(weakref.ref(body))
        with contextlib.suppress(Over), running.one():
            await asyncio.sleep(60)

    gc.disable()
    try:
        task = asyncio.ensure_future(request())
        await asyncio.sleep(0)
        running.end(Over)
        await task
        assert held[0]() is None
    finally:
        gc.enable()


async def test_the_first_reason_counts() -> None:
    running, told = Running(), []

    async def request() -> None:
        try:
            with running.one() as interruption:
                told.append(interruption)
                await asyncio.sleep(60)
        except Over:
            await asyncio.sleep(0)  # nothing is left of the cancellation here

    task = asyncio.ensure_future(request())
    await asyncio.sleep(0)
    told[0].strike(Over("the client left"))
    running.end(RuntimeError)
    await task
    assert not task.cancelling()


async def test_somebody_elses_cancellation_stays_one() -> None:
    async def request() -> None:
        with Running().one():
            await asyncio.sleep(60)

    task = asyncio.ensure_future(request())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_on_top_of_a_reason_wins() -> None:
    running = Running()

    async def request() -> None:
        with running.one():
            await asyncio.sleep(60)

    task = asyncio.ensure_future(request())
    await asyncio.sleep(0)
    running.end(Over)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_over_is_not_interrupted() -> None:
    interruption = Interruption(is_late=False)
    with interruption:
        await asyncio.sleep(0)
    interruption.strike(Over())
    await asyncio.sleep(0)  # would raise


def test_who_comes_while_draining_is_late() -> None:
    running = Running()
    assert not running.is_draining
    running.drain()
    assert running.is_draining


async def test_lateness_is_decided_when_a_request_begins() -> None:
    running = Running()
    with running.one() as early:
        running.drain()
        assert not early.is_late
    with running.one() as late:
        assert late.is_late
