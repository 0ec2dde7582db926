"""The rows of the grid: what each asks, and what has to come back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.simulator.script import HAIKU
from tests.conformance.cell import Cell, Check, Lost, both, expect, expect_finish
from tests.conformance.conversation import Heard, Tool, Turn
from tests.e2e.scripts import PACED, PROMPT, QUICK, TOKENS, faulty

STATUSES: Final = (400, 429, 503)
STALL: Final = faulty("stall@3")
BREAKS: Final = {faulty(fault): fault for fault in ("error@3", "cut@3", "close@3")}
LEAVING_S: Final = 5.0

WEATHER: Final = Tool("get_weather", "The weather in a city.", "city")
TIME: Final = Tool("get_time", "The time in a zone.", "zone")
RESULTS: Final = {"get_weather": "7 degrees, rain", "get_time": "12:30"}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A row: what upstreams perform, and what is played."""

    name: str
    meaning: str
    scripts: Sequence[str]
    check: Check


# -- text -----------------------------------------------------------------------------------------------------------


def stream(cell: Cell) -> None:
    """Text, word by word."""
    (heard,) = cell.answers(PACED, Turn(PROMPT), stream=True)
    expect("text", heard.text, HAIKU)
    if cell.hears_events:
        expect("pieces", heard.pieces, len(TOKENS))
    elif heard.pieces < len(TOKENS) // 2:
        raise Lost(f"{heard.pieces} pieces of {len(TOKENS)} words")
    expect_finish(cell, heard)


def whole(cell: Cell) -> None:
    """Text in one answer."""
    (heard,) = cell.answers(QUICK, Turn(PROMPT), stream=False)
    expect("text", heard.text, HAIKU)
    expect_finish(cell, heard)


# -- tools ----------------------------------------------------------------------------------------------------------


def parallel_tools(cell: Cell, stream: bool) -> None:
    """Two calls in one answer, both answered, and an answer that quotes both."""
    asked, final = cell.answers(
        QUICK, Turn("Weather and time?"), Turn(), stream=stream, tools=(WEATHER, TIME), results=RESULTS
    )
    calls = [(call.name, call.arguments) for call in asked.calls]
    expect("calls", calls, [("get_weather", {"city": "Oslo"}), ("get_time", {"zone": "Oslo"})])
    expect("distinct ids", len({call.id for call in asked.calls if call.id}), 2)
    expect_finish(cell, asked, 1)
    expect("text", final.text, "The tools said: 7 degrees, rain; 12:30")
    expect_finish(cell, final)


# -- failures -------------------------------------------------------------------------------------------------------


def error_before(cell: Cell, stream: bool) -> None:
    """A status instead of an answer, as the class that the SDK has for it, with the upstream's message."""
    for status, error in zip(STATUSES, cell.client.errors, strict=True):
        (heard,) = cell.ask(faulty(f"status@{status}"), Turn(PROMPT), stream=stream)
        trouble = heard.trouble
        if trouble is None:
            raise Lost(f"no error for {status}")
        shown = 529 if status == 503 and cell.client.dialect == "anthropic" else status
        expect("error", (trouble.type, trouble.status), (error, shown))
        if f"simulated: status {status}" not in trouble.message:
            raise Lost(f"message of {status}: {trouble.message!r}")


def error_midstream(cell: Cell) -> None:
    """An error frame, a broken connection and an early end: what came before, then an error, never a finish."""
    for script, fault in BREAKS.items():
        if fault == "close@3" and cell.is_raw:
            continue  # raw text that ends is complete: nothing on that wire says otherwise
        (heard,) = cell.ask(script, Turn(PROMPT), stream=True)
        expect(f"text before {fault}", heard.text, "".join(TOKENS[:3]))
        expect(f"finish after {fault}", heard.finish, None)
        expect_told(cell, heard, fault)


def expect_told(cell: Cell, heard: Heard, fault: str) -> None:
    """The client knows that its answer is broken, and of an error frame what was in it."""
    if heard.trouble is None or heard.trouble.type == "Inconsistent":
        raise Lost(f"{fault} looks like {heard.trouble or 'an end'}")
    is_frame = fault == "error@3" and cell.hears_events and not cell.is_raw
    if is_frame and "simulated failure" not in heard.trouble.message:
        raise Lost(f"message: {heard.trouble.message!r}")


def cancel(cell: Cell) -> None:
    """The client leaves in the middle, and the upstream's connection is closed."""
    with cell.alone:
        before = cell.world.calls(STALL)
        (heard,) = cell.ask(STALL, Turn(PROMPT), stream=True, leave_after=3 if cell.hears_events else 1)
        expect("trouble", heard.trouble, None)
        expect("calls", cell.world.calls(STALL), before + 1)
        deadline = time.monotonic() + LEAVING_S
        while cell.world.active(STALL):
            if time.monotonic() > deadline:
                raise Lost(f"the upstream is still open {LEAVING_S:g} s after the client left")
            time.sleep(0.005)  # looked at again until it is closed or the deadline is over


SCENARIOS: Final = (
    Scenario("stream", "a text with an emoji, word by word as it is said", (PACED,), stream),
    Scenario("whole", "the same in one answer", (QUICK,), whole),
    Scenario("parallel tools", "two calls in one answer, both answered, and quoted", (QUICK,), both(parallel_tools)),
    Scenario(
        "error before",
        "400, 429 and 503 instead of an answer, as the SDK's own classes",
        [faulty(f"status@{status}") for status in STATUSES],
        both(error_before),
    ),
    Scenario(
        "error mid-stream",
        "an error frame, a broken connection and an early end after three words: an error, never a finish",
        list(BREAKS),
        error_midstream,
    ),
    Scenario("cancel", "the client leaves after three words, and the upstream's connection closes", (STALL,), cancel),
)
SCRIPTS: Final = tuple(dict.fromkeys(script for scenario in SCENARIOS for script in scenario.scripts))
