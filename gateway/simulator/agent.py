"""A model that acts: it follows the steps it is given, over several turns, and says what came back to it intact.

Its steps stand in the user's messages, a line each; `with` joins a call to the step above, in the same turn:

    step run cat note.txt
    with read /tmp/other.txt
    step patch note.txt a new line
    step write /tmp/third.txt some text
    step call get_weather {"city": "Oslo"}

A verb becomes a call of whatever tool the client declared for it. When every call is answered, the model quotes the
results and counts what of its own words the client brought back. Nothing is remembered between two requests.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.neutral.events import BlockKind
from gateway.neutral.request import (
    ChoiceMode,
    CustomTool,
    FunctionTool,
    JsonSchemaFormat,
    Request,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from gateway.neutral.response import Block
from gateway.simulator import sampling, seeing, thoughts

_STEP: Final = re.compile(r"^(step|with) (\w+) (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Act:
    """One call: of a tool that the client declared, with its argument text."""

    tool: str
    text: str
    kind: str = "function"
    namespace: str | None = None

    def is_same(self, call: ToolCall) -> bool:
        """Whether a call of the history is this one; JSON may have been written anew on its way."""
        if (call.name, call.namespace, call.kind) != (self.tool, self.namespace, self.kind):
            return False
        if call.kind == "custom":
            return call.arguments == self.text
        try:
            return bool(orjson.loads(call.arguments or "{}") == orjson.loads(self.text))
        except orjson.JSONDecodeError:
            return False


Plan = Sequence[Sequence[Act]]
"""What is called together, turn by turn."""


# -- what to do ----------------------------------------------------------------------------------------------------


def told(request: Request) -> Plan:
    """The plan in the user's messages. A step for which no tool is declared is empty."""
    plan: list[list[Act]] = []
    for turn in request.turns:
        if turn.role is Role.USER:
            text = "\n".join(part.text for part in turn.parts if isinstance(part, Text))
            for word, verb, rest in _STEP.findall(text):
                if word == "step" or not plan:
                    plan.append([])
                if (act := _act(request, verb, rest)) is not None:
                    plan[-1].append(act)
    return plan


def loop(request: Request) -> Plan:
    """A call in each of three turns, of the declared functions in order, with other arguments each time."""
    functions = callable_functions(request)
    return [[_sampled(functions[turn % len(functions)], turn)] for turn in range(3)] if functions else []


def parallel(request: Request) -> Plan:
    """Two calls at once: of the first two functions, or of the only one twice."""
    functions = callable_functions(request)
    return [[_sampled(functions[call % len(functions)], call) for call in range(2)]] if functions else []


def callable_functions(request: Request) -> list[FunctionTool]:
    """The functions that the client lets the model call."""
    names = request.tool_choice.names if request.tool_choice else ()
    functions = [tool for tool in request.tools if isinstance(tool, FunctionTool)]
    return [tool for tool in functions if not names or tool.name in names]


def _sampled(tool: FunctionTool, number: int) -> Act:
    return Act(tool.name, _dump(sampling.arguments(tool.schema, number)), namespace=tool.namespace)


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()


# -- which tool does it --------------------------------------------------------------------------------------------


def _act(request: Request, verb: str, rest: str) -> Act | None:
    """The call for a step: of the first tool in the verb's table that the client declared."""
    if verb == "call":
        name, _, text = rest.partition(" ")
        return _call(request, name, text or "{}")
    for name, spell in _WAYS.get(verb, ()):
        if (act := _call(request, name, spell(rest))) is not None:
            return act
    return None


def _call(request: Request, name: str, arguments: Any) -> Act | None:
    """A call of a tool by its name, or by the end of it where a namespace was put before it."""
    for tool in request.tools:
        match tool:
            case CustomTool() if _is_called(tool.name, name) and isinstance(arguments, str):
                return Act(tool.name, arguments, "custom", tool.namespace)
            case FunctionTool() if _is_called(tool.name, name):
                return Act(tool.name, _argument_text(arguments), namespace=tool.namespace)
    return None


def _is_called(tool: str, name: str) -> bool:
    return tool == name or tool.endswith(f"__{name}")


def _argument_text(arguments: Any) -> str:
    """JSON; free text for a custom tool that was declared as a function goes into its one property."""
    if not isinstance(arguments, str):
        return _dump(arguments)
    return arguments if arguments.lstrip().startswith("{") else _dump({"input": arguments})


def _parted(rest: str) -> tuple[str, str]:
    path, _, text = rest.partition(" ")
    return path, f"{text}\n"


def _printing(rest: str) -> str:
    path, text = _parted(rest)
    return f"printf %s {shlex.quote(text)} > {shlex.quote(path)}"


def _patch(rest: str) -> str:
    path, text = _parted(rest)
    lines = "".join(f"+{line}\n" for line in text.splitlines())
    return f"*** Begin Patch\n*** Add File: {path}\n{lines}*** End Patch\n"


