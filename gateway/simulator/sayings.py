"""What the simulator can say: a table of names and the blocks of their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson

from gateway.neutral.events import BlockKind
from gateway.neutral.request import (
    ChoiceMode,
    FunctionTool,
    JsonSchemaFormat,
    Request,
    Role,
    Text,
    ToolResult,
)
from gateway.neutral.response import Block
from gateway.simulator import agent, sampling, seeing, thoughts

HAIKU: Final = "Grey waves fold and fall,\nsalt wind combs the waiting shore,\nthe tide keeps its word. 🌊\n"


def blocks(say: str, request: Request, seal_format: str) -> list[Block]:
    """The answer to a request. `seal_format`: of the values that seal reasoning in the played API, empty for none."""
    return list(SAYS[say][1](request, seal_format))


# -- words ---------------------------------------------------------------------------------------------------------


def _auto(request: Request, seal_format: str) -> Iterable[Block]:
    """What a good model would do: call tools, answer as JSON if asked to, know one haiku, else echo."""
    if _may_call(request) and not last_results(request):
        return _each_tool(request, seal_format)
    if request.output is not None:
        return _json(request, seal_format)
    return [_text(_reply(request))]


def _text(text: str) -> Block:
    return Block(BlockKind.TEXT, text)


def _haiku(request: Request, seal_format: str) -> Iterable[Block]:
    return [_text(_results_told(request) or HAIKU)]


def _echo(request: Request, seal_format: str) -> Iterable[Block]:
    asked = last_text(request)
    return [_text(_results_told(request) or (f"You said: {asked}" if asked else HAIKU))]


def _reply(request: Request) -> str:
    asked = last_text(request)
    if told := _results_told(request):
        return told
    return HAIKU if "haiku" in asked.lower() or not asked else f"You said: {asked}"


def _results_told(request: Request) -> str:
    results = last_results(request)
    told = [part.text for result in results for part in result.parts if isinstance(part, Text)]
    return f"The tools said: {'; '.join(told)}" if results else ""


def last_results(request: Request) -> list[ToolResult]:
    """What the tools said last: all in one turn, or a turn each, as the dialect has it."""
    results: list[ToolResult] = []
    for turn in reversed(request.turns):
        found = [part for part in turn.parts if isinstance(part, ToolResult)]
        if not found:
            break
        results = found + results
    return results


def last_text(request: Request) -> str:
    """What the user said last."""
    for turn in reversed(request.turns):
        if turn.role is Role.USER:
            return "".join(part.text for part in turn.parts if isinstance(part, Text))
    return ""


# -- tools ---------------------------------------------------------------------------------------------------------


def _may_call(request: Request) -> bool:
    return bool(request.tools) and not (request.tool_choice and request.tool_choice.mode is ChoiceMode.NONE)


def _each_tool(request: Request, seal_format: str) -> Iterable[Block]:
    """Every tool once; once they have answered, what they said."""
    if not _may_call(request) or last_results(request):
        return [_text(_reply(request))]
    return [_called(index, tool) for index, tool in enumerate(agent.callable_functions(request))]


def _called(index: int, tool: FunctionTool) -> Block:
    text = orjson.dumps(sampling.arguments(tool.schema)).decode()
    return Block(BlockKind.TOOL, text, id=f"call_simulated_{index}", name=tool.name, namespace=tool.namespace)


def _follow(make_plan: Callable[[Request], agent.Plan]) -> _Saying:
    """Follows a plan turn by turn; without one, it is as `auto`."""

    def say(request: Request, seal_format: str) -> Iterable[Block]:
        plan = make_plan(request) if _may_call(request) else []
        return agent.blocks(plan, request, seal_format) if any(plan) else _auto(request, seal_format)

    return say


# -- reasoning, images, JSON ---------------------------------------------------------------------------------------


def _reasoning(request: Request, seal_format: str) -> Iterable[Block]:
    """A thought before each answer, and a count of the earlier ones that came back."""
    earlier = sum(turn.role is Role.ASSISTANT for turn in request.turns)
    seen, sealed = thoughts.returned(request, range(1, earlier + 1))
    told = f"Came back: {seen} of {earlier} thoughts, {sealed} of {earlier if seal_format else 0} seals."
    return [thoughts.block(earlier + 1, seal_format), _text(f"You said: {last_text(request)}\n{told}")]


def _image(request: Request, seal_format: str) -> Iterable[Block]:
    """What media came, each by its type, its size and a digest of its bytes."""
    return [_text("\n".join(seeing.told(request)) or "I see nothing.")]


def _json(request: Request, seal_format: str) -> Iterable[Block]:
    """A value of the schema that the answer, or the tool the client insists on, must have."""
    choice = request.tool_choice
    if choice and choice.mode in (ChoiceMode.NAMED, ChoiceMode.REQUIRED) and _may_call(request):
        return _each_tool(request, seal_format)
    if schema := request.output.schema if isinstance(request.output, JsonSchemaFormat) else _schema_told(request):
        return [_text(orjson.dumps(sampling.value(schema)).decode())]
    return [_text(orjson.dumps({"answer": _reply(request)}).decode())]


def _schema_told(request: Request) -> Mapping[str, Any] | None:
    """A JSON schema on a line of its own in the instructions: it is how servers are told that take no other."""
    for line in reversed([line for text in request.system for line in text.text.splitlines()]):
        if line.startswith("{"):
            try:
                schema = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            return schema if isinstance(schema, dict) else None
    return None


_Saying = Callable[[Request, str], Iterable[Block]]

SAYS: Final[Mapping[str, tuple[str, _Saying]]] = {
    "auto": ("calls its tools, answers by a schema if asked to, knows a haiku, else echoes", _auto),
    "haiku": ("a haiku", _haiku),
    "echo": ("what the user said", _echo),
    "tools": ("calls every tool once, then tells the results", _each_tool),
    "parallel": ("makes two calls in one turn", _follow(agent.parallel)),
    "loop": ("makes a call in each of three turns", _follow(agent.loop)),
    "agent": (
        "follows the steps in the message: `step run ls`, `with read /a`, `step call NAME {}`",
        _follow(agent.told),
    ),
    "reasoning": ("thinks first, and counts the earlier thoughts that came back", _reasoning),
    "image": ("tells type, size and digest of the media it sees", _image),
    "json": ("a value of the schema that was asked for", _json),
}
"""name → what it is, and (request, format of reasoning seals) → the answer."""
