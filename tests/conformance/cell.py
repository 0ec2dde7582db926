"""One cell of the grid: a client, an upstream, and what the client has to hear."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.conformance.clients import Client, Perform
from tests.conformance.conversation import Heard, Talk, Turn
from tests.e2e.gateway_process import World, route_name


class Lost(Exception):
    """What did not survive the translation."""


@dataclass(frozen=True, slots=True)
class Cell:
    """`upstream`: a kind of upstream. `alone`: held by whoever counts the calls that upstreams have open."""

    client: Client
    upstream: str
    perform: Perform
    world: World
    alone: threading.Lock

    def ask(self, script: str, *turns: Turn, stream: bool, **settings: Any) -> list[Heard]:
        """What the client hears of an upstream that performs a script."""
        model = route_name(self.upstream, script)
        return self.perform(self.world.url, Talk(model, turns, stream=stream, **settings))

    def answers(self, script: str, *turns: Turn, stream: bool, **settings: Any) -> list[Heard]:
        """The same, where nothing may go wrong."""
        told = self.ask(script, *turns, stream=stream, **settings)
        for heard in told:
            if heard.trouble:
                raise Lost(f"{heard.trouble.type}: {heard.trouble.message}")
        expect("answers", len(told), len(turns))
        return told

    @property
    def is_raw(self) -> bool:
        """Whether the upstream answers with raw text. Truss callers are relayed to Truss models as they are."""
        if self.client.dialect == "prompt":
            return self.upstream in ("truss", "raw")
        return self.upstream == "raw" and self.client.dialect != "truss"

    @property
    def hears_events(self) -> bool:
        """Raw text has neither a finish reason nor token counts."""
        return self.client.words is not None


Check = Callable[[Cell], None]


def expect(what: str, seen: object, expected: object) -> None:
    """Raises Lost if the two differ."""
    if seen != expected:
        raise Lost(f"{what}: {seen!r}, expected {expected!r}")


def expect_finish(cell: Cell, heard: Heard, word: int = 0) -> None:
    """The client's own word for a finished answer (0) or for calls of tools (1)."""
    expect("finish", heard.finish, cell.client.words and cell.client.words[word])


def both(check: Callable[[Cell, bool], None]) -> Check:
    """Streamed, then whole; what is lost says in which."""

    def checked(cell: Cell) -> None:
        for stream in (True, False):
            try:
                check(cell, stream)
            except Lost as lost:
                raise Lost(f"{'streamed' if stream else 'whole'}: {lost}") from lost

    return checked
