"""Active health checks: asks upstreams again and again whether they are fine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Final

from gateway.config import HealthCheck, Upstream
from gateway.upstreams.client import Upstreams

_JITTER: Final = 0.1
"""Share of the time between two checks that is left to chance, so that replicas don't ask in step."""

Found = Callable[[str, HealthCheck, bool], None]
"""Told the upstream's name, the settings of its check, and whether it was fine."""


class HealthChecks:
    """One task for each upstream that is to be checked."""

    def __init__(self, client: Upstreams, found: Found) -> None:
        self._client = client
        self._found = found
        self._running: dict[str, tuple[Upstream, asyncio.Future[None]]] = {}

    async def watch(self, upstreams: Mapping[str, Upstream]) -> None:
        """Checks these from now on, and no others; checks that are wanted as before just go on."""
        gone = [name for name, (upstream, _) in self._running.items() if upstreams.get(name) != upstream]
        await self._stop(gone)
        for name, upstream in upstreams.items():
            if upstream.health_check is not None and name not in self._running:
                task = asyncio.ensure_future(self._check(name, upstream, upstream.health_check))
                self._running[name] = (upstream, task)

    async def aclose(self) -> None:
        """Ends all checks, those under way too."""
        await self._stop(list(self._running))

    async def _stop(self, names: list[str]) -> None:
        tasks = [self._running.pop(name)[1] for name in names]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _check(self, name: str, upstream: Upstream, settings: HealthCheck) -> None:
        await asyncio.sleep(settings.every * _JITTER * random.random())
        while True:
            status = await self._client.ask(upstream, settings.path, settings.timeout)
            self._found(name, settings, status is not None and 200 <= status < 300)
            await asyncio.sleep(settings.every * (1 - _JITTER * random.random()))
