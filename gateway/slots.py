"""A slot of an upstream, waited for in its queue, and held as long as a call of it lasts."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from gateway.config import Upstream
from gateway.errors import Kind, NoRoom
from gateway.routing.admission import Admission, Standing, Ticket


@asynccontextmanager
async def slot(admission: Admission, upstream: Upstream, key: bytes, until: float) -> AsyncIterator[float]:
    """Holds a slot for the block, which is told how long that was waited for, in seconds; given back once, in any case.

    `key`: whose call it is, for fairness. `until`: on the loop's clock, when a slot is of no use any more. Raises
    NoRoom: at once where the queue is full, later for one who is displaced there or waits in vain.
    """
    loop = asyncio.get_running_loop()
    turn, waited_s = loop.create_future(), 0.0
    ticket = admission.enter(key, partial(turn.set_result, None), upstream.max_in_flight, upstream.queue.size)
    try:
        if ticket.standing is Standing.WAITING:
            entered = loop.time()
            await asyncio.wait({turn}, timeout=max(0.0, min(upstream.queue.timeout, until - entered)))
            waited_s = loop.time() - entered
        if ticket.standing is not Standing.ADMITTED:
            raise _no_room(ticket, upstream)
        yield waited_s
    finally:
        admission.leave(ticket)


def _no_room(ticket: Ticket, upstream: Upstream) -> NoRoom:
    """A client that takes more than its share has made too many requests (429); else the service is busy (503).

    When to come back: within the time after which nobody waits any more who waits now, spread, as all who are sent away
    in one moment would else be back in one moment.
    """
    retry_after = math.ceil(upstream.queue.timeout * (1 + random.random()) / 2)
    taken = f"all {upstream.max_in_flight} calls that the upstream takes at a time are under way"
    if ticket.is_greedy:
        what = f"{taken}, and more than your share of them and of the {upstream.queue.size} that may wait is yours"
        return NoRoom(what, kind=Kind.RATE_LIMIT, retry_after_s=retry_after)
    why = "none of them ended in time" if ticket.standing is Standing.WAITING else "no more may wait for one to end"
    return NoRoom(f"{taken}, and {why}", retry_after_s=retry_after)
