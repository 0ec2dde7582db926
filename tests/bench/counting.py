"""Counts work instead of timing it: what Python executes, and how often it calls into C. The same in every run.

Both need nothing but the interpreter. What C functions do inside is not seen, only that they were called;
`test_callgrind` sees that too, where valgrind is installed.
"""

from __future__ import annotations

import gc
import selectors
import sys
from asyncio import base_events, events
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, Self

_LOOP: Final = (str(base_events.__file__), str(events.__file__), str(selectors.__file__))
"""Files that do in Python what the event loop of a served gateway does in C."""

Trace = Callable[[FrameType, str, Any], Any]


class Work(NamedTuple):
    """`instructions`: of bytecode. `calls`: of C functions, from Python."""

    instructions: float = 0.0
    calls: float = 0.0

    def per(self, times: int) -> Work:
        """The share of one of so many."""
        return Work(self.instructions / times, self.calls / times)


class Counter:
    """Counts what is done within its block, by functions entered or resumed there, but for those of `apart`."""

    def __init__(self, *apart: str) -> None:
        """`apart`: files whose functions don't count."""
        self._apart = frozenset((__file__, *_LOOP, *apart))
        self._is_counted: dict[CodeType, bool] = {}
        self._instructions = 0
        self._calls = 0
        self._before: tuple[Any, Any] = (None, None)

    @property
    def work(self) -> Work:
        """What was counted so far."""
        return Work(self._instructions, self._calls)

    def __enter__(self) -> Self:
        gc.collect()
        gc.disable()  # or what is cleared away, and when, would count too
        self._before = sys.gettrace(), sys.getprofile()
        sys.setprofile(self._profile)
        sys.settrace(self._enter_frame)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(self._before[0])
        sys.setprofile(self._before[1])
        gc.enable()

    def _enter_frame(self, frame: FrameType, event: str, arg: Any) -> Trace | None:
        if not self._counts(frame.f_code):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame: FrameType, event: str, arg: Any) -> Trace:
        if event == "opcode":
            self._instructions += 1
        return self._step

    def _profile(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call" and self._counts(frame.f_code):
            self._calls += 1

    def _counts(self, code: CodeType) -> bool:
        known = self._is_counted.get(code)
        if known is None:
            known = self._is_counted[code] = code.co_filename not in self._apart
        return known
