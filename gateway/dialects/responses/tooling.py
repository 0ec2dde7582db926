"""Tools and the choice among them (`openai-responses.md` §4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.dialects.base import Json
from gateway.errors import BadRequest
from gateway.neutral import request as rq
from gateway.wire.fields import Fields, fields_of

_MODES: Final = ("auto", "none", "required")


def read_tools(fields: Fields) -> tuple[tuple[rq.Tool, ...], Json]:
    """The tools of `tools`, those of a namespace each on its own, and what can't be carried of them by its name."""
    unknown: Json = {}
    tools = tuple(found for tool in fields.objects("tools") for found in _read(tool, unknown))
    return tools, unknown


def _read(tool: Fields, unknown: Json) -> Iterator[rq.Tool]:
    kind = tool.need_string("type")
    if kind == "namespace":
        name = tool.need_string("name")
        if description := tool.string("description"):
            unknown["tools.namespace.description"] = description
        for child in tool.objects("tools"):
            yield _callable(child, child.need_choice("type", ("function", "custom")), name)
    elif kind in ("function", "custom"):
        yield _callable(tool, kind, None)
    else:
        yield rq.HostedTool("responses", kind[:64], tool.rest(), where=tool.path)


def _callable(tool: Fields, kind: str, namespace: str | None) -> rq.FunctionTool | rq.CustomTool:
    name, description = tool.need_string("name"), tool.string("description")
    if kind == "custom":
        return rq.CustomTool(name, description, tool.mapping("format"), namespace, where=tool.path)
    schema, is_strict = tool.mapping("parameters"), tool.boolean("strict")
    return rq.FunctionTool(name, description, schema, is_strict, namespace, extras=tool.rest(), where=tool.path)


def read_choice(body: Fields) -> rq.ToolChoice | None:
    """`tool_choice`. A hosted tool is chosen by its type."""
    where = body.at("tool_choice")
    choice = body.take("tool_choice")
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in _MODES:
            raise BadRequest(f"{where}: expected one of {', '.join(_MODES)} or an object", param=where)
        return rq.ToolChoice(rq.ChoiceMode(choice))
    fields = fields_of(choice, where)
    kind = fields.need_string("type")
    if kind == "allowed_tools":
        is_required = fields.choice("mode", ("auto", "required")) == "required"
        names = fields.each("tools", lambda tool: _name_of(tool, tool.need_string("type")))
        if not names:
            fields.refuse("tools", "expected a non-empty array")
        return rq.ToolChoice(rq.ChoiceMode.ALLOWED, names, is_required)
    return rq.ToolChoice(rq.ChoiceMode.NAMED, (_name_of(fields, kind),))


def _name_of(tool: Fields, kind: str) -> str:
    return tool.need_string("name") if kind in ("function", "custom") else kind
