"""Tool schemas and arguments, as every dialect has to have them (`protocol/mapping.md` §5.1, §5.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

import orjson

from gateway.dialects.report import Report
from gateway.errors import Unsupported
from gateway.neutral.request import ChoiceMode, HostedTool, Request, Tool
from gateway.wire.json_body import MAX_DEPTH, is_deeper

_EMPTY: Final = {"type": "object", "properties": {}}


def object_schema(schema: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The schema with a root that is an object: absent → no arguments, untyped → `type: object` in front."""
    if not schema:
        return _EMPTY
    return schema if "type" in schema else {"type": "object", **schema}


def refuse_tool(tool: Tool) -> NoReturn:
    """Raises Unsupported for a tool that isn't a plain function."""
    what = (
        "hosted tools run at another vendor" if isinstance(tool, HostedTool) else "free-text tools can't be translated"
    )
    raise Unsupported(f"{tool.where}: {what}: {tool.name[:64]!r}", param=tool.where or None)


def drop_choice(request: Request, report: Report) -> None:
    """A choice among no tools: refused where it demands one (mapping.md §5.3), else dropped."""
    if request.tool_choice is not None and request.tool_choice.mode in (ChoiceMode.NAMED, ChoiceMode.REQUIRED):
        report.refuse("tool_choice", why="demands a tool, but there are no tools")
    report.drop("tool_choice")


def arguments_object(text: str) -> tuple[dict[str, Any], bool]:
    """Argument text as the object Anthropic demands, and whether it had to be repaired."""
    if text.strip() in ("", "null", '"null"'):
        return {}, False
    try:
        value = orjson.loads(text)
        if isinstance(value, str):  # encoded twice
            value = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {"_raw": text}, True
    found = value if isinstance(value, dict) else {"value": value}
    if is_deeper(found, MAX_DEPTH):  # orjson reads deeper than it writes
        return {"_raw": text}, True
    return found, found is not value
