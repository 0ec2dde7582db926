"""One answer out of several: what a second upstream says goes on where the first one's answer broke.

PLAIN: only text so far. It is kept, so that another upstream can be given it as the beginning of its answer.
RICH: something came that such a beginning can't hold (a call, reasoning, a refusal, a citation, too much text), or the
model was done. If the answer breaks now, it is broken.
CUT: it broke while it was plain; the failure is kept back, and the next answer goes on where this one ends.
OVER: the client was told how it ended.
A pair that is not in the table changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from enum import Enum, auto
from typing import Final

from gateway.errors import GatewayError, UpstreamError
from gateway.neutral.events import (
    ArgsDelta,
    BlockKind,
    BlockStart,
    BlockStop,
    Citation,
    End,
    Event,
    Failed,
    Finish,
    ReasoningDelta,
    ReasoningSignature,
    RefusalDelta,
    Start,
    TextDelta,
    Usage,
)

MAX_TEXT: Final = 1024 * 1024
"""Characters kept of one answer, which its continuation would have to read: far beyond what models write at once."""
MAX_CUTS: Final = 1
"""How often one answer may go on elsewhere. An answer that breaks twice will hardly hold the third time."""
_JOINED: Final = 64
"""Texts kept apart at most: a short one alone takes ten times its room."""


class State(Enum):
    PLAIN = auto()
    RICH = auto()
    CUT = auto()
    OVER = auto()


class Input(Enum):
    """What an event means for what could go on."""

    MORE = auto()
    """Something a beginning can't hold."""
    BREAK = auto()
    """A failure that another upstream may mend."""
    FAILURE = auto()
    END = auto()
    RESUME = auto()
    """Another upstream's answer begins."""
    GIVE_UP = auto()
    """Nobody goes on."""


TRANSITIONS: Final[dict[State, dict[Input, State]]] = {
    State.PLAIN: {
        Input.MORE: State.RICH,
        Input.BREAK: State.CUT,
        Input.FAILURE: State.OVER,
        Input.END: State.OVER,
    },
    State.RICH: {Input.BREAK: State.OVER, Input.FAILURE: State.OVER, Input.END: State.OVER},
    State.CUT: {Input.RESUME: State.PLAIN, Input.GIVE_UP: State.OVER},
    State.OVER: {},
}
_PLAIN: Final = State.PLAIN
"""Asked for with each text; Python 3.11 looks a member of an enum up for 0.1 µs."""
_RICH: Final = (Citation, Finish, RefusalDelta, ReasoningDelta, ReasoningSignature, ArgsDelta)
_PLACED: Final = (BlockStart, BlockStop, Citation, RefusalDelta, ReasoningDelta, ReasoningSignature, ArgsDelta)


