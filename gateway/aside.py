"""Work on large bodies, done beside the event loop, so that no stream waits for somebody else's images."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

LARGE: Final = 32 * 1024
"""Bytes of a body from which reading and writing it may take longer than handing it to a thread and back, some 0.1 ms.
What is just below holds 1,000 messages at most: 10 ms."""


class Aside:
    """One thread: the interpreter runs Python in one at a time anyway, so a second would add memory and no speed."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large bodies")

    async def run(self, size: int, job: Callable[[], T]) -> T:
        """What the job returns or raises; it is about a body of `size` bytes.

        A caller that is cancelled leaves at once: a job not yet begun never runs, one that runs ends unheard.
        """
        if size < LARGE:
            return job()
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def close(self) -> None:
        """Begins nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
