"""A conversation as every upstream takes it: one result for each call, instructions in a user's turn.

The rules are mapping.md §4.1 and §4.2. Clients trim their history and interrupt it; servers refuse what does not pair.
Every repair is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal

from gateway.dialects.report import Report
from gateway.neutral.request import Part, Request, Role, Text, ToolCall, ToolResult, Turn

_MISSING: Final = Text("[tool result missing]")
_BILLING: Final = "x-anthropic-billing-header:"
MidSystem = Literal["user", "native", "hoist"]
"""Where instructions in mid-conversation go: into the user's turn, as a message of their own, or to the front."""


def tidy(request: Request, report: Report, mid_system: MidSystem = "user", *, unique_ids: bool = False) -> list[Turn]:
    """The conversation, the results of a call directly behind it, in the order of the calls.

    User and assistant turns only, unless `mid_system` is `native`: then instructions are turns of their own, never
    between a call and its results. What `hoist` takes out of the turns is what `hoisted` gives. Calls of one turn
    never share an id; with `unique_ids` no two calls of the whole conversation do.
    """
    turns = _Ids(is_lasting=unique_ids).told_apart(_gathered(_placed(request.turns, mid_system, report)))
    tidied: list[Turn] = []
    calls: list[ToolCall] = []
    for turn in turns:
        if turn.role is Role.ASSISTANT:
            tidied.extend(_unanswered(calls, report))
            calls = [part for part in turn.parts if isinstance(part, ToolCall)]
            tidied.append(turn)
        elif turn.role is Role.SYSTEM:
            tidied.extend(_unanswered(calls, report))
            calls = []
            tidied.append(turn)
        else:
            tidied.append(replace(turn, parts=tuple(_paired(turn.parts, calls, report))))
            calls = []
    return tidied


def instructions(request: Request, mid_system: MidSystem, *, keeps_billing_header: bool = False) -> list[Text]:
    """What `hoisted` gives, as a vendor's other servers may see it: without the line that one agent puts in front.

    It says who pays and changes with each call, so it means nothing elsewhere and defeats every prefix cache
    (pitfall 71).
    """
    texts = hoisted(request, mid_system)
    return [text for text in texts if text.text] if keeps_billing_header else list(_steady(texts))


def steadied(request: Request) -> Request:
    """A request whose system prompt is the same in all turns of a conversation, as `instructions` has it."""
    return replace(request, system=tuple(_steady(request.system)))


def _steady(texts: Iterable[Text]) -> Iterator[Text]:
    return (text for text in map(_without_billing, texts) if text.text)


def _without_billing(text: Text) -> Text:
    if _BILLING not in text.text:
        return text
    lines = text.text.splitlines(keepends=True)
    return replace(text, text="".join(line for line in lines if not line.startswith(_BILLING)))


def hoisted(request: Request, mid_system: MidSystem) -> tuple[Text, ...]:
    """The instructions in front of the conversation, those of its middle included where they are hoisted."""
    if mid_system != "hoist":
        return request.system
    mid = (part for turn in request.turns if turn.role is Role.SYSTEM for part in turn.parts if isinstance(part, Text))
    return (*request.system, *mid)


def _placed(turns: Iterable[Turn], mid_system: MidSystem, report: Report) -> Iterator[Turn]:
    """The turns with their instructions where this upstream takes them."""
    waiting: list[Turn] = []
    has_calls = False
    for turn in turns:
        if turn.role is Role.SYSTEM and mid_system == "native":
            if has_calls:
                waiting.append(turn)  # results have to come first (mapping.md §4.1)
            else:
                yield turn
            continue
        if turn.role is Role.SYSTEM and mid_system == "hoist":
            report.adapt("messages", "system_hoisted")
            continue
        is_results = any(isinstance(part, ToolResult) for part in turn.parts)
        if waiting and not is_results:
            yield from waiting
            waiting = []
        has_calls = (is_results and has_calls) or any(isinstance(part, ToolCall) for part in turn.parts)
        yield _as_user(turn, report)
    yield from waiting