_Ways = Sequence[tuple[str, Callable[[str], Any]]]

_RUN: Final[_Ways] = (
    ("Bash", lambda command: {"command": command, "description": "A step"}),
    ("exec_command", lambda command: {"cmd": command}),
    ("shell_command", lambda command: {"command": command}),
    ("shell", lambda command: {"command": ["bash", "-lc", command]}),
)
_WRITE: Final[_Ways] = (
    ("Write", lambda rest: dict(zip(("file_path", "content"), _parted(rest), strict=True))),
    *((name, lambda rest, spell=spell: spell(_printing(rest))) for name, spell in _RUN),
)
_WAYS: Final[Mapping[str, _Ways]] = {
    "run": _RUN,
    "write": _WRITE,
    "read": (
        ("Read", lambda path: {"file_path": path}),
        *((name, lambda path, spell=spell: spell(f"cat {shlex.quote(path)}")) for name, spell in _RUN),
    ),
    "patch": (("apply_patch", _patch), *_WRITE),
}
"""verb → the tools that can do it, as coding agents name them, and the arguments they take."""


# -- doing it ------------------------------------------------------------------------------------------------------


def blocks(plan: Plan, request: Request, seal_format: str) -> Iterator[Block]:
    """The answer to this request: the next step of the plan, or what came of it all."""
    history = list(_calls(request))
    done, step = 0, 0
    while step < len(plan) and done + len(plan[step]) <= len(history):
        done, step = done + len(plan[step]), step + 1
    if thoughts.are_asked(request):
        yield thoughts.block(step + 1, seal_format)
    if step == len(plan):
        yield _last(_closing(plan, request, seal_format), request)
        return
    yield Block(BlockKind.TEXT, _announcement(step + 1, len(plan)))
    for number, act in enumerate(plan[step], start=done):
        yield Block(
            BlockKind.TOOL,
            act.text,
            id=f"call_simulated_{number}",
            name=act.tool,
            call_kind=act.kind,
            namespace=act.namespace,
        )


def _last(text: str, request: Request) -> Block:
    """The last words: as the object that the client wants, if it wants one by a schema or by a tool it insists on."""
    if isinstance(request.output, JsonSchemaFormat):
        return Block(BlockKind.TEXT, _dump(_holding(text, sampling.value(request.output.schema))))
    choice, functions = request.tool_choice, callable_functions(request)
    if functions and choice and choice.mode in (ChoiceMode.REQUIRED, ChoiceMode.NAMED):
        arguments = _dump(_holding(text, sampling.arguments(functions[-1].schema)))
        return Block(BlockKind.TOOL, arguments, id="call_simulated_last", name=functions[-1].name)
    return Block(BlockKind.TEXT, text)


def _holding(text: str, value: Any) -> Any:
    """An object with the text in place of its first string."""
    if not isinstance(value, dict):
        return value
    name = next((name for name, held in value.items() if isinstance(held, str)), None)
    return value if name is None else value | {name: text}


def _announcement(step: int, steps: int) -> str:
    return f"Step {step} of {steps}."


def _calls(request: Request) -> Iterator[ToolCall]:
    return (part for part in request.parts() if isinstance(part, ToolCall))


def _closing(plan: Plan, request: Request, seal_format: str) -> str:
    results = {part.call_id: part for part in request.parts() if isinstance(part, ToolResult)}
    lines = [f"All {len(plan)} steps are done."]
    lines += [f"{call.name} {_quoted(results.get(call.id))}" for call in _calls(request)]
    lines += seeing.told(request)
    return "\n".join([*lines, f"Came back: {came_back(plan, request, seal_format)}."])


def _quoted(result: ToolResult | None) -> str:
    if result is None:
        return "never answered"
    text = "\n".join(part.text for part in result.parts if isinstance(part, Text))
    return f"failed: {text}" if result.is_error else f"said: {text}"


def came_back(plan: Plan, request: Request, seal_format: str) -> str:
    """What of the model's own words, and of the results it waited for, this request brings back unchanged."""
    acts = [act for step in plan for act in step]
    calls = list(_calls(request))
    intact = sum(act.is_same(call) for act, call in zip(acts, calls, strict=False))
    answered = {part.call_id for part in request.parts() if isinstance(part, ToolResult)}
    said = "\n".join(
        part.text
        for turn in request.turns
        if turn.role is Role.ASSISTANT
        for part in turn.parts
        if isinstance(part, Text)
    )
    steps = [number for number, step in enumerate(plan, start=1) if step]
    announced = sum(_announcement(step, len(plan)) in said for step in steps)
    thinks = steps if thoughts.are_asked(request) else ()
    seen, sealed = thoughts.returned(request, thinks)
    return (
        f"{intact} of {len(acts)} calls, {sum(call.id in answered for call in calls)} of {len(acts)} results, "
        f"{announced} of {len(steps)} texts, {seen} of {len(thinks)} thoughts, "
        f"{sealed} of {len(thinks) if seal_format else 0} seals"
    )
