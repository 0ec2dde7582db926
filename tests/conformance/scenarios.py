"""The rows of the grid: what each asks, and what has to come back."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.simulator import sampling
from gateway.simulator.sayings import HAIKU
from gateway.simulator.script import tokens
from gateway.simulator.thoughts import thought
from tests.conformance.cell import Cell, Check, Lost, both, expect, expect_finish
from tests.conformance.conversation import Heard, Place, Tool, Turn
from tests.conformance.images import PNG, PNG_BYTES
from tests.e2e.scripts import PACED, PROMPT, QUICK, TOKENS, faulty

STATUSES: Final = (400, 429, 503)
STALL: Final = faulty("stall@3")
BREAKS: Final = {faulty(fault): fault for fault in ("error@3", "cut@3", "close@3")}
LEAVING_S: Final = 5.0

PARALLEL: Final = f"{QUICK}&say=parallel"
LOOP: Final = f"{QUICK}&say=loop"
THINKS: Final = f"{QUICK}&say=reasoning"
SEES: Final = f"{QUICK}&say=image"
ANSWERS_BY_SCHEMA: Final = f"{QUICK}&say=json"
COUNTS: Final = f"{QUICK}&say=reasoning&cache_read=1000&cache_write=100"

SEALED: Final = {"anthropic": 1, "responses": 1}
"""Upstreams whose reasoning is sealed: by a signature, or as encrypted content."""

WEATHER: Final = Tool("get_weather", "The weather in a city.", "city")
TIME: Final = Tool("get_time", "The time in a zone.", "zone")
RESULTS: Final = {"Oslo": "7 degrees, rain", "Rome": "12:30", "Lima": '19 degrees, "fog" 🌫'}


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
    if cell.hears_events and not cell.is_raw:
        expect("pieces", heard.pieces, len(TOKENS))
    elif heard.pieces < len(TOKENS) // 4:
        raise Lost(f"{heard.pieces} pieces of {len(TOKENS)} words")
    expect_finish(cell, heard)


def whole(cell: Cell) -> None:
    """Text in one answer."""
    (heard,) = cell.answers(QUICK, Turn(PROMPT), stream=False)
    expect("text", heard.text, HAIKU)
    expect_finish(cell, heard)


# -- tools ----------------------------------------------------------------------------------------------------------


def parallel_tools(cell: Cell, stream: bool) -> None:
    """Two calls in one answer, both answered, and an answer that quotes both results and counts what came back."""
    asked, final = cell.answers(
        PARALLEL, Turn("Weather and time?"), Turn(), stream=stream, tools=(WEATHER, TIME), results=RESULTS
    )
    expect("text", asked.text, "Step 1 of 1.")
    expect_calls(asked, ("get_weather", {"city": "Oslo"}), ("get_time", {"zone": "Rome"}))
    expect_finish(cell, asked, 1)
    told = f"{intact(calls=2, texts=1)}, 0 of 0 thoughts, 0 of 0 seals."
    quoted = f"get_weather said: {RESULTS['Oslo']}\nget_time said: {RESULTS['Rome']}"
    expect("text", final.text, f"All 1 steps are done.\n{quoted}\n{told}")
    expect_finish(cell, final)


def tool_loop(cell: Cell, stream: bool) -> None:
    """A call in each of three turns, with other arguments each time."""
    *_, final = looped(cell, stream)
    expect_end(final, f"{intact(calls=3, texts=3)}, 0 of 0 thoughts, 0 of 0 seals.")


def thinking_tool_loop(cell: Cell, stream: bool) -> None:
    """The same, with a thought before each call and before the end."""
    told = looped(cell, stream, "on")
    for number, heard in enumerate(told, 1):
        expect("thought", heard.reasoning, thought(number))
    seals = 3 * SEALED.get(cell.upstream, 0)
    expect_end(told[-1], f"{intact(calls=3, texts=3)}, 3 of 3 thoughts, {seals} of {seals} seals.")


def looped(cell: Cell, stream: bool, reasoning: str = "") -> Sequence[Heard]:
    """What is heard in three turns with a call in each, and one that quotes all results."""
    turns = (Turn("Weather everywhere?"), Turn(), Turn(), Turn())
    told = cell.answers(LOOP, *turns, stream=stream, tools=(WEATHER,), results=RESULTS, reasoning=reasoning)
    *steps, final = told
    for number, (city, heard) in enumerate(zip(RESULTS, steps, strict=True), 1):
        expect("text", heard.text, f"Step {number} of 3.")
        expect_calls(heard, ("get_weather", {"city": city}))
        expect_finish(cell, heard, 1)
    expect("distinct ids", len({call.id for heard in steps for call in heard.calls}), 3)
    expect_finish(cell, final)
    return told


def expect_end(final: Heard, came_back: str) -> None:
    quoted = "\n".join(f"get_weather said: {result}" for result in RESULTS.values())
    expect("text", final.text, f"All 3 steps are done.\n{quoted}\n{came_back}")


def intact(calls: int, texts: int) -> str:
    """How the simulated model says that it got back all it said."""
    return f"Came back: {calls} of {calls} calls, {calls} of {calls} results, {texts} of {texts} texts"


def expect_calls(heard: Heard, *calls: tuple[str, Any]) -> None:
    expect("calls", [(call.name, call.arguments) for call in heard.calls], list(calls))
    expect("distinct ids", len({call.id for call in heard.calls if call.id}), len(calls))


# -- reasoning, images, objects, counts -----------------------------------------------------------------------------

QUESTIONS: Final = ("Is it safe?", "Are you sure?")


def reasoning(cell: Cell, stream: bool) -> None:
    """A thought before each of two answers; the second one says whether the first thought came back, seal and all."""
    first, second = thoughts_heard(cell, stream)
    seals = SEALED.get(cell.upstream, 0)
    expect("first text", first.text, f"You said: {QUESTIONS[0]}\nCame back: 0 of 0 thoughts, 0 of 0 seals.")
    told = f"Came back: 1 of 1 thoughts, {seals} of {seals} seals."
    expect("second text", second.text, f"You said: {QUESTIONS[1]}\n{told}")


def thoughts_heard(cell: Cell, stream: bool) -> Sequence[Heard]:
    """Two turns, whose thoughts have to be heard."""
    told = cell.answers(THINKS, *map(Turn, QUESTIONS), stream=stream, reasoning="auto")
    for number, heard in enumerate(told, 1):
        expect("thought", heard.reasoning, thought(number))
        expect_finish(cell, heard)
    return told


def image(cell: Cell, stream: bool) -> None:
    """A picture, of which the model tells type, size and digest."""
    (heard,) = cell.answers(SEES, Turn("What is this?", PNG), stream=stream)
    digest = hashlib.sha256(PNG_BYTES).hexdigest()[:16]
    expect("text", heard.text, f"I see an image, image/png of {len(PNG_BYTES)} bytes, sha256 {digest}.")
    expect_finish(cell, heard)


def structured_output(cell: Cell, stream: bool) -> None:
    """An object of a schema, as the SDK parses it."""
    (heard,) = cell.answers(ANSWERS_BY_SCHEMA, Turn("Describe Oslo."), stream=stream, wants_object=True)
    expect("object", heard.value, sampling.value(Place.model_json_schema()))
    expect("text", orjson.loads(heard.text), heard.value)
    expect_finish(cell, heard)


def usage(cell: Cell, stream: bool) -> None:
    """Exact token counts, with those of the cache and of reasoning."""
    (heard,) = cell.answers(COUNTS, Turn(QUESTIONS[0]), stream=stream, reasoning="auto")
    if heard.usage is None:
        raise Lost("no usage")
    thinking = len(tokens(thought(1)))
    counts = {
        "input": len(tokens(QUESTIONS[0])) + 1100,
        "cached": 1000,
        "written": 100,
        "output": thinking + len(tokens(f"You said: {QUESTIONS[0]}\nCame back: 0 of 0 thoughts, 0 of 0 seals.")),
        "reasoning": thinking,
    }
    told = {name: count for name, count in heard.usage.items() if name not in cell.client.uncounted}
    expect("usage", told, {name: count for name, count in counts.items() if name not in cell.client.uncounted})


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
    Scenario(
        "parallel tools",
        "two calls in one answer; their results are quoted, and all came back to the model unchanged",
        (PARALLEL,),
        both(parallel_tools),
    ),
    Scenario("tool loop", "three turns with a call in each, in the same way", (LOOP,), both(tool_loop)),
    Scenario(
        "thinking tool loop",
        "the same with a thought before each call: all come back, signed or encrypted as they were",
        (LOOP,),
        both(thinking_tool_loop),
    ),
    Scenario(
        "reasoning",
        "two turns; both thoughts are heard, and the model gets the first one back, signed or encrypted as it was",
        (THINKS,),
        both(reasoning),
    ),
    Scenario("image", "a picture; the model tells its type, size and SHA-256", (SEES,), both(image)),
    Scenario(
        "structured output", "an object of a schema, parsed by the SDK", (ANSWERS_BY_SCHEMA,), both(structured_output)
    ),
    Scenario("usage", "exact token counts, with those of cache and reasoning", (COUNTS,), both(usage)),
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
