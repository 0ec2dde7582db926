"""When things happened in an answer, and how much of it: from (events, now). No clock inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gateway.neutral.events import CONTENT, Event, Finish, Start, Usage


class Timeline:
    """Time to first token, count of content events, usage and finish reason of one answer."""

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.forget()

    def forget(self) -> None:
        """What a try said of which the client heard nothing: it is none of the answer's."""
        self.first_content: float | None = None
        self.last_content: float | None = None
        self.content_events = 0
        self.usage = Usage()
        self.finish: Finish | None = None
        self.on_first_content: list[Callable[[float], None]] = []
        """Told once when the first content came."""

    def note(self, events: Iterable[Event], now: float) -> None:
        """Takes events that were received at `now`."""
        count = 0
        for event in events:
            kind = type(event)
            if kind in CONTENT:
                count += 1
            elif isinstance(event, Usage):
                self.usage = self.usage.merged(event)
            elif isinstance(event, Start):
                self.usage = self.usage.merged(event.usage) if event.usage else self.usage
            elif isinstance(event, Finish):
                self.finish = event
        if count:
            self.content_events += count
            self.last_content = now
            if self.first_content is None:
                self.first_content = now
                for tell in self.on_first_content:
                    tell(now)

    def note_more(self, count: int, now: float) -> None:
        """As `note`, with so many deltas behind others."""
        self.content_events += count
        self.last_content = now

    @property
    def ttft_s(self) -> float | None:
        """Time from the request to the first content."""
        return None if self.first_content is None else self.first_content - self.begun
