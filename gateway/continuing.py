"""An answer that broke at one target goes on at another: who is asked, and by which call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from gateway.attempt import Call, Client
from gateway.calling import Calling, Rest
from gateway.dialects import DIALECTS
from gateway.neutral.continuing import going_on
from gateway.relay.carrier import Thread
from gateway.routing.course import Try
from gateway.routing.target import Target


class Continuation:
    """Lets other targets go on with the answer of one request, where it broke after the commit point."""

    def __init__(self, calling: Calling, client: Client) -> None:
        self._calling = calling
        self._client = client
        self._states = calling.services.states
        self._route = calling.route
        self._record = calling.record
        self._now = asyncio.get_running_loop().time

    async def go_on(self, targets: Sequence[Target]) -> None:
        """If the answer broke after the commit point, lets another target go on with it, or tells the client.

        The one where it broke comes last, as a retry. Each is asked once, until one has said something.
        """
        broken, self._calling.cut = self._calling.cut, None
        if broken is None or broken.thread is None:
            return
        book = self._states.continuations(self._route.name)
        for target in self._others_first(targets):
            if await self._rest_came(target, broken.thread):
                book.continued += 1
                self._record.continued = self._record.upstream
                return
        book.given_up += 1
        await broken.break_off()

    async def _rest_came(self, target: Target, thread: Thread) -> bool:
        """Whether the target went on with the answer, however that ended."""
        now = self._now()
        rest = rest_of(self._calling.call, thread, target)
        is_late = now >= self._client.timeline.begun + self._route.timeouts.total
        is_again = self._calling.has_tried(target)
        if rest is None or is_late or (is_again and not self._calling.afford(target, now)):
            return False
        before = self._record.end, self._record.error
        self._record.end, self._record.error = "complete", None
        await self._calling.failure_of(Try(target, is_again=is_again), self._client, rest)
        if thread.splice.cut is None:
            return True
        self._calling.cut, (self._record.end, self._record.error) = None, before
        return False

    def _others_first(self, targets: Sequence[Target]) -> Sequence[Target]:
        """Those that may be called now, the one where the answer broke last."""
        admitted = self._states.admit(targets, self._now())
        return sorted(admitted, key=lambda target: target.name == self._record.upstream)


def rest_of(call: Call, thread: Thread, target: Target) -> Rest | None:
    """The client's call and the text it got, for the target. None: the target can't go on with exactly this text.

    An answer of which the client got no text is asked for as it was: any target can do that.
    """
    text = thread.splice.text
    asked = _asked_for(call, text, thread.splice.output_tokens, target) if text else call
    return None if asked is None else Rest(asked, thread)


def _asked_for(call: Call, text: str, output_tokens: int | None, target: Target) -> Call | None:
    upstream = target.upstream
    request = going_on(call.request, text, output_tokens) if upstream.takes_prefix(text) else None
    if request is None:
        return None
    if upstream.dialect != call.dialect.name:  # rendered from the request
        return replace(call, request=request, size=call.size + len(text))
    prefixing = DIALECTS[upstream.dialect].prefixing
    body = prefixing.put(call.body, request, text, upstream.options) if prefixing else None
    return None if body is None else replace(call, request=request, body=body, size=call.size + len(text))
