"""When a connection reads and writes: uvicorn's flow control, which says when reading starts again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """Says when reading starts again: time we did not listen isn't the client's."""

    def __init__(self, transport: asyncio.Transport, on_resume: Callable[[], None]) -> None:
        super().__init__(transport)
        self._on_resume = on_resume

    def resume_reading(self) -> None:
        """Goes on reading, if it had stopped."""
        if self.read_paused:
            super().resume_reading()
            self._on_resume()

    def let_go(self) -> None:
        """The connection is lost, and needs no word any more."""
        self._on_resume = nobody


def nobody() -> None:
    """Is told nothing any more, or not yet."""
