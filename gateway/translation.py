"""What translation keeps, changes and loses, as a page of the documentation: printed from the dialects' own data.

`triglot translation` prints it, `make docs` writes it to `docs/translation.md`, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect, Profiles
from gateway.dialects.report import ADAPTED

_INTRODUCTION = """\
# What translation keeps, changes and loses

Printed by `triglot translation` from the tables that the code works by; `make docs` writes this file.

Where a client and an upstream speak the same dialect, the request is forwarded and the answer relayed as they are:
nothing on this page applies. Otherwise everything is carried that the other dialect has a word for, and what changed is
told in headers of the response, in the client's own names and never with values:

| header | says |
| --- | --- |
| `x-gateway-dropped: seed,top_k` | these fields of the request were left out: the upstream has no word for them |
| `x-gateway-adapted: max_tokens=default` | these were changed, and how, by the words below |

A request header `x-gateway-strict: 1`, or `strict: true` of a route, turns every drop, and every repair of a broken
conversation, into a refusal with status 400 that names the field. What would change the form of an answer is refused
in any case.
"""
_WORDS = """\
## What `x-gateway-adapted` says

`*` stands for a number, a value or a name.
"""
_LOSSES = """\
### What {} can't carry
"""
_PROFILES = """\
### Profiles of {} upstreams

`options: {{profile: NAME}}` of an upstream names the kind of server; every setting can be set on its own beside it.
"""


def page() -> str:
    """The page, in Markdown."""
    sections = [section for dialect in DIALECTS.values() for section in _dialect(dialect)]
    return "\n".join([_INTRODUCTION, _WORDS, _table(("word", "means"), _coded(ADAPTED.items())), *sections])


def _dialect(dialect: Dialect) -> Iterator[str]:
    yield f"## {dialect.name}\n"
    yield _LOSSES.format(dialect.name)
    yield _table(("what", "becomes"), dialect.lossy)
    if dialect.profiles is not None:
        yield _PROFILES.format(dialect.name)
        yield _table(("setting", *dialect.profiles.rows), _settings(dialect.profiles))
        yield _table(("setting", "says"), _coded(dialect.profiles.meanings.items()))


def _settings(profiles: Profiles) -> Iterator[tuple[str, ...]]:
    """One row a setting: a kind of server is easier to compare across than down."""
    for name in profiles.meanings:
        yield (f"`{name}`", *(_spelled(getattr(row, name)) for row in profiles.rows.values()))


def _spelled(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ", ".join(map(str, value)) or "none"
        case None:
            return "none"
        case _:
            return str(value)


def _coded(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, ...]]:
    return ((f"`{name}`", text) for name, text in rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