def _as_user(turn: Turn, report: Report) -> Turn:
    """Instructions in mid-conversation become a reminder from the user: most servers know leading ones only."""
    if turn.role is not Role.SYSTEM:
        return turn
    report.adapt("messages", "system_in_user")
    return replace(turn, role=Role.USER, parts=tuple(_reminder(part) for part in turn.parts if _says_something(part)))


def _says_something(part: Part) -> bool:
    return not isinstance(part, Text) or bool(part.text)


def _reminder(part: Part) -> Part:
    return replace(part, text=f"<system-reminder>{part.text}</system-reminder>") if isinstance(part, Text) else part


class _Ids:
    """Tells calls apart that have one id: the later ones get a number, and the results behind them too, in order.

    Some servers number their calls anew in each answer, or not at all, and clients give back what they got.
    """

    def __init__(self, *, is_lasting: bool) -> None:
        self._is_lasting = is_lasting
        self._used: set[str] = set()
        self._called: dict[str, list[str]] = {}

    def told_apart(self, turns: Iterable[Turn]) -> Iterator[Turn]:
        for turn in turns:
            if turn.role is Role.ASSISTANT:
                yield self._calls(turn)
            elif turn.role is Role.USER:
                yield self._results(turn)
            else:
                yield turn

    def _calls(self, turn: Turn) -> Turn:
        self._called = {}
        if not self._is_lasting:
            self._used = set()
        return _changed(turn, [self._call(part) if isinstance(part, ToolCall) else part for part in turn.parts])

    def _call(self, call: ToolCall) -> ToolCall:
        unique, count = call.id, 1
        while unique in self._used:
            count += 1
            unique = f"{call.id}_{count}"
        self._used.add(unique)
        self._called.setdefault(call.id, []).append(unique)
        return call if unique == call.id else replace(call, id=unique)

    def _results(self, turn: Turn) -> Turn:
        """As many results as calls pair in their order; of fewer calls the last result counts, as ever."""
        left = {id_: list(ids) for id_, ids in self._called.items() if ids != [id_]}
        return _changed(turn, [self._result(part, left) for part in turn.parts]) if left else turn

    def _result(self, part: Part, left: dict[str, list[str]]) -> Part:
        if not isinstance(part, ToolResult) or part.call_id not in left:
            return part
        ids = left[part.call_id]
        return replace(part, call_id=ids.pop(0) if len(ids) > 1 else ids[0])


def _changed(turn: Turn, parts: list[Part]) -> Turn:
    return (
        turn
        if all(new is old for new, old in zip(parts, turn.parts, strict=True))
        else replace(turn, parts=tuple(parts))
    )


def _gathered(turns: Iterable[Turn]) -> Iterator[Turn]:
    """Neighbours of one role become one turn, so that all results of a turn stand together."""
    for _, neighbours in groupby(turns, attrgetter("role")):
        first, *others = neighbours
        yield replace(first, parts=tuple(part for turn in (first, *others) for part in turn.parts)) if others else first


def _paired(parts: tuple[Part, ...], calls: list[ToolCall], report: Report) -> Iterator[Part]:
    """One result for each call, first; results that no call asked for become text."""
    results: dict[str, ToolResult] = {}
    for part in parts:
        if isinstance(part, ToolResult):
            if part.call_id in results:
                report.repair("messages", "tool_result_repeated", part.where)
            results[part.call_id] = part  # the last one counts
    for call in calls:
        yield results.pop(call.id) if call.id in results else _missing(call, report)
    for part in parts:
        if not isinstance(part, ToolResult):
            yield part
        elif results.get(part.call_id) is part:
            yield from _orphan(part, report)


def _orphan(result: ToolResult, report: Report) -> Iterator[Part]:
    report.repair("messages", "tool_result_as_text", result.where)
    yield Text(f"Tool result for {result.call_id}:", where=result.where)
    yield from result.parts


def _unanswered(calls: list[ToolCall], report: Report) -> Iterator[Turn]:
    """A turn of results for calls that the assistant's next turn ignores."""
    if calls:
        yield Turn(Role.USER, tuple(_missing(call, report) for call in calls))


def _missing(call: ToolCall, report: Report) -> ToolResult:
    report.repair("messages", "tool_result_synthesised", call.where)
    return ToolResult(call.id, (_MISSING,), is_error=True, where=call.where)
