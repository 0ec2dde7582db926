"""How many tokens a prompt has: asked upstream where its API can say, else estimated, and then marked as such."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final

import orjson

from gateway.attempt import Attempt
from gateway.dialects.base import Counting, Outbound
from gateway.errors import Malformed
from gateway.neutral.events import Usage
from gateway.upstreams.client import Answer

_NOT_THERE: Final = (404, 405, 501)
"""A server of this dialect that has messages and no counting says so; it is none the worse for it (pitfall 57)."""


class Count(Attempt):
    """One try of one target. A count of nothing is never told: clients would take their context for empty."""

    is_answer: ClassVar = False

    async def run(self) -> None:
        if self._dialect.counts is None:
            await self._answer_with(None)
        else:
            await super().run()

    def _render(self) -> Outbound:
        counts = self._dialect.counts
        assert counts is not None
        return counts.ask(super()._render())

    async def _take(self, answer: Answer) -> None:
        if answer.status in _NOT_THERE:
            await self._answer_with(None)
        elif answer.status >= 400:
            raise await self._refusal(answer)
        else:
            body = await answer.read(self._settings.max_answer)
            await self._answer_with(_counted(self._dialect.counts, body))

    async def _answer_with(self, count: int | None) -> None:
        """None, or what can't be true, becomes the estimate."""
        if not count or count < 1:
            count = await self._services.aside.run(self._call.size, self._request.estimate_tokens)
            adapted = sorted((*self._outbound.adapted, "input_tokens=estimated"))
            self._outbound = replace(self._outbound, adapted=tuple(adapted))
        counts = self._call.dialect.counts
        assert counts is not None
        self._client.timeline.note([Usage(input=count)], self._watchdog.now())
        self._client.prepare("application/json", self.headers)
        await self._client.whole(orjson.dumps(counts.dump(count)))


def _counted(counts: Counting | None, body: bytes) -> int | None:
    assert counts is not None
    try:
        return counts.load(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the upstream's answer of {len(body)} bytes is not JSON") from error
