"""One request's tries: target after target, until one answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gateway.attempt import Attempt, Call, Client, Services
from gateway.errors import ClientError, GatewayError, UpstreamError
from gateway.routing.table import Route
from gateway.routing.target import Target
from gateway.telemetry.log import Record


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

    async def run(self, targets: Sequence[Target]) -> None:
        """Until one answers. What one target can't carry another may, but what an upstream says comes first."""
        told: GatewayError | None = None
        for target in targets:
            try:
                await self._try(target)
            except (UpstreamError, ClientError) as error:
                if self._client.sink.is_committed or (isinstance(error, UpstreamError) and not error.is_retryable):
                    raise
                told = error if told is None or isinstance(error, UpstreamError) else told
            else:
                return
        assert told is not None
        raise told

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
        timeline.on_first_content = lambda came: wait.answered(came - called, came)
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
            await attempt.run()
        finally:
            record.dropped_fragments = attempt.dropped_fragments or None
            if (fault := attempt.grammar_fault) is not None:
                record.grammar_fault = str(fault)
                self._services.grammar_faults[self._call.dialect.name, fault] += 1
        if attempt.error is not None:
            record.end, record.error = "broken", str(attempt.error.kind)
            attempt.error.__traceback__ = None  # its frames would keep the request until the garbage collector comes by
