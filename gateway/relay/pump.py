"""The only loop of a relay: reads from the upstream, lets the carrier and the machine decide, writes to the client.

It pulls: the upstream is read again only after the client took what came before. There is no queue in between, so the
client's own pace reaches the upstream (backpressure by construction).

While it waits for the upstream in the middle of an answer, what comes is carried at once: from the upstream's socket to
the client's in one call, without waking the loop. Only what is passed on and nothing else is, and only until the client
has enough: then the loop waits for the client, and as long as it does not ask for more, the upstream isn't read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from gateway.errors import GatewayError, UpstreamError
from gateway.relay.carrier import Batch, Carrier
from gateway.relay.machine import Abort, Action, Close, Commit, GiveUp, Relay, Send, State
from gateway.relay.sink import Outlet
from gateway.relay.watchdog import Watchdog
from gateway.telemetry.timeline import Timeline
from gateway.upstreams.client import Answer

_FLOOD: Final = 8 * 1024
"""Bytes of one read that say there is more where it came from: half of what the transport hands out at most."""
_REST_S: Final = 0.1
"""How long the end of a finished body is waited for, so that its connection can be used again."""


class Pump:
    """Carries one streamed answer."""

    def __init__(
        self, carrier: Carrier, sink: Outlet, watchdog: Watchdog, timeline: Timeline, *, resumes: bool = False
    ) -> None:
        """`resumes`: whether the client has the beginning of this answer already, from another upstream."""
        self._carrier = carrier
        self._sink = sink
        self._watchdog = watchdog
        self._timeline = timeline
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._kept: Batch | None = None
        """What came at once and is for the loop to deliver."""
        self.relay = Relay(State.RESUMED if resumes else State.WAITING)
        if resumes:
            sink.take_over(self.break_off)

    async def break_off(self, error: GatewayError) -> None:
        """A deadline is over, the upstream's or the whole process's, and the upstream's connection is closed by now."""
        if self._kept is not None:  # it came before the time was over
            await self._go_on()
            if self.relay.state in (State.DONE, State.BROKEN):
                return
        if self._watchdog.is_waiting_for_client:  # which takes nothing: it would not take the news either
            self.relay.error = error
            self._sink.abort()
        elif self._watchdog.is_after_finish:  # all content is there, only usage never came
            await self._deliver(self._carrier.eof(is_framed=True))
        else:
            await self._deliver(self._carrier.fail(error))

    async def replay(self, batch: Batch) -> None:
        """A whole answer, told as a stream."""
        await self._deliver(batch)

    async def carry(self, answer: Answer) -> None:
        """Until the end. Raises the error of an answer that broke before the commit point."""
        try:
            while not self.relay.is_over and (chunk := await answer.next(self._listener())) is not None:
                if chunk:
                    await self._deliver(self._carrier.feed(chunk))
                else:
                    await self._go_on()
                if len(chunk) >= _FLOOD:
                    await asyncio.sleep(0)  # one that never has to wait would let nobody else have a turn
        except UpstreamError as error:
            if self.relay.is_over:
                raise
            await self._deliver(self._carrier.fail(error))
        if not self.relay.is_over:
            await self._deliver(self._carrier.eof(is_framed=answer.is_framed))
        elif self.relay.state is State.DONE:
            await _finish_reading(answer)

    def _listener(self) -> Callable[[bytes], bool] | None:
        """Who takes what comes while the loop waits for it."""
        return self._at_once if self.relay.state is State.STREAMING and self._sink.writes_at_once else None

    def _at_once(self, chunk: bytes) -> bool:
        """As one turn of the loop, for what is only passed on. Whether there may be another one before the loop's."""
        batch = self._carrier.feed(chunk)
        if batch.more:
            now = self._now()
            self._timeline.note_more(batch.more, now)
            self._watchdog.progressed(now)
        elif batch.cut is not None or not self.relay.passes(batch.events):
            self._kept = batch
            return False
        else:
            now = self._now()
            self._note(batch, now)
        return self._sink.write_at_once(batch.data, now)

    def _note(self, batch: Batch, now: float) -> None:
        """What is passed on at once."""
        timeline = self._timeline
        seen = timeline.content_events
        timeline.note(batch.events, now)
        self._watchdog.passed(now, is_progress=timeline.content_events > seen, is_finished=timeline.finish is not None)

    async def _go_on(self) -> None:
        """Does what `_at_once` left: a batch that is more than passed on, or a client that has enough for now."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            await self._deliver(kept)
            return
        self._watchdog.writing()
        await self._sink.drain()
        self._watchdog.wrote(is_progress=False, is_finished=False)

    async def _deliver(self, batch: Batch) -> None:
        if self._watchdog.error is not None:  # a scope can't cancel a task that never has to wait
            await asyncio.sleep(0)
        seen = self._timeline.content_events
        if batch.more:
            self._timeline.note_more(batch.more, self._now())
        else:
            self._timeline.note(batch.events, self._now())
        self._watchdog.writing()
        if batch.cut is None:
            await self._perform(self.relay.take(batch.events, batch.data, is_told=batch.is_told))
        else:
            await self._perform(self.relay.cut(batch.cut, batch.data))
        is_waited_for = self._timeline.finish is not None and not self.relay.is_over
        self._watchdog.wrote(is_progress=self._timeline.content_events > seen, is_finished=is_waited_for)

    async def _perform(self, actions: Sequence[Action]) -> None:
        last = b""
        for i, action in enumerate(actions, 1):
            match action:
                case Send(data) if i < len(actions) and type(actions[i]) is Close:
                    last = data
                case Send(data):
                    await self._sink.write(data)
                case Commit(start):
                    await self._sink.commit(start, self.break_off)
                case Close():
                    await self._sink.close(last)
                case Abort() if self._sink.is_committed:
                    self._sink.abort()
                case Abort():  # collected, so nothing was sent: the error becomes the response
                    assert self.relay.error is not None
                    raise self.relay.error
                case GiveUp(error):
                    raise error


async def _finish_reading(answer: Answer) -> None:
    """The client has everything; what may still come is the last chunk, after which the connection can be reused."""
    if answer.is_read:
        return
    with contextlib.suppress(UpstreamError, TimeoutError):
        async with asyncio.timeout(_REST_S):
            await answer.next()
