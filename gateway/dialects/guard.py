"""The grammar guard at the exit: the frames that an encoder wrote, run through the table of their dialect.

A dialect brings its table, and a reader that tells a frame's kind by how it begins and ends. JSON is never parsed: what
is checked is the order of frames and their indexes, which a client's state machine lives by, not what stands in them.

Nearly every frame is one more of the kind before and leaves the state where it is. The guard keeps how such a frame
begins and ends, and lets those pass that begin and end so: a cache of the table, never a rule of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from gateway.dialects.base import Fault

S = TypeVar("S", bound=Enum)
K = TypeVar("K", bound=Enum)

_BLANK_LINE: Final = b"\n\n"

_Same = tuple[bytes | None, int, bytes, int, bytes, int]
"""How one more frame of the kind before begins and ends, blank line included, each with its length; how it ends with a
number to come, and the number it has. A tuple, as it is unpacked for every write."""


class Reading(NamedTuple, Generic[K]):
    """A frame's kind. Of the same kind is what begins with `prefix`, and ends its line behind that with `suffix`."""

    kind: K
    prefix: bytes | None = None
    suffix: bytes = b""


class Reader(Protocol[K]):
    """Tells the kinds of a stream's frames, in order. What is wrong in itself is a kind that no state takes."""

    def read(self, frame: bytes) -> Reading[K]:
        """`frame` comes without the blank line that ended it."""


class FrameGuard(Generic[S, K]):
    """One stream on its way out. A state without a way on is an end."""

    def __init__(
        self, transitions: Mapping[S, Mapping[K, S]], begin: S, reader: Reader[K], numbering: bytes = b""
    ) -> None:
        """`numbering`: how frames end where they are counted from 0, with `%d` for the number. Comments never are."""
        self._transitions = transitions
        self._reader = reader
        self.state = begin
        self._same = _unlike(numbering + _BLANK_LINE if numbering else b"", 0)

    @property
    def is_over(self) -> bool:
        """The client was told that the answer is complete, or that it broke."""
        return not self._transitions[self.state]

    def check(self, data: bytes) -> Fault | None:
        """Takes these frames, or names what is wrong with one of them and takes none."""
        begun, begin = self.state, 0
        prefix, length, tail, room, numbering, number = self._same
        while begin < len(data):
            if data[begin : begin + length] == prefix:
                end = data.find(b"\n", begin + length) + 2
                if data[end - room : end] == tail:
                    begin = end
                    if numbering:
                        number += 1
                        tail = numbering % number
                        room = len(tail)
                    continue
            end = data.find(_BLANK_LINE, begin)
            fault = self._step(data[begin:end], numbering, number) if end >= 0 else self._fault("part of a frame")
            if fault is not None:
                self.state = begun
                self._same = _unlike(b"", 0)  # the numbers of what is not sent are spent: later ones may follow
                return fault
            prefix, length, tail, room, numbering, number = self._same
            begin = end + len(_BLANK_LINE)
        if numbering:
            self._same = (prefix, length, tail, room, numbering, number)
        return None

    def end(self) -> Fault | None:
        """Nothing comes any more; a fault where the client was not told so."""
        return None if self.is_over else self._fault("end")

    def _step(self, frame: bytes, numbering: bytes, number: int) -> Fault | None:
        """Takes the next frame, or says why not."""
        kind, prefix, suffix = self._reader.read(frame)
        following = self._transitions[self.state].get(kind)
        if following is None:
            return self._fault(kind.name.lower())
        tail = suffix + _BLANK_LINE
        if numbering and not frame.startswith(b":"):
            if not (frame + _BLANK_LINE).endswith(numbering % number):
                return self._fault("misnumbered")
            number += 1
            tail = numbering % number
        if prefix is not None and following is self.state:
            self._same = (prefix, len(prefix), tail, len(tail), numbering, number)
        else:
            self._same = _unlike(numbering, number)
        self.state = following
        return None

    def _fault(self, frame: str) -> Fault:
        return Fault(self.state.name.lower(), frame)


def _unlike(numbering: bytes, number: int) -> _Same:
    """The next frame has to be read, whatever it is."""
    return (None, 0, b"", 0, numbering, number)
