"""Pieces as decoded, fragments in any order → events in strict order (`protocol/mapping.md`, Sequencer rules 1 to 10).

One block is live at a time. A newcomer waits while the live block is a tool call that may still grow; everything else
yields at once. Order of blocks is order of first appearance. What the rules call by number is marked (rule n) here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Final

from gateway.errors import Malformed, Truncated
from gateway.neutral.events import (
    ArgsDelta,
    BlockKind,
    BlockStart,
    BlockStop,
    End,
    Event,
    Failed,
    Finish,
    Ping,
    Reason,
    Start,
    Usage,
)
from gateway.neutral.open_blocks import Flow, OpenBlock, OpenCall, delta_of, flow_of
from gateway.neutral.pieces import (
    BlockEnd,
    BlockPiece,
    ContentPiece,
    Piece,
    SignaturePiece,
    ToolPiece,
    WholePiece,
    kind_of,
    size_of,
)

MAX_WAITING: Final = 8 * 1024 * 1024
"""Characters held back for one answer before the upstream counts as broken; as large as the largest event."""

_CALL_COST: Final = 1024
"""What a call counts against that limit beside its text: empty ones take memory too."""


class _Phase(Enum):
    BEFORE = auto()
    STARTED = auto()
    FINISHED = auto()
    OVER = auto()


class Sequencer:
    """`feed(pieces)` returns the events they make. `dropped` counts fragments that had no block to go to (rule 5)."""

    def __init__(self, call_id_seed: str = "", max_waiting: int = MAX_WAITING, client: str = "") -> None:
        """`call_id_seed` makes ids for calls that come without one; the same seed gives the same ids.

        `client`: the dialect that the events are for. What only another dialect understands never becomes a block, so
        that the numbers of blocks have no gaps (pitfall 18). Empty: they are for anyone.
        """
        self._seed = call_id_seed
        self._client = client
        self._max_waiting = max_waiting
        self._held_back = 0
        self._next_index = 0
        self._live: OpenBlock | OpenCall | None = None
        self._waiting: list[OpenBlock | OpenCall] = []
        self._calls: dict[int, OpenCall] = {}
        self._all_calls: list[OpenCall] = []
        self._held_space: list[ContentPiece] = []
        self._used_ids: set[str] = set()
        self._phase = _Phase.BEFORE
        self._last_fed: Piece | None = None
        self.flow: Flow | None = None
        """What makes the deltas of `more`, while nothing else was fed since."""
        self.dropped = 0

    def feed(self, pieces: Iterable[Piece]) -> list[Event]:
        """Events for these pieces. After `Failed` or `End`, nothing comes any more."""
        events: list[Event] = []
        self.flow = None
        for piece in pieces:
            live, self._last_fed = self._live, piece
            if type(piece) is ContentPiece and type(live) is OpenBlock and not self._waiting and live.takes(piece):
                if piece.text:
                    events.append(delta_of(live, piece))
            elif type(piece) is ToolPiece and type(live) is OpenCall and self._only_grows(live, piece):
                self._hold(len(piece.fragment))
                live.add(piece.fragment)
                events.append(ArgsDelta(live.index, piece.fragment))
            elif self._phase is _Phase.OVER:
                break
            else:
                self._take_safely(piece, events)
        return events

    def _only_grows(self, live: OpenCall, piece: ToolPiece) -> bool:
        """Whether all that the piece does is to add to the arguments of the live call, while nothing waits.

        Nearly every fragment of a call; as `_tool` has it.
        """
        if self._waiting or piece.key is None or piece.id or piece.name or self._calls.get(piece.key) is not live:
            return False
        is_growing = live.is_started and bool(piece.fragment)
        return is_growing and self._held_back + len(piece.fragment) <= self._max_waiting

    def more(self, texts: Sequence[str]) -> list[Event]:
        """As `feed` with the last piece again for each of these texts, none of them empty: nearly every token.

        That piece must be a `ContentPiece`.
        """
        flow = self.flow or self._begin_flow()
        if flow is None:
            assert type(self._last_fed) is ContentPiece
            return self.feed([replace(self._last_fed, text=text) for text in texts])
        delta, index = flow
        return [delta(index, texts[0])] if len(texts) == 1 else [delta(index, text) for text in texts]

    def _begin_flow(self) -> Flow | None:
        """What texts like the last make as long as nothing else comes: deltas of the live block, if it takes them."""
        last, live = self._last_fed, self._live
        if type(last) is ContentPiece and type(live) is OpenBlock and not self._waiting and live.takes(last):
            self.flow = flow_of(live, last)
        return self.flow

    def _take_safely(self, piece: Piece, events: list[Event]) -> None:
        """Appends what the piece makes; a stream that can't be put in order ends here."""
        try:
            events.extend(self._take(piece))
        except (Malformed, Truncated) as error:
            events.extend(self._fail(Failed(error)))

    def _take(self, piece: Piece) -> Iterator[Event]:
        match piece:
            case Failed():
                yield from self._fail(piece)
            case End():
                yield from self._end(piece)
            case Ping():
                yield piece
            case Start() if self._phase is not _Phase.BEFORE:
                pass
            case Start():
                self._phase = _Phase.STARTED
                yield piece
            case _ if self._phase is _Phase.BEFORE:  # a server that forgets to say that it began
                self._phase = _Phase.STARTED
                yield Start()
                yield from self._take(piece)
            case Usage():
                yield piece
            case _:
                yield from self._take_content(piece)

    def _take_content(self, piece: BlockPiece | ToolPiece | BlockEnd | Finish) -> Iterator[Event]:
        """What is only expected between Start and Finish; later content has no place any more."""
        if self._phase is _Phase.FINISHED:
            self.dropped += _has_content(piece)
            return
        match piece:
            case ToolPiece():
                yield from self._tool(piece)
            case BlockEnd():
                yield from self._block_end(piece.key)
            case Finish():
                yield from self._finish(piece)
            case WholePiece(kind=BlockKind.OPAQUE) if self._client not in ("", piece.dialect):
                pass
            case _:
                yield from self._content(piece)

    def _fail(self, failed: Failed) -> Iterator[Event]:
        self._phase, self._live = _Phase.OVER, None
        self._waiting, self._held_space, self._all_calls = [], [], []
        self._calls.clear()
        yield failed

    def _end(self, end: End) -> Iterator[Event]:
        """An end without a Finish is a cut stream, which never looks finished (rule 10)."""
        if self._phase is not _Phase.FINISHED:
            raise Truncated("the upstream's answer ended before it was finished")
        self._phase = _Phase.OVER
        yield end

    # -- text, reasoning and the like --------------------------------------------------------------------------------

    def _content(self, piece: BlockPiece) -> Iterator[Event]:
        if isinstance(piece, ContentPiece):
            if not piece.text:  # (rule 7)
                return
            if piece.text.isspace() and self._opens_nothing(piece):
                self._hold(len(piece.text))
                self._held_space.append(piece)
                return
        kind, held, self._held_space = kind_of(piece), self._held_space, []
        for blank in held:
            if blank.kind is kind:
                yield from self._admit(replace(blank, key=getattr(piece, "key", None)))
            else:
                self._held_space.append(blank)
        yield from self._admit(piece)

    def _opens_nothing(self, blank: ContentPiece) -> bool:
        """Blank text after a call (rule 6), or blank reasoning (pitfall 94), makes no block of its own."""
        last = self._last()
        if isinstance(last, OpenCall):
            return True
        return blank.kind is BlockKind.REASONING and (last is None or last.is_ended or not last.takes(blank))

    def _last(self) -> OpenBlock | OpenCall | None:
        return self._waiting[-1] if self._waiting else self._live

    def _admit(self, piece: BlockPiece) -> Iterator[Event]:
        """The piece goes to the last block if it continues that, else to a new one behind it."""
        last = self._last()
        if not isinstance(last, OpenBlock) or last.is_ended or not last.takes(piece):
            last = OpenBlock(kind_of(piece), getattr(piece, "key", None))
            self._waiting.append(last)
        last.is_sealed = isinstance(piece, SignaturePiece)
        if last is self._live:
            yield delta_of(last, piece)
            return
        last.pieces.append(piece)
        yield from self._advance()
        if last is not self._live:  # what goes on at once takes no room, however large
            self._hold(size_of(piece))

    # -- tool calls --------------------------------------------------------------------------------------------------

    def _tool(self, piece: ToolPiece) -> Iterator[Event]:
        if not (piece.id or piece.name or piece.fragment):  # (rule 7)
            return
        call = self._find(piece)
        if call.is_stopped or call.is_ended:
            self.dropped += bool(piece.fragment.strip())  # (rule 5)
            return
        known = len(call.name)
        call.learn(piece)
        self._hold(len(call.name) - known + len(piece.fragment))
        if piece.fragment:
            call.add(piece.fragment)
        if call is self._live:
            yield from self._flow(call, piece.fragment)
        if self._waiting or self._live is None:
            yield from self._advance()

    def _find(self, piece: ToolPiece) -> OpenCall:
        """The call a fragment belongs to (rule 2), new if it is none we know."""
        found = self._known(piece)
        if found is not None and not (piece.id and piece.name and found.id and piece.id != found.id):
            return found
        self._hold(_CALL_COST)
        call = OpenCall(len(self._all_calls) if piece.key is None else piece.key)
        self._all_calls.append(call)
        self._calls[call.order] = call
        self._waiting.append(call)
        return call

    def _known(self, piece: ToolPiece) -> OpenCall | None:
        if piece.key is not None:
            return self._calls.get(piece.key)
        if piece.id:
            return next((call for call in self._all_calls if call.id == piece.id), None)
        if piece.name:
            by_position = self._all_calls[piece.position : piece.position + 1]
            return next((c for c in by_position if c.name == piece.name and not c.is_complete()), None)
        return self._all_calls[-1] if self._all_calls else None

    def _flow(self, call: OpenCall, fragment: str) -> Iterator[Event]:
        """A fragment of the live call: starts it with everything it has, or passes the fragment on (rule 3)."""
        if call.is_started:
            if fragment:
                yield ArgsDelta(call.index, fragment)
        elif call.name and any(call.fragments):
            yield from self._start_call(call)

    def _start_call(self, call: OpenCall) -> Iterator[Event]:
        call.index = self._take_index()
        told_id = self._unique_id(call)  # `call.id` stays what the upstream says, by which it names the call again
        yield BlockStart(call.index, BlockKind.TOOL, id=told_id, name=call.name, call_kind=call.call_kind)
        for fragment in call.fragments:
            yield ArgsDelta(call.index, fragment)

    def _unique_id(self, call: OpenCall) -> str:
        """mapping.md §8: missing ids are made, duplicate ones get a suffix."""
        wanted = call.id or f"call_{self._seed}{len(self._used_ids)}"
        unique, count = wanted, 1
        while unique in self._used_ids:
            count += 1
            unique = f"{wanted}_{count}"
        self._used_ids.add(unique)
        return unique

    # -- whose turn it is --------------------------------------------------------------------------------------------

    def _advance(self) -> Iterator[Event]:
        """While the live block may stop, stops it and lets the oldest that waits go live (rules 1, 4 and 6)."""
        while self._waiting and self._may_yield(self._waiting[0]):
            yield from self._stop_live()
            yield from self._go_live(self._waiting.pop(0))

    def _may_yield(self, newcomer: OpenBlock | OpenCall) -> bool:
        live = self._live
        if not isinstance(live, OpenCall):
            return True
        if live.is_empty and not live.is_ended:
            return isinstance(newcomer, OpenBlock) and bool(live.name)
        return live.is_complete() and bool(live.name)

    def _go_live(self, newcomer: OpenBlock | OpenCall) -> Iterator[Event]:
        self._live = newcomer
        if isinstance(newcomer, OpenCall):
            yield from self._flow(newcomer, "")
            return
        newcomer.index = self._take_index()
        pieces, newcomer.pieces = newcomer.pieces, []
        if isinstance(whole := pieces[0], WholePiece):
            yield BlockStart(newcomer.index, newcomer.kind, payload=whole.payload, dialect=whole.dialect)
        else:
            yield BlockStart(newcomer.index, newcomer.kind)
        for piece in pieces:
            if not isinstance(piece, WholePiece):
                yield delta_of(newcomer, piece)

    def _stop_live(self) -> Iterator[Event]:
        live, self._live = self._live, None
        if live is None:
            return
        if isinstance(live, OpenCall):
            live.is_stopped = True
            if not live.is_started:
                yield from self._start_call(live)
            live.fragments.clear()
        yield BlockStop(live.index)

    def _block_end(self, key: int) -> Iterator[Event]:
        """The wire itself ends a block: what has its key can't grow any more."""
        call = self._calls.get(key)
        if call is not None:
            call.is_ended = True
        for block in (self._live, *self._waiting):
            if isinstance(block, OpenBlock) and block.key == key:
                block.is_ended = True
        yield from self._advance()
        if self._live is not None and self._live.is_ended and not self._waiting:
            if isinstance(self._live, OpenCall) and not self._live.name:
                return
            yield from self._stop_live()

    def _finish(self, finish: Finish) -> Iterator[Event]:
        """Closes every block, then says why the model stopped (rule 9)."""
        open_calls = [block for block in (self._live, *self._waiting) if isinstance(block, OpenCall)]
        if not all(call.name for call in open_calls):
            raise Malformed("tool call without a name: the upstream never sent one")
        is_cut = finish.is_inferred and any(call.is_cut() for call in open_calls)  # nobody said why: so it's no call
        queue, self._waiting = self._in_key_order(), []
        yield from self._stop_live()
        for block in queue:
            yield from self._go_live(block)
            yield from self._stop_live()
        if finish.reason is Reason.STOP and self._all_calls and not is_cut:
            finish = replace(finish, reason=Reason.TOOL_CALLS)
        self._phase = _Phase.FINISHED
        yield finish

    def _in_key_order(self) -> list[OpenBlock | OpenCall]:
        """What waits, its calls sorted by key among themselves (rule 4)."""
        calls = iter(sorted((b for b in self._waiting if isinstance(b, OpenCall)), key=lambda call: call.order))
        return [next(calls) if isinstance(block, OpenCall) else block for block in self._waiting]

    def _hold(self, characters: int) -> None:
        """Counts what has to be remembered, so that a hostile upstream can't fill the memory."""
        self._held_back += characters
        if self._held_back > self._max_waiting:
            raise Malformed(f"more than {self._max_waiting} characters of tool calls and waiting text")

    def _take_index(self) -> int:
        index, self._next_index = self._next_index, self._next_index + 1
        return index


def _has_content(piece: BlockPiece | ToolPiece | BlockEnd | Finish) -> bool:
    match piece:
        case ContentPiece():
            return bool(piece.text.strip())
        case ToolPiece():
            return bool(piece.name or piece.fragment.strip())
        case _:
            return isinstance(piece, WholePiece)
