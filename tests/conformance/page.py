"""docs/conformance.md: one table for each client, and a footnote wherever there is something to say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.conformance.clients import CLIENTS, Client
from tests.conformance.grid import Result
from tests.conformance.node_clients import versions
from tests.conformance.scenarios import SCENARIOS

PATH: Final = Path(__file__).parents[2] / "docs" / "conformance.md"
TITLES: Final = {
    "openai": "OpenAI Chat",
    "anthropic": "Anthropic Messages",
    "responses": "OpenAI Responses",
    "truss": "Truss, `messages`",
    "raw": "Truss, `prompt`",
}

INTRODUCTION: Final = """\
# Conformance

Official SDKs on every upstream, through the gateway, over real sockets. `make conformance` plays every cell and writes
this page; a test holds the page against a fresh run.

A ✅ is earned by content, not by the absence of an exception: texts, arguments, objects, token counts and finish
reasons are compared with what the upstream said, and the upstream tells what it was sent. The Python SDKs validate
strictly (`_strict_response_validation`), streams go through the SDKs' own helpers and have to add up to their final
objects, `ai` validates with its own schemas. Every cell but *stream*, *whole*, *error mid-stream* and *cancel* is
played twice: streamed and whole. Columns are upstreams, simulated: each speaks its dialect as `triglot simulate` does;
those of OpenAI Chat and Truss are told to be servers that read earlier reasoning (`profile: sglang`).

What clients have to be told beside the base URL:

- The gateway keeps no answers, so clients of `responses` say `store: false` and ask for `reasoning.encrypted_content`.
  `ai` does the latter by itself; without `store: false` it sends references to stored items, which the gateway refuses.
- @ai-sdk/openai looks up by its name whether a model reasons: `forceReasoning: true` where it doesn't know the name.
  @ai-sdk/openai-compatible needs `includeUsage` and `supportsStructuredOutputs`.
"""


def page(results: Sequence[Result]) -> str:
    """The whole page."""
    sections = [_section(client, [each for each in results if each.client == client.name]) for client in CLIENTS]
    return "\n".join([INTRODUCTION, *_rows(), _packages(), *sections])


def _rows() -> Iterable[str]:
    yield "| row | what is played |"
    yield "| --- | --- |"
    for scenario in SCENARIOS:
        yield f"| {scenario.name} | {scenario.meaning} |"
    yield ""


def _packages() -> str:
    python = {name: version(name) for name in ("openai", "anthropic")}
    return "\n".join([_versions("Python", python), "", _versions("Node", versions()), ""])


def _versions(language: str, packages: Mapping[str, str]) -> str:
    return f"{language}: {', '.join(f'{name} {number}' for name, number in packages.items())}."


def without_python(text: str) -> str:
    """A page without the versions that pip found newest; npm's are locked."""
    return "\n".join(line for line in text.split("\n") if not line.startswith("Python: "))


def _section(client: Client, results: Sequence[Result]) -> str:
    upstreams = list(dict.fromkeys(result.upstream for result in results))
    notes = list(dict.fromkeys(result.note for result in results if result.note))
    lines = [f"## {client.title}", "", _line(["", *(TITLES[upstream] for upstream in upstreams)])]
    lines.append(_line(["---"] * (len(upstreams) + 1)))
    for scenario in SCENARIOS:
        row = [result for result in results if result.scenario == scenario.name]
        lines.append(_line([scenario.name, *(_cell(result, notes) for result in row)]))
    return "\n".join([*lines, "", *_footnotes(notes)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(result: Result, notes: Sequence[str]) -> str:
    mark = f" <sup>{notes.index(result.note) + 1}</sup>" if result.note else ""
    return f"{result.verdict}{mark}"


def _footnotes(notes: Sequence[str]) -> Iterable[str]:
    for number, note in enumerate(notes, 1):
        yield f"{number}. {note[:1].upper()}{note[1:]}."
    if notes:
        yield ""
