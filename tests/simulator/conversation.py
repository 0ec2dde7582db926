"""A client that plays along with the simulator, in neutral words: it brings back every answer and runs every call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gateway.neutral.events import BlockKind
from gateway.neutral.grammar import Grammar
from gateway.neutral.request import Part, Reasoning, Request, Role, Text, ToolCall, ToolResult, Turn
from gateway.neutral.response import Block, Response, fold
from gateway.simulator.script import Say, Script, play

MAX_TURNS: Final = 9

Run = Callable[[ToolCall], ToolResult]


def ask(text: str = "hello", **fields: object) -> Request:
    return Request("sim", (Turn(Role.USER, (Text(text),)),), **fields)  # type: ignore[arg-type]


def answer(say: str, request: Request, seal_format: str = "") -> Response:
    """What the simulator says to one request; its events obey the grammar."""
    grammar = Grammar()
    events = [
        event for step in play(Script(say), request, seal_format) if isinstance(step, Say) for event in step.events
    ]
    for event in events:
        grammar.check(event)
    return fold(events)


def brought_back(response: Response) -> Turn:
    """An answer as a part of the history."""
    return Turn(Role.ASSISTANT, tuple(_part(block) for block in response.blocks))


def _part(block: Block) -> Part:
    match block.kind:
        case BlockKind.TOOL:
            return ToolCall(block.id, block.name, block.text, block.call_kind, block.namespace)
        case BlockKind.REASONING:
            return Reasoning(block.text, block.signature)
        case _:
            return Text(block.text)


def ran(call: ToolCall) -> ToolResult:
    """The result of a call, which says what was called."""
    return ToolResult(call.id, (Text(f"{call.name} {call.arguments}"),))


def continued(request: Request, response: Response, run: Run = ran) -> Request:
    """The request that follows: the answer, and the results of its calls."""
    turn = brought_back(response)
    results = tuple(run(part) for part in turn.parts if isinstance(part, ToolCall))
    return replace(request, turns=(*request.turns, turn, *((Turn(Role.USER, results),) if results else ())))


def converse(say: str, request: Request, seal_format: str = "", run: Run = ran) -> list[Response]:
    """All answers until one calls no tool."""
    answers: list[Response] = []
    while len(answers) < MAX_TURNS:
        answers.append(answer(say, request, seal_format))
        if not any(block.kind is BlockKind.TOOL for block in answers[-1].blocks):
            return answers
        request = continued(request, answers[-1], run)
    raise AssertionError(f"no end after {MAX_TURNS} turns")
