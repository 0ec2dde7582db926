"""A slot of an upstream, waited for in its queue, and held as long as a call of it lasts."""

from __future__ import annotations

import asyncio
import math
import random

from gateway.config import Upstream
from gateway.errors import Kind, NoRoom
from gateway.routing.admission import Admission, Standing, Ticket


class Slot:
    """Holds a slot for the block, which is told how long that was waited for, in seconds; given back once, in any case.

    `key`: whose call it is, for fairness. `until`: on the loop's clock, when a slot is of no use any more. Raises
    NoRoom: at once where the queue is full, later for one who is displaced there or waits in vain.
    """

    def __init__(self, admission: Admission, upstream: Upstream, key: bytes, until: float) -> None:
        self._admission = admission
        self._upstream = upstream
        self._key = key
        self._until = until
        self._ticket: Ticket
        self._turn: asyncio.Future[None] | None = None

    async def __aenter__(self) -> float:
        upstream, size = self._upstream, self._upstream.queue.size
        ticket = self._ticket = self._admission.enter(self._key, self._called, upstream.max_in_flight, size)
        if ticket.standing is Standing.ADMITTED:
            return 0.0
        is_held = False
        try:
            waited_s = await self._wait() if ticket.standing is Standing.WAITING else 0.0
            if self._ticket.standing is not Standing.ADMITTED:
                raise _no_room(ticket, upstream)
            is_held = True
            return waited_s
        finally:
            if not is_held:
                self._admission.leave(ticket)

    async def __aexit__(self, *_: object) -> None:
        self._admission.leave(self._ticket)

    async def _wait(self) -> float:
        """How long it was waited until others decided, or in vain."""
        loop = asyncio.get_running_loop()
        self._turn, entered = loop.create_future(), loop.time()
        await asyncio.wait({self._turn}, timeout=max(0.0, min(self._upstream.queue.timeout, self._until - entered)))
        return loop.time() - entered

    def _called(self) -> None:
        if self._turn is not None:
            self._turn.set_result(None)


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
