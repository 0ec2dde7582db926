"""The fault catalogue as a page of the documentation: `python -m tests.faults` prints it, `make docs` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from tests.faults.acts import ACTS, SAYINGS
from tests.faults.catalogue import Act, Calls, Expectation, Outage, Page, Row, pages

_INTRODUCTION: Final = """\
# What happens when an upstream fails

Printed from the fault catalogue, `tests/faults/*.yaml`, by `python -m tests.faults`; `make docs` writes this file. Each
row is a test: `pytest tests/faults/test_catalogue.py` plays it over real sockets, with clients of every dialect on
upstreams of their own dialect and of others, streamed and whole, against an upstream that can break HTTP. To add a row,
write it.

A route has one target here and, where the last column counts its calls, a fallback. Calls are counted at the upstream,
and when they come is measured: *1 + 1* is one more after the short wait that spreads retries, *1 after 0.4 s* one that
does not come sooner.
"""
_WHERE: Final = {
    "before the head": "nothing came so far",
    "before content": "a head came, or lifecycle frames such as `message_start`",
    "after content": "the client has the first tokens; or, of a whole answer, half of it came",
}
_BROKEN: Final = (
    "OpenAI: an error frame and no `[DONE]`",
    "Anthropic: `event: error` and no `message_stop`",
    "Responses: `response.failed` and no `response.completed`",
    "raw text: a cut connection",
)
_KINDS: Final = (
    "`overloaded` (529 for Anthropic clients, 503 for others)",
    "`rate_limit` (429)",
    "`timeout` (504)",
    "`upstream` (502)",
    "`invalid_request` and `context_length` (400)",
)
_SEEN: Final = {
    "the answer": "all of it, once, as if nothing had happened",
    "a broken stream": "; ".join(_BROKEN),
    "a kind of error": f"status and body of an error, in the client's dialect: {', '.join(_KINDS)}",
}


def page() -> str:
    """The page, in Markdown."""
    words = [_table(("where", "means"), _WHERE.items()), _table(("the client sees", "means"), _SEEN.items())]
    return "\n".join([_INTRODUCTION, *words, *(part for found in pages() for part in _section(found))])


_ROW: Final = (
    "fault",
    "the upstream",
    "where",
    "asked for",
    "the client sees",
    "calls of the target",
    "of the fallback",
)
_OUTAGE: Final = ("fault", "the target", "the client sees", "calls of the target while it is down", "back")


def _section(found: Page) -> Iterator[str]:
    yield f"## {found.title}\n\n{found.about.strip()}\n"
    if found.rows:
        yield _table(_ROW, map(_cells, found.rows))
    if found.outages:
        yield _table(_OUTAGE, map(_outage, found.outages))
    for row in found.rows:
        if row.then:
            yield f"After *{row.fault}*: {'; then '.join(_further(expected) for expected in row.then)}.\n"


def _outage(outage: Outage) -> tuple[str, ...]:
    down = f"{_deed(outage.down)} for {outage.down_s:g} s, then answers"
    calls, back = f"at most {outage.calls_at_most}", f"within {outage.back_within_s:g} s"
    return (outage.fault, down, f"{_sees(outage)}, all clients", calls, back)


def _cells(row: Row) -> tuple[str, ...]:
    fallback = _calls(row.calls["second"]) if row.second else "none is there"
    deeds = ", then ".join(map(_deed, row.first))
    return (row.fault, deeds, " or ".join(row.at), _asked(row), _sees(row), _calls(row.calls["first"]), fallback)


def _deed(act: Act) -> str:
    words = ACTS[act.does].words
    if act.does != "refuses":
        return words
    about = f": {SAYINGS[act.saying][2]}" if act.saying else ""
    return f"answers {act.status}{about}{f' (Retry-After: {act.retry_after})' if act.retry_after else ''}"


def _asked(row: Row) -> str:
    """A stream, a whole answer, or either."""
    asked = [kind for kind in row.asked if kind == "stream" or not any(ACTS[act.does].in_stream for act in row.first)]
    return "stream or whole" if len(asked) == 2 else asked[0]


def _sees(expected: Expectation | Outage) -> str:
    named = {
        "whole": "the answer",
        "broken": "a broken stream",
        "filtered": "what came, and that a filter cut the rest",
    }
    headers = expected.headers if isinstance(expected, Expectation) else {}
    return ", ".join([named.get(expected.sees, f"`{expected.sees}`"), *(f"`{key}: {headers[key]}`" for key in headers)])


def _calls(calls: Calls) -> str:
    told = ["1" if window.low == 0 else f"1 after {window.low:g} s" for window in calls]
    return " + ".join(told) or "0"


def _further(expected: Expectation) -> str:
    called = ", ".join(f"{place} {_calls(windows)}" for place, windows in expected.calls.items())
    waited = f"{expected.after_s:g} s later " if expected.after_s else ""
    return f"{waited}the next request sees {_sees(expected)} (calls: {called})"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
