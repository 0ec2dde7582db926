"""Tools and the choice among them, as an Anthropic upstream is told of them (mapping.md §5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.dialects.anthropic.caching import mark
from gateway.dialects.anthropic.client_tools import MODES
from gateway.dialects.anthropic.options import Features
from gateway.dialects.anthropic.schemas import input_schema
from gateway.dialects.base import Json
from gateway.dialects.report import Report
from gateway.dialects.tools import (
    CUSTOM_SCHEMA,
    CallableTool,
    ToolNames,
    allowed_tools,
    callable_tools,
    custom_description,
    drop_choice,
    history_calls,
    object_schema,
)
from gateway.neutral import request as rq
from gateway.neutral.request import ChoiceMode

OUTPUT_TOOL: Final = "json_output"
"""The tool whose arguments are the answer, where a server knows no other way to follow a schema (mapping.md §5.4)."""


@dataclass(frozen=True, slots=True)
class Declarations:
    """The body's `tools` and `tool_choice`, as far as they are there; `output_tool`: whose arguments are the answer."""

    body: Json
    output_tool: str = ""

    @property
    def is_forced(self) -> bool:
        """Whether the answer has to be a call, before which this API lets nobody think."""
        return self.body.get("tool_choice", {}).get("type") in ("any", "tool")


def declare(request: rq.Request, names: ToolNames, features: Features, report: Report) -> Declarations:
    """Everything the request says of tools, and its schema where that has to become one."""
    tools, choice = allowed_tools(callable_tools(request, report), request.tool_choice, report)
    declared = [_declare(tool, names, features, report) for tool in tools]
    if not features.strict_tools:
        report.drop_strictness()
    is_demanded = bool(declared) and choice is not None and choice.mode in (ChoiceMode.REQUIRED, ChoiceMode.NAMED)
    if isinstance(request.output, rq.JsonSchemaFormat) and not features.structured_output and is_demanded:
        report.adapt("output", "left_out_for_tool_choice")  # the answer is a call: there is no text to hold to a schema
    elif isinstance(request.output, rq.JsonSchemaFormat) and not features.structured_output:
        if not declared:
            report.drop("tool_choice")
        declared = declared or _of_history(request, names, report).get("tools", [])
        return _with_output(request, declared, choice, report)
    if not declared:
        drop_choice(request, report)
        return Declarations(_of_history(request, names, report))
    return Declarations({"tools": declared, **_chosen(_spell(choice, tools, names), request.parallel_tools)})


def _declare(tool: CallableTool, names: ToolNames, features: Features, report: Report) -> Json:
    declared: Json = {"name": names.spell(tool.name, tool.namespace)}
    if isinstance(tool, rq.CustomTool):
        if description := custom_description(tool):
            declared["description"] = description
        return declared | {"input_schema": CUSTOM_SCHEMA}
    if tool.description:
        declared["description"] = tool.description
    schema, is_repaired = input_schema(tool.schema)
    if is_repaired:
        report.adapt(f"tools.{tool.name}.input_schema", "merged")
    declared["input_schema"] = schema
    if tool.is_strict and features.strict_tools:
        declared["strict"] = True
    return mark(declared, tool.cache)


def _spell(choice: rq.ToolChoice | None, tools: tuple[CallableTool, ...], names: ToolNames) -> Json | None:
    if choice is None:
        return None
    kind = next(wire for wire, mode in MODES.items() if mode is choice.mode)
    if not choice.names:
        return {"type": kind}
    return {"type": kind, "name": names.spell_choice(choice.names[0], tools)}


def _chosen(choice: Json | None, parallel: bool | None) -> Json:
    if parallel is False:
        choice = choice or {"type": "auto"}
        if choice["type"] != "none":
            choice = {**choice, "disable_parallel_tool_use": True}
    return {"tool_choice": choice} if choice else {}


def _of_history(request: rq.Request, names: ToolNames, report: Report) -> Json:
    """This API refuses calls in a history without tools: their names are declared, and none may be called."""
    called = dict.fromkeys(names.spell(call.name, call.namespace) for call in history_calls(request))
    if not called:
        return {}
    report.adapt("tools", "from_history")
    tools = [{"name": name, "input_schema": object_schema(None)} for name in called]
    return {"tools": tools, "tool_choice": {"type": "none"}}


def _with_output(
    request: rq.Request, declared: list[Json], choice: rq.ToolChoice | None, report: Report
) -> Declarations:
    """The schema as a tool that has to be called; beside others, one of them has to be (mapping.md §5.4)."""
    others = {tool["name"] for tool in declared}
    name = OUTPUT_TOOL
    while name in others:
        name += "_"
    form = request.output if isinstance(request.output, rq.JsonSchemaFormat) else rq.JsonSchemaFormat({})
    schema, _ = input_schema(form.schema)
    if schema["type"] != "object":
        report.refuse("output", why="this upstream follows a schema only if its root is an object")
    report.adapt("output", "tool")
    is_free = bool(request.tools and declared) and (choice is None or choice.mode is ChoiceMode.AUTO)
    wire: Json = {"type": "any"} if is_free else {"type": "tool", "name": name}
    about = form.description or "Give the answer as the input of this tool."
    tools = [*declared, {"name": name, "description": about, "input_schema": schema}]
    return Declarations({"tools": tools, **_chosen(wire, request.parallel_tools)}, name)
