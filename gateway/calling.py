"""The calls that one request makes of targets: booked, counted as under way, timed and judged, one by one."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace

from gateway.attempt import REQUEST_ID, Attempt, Call, Client, Services
from gateway.errors import ClientError, GatewayError, NoRoom, UpstreamError, untraced
from gateway.judging import Judge
from gateway.relay.carrier import Thread
from gateway.routing.blame import Verdict, outcome
from gateway.routing.budget import Budget
from gateway.routing.course import Try
from gateway.routing.table import Route
from gateway.routing.target import Target
from gateway.telemetry.log import Record, Tried
from gateway.telemetry.meter import Called
from gateway.telemetry.timeline import Timeline

logger = logging.getLogger("triglot")


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of an answer: the call that asks for it, and the thread it is tied to."""

    call: Call
    thread: Thread


class Calling:
    """Calls targets for one request. Who is called, and when, is for others to say.

    `cut` is the try whose answer broke last, if it may go on elsewhere.
    """

    def __init__(
        self, services: Services, call: Call, route: Route, record: Record, make_attempt: type[Attempt] = Attempt
    ) -> None:
        self.services = services
        self.call = call
        self.route = route
        self.record = record
        self.is_answer = make_attempt.is_answer
        self.cut: Attempt | None = None
        self._make_attempt = make_attempt
        self._loop = asyncio.get_running_loop()
        self._tried: list[Tried] = []

    def has_tried(self, target: Target) -> bool:
        """Whether the target's upstream was called already."""
        return any(tried.upstream == target.name for tried in self._tried)

    def afford(self, target: Target, now: float) -> bool:
        """Takes a call beyond the first one out of the budget of the target's upstream, if there is one left."""
        return self._budget(target).spend(now)

    def _budget(self, target: Target) -> Budget:
        budget = self.services.states.upstream(target.name).retries
        budget.ratio = target.upstream.retry_budget  # a reload may have changed it
        return budget

    async def failure_of(self, planned: Try, client: Client, rest: Rest | None = None) -> GatewayError | None:
        """What failed before the client was sent anything; None where it got an answer, whatever became of that."""
        tried, begun = self._book(planned), self._loop.time()
        try:
            await self._try(planned.target, client, rest)
        except (UpstreamError, ClientError, NoRoom) as error:
            tried.end = error.word
            if rest.thread.splice.cut is None if rest else client.sink.is_committed:  # something of it was sent
                raise
            if rest is None:
                client.timeline.forget()
            untraced(error)
            return error
        else:
            tried.end = self.record.error or "complete"
            return None
        finally:
            self._ended(tried, planned.target, self._loop.time() - begun)

    def _book(self, planned: Try) -> Tried:
        """The entry of a try. One that stands alone needs none: the line says it all."""
        meter, route, before = self.services.meter, self.route.name, self._tried[-1] if self._tried else None
        if planned.is_again:
            meter.retried(route, planned.target.name)
        else:
            self._budget(planned.target).count(self._loop.time())
            if before is not None and before.ms is not None:  # it has ended; else they are tried side by side
                meter.failed_over(route, before.upstream)
        tried = Tried(*planned.target.key, round(planned.delay_s * 1000, 1))
        self._tried.append(tried)
        self.record.tries = self._tried if len(self._tried) > 1 else None
        return tried

    def _ended(self, tried: Tried, target: Target, seconds: float) -> None:
        tried.ms = round(seconds * 1000, 1)
        dialect, operation = target.upstream.dialect, self.call.dialect.operation
        self.services.meter.called(Called(self.route.name, operation, target.name, dialect, tried.end, seconds))
        if logger.isEnabledFor(logging.DEBUG):
            about = self.record.request_id, tried.upstream, tried.model, tried.end, tried.ms
            logger.debug("request %s: call of %s for %s: %s after %g ms", *about)

    async def _try(self, target: Target, client: Client, rest: Rest | None) -> None:
        """One try of one target, counted as under way as long as it lasts."""
        states = self.services.states
        counted = (states.target(target), states.upstream(target.name))
        for state in counted:
            state.in_flight += 1
        called = self._loop.time()
        if self.is_answer:
            self._note_answer(target, client.timeline, called)
        try:
            await self._attempt(target, client, rest)
        except (asyncio.CancelledError, UpstreamError) as error:
            if not client.timeline.content_events:
                self._note_wait(target, error, called)
            raise
        finally:
            for state in counted:
                state.in_flight -= 1

    def _note_answer(self, target: Target, timeline: Timeline, called: float) -> None:
        """How long the target's answer is waited for, as soon as it is known."""
        state, streams = self.services.states.target(target), self.call.request.stream
        timeline.on_first_content.append(lambda came: state.answered(came - called, came, streams=streams))

    def _note_wait(self, target: Target, error: BaseException, called: float) -> None:
        """How long it was waited for in vain."""
        now = self._loop.time()
        wait = self.services.states.target(target).wait(streams=self.call.request.stream)
        if isinstance(error, asyncio.CancelledError):  # the other one was faster, or the client did not wait longer
            wait.outwaited(now - called, now)
        elif outcome(error, is_answered=False).verdict is not Verdict.NOTHING:
            wait.failed(now - called, now)

    async def _attempt(self, target: Target, client: Client, rest: Rest | None) -> None:
        record, call = self.record, rest.call if rest else self.call
        record.attempts += 1
        if record.attempts > 1:
            call = _again(call, record.attempts)
        record.upstream, record.upstream_dialect = target.name, target.upstream.dialect
        thread = rest.thread if rest else None
        attempt = self._make_attempt(self.services, call, target, self.route.timeouts, client, thread)
        try:
            with Judge(self.services.states, target, client.timeline, counts=attempt.is_answer) as judge:
                await attempt.run()
                judge.settle(attempt.error, has_head=attempt.has_head)
        finally:
            record.queue_ms = round(attempt.queued_s * 1000, 1) or None
            dropped, adapted = attempt.lost
            record.dropped, record.adapted = dropped or None, adapted or None
            record.dropped_fragments = attempt.dropped_fragments or None
            if (fault := attempt.grammar_fault) is not None:
                record.grammar_fault = str(fault)
                self.services.grammar_faults[self.call.dialect.name, fault] += 1
        if attempt.is_cut:
            self.cut = attempt
            record.cut_by = record.cut_by or target.name
        if attempt.error is not None:
            record.end, record.error = "broken", str(attempt.error.kind)
            untraced(attempt.error)


def _again(call: Call, number: int) -> Call:
    """The same, made for the second time or more: no two have one id, as a server may be busy with both."""
    return replace(call, follows={**call.follows, REQUEST_ID: f"{call.follows[REQUEST_ID]}-{number}"})
