"""What a rendering dropped, adapted or refused, in the client's own names (`protocol/mapping.md` §3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn

from gateway.errors import Unsupported
from gateway.neutral.request import Document, FunctionTool, Part, Request, SearchResult


class Report:
    """Collects names while a request is rendered. Values never appear: they may be the user's.

    For a strict request whatever would be dropped raises Unsupported instead.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._dropped: set[str] = set()
        self._adapted: set[tuple[str, str]] = set()

    @property
    def dropped(self) -> tuple[str, ...]:
        return tuple(sorted(self._dropped))

    @property
    def adapted(self) -> tuple[str, ...]:
        return tuple(f"{name}={how}" for name, how in sorted(self._adapted))

    def name_of(self, field: str) -> str:
        """The client's own name for a field of its request."""
        return self._request.name_of(field)

    def drop(self, *fields: str) -> None:
        """Names those of these fields that the client set."""
        for field in fields:
            if self._is_set(field) and getattr(self._request, field) != _DEFAULTS.get(field):
                self._drop(self._request.name_of(field))

    def drop_name(self, name: str, where: str = "") -> None:
        """Names something inside a field of Request, as `messages.document`; `where` is its wire path."""
        self._drop(self._named(name), where)

    def _drop(self, name: str, where: str = "") -> None:
        if self._request.is_strict:
            param = where or name
            raise Unsupported(f"{param}: can't be carried to this upstream, and strict drops nothing", param=param)
        self._dropped.add(name)

    def drop_extras(self) -> None:
        """Names every field that only the client's dialect knows, and what parts and tools carry beside content."""
        for extras in self._request.extras.values():
            for name in extras:
                self._drop(name)
        self._drop_from_parts()
        for tool in self._request.tools:
            if isinstance(tool, FunctionTool):
                for name in tool.extras:
                    self.drop_name(f"tools.{name}", where=f"{tool.where}.{name}")

    def _drop_from_parts(self) -> None:
        for part in (*self._request.system, *self._request.parts()):
            if getattr(part, "citations", ()):
                self._drop_mark("citations", part.where)
            for name in part.unread:
                self._drop_mark(name, part.where)

    def drop_caching(self) -> None:
        """Names, once, what the client wanted cached, for upstreams that have no word for it."""
        marked = (self._request, *self._request.system, *self._request.parts(), *self._request.tools)
        first = next((part for part in marked if getattr(part, "cache", None) is not None), None)
        if first is not None:
            self._drop_mark("cache_control", getattr(first, "where", ""))

    def drop_citing(self) -> None:
        """Names the wish to have documents cited, for upstreams that have no word for it."""
        for part in self._request.parts():
            if isinstance(part, Document | SearchResult) and part.is_cited:
                self._drop_mark("citations", part.where)

    def _drop_mark(self, name: str, where: str) -> None:
        """Something that stands beside the content of a part, which is at `where`."""
        named = self._named(name)
        self._drop(named, f"{where}.{named}" if where else "")

    def drop_strictness(self) -> None:
        """Names the promise that calls follow their schema exactly, for upstreams that can't give it."""
        for tool in self._request.tools:
            if isinstance(tool, FunctionTool) and tool.is_strict:
                self.drop_name("tools.strict", where=f"{tool.where}.strict" if tool.where else "")

    def adapt(self, name: str, how: str) -> None:
        """Says that a field was changed, and how, in one word."""
        self._adapted.add((self._named(name), how))

    def _named(self, name: str) -> str:
        """The client's name for a field, or for the field that something is in: `messages.thinking`, say."""
        named = self._request.name_of(name)
        head, dot, inner = name.partition(".")
        return named if named != name or not dot else f"{self._request.name_of(head)}.{inner}"

    def repair(self, name: str, how: str, where: str = "") -> None:
        """As `adapt`, for a mend of what the client sent wrong; a strict request is refused (mapping.md §4.2)."""
        if self._request.is_strict:
            param = where or self._named(name)
            raise Unsupported(f"{param}: {how.replace('_', ' ')}, and strict repairs nothing", param=param)
        self.adapt(name, how)

    def refuse(self, *fields: str, why: str) -> None:
        """Raises Unsupported for the first of these fields that the client set."""
        for field in fields:
            if self._is_set(field):
                name = self._request.name_of(field)
                raise Unsupported(f"{name}: {why}", param=name)

    def _is_set(self, field: str) -> bool:
        """Also a number that is 0, which equals False."""
        value = getattr(self._request, field)
        return value is not None and value is not False and value != ()


_DEFAULTS: Final = {
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1,
    "min_p": 0,
    "logit_bias": {},
    "top_logprobs": 0,
}
"""What changes nothing where it is dropped, and isn't reported (mapping.md §3.1)."""

ADAPTED: Final[Mapping[str, str]] = {
    "as_text": "became text: the upstream has no such part",
    "blank_removed": "empty stop sequences were left out",
    "budget": "an effort became a budget of tokens",
    "budget_reduced": "the budget was lowered to leave room for the answer",
    "by_effort": "the effort was sent and the budget was not: the upstream takes one of them",
    "clamped": "the value was lowered to the highest that the upstream takes",
    "default": "the client set none and the upstream needs one: the configured default was sent",
    "disabled_by_*": "thinking was turned off, since it can't go with what is named",
    "effort_*": "became this effort: from a budget, or since the upstream doesn't know the one asked for",
    "estimated": "no upstream counted these tokens",
    "first_*": "only so many were sent, the first ones",
    "foreign": "reasoning that another vendor's server sealed was left out",
    "from_history": "tools that the conversation calls were declared, since the upstream wants them declared",
    "hashed": "became its SHA-256: too long, or personal",
    "instruction": "is asked for in the instructions: the upstream has no field for it",
    "json_object_and_instruction": "any JSON object is asked for, and the schema is told in the instructions",
    "last_*": "only so many were sent, the last ones",
    "left_out_for_tool_choice": "a schema for the answer was left out, since a call is demanded",
    "merged": "alternatives at the root of the schema became one object",
    "repaired": "arguments that were no JSON object were made one",
    "switched_on": "thinking was turned on; how much can't be said",
    "system_hoisted": "later instructions stand in front of the conversation",
    "system_in_user": "later instructions stand in the user's turn",
    "text_before_calls": "text behind a call stands in front of it",
    "tool": "the schema was declared as a tool that has to be called; its arguments are the answer",
    "tool_result_as_text": "a result that no call asked for became text",
    "tool_result_repeated": "of several results of one call the last was kept",
    "tool_result_synthesised": "a call without a result got one that says so",
    "tools_filtered": "only the allowed tools were declared",
    "user_inserted": "a user's turn was put in front: the upstream wants one first",
    "*_prompt": "the conversation became one prompt, by this template",
    "auto, default, standard_only, …": "became this value: the upstream's own word",
}
"""What `x-gateway-adapted` says behind a name; `*` stands for a number, a value or a name. Printed into the docs."""


def refuse_part(part: Part, to: str) -> NoReturn:
    """Raises Unsupported for a part that can't be spelled in the upstream's dialect."""
    what = getattr(part, "name", None) if type(part).__name__ == "Opaque" else None
    noun = what or type(part).__name__.lower()
    raise Unsupported(f"{part.where}: {noun} content can't be carried to {to}", param=part.where or None)
