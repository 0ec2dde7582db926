"""What a pair cannot have, and why: these cells say n/a, and where the gateway has to refuse, it is asked to.

A limit that still passes is one where something is lost by rule, as `mapping.md` has it: the cell carries the footnote,
and what must survive is checked all the same.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gateway.simulator.sayings import HAIKU
from tests.conformance.cell import Cell, Check, Lost, both, expect, expect_finish
from tests.conformance.clients import Client
from tests.conformance.conversation import Turn
from tests.conformance.images import PNG
from tests.conformance.scenarios import QUESTIONS, THINKS, WEATHER, intact, looped, thoughts_heard
from tests.e2e.scripts import PROMPT, QUICK


@dataclass(frozen=True, slots=True)
class Limit:
    """`check`: what happens instead and is played; None where there is nothing to play. `passes`: see above."""

    reason: str
    check: Check | None = None
    passes: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """Where a limit holds. `clients`: names, or dialects; empty means any."""

    scenarios: Collection[str]
    limit: Limit
    clients: Collection[str] = ()
    upstreams: Collection[str] = ()

    def holds(self, client: Client, upstream: str, scenario: str) -> bool:
        return (
            scenario in self.scenarios
            and (not self.clients or client.name in self.clients or client.dialect in self.clients)
            and (not self.upstreams or upstream in self.upstreams)
        )


def limit(client: Client, upstream: str, scenario: str) -> Limit | None:
    """The first limit that holds for a cell."""
    return next((rule.limit for rule in RULES if rule.holds(client, upstream, scenario)), None)


def _refused(cell: Cell, stream: bool, turn: Turn, **settings: Any) -> None:
    told = cell.ask(QUICK, turn, stream=stream, **settings)
    trouble = told[0].trouble
    if trouble is None:
        raise Lost("not refused")
    expect("status", trouble.status, 400)


def refused(turn: Turn, **settings: Any) -> Check:
    """A 400 from the gateway, streamed or whole."""
    return both(partial(_refused, turn=turn, **settings))


def _text_alone(cell: Cell, stream: bool) -> None:
    """Asked to think, the model answers with text all the same."""
    (heard,) = cell.answers(QUICK, Turn(PROMPT), stream=stream, reasoning="auto")
    expect("answer", (heard.text, heard.reasoning), (HAIKU, ""))


def _estimated(cell: Cell, stream: bool) -> None:
    """No counts, or some that are plausible: never zero."""
    (heard,) = cell.answers(QUICK, Turn(PROMPT), stream=stream)
    counts = heard.usage or {}
    if 0 in (counts.get("input"), counts.get("output")):
        raise Lost(f"usage: {counts}")


def _unheard(cell: Cell, stream: bool) -> None:
    """The answers come without the thoughts."""
    for heard in cell.answers(THINKS, *map(Turn, QUESTIONS), stream=stream, reasoning="auto"):
        expect("thought", heard.reasoning, "")
        expect_finish(cell, heard)


def _looped(cell: Cell, stream: bool) -> None:
    """All the calls are made and answered, whatever becomes of the thoughts."""
    *_, final = looped(cell, stream, "on")
    if intact(calls=3, texts=3) not in final.text:
        raise Lost(f"text: {final.text!r}")


def _heard_once(cell: Cell, stream: bool) -> None:
    """The thoughts are heard, and the upstream doesn't get a thought without its seal."""
    second = thoughts_heard(cell, stream)[1]
    expect("second text", second.text, f"You said: {QUESTIONS[1]}\nCame back: 0 of 1 thoughts, 0 of 1 seals.")


ONLY_TEXT: Final = "a `prompt` is answered with raw text, which carries nothing but text"
TAKES_TEXT: Final = "a model that reads a `prompt` takes only text: the gateway refuses the request with 400"
ANSWERS_TEXT: Final = "a model that reads a `prompt` answers with text alone"
COUNTS_NOTHING: Final = (
    "raw text carries no token counts: where a client's format needs some, the gateway estimates them and says so"
)
COUNTS_NO_WRITING: Final = "this provider reads no tokens written to a cache"
READS_NO_REASONING: Final = "this provider reads no reasoning from `chat.completions`"
KEEPS_NO_SEAL: Final = "this provider keeps no signature or encrypted content, so thoughts can't go back to their model"

# Truss callers are relayed to Truss models as they are, so for them it is the body that decides, not the model.
TRANSLATED: Final = ("openai", "anthropic", "responses")

RULES: Final = (
    Rule(
        ("parallel tools", "tool loop", "thinking tool loop", "reasoning", "image", "structured output", "usage"),
        Limit(ONLY_TEXT),
        clients=("prompt",),
    ),
    Rule(
        ("parallel tools", "tool loop", "thinking tool loop"),
        Limit(TAKES_TEXT, refused(Turn(PROMPT), tools=(WEATHER,))),
        TRANSLATED,
        ("raw",),
    ),
    Rule(("image",), Limit(TAKES_TEXT, refused(Turn(PROMPT, PNG))), TRANSLATED, ("raw",)),
    Rule(("structured output",), Limit(TAKES_TEXT, refused(Turn(PROMPT), wants_object=True)), TRANSLATED, ("raw",)),
    Rule(("reasoning",), Limit(ANSWERS_TEXT, both(_text_alone)), TRANSLATED, ("raw",)),
    Rule(("usage",), Limit(COUNTS_NOTHING, both(_estimated)), TRANSLATED, ("raw",)),
    Rule(("usage",), Limit(COUNTS_NO_WRITING, passes=True), ("ai/openai-compatible",)),
    Rule(("reasoning",), Limit(READS_NO_REASONING, both(_unheard)), ("ai/openai.chat",)),
    Rule(("thinking tool loop",), Limit(READS_NO_REASONING, both(_looped)), ("ai/openai.chat",)),
    Rule(
        ("thinking tool loop",),
        Limit(KEEPS_NO_SEAL, both(_looped), passes=True),
        ("ai/openai-compatible",),
        ("anthropic", "responses"),
    ),
    Rule(
        ("reasoning",),
        Limit(KEEPS_NO_SEAL, both(_heard_once), passes=True),
        ("ai/openai-compatible",),
        ("anthropic", "responses"),
    ),
)
