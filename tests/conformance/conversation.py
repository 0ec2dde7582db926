"""A conversation for any client to have, and what the client heard: plain values, which also travel as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import orjson
from pydantic import BaseModel

MAX_TOKENS: Final = 8192


class Place(BaseModel):
    """What structured output is asked for."""

    city: str
    population: int
    coastal: bool


@dataclass(frozen=True, slots=True)
class Tool:
    """A function of one string."""

    name: str
    description: str
    argument: str

    @property
    def schema(self) -> dict[str, Any]:
        """Its parameters, as strict as OpenAI wants them."""
        return {
            "type": "object",
            "properties": {self.argument: {"type": "string"}},
            "required": [self.argument],
            "additionalProperties": False,
        }


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says, maybe with a PNG (base64), or without text: the answers to the calls just heard."""

    text: str = ""
    image: str = ""


@dataclass(frozen=True, slots=True)
class Talk:
    """One conversation. `results`: what tools answer, by the argument they are called with.

    `reasoning`: whether the model shall think: `on`, or `auto` as it likes, where the client can say so.
    `leave_after`: how many pieces of text the client hears before it goes.
    """

    model: str
    turns: Sequence[Turn]
    stream: bool = True
    tools: Sequence[Tool] = ()
    results: Mapping[str, str] = field(default_factory=dict)
    wants_object: bool = False
    reasoning: Literal["", "on", "auto"] = ""
    leave_after: int = 0

    def result(self, call: Call) -> str:
        """What a tool answers. Raises where it was called with something that nobody said."""
        (argument,) = call.arguments.values()
        return self.results[argument]


@dataclass(slots=True)
class Call:
    """A tool call. `arguments`: the parsed JSON."""

    id: str
    name: str
    arguments: Any


@dataclass(slots=True)
class Trouble:
    """An error as the client's SDK tells it: the class it raised, or the event it delivered."""

    type: str
    status: int | None
    message: str


@dataclass(slots=True)
class Heard:
    """What one answer was to a client.

    `pieces`: how many of text there were. `seal`: signatures and encrypted content, joined. `usage`: `input` with all
    cache tokens, `cached`, `written`, `output` with `reasoning`. `value`: the object that the SDK itself parsed.
    """

    text: str = ""
    pieces: int = 0
    reasoning: str = ""
    seal: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str | None = None
    usage: dict[str, int | None] | None = None
    value: Any = None
    trouble: Trouble | None = None

    def hear(self, text: str) -> None:
        self.text += text
        self.pieces += 1


def heard_of(fields: Mapping[str, Any]) -> Heard:
    """What a client in another process heard."""
    told = {name: value for name, value in fields.items() if name not in ("calls", "trouble")}
    trouble = fields.get("trouble")
    return Heard(
        calls=[Call(**call) for call in fields.get("calls", ())],
        trouble=Trouble(**trouble) if trouble else None,
        **told,
    )


class Speaker(Protocol):
    """One client in one conversation: it keeps the history as its SDK gave it."""

    def ask(self, turn: Turn, heard: Heard) -> None:
        """One call. What it hears goes into `heard`, whatever happens after."""
        ...


def converse(speaker: Speaker, talk: Talk) -> list[Heard]:
    """The whole conversation; it ends where something goes wrong."""
    told: list[Heard] = []
    for turn in talk.turns:
        told.append(Heard())
        try:
            speaker.ask(turn, told[-1])
        except Exception as error:  # whatever an SDK makes of the gateway's answer is what was heard
            told[-1].trouble = trouble_of(error)
            break
    return told


def trouble_of(error: Exception) -> Trouble:
    """An exception of an SDK, or of ours."""
    status = getattr(error, "status_code", None) or getattr(error, "status", None)
    return Trouble(type(error).__name__, status, str(getattr(error, "message", None) or error))


def arguments_of(text: str) -> Any:
    """Arguments as JSON. Raises where they are none."""
    return orjson.loads(text)


class Inconsistent(Exception):
    """An SDK's own account of a stream differs from the sum of what it delivered."""


def require(is_true: bool, what: str) -> None:
    """A rule of the protocol that the SDK does not check itself."""
    if not is_true:
        raise Inconsistent(what)
