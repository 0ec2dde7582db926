"""Plays the grid and writes docs/conformance.md: with names of clients, shows only how those fare."""

from __future__ import annotations

import sys
from typing import Final

from tests.conformance.clients import CLIENTS
from tests.conformance.grid import Result, Verdict, run, stage
from tests.conformance.page import PATH, page

FAILED: Final = 1


def main(*names: str) -> int:
    """The exit code: 1 if a cell failed."""
    with stage() as on:
        results = run(on, [client for client in CLIENTS if client.name in names or not names])
    failures = [result for result in results if result.verdict is Verdict.FAIL]
    for failure in failures:
        sys.stderr.write(f"{told(failure)}\n")
    if not names:
        PATH.write_text(page(results))
    sys.stderr.write(f"{len(results)} cells, {len(failures)} failed\n")
    return FAILED if failures else 0


def told(result: Result) -> str:
    return f"{result.verdict} {result.client} on {result.upstream}, {result.scenario}: {result.note}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
