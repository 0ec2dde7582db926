"""Tools and the choice among them, as Anthropic clients declare them (`anthropic-messages.md` §5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.dialects.anthropic.contents import NAME
from gateway.errors import ClientError, Unsupported
from gateway.neutral import request as rq
from gateway.wire.fields import Fields

MODES: Final = {
    "auto": rq.ChoiceMode.AUTO,
    "any": rq.ChoiceMode.REQUIRED,
    "tool": rq.ChoiceMode.NAMED,
    "none": rq.ChoiceMode.NONE,
}
_CLIENT_RUN: Final = ("computer_", "browser_")
"""Typed tools that the client runs, whose schema is not written down here: no other model can be taught them."""


def read_tool(tool: Fields) -> rq.Tool:
    """A function, one of the typed tools that the client runs as a function, or a hosted tool (mapping.md §5.1)."""
    kind = tool.string("type") or "custom"
    if kind == "custom":
        name, description = tool.need_string("name"), tool.string("description")
        return _function(tool, name, description, tool.mapping("input_schema"))
    family = next((family for family in _TYPED if kind.startswith(family)), None)
    if family is not None:
        usual_name, description, schema = _TYPED[family]
        return _function(tool, tool.string("name") or usual_name, description, schema)
    return rq.HostedTool(NAME, kind[:64], {"type": kind, **tool.rest()}, where=tool.path)


def _function(tool: Fields, name: str, description: str | None, schema: rq.Json | None) -> rq.FunctionTool:
    return rq.FunctionTool(
        name,
        description,
        schema,
        tool.boolean("strict"),
        cache=tool.mapping("cache_control"),
        extras=tool.rest(),
        where=tool.path,
    )


def read_choice(body: Fields) -> tuple[rq.ToolChoice | None, bool | None]:
    """The choice, and whether calls may come in parallel."""
    choice = body.object("tool_choice")
    if choice is None:
        return None, None
    mode = MODES[choice.need_choice("type", tuple(MODES))]
    is_single = choice.boolean("disable_parallel_tool_use")
    names = (choice.need_string("name"),) if mode is rq.ChoiceMode.NAMED else ()
    return rq.ToolChoice(mode, names), None if is_single is None else not is_single


def bound_tool(tools: tuple[rq.Tool, ...]) -> ClientError | None:
    """Why these tools tie a request to Anthropic: the client runs one that only its models know."""
    for tool in tools:
        if isinstance(tool, rq.HostedTool) and tool.name.startswith(_CLIENT_RUN):
            where = f"{tool.where}.type"
            return Unsupported(f"{where}: {tool.name!r} is known to Anthropic's own models only", param=where)
    return None


def _object(properties: Mapping[str, Any], *required: str) -> rq.Json:
    return {"type": "object", "properties": properties, "required": list(required)}


_PATH: Final = {"type": "string", "description": "Absolute path of a file or directory."}
_LINES: Final = {
    "type": "array",
    "items": {"type": "integer"},
    "description": "First and last line to show, from 1; a last line of -1 is the end of the file.",
}
_TYPED: Final[Mapping[str, tuple[str, str, rq.Json]]] = {
    "bash_": (
        "bash",
        "Run a command in a bash shell that keeps its state from call to call.",
        _object(
            {
                "command": {"type": "string", "description": "The command to run. Needed unless restart is true."},
                "restart": {"type": "boolean", "description": "Restart the shell instead of running a command."},
            }
        ),
    ),
    "text_editor_": (
        "str_replace_based_edit_tool",
        "View, create and edit text files.",
        _object(
            {
                "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
                "path": _PATH,
                "file_text": {"type": "string", "description": "For create: the whole content of the file."},
                "old_str": {"type": "string", "description": "For str_replace: the text to replace, exactly once."},
                "new_str": {"type": "string", "description": "For str_replace: what replaces it."},
                "insert_line": {"type": "integer", "description": "For insert: the line after which to insert."},
                "insert_text": {"type": "string", "description": "For insert: the text to insert."},
                "view_range": _LINES,
            },
            "command",
            "path",
        ),
    ),
    "memory_": (
        "memory",
        "Keep notes in files below /memories that stay from one conversation to the next.",
        _object(
            {
                "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
                "path": {"type": "string", "description": "Path below /memories; not for rename."},
                "view_range": _LINES,
                "file_text": {"type": "string", "description": "For create: the whole content of the file."},
                "old_str": {"type": "string", "description": "For str_replace: the text to replace, exactly once."},
                "new_str": {"type": "string", "description": "For str_replace: what replaces it."},
                "insert_line": {"type": "integer", "description": "For insert: the line after which to insert."},
                "insert_text": {"type": "string", "description": "For insert: the text to insert."},
                "old_path": {"type": "string", "description": "For rename: the path now."},
                "new_path": {"type": "string", "description": "For rename: the path then."},
            },
            "command",
        ),
    ),
}
"""family → name, description and schema of the typed tools that the client runs, as other models can be taught them."""
