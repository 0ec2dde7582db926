"""One request's tries: as its course says, until one answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gateway.attempt import Attempt, Call, Client, Services
from gateway.errors import ClientError, GatewayError, NoRoom, UpstreamError, untraced
from gateway.judging import Judge
from gateway.routing.budget import Budget
from gateway.routing.course import Course, Try
from gateway.routing.table import Route
from gateway.routing.target import Target
from gateway.telemetry.log import Record, Tried


class Trying:
    """Calls the targets of a plan in turn, and keeps book of it."""

    def __init__(
        self,
        services: Services,
        call: Call,
        route: Route,
        client: Client,
        record: Record,
        make_attempt: type[Attempt] = Attempt,
    ) -> None:
        self._services = services
        self._call = call
        self._route = route
        self._client = client
        self._record = record
        self._make_attempt = make_attempt
        self._loop = asyncio.get_running_loop()
        self._tried: list[Tried] = []

    async def run(self, targets: Sequence[Target]) -> None:
        """Until one answers. A client that leaves cancels whatever is under way, a wait too."""
        course = self._course(self._services.states.with_room_first(targets))
        following: Try | None = course.first()
        while following is not None:
            error = await self._failure_of(following)
            if error is None:
                return
            following = await self._after(course, following, error)
        assert course.told is not None
        raise course.told

    def _course(self, targets: Sequence[Target]) -> Course:
        """Those that may not be called now come last: they may be until it is their turn."""
        retries, deadline = self._route.retries, self._client.timeline.begun + self._route.timeouts.total
        admit = self._services.states.admit
        admitted = admit(targets, self._loop.time())
        others = [target for target in targets if target not in admitted]
        return Course([*admitted, *others], retries, deadline, self._afford, admit)

    async def _after(self, course: Course, failed: Try, error: GatewayError) -> Try | None:
        """The next try, when its time has come, if its target may be called then."""
        while True:
            following = course.after(failed.target, error, self._loop.time(), random.random())
            if following is None or not following.delay_s:
                return following
            await asyncio.sleep(following.delay_s)
            if course.may(following.target, self._loop.time()):
                return following

    def _afford(self, target: Target, now: float) -> bool:
        return self._budget(target).spend(now)

    def _budget(self, target: Target) -> Budget:
        budget = self._services.states.upstream(target.name).retries
        budget.ratio = target.upstream.retry_budget  # a reload may have changed it
        return budget

    async def _failure_of(self, planned: Try) -> GatewayError | None:
        """What failed before the client was sent anything; None where it got an answer, whatever became of that."""
        tried, begun = self._book(planned), self._loop.time()
        try:
            await self._try(planned.target)
        except (UpstreamError, ClientError, NoRoom) as error:
            tried.end = error.word
            if self._client.sink.is_committed:
                raise
            self._client.timeline.forget()
            untraced(error)
            return error
        else:
            tried.end = self._record.error or "complete"
            return None
        finally:
            tried.ms = round((self._loop.time() - begun) * 1000, 1)

    def _book(self, planned: Try) -> Tried:
        """The entry of a try. One that stands alone needs none: the line says it all."""
        if not planned.is_again:
            self._budget(planned.target).count(self._loop.time())
        tried = Tried(*planned.target.key, round(planned.delay_s * 1000, 1))
        self._tried.append(tried)
        self._record.tries = self._tried if len(self._tried) > 1 else None
        return tried

    async def _try(self, target: Target) -> None:
        """One try of one target, counted as under way as long as it lasts."""
        states = self._services.states
        counted = (states.target(target), states.upstream(target.name))
        for state in counted:
            state.in_flight += 1
        try:
            with self._timed(target):
                await self._attempt(target)
        finally:
            for state in counted:
                state.in_flight -= 1

    @contextmanager
    def _timed(self, target: Target) -> Iterator[None]:
        """Notes how long the target's answer is waited for, as soon as it is known."""
        wait = self._services.states.target(target).wait(streams=self._call.request.stream)
        now = asyncio.get_running_loop().time
        timeline, called = self._client.timeline, now()
        timeline.on_first_content.append(lambda came: wait.answered(came - called, came))
        try:
            yield
        except UpstreamError as error:
            if error.is_retryable and not timeline.content_events:
                wait.failed(now() - called, now())
            raise

    async def _attempt(self, target: Target) -> None:
        record = self._record
        record.attempts += 1
        record.upstream, record.upstream_dialect = target.name, target.upstream.dialect
        attempt = self._make_attempt(self._services, self._call, target, self._route.timeouts, self._client)
        try:
            with Judge(self._services.states, target, self._client.timeline) as judge:
                await attempt.run()
                judge.settle(attempt.error, has_head=attempt.has_head)
        finally:
            record.queue_ms = round(attempt.queued_s * 1000, 1) or None
            record.dropped_fragments = attempt.dropped_fragments or None
            if (fault := attempt.grammar_fault) is not None:
                record.grammar_fault = str(fault)
                self._services.grammar_faults[self._call.dialect.name, fault] += 1
        if attempt.error is not None:
            record.end, record.error = "broken", str(attempt.error.kind)
            untraced(attempt.error)