class Splice:
    """Takes the events of one answer after the other, and gives those of the one that the client sees."""

    def __init__(self, max_text: int = MAX_TEXT, max_cuts: int = MAX_CUTS) -> None:
        self.state = State.PLAIN
        self.cut: GatewayError | None = None
        """What the answer broke by, while it is cut."""
        self._texts: list[str] = []
        self._room = max_text
        self._cuts_left = max_cuts
        self._usage_before = Usage()
        self._usage = Usage()
        self._blocks = 0
        self._is_open = False
        self._offset = 0
        self._is_resumed = False
        self._has_content = False

    @property
    def text(self) -> str:
        """All that the client got, while the answer is plain or cut."""
        return "".join(self._texts)

    @property
    def output_tokens(self) -> int | None:
        """Tokens of the answer so far, as far as the upstreams told."""
        return _plus(self._usage_before, self._usage).output

    def take(self, events: list[Event]) -> list[Event]:
        """The client's events for these. A failure that another upstream may mend is not among them."""
        if len(events) == 1 and type(event := events[0]) is TextDelta and not self._offset:
            self._keep(event.text)  # nearly every token goes this way
            return events
        taken: list[Event] = []
        for event in events:
            if type(event) is TextDelta:
                self._keep(event.text)
                taken.append(TextDelta(event.index + self._offset, event.text) if self._offset else event)
            else:
                taken.extend(self._take(event))
        return taken

    def resume(self) -> None:
        """From here on, another upstream's answer comes."""
        self._step(Input.RESUME)
        self.cut = None
        self._usage_before, self._usage = _plus(self._usage_before, self._usage), Usage()
        self._offset = self._blocks
        self._is_resumed, self._has_content = True, False

    def give_up(self) -> None:
        """The answer is broken for good."""
        self._step(Input.GIVE_UP)
        self.cut = None

    # -- events ------------------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> Iterator[Event]:
        if isinstance(event, _RICH):
            self._step(Input.MORE)
        match event:
            case Start():
                yield from self._start(event)
            case Usage():
                yield self._told(event)
            case BlockStart():
                yield from self._block_start(event)
            case BlockStop():
                self._is_open = False
                yield self._moved(event)
            case Finish():
                yield from self._close()
                yield event
            case Failed():
                yield from self._failed(event)
            case End():
                self._step(Input.END)
                yield event
            case _:
                yield self._moved(event)

    def _start(self, start: Start) -> Iterator[Event]:
        """The client's answer has begun already; what the second upstream counted before it began is told."""
        if not self._is_resumed:
            self._usage = self._usage.merged(start.usage or Usage())
            yield start
        elif start.usage is not None:
            yield self._told(start.usage)

    def _told(self, usage: Usage) -> Usage:
        self._usage = self._usage.merged(usage)
        return _plus(self._usage_before, self._usage) if self._is_resumed else usage

    def _block_start(self, start: BlockStart) -> Iterator[Event]:
        """The text that was open goes on if the second answer begins with text, else it ends here."""
        if start.kind is not BlockKind.TEXT:
            self._step(Input.MORE)
        is_first, self._has_content = not self._has_content, True
        if is_first and self._is_open and start.kind is BlockKind.TEXT:
            self._offset -= 1
            return
        yield from self._close()
        self._blocks, self._is_open = self._blocks + 1, True
        yield self._moved(start)

    def _close(self) -> Iterator[Event]:
        if self._is_open:
            self._is_open = False
            yield BlockStop(self._blocks - 1)

    def _moved(self, event: Event) -> Event:
        """With its place in the client's answer."""
        if self._offset and isinstance(event, _PLACED):
            return replace(event, index=event.index + self._offset)
        return event

    # -- failing -----------------------------------------------------------------------------------------------------

    def _failed(self, failed: Failed) -> Iterator[Event]:
        """What broke before the client saw anything of it is not ours to mend, unless we asked for it ourselves."""
        self._step(Input.BREAK if self._is_mendable(failed.error) else Input.FAILURE)
        if self.state is not State.CUT:
            yield failed
            return
        self.cut = failed.error
        self._cuts_left -= self._has_content

    def _is_mendable(self, error: GatewayError) -> bool:
        if not isinstance(error, UpstreamError):
            return False
        return self._cuts_left > 0 and error.is_retryable if self._has_content else self._is_resumed

    def _keep(self, text: str) -> None:
        if self.state is _PLAIN:
            self._texts.append(text)
            if len(self._texts) == _JOINED:
                self._texts = [self.text]
            self._room -= len(text)
            if self._room < 0:
                self._step(Input.MORE)

    def _step(self, what: Input) -> None:
        self.state = TRANSITIONS[self.state].get(what, self.state)
        if self.state not in (State.PLAIN, State.CUT):
            self._texts.clear()


def _plus(usage: Usage, more: Usage) -> Usage:
    """What two upstreams counted. Unknown stays unknown only where neither knows."""
    counts = (field.name for field in fields(Usage) if field.name != "is_final")
    pairs = {name: (getattr(usage, name), getattr(more, name)) for name in counts}
    known = {name: sum(count or 0 for count in pair) for name, pair in pairs.items() if pair != (None, None)}
    return Usage(**known, is_final=more.is_final)
