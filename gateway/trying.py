"""One request's tries: as its course says, until one answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from gateway.attempt import Attempt, Call, Client, Services
from gateway.continuing import Rest, rest_of
from gateway.errors import ClientError, GatewayError, NoRoom, UpstreamError, untraced
from gateway.hedging import Lane, Race, Racer
from gateway.judging import Judge
from gateway.relay.carrier import Thread
from gateway.routing.blame import Verdict, outcome
from gateway.routing.budget import Budget
from gateway.routing.course import Course, Remedy, Try, remedy_of
from gateway.routing.hedge import patience
from gateway.routing.state import HedgeState
from gateway.routing.table import Route
from gateway.routing.target import Target
from gateway.telemetry.log import Record, Tried
from gateway.telemetry.timeline import Timeline

Failure = tuple[Target, GatewayError]


class Trying:
    """Calls the targets of a plan in turn, and keeps book of it."""

    def __init__(
        self,
        services: Services,
        call: Call,
        route: Route,
        client: Racer,
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
        self._cut: Attempt | None = None
        """The try whose answer broke, and may go on elsewhere."""

    async def run(self, targets: Sequence[Target]) -> None:
        """Until one answers. A client that leaves cancels whatever is under way, a wait too."""
        if self._route.hedge is not None:
            self._hedges().budget.count(self._loop.time())
        course = self._course(self._services.states.with_room_first(targets))
        following: Try | None = course.first()
        while following is not None:
            failures = await self._round(following, course)
            if not failures:
                await self._go_on(targets)
                return
            following = await self._after(course, failures)
        assert course.told is not None
        raise course.told

    async def _go_on(self, targets: Sequence[Target]) -> None:
        """If the answer broke after the commit point, lets another target go on with it, or tells the client.

        The one where it broke comes last, as a retry. Each is asked once, until one has said something.
        """
        broken, self._cut = self._cut, None
        if broken is None or broken.thread is None:
            return
        book = self._services.states.continuations(self._route.name)
        for target in self._others_first(targets):
            if await self._rest_came(target, broken.thread):
                book.continued += 1
                self._record.continued = self._record.upstream
                return
        book.given_up += 1
        await broken.break_off()

    async def _rest_came(self, target: Target, thread: Thread) -> bool:
        """Whether the target went on with the answer, however that ended."""
        now = self._loop.time()
        rest = rest_of(self._call, thread, target)
        is_late = now >= self._client.timeline.begun + self._route.timeouts.total
        is_again = any(tried.upstream == target.name for tried in self._tried)
        if rest is None or is_late or (is_again and not self._afford(target, now)):
            return False
        before = self._record.end, self._record.error
        self._record.end, self._record.error = "complete", None
        await self._failure_of(Try(target, is_again=is_again), self._client, rest)
        if thread.splice.cut is None:
            return True
        self._cut, (self._record.end, self._record.error) = None, before
        return False

    def _others_first(self, targets: Sequence[Target]) -> Sequence[Target]:
        """Those that may be called now, the one where the answer broke last."""
        admitted = self._services.states.admit(targets, self._loop.time())
        return sorted(admitted, key=lambda target: target.name == self._record.upstream)

    async def _round(self, planned: Try, course: Course) -> Sequence[Failure]:
        """One try, and maybe another one beside it. What failed, if none answered."""
        late_s = self._late_s(planned.target)
        if late_s is None:
            error = await self._failure_of(planned, self._client)
            return [] if error is None else [(planned.target, error)]
        return await self._race(planned, course, late_s)

    def _late_s(self, target: Target) -> float | None:
        """How long the target is waited for before another one is asked too; None: however long it takes."""
        request, limits = self._call.request, self._route.timeouts
        if not (self._make_attempt.is_answer and request.may_be_asked_twice):
            return None
        recent = self._services.states.target(target).recent(streams=request.stream)
        return patience(self._route.hedge, recent, limits.first_token if request.stream else limits.total)

    async def _race(self, planned: Try, course: Course, late_s: float) -> Sequence[Failure]:
        race, targets = Race(self._client), dict[Lane, Target]()

        def lane_of(one: Try) -> Lane:
            lane = Lane(race, self._client, partial(self._failure_of, one), partial(self._won, one.target))
            targets[lane] = one.target
            return lane

        def second() -> Lane | None:
            if self._client.departure.happened_at is not None:
                return None
            now, hedges = self._loop.time(), self._hedges()
            beside = course.beside(planned.target, now, lambda: hedges.budget.spend(now))
            return None if beside is None else lane_of(beside)

        failed = await race.run(first := lane_of(planned), late_s, second)
        if len(targets) > 1:
            self._note_race(race.winner, first, planned.target, late_s)
        return [
            (targets[lane], lane.error) for lane in failed if lane.error is not None and race.winner in (None, lane)
        ]

    def _hedges(self) -> HedgeState:
        hedge = self._route.hedge
        assert hedge is not None
        return self._services.states.hedges(self._route.name, hedge.max_ratio)

    def _won(self, target: Target) -> None:
        self._record.upstream, self._record.upstream_dialect = target.name, target.upstream.dialect

    def _note_race(self, winner: Lane | None, first: Lane, target: Target, late_s: float) -> None:
        """What came of the second try. Of a first one that was called off it is known that it was late, not how much.

        It counts as long as it was given: what follows from more would be given more, and more again.
        """
        self._record.hedge = "failed" if winner is None else "lost" if winner is first else "won"
        if winner is not None and winner is not first:
            self._hedges().won += 1
            if first.error is None:
                state = self._services.states.target(target)
                state.answered(late_s, self._loop.time(), streams=self._call.request.stream)

    def _course(self, targets: Sequence[Target]) -> Course:
        """Those that may not be called now come last: they may be until it is their turn."""
        retries, deadline = self._route.retries, self._client.timeline.begun + self._route.timeouts.total
        admit = self._services.states.admit
        admitted = admit(targets, self._loop.time())
        others = [target for target in targets if target not in admitted]
        return Course([*admitted, *others], retries, deadline, self._afford, admit)

    async def _after(self, course: Course, failures: Sequence[Failure]) -> Try | None:
        """The next try, when its time has come, if its target may be called then.

        That nothing helps against one of two failures outweighs what might against the other.
        """
        *others, (target, error) = sorted(failures, key=lambda failure: remedy_of(failure[1]) is Remedy.NOTHING)
        for other, earlier in others:
            course.failed(other, earlier, self._loop.time())
        while True:
            following = course.after(target, error, self._loop.time(), random.random())
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

    async def _failure_of(self, planned: Try, client: Client, rest: Rest | None = None) -> GatewayError | None:
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

    async def _try(self, target: Target, client: Client, rest: Rest | None) -> None:
        """One try of one target, counted as under way as long as it lasts."""
        states = self._services.states
        counted = (states.target(target), states.upstream(target.name))
        for state in counted:
            state.in_flight += 1
        try:
            with self._timed(target, client.timeline):
                await self._attempt(target, client, rest)
        finally:
            for state in counted:
                state.in_flight -= 1

    @contextmanager
    def _timed(self, target: Target, timeline: Timeline) -> Iterator[None]:
        """Notes how long the target's answer is waited for, as soon as it is known."""
        state, streams = self._services.states.target(target), self._call.request.stream
        now, called = self._loop.time, self._loop.time()
        if self._make_attempt.is_answer:
            timeline.on_first_content.append(lambda came: state.answered(came - called, came, streams=streams))
        try:
            yield
        except asyncio.CancelledError:  # the other one of two was faster, or the client did not wait longer
            if not timeline.content_events:
                state.wait(streams=streams).outwaited(now() - called, now())
            raise
        except UpstreamError as error:
            if not timeline.content_events and outcome(error, is_answered=False).verdict is not Verdict.NOTHING:
                state.wait(streams=streams).failed(now() - called, now())
            raise

    async def _attempt(self, target: Target, client: Client, rest: Rest | None) -> None:
        record, call = self._record, rest.call if rest else self._call
        record.attempts += 1
        record.upstream, record.upstream_dialect = target.name, target.upstream.dialect
        thread = rest.thread if rest else None
        attempt = self._make_attempt(self._services, call, target, self._route.timeouts, client, thread)
        try:
            with Judge(self._services.states, target, client.timeline, counts=attempt.is_answer) as judge:
                await attempt.run()
                judge.settle(attempt.error, has_head=attempt.has_head)
        finally:
            record.queue_ms = round(attempt.queued_s * 1000, 1) or None
            record.dropped_fragments = attempt.dropped_fragments or None
            if (fault := attempt.grammar_fault) is not None:
                record.grammar_fault = str(fault)
                self._services.grammar_faults[self._call.dialect.name, fault] += 1
        if attempt.is_cut:
            self._cut = attempt
            record.cut_by = record.cut_by or target.name
        if attempt.error is not None:
            record.end, record.error = "broken", str(attempt.error.kind)
            untraced(attempt.error)
