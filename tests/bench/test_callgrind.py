"""The pure part of an event, in instructions of the machine: what C does for it is seen as well. Needs valgrind."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.bench.carriers import EVENTS
from tests.bench.figures import CARRIERS, Figure, excess, is_outdated, spelled
from tests.measured import measure, notes

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).parents[2]
FILE: Final = Path(__file__).parent / "figures" / "callgrind.yaml"
HEADER: Final = """\
# Machine instructions of an event of text, from bytes to bytes, by what executed them. Written by
# `pytest tests/bench/test_callgrind.py -m slow --regenerate` with valgrind installed; review it by eye.
"""
_PYTHON: Final = f"Python {platform.python_version()}, {platform.python_compiler()}, {platform.machine()}"
BUILD: Final = f"{_PYTHON}, orjson {version('orjson')}"
"""Whose instructions they are."""


@pytest.fixture(scope="session")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figure]:
    """Callgrind writes what it counted at each mark: before a carrier's events, and behind them."""
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    out = tmp_path_factory.mktemp("callgrind") / "out"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--dump-before=getppid"]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    command += [sys.executable, "-m", "tests.bench.under_valgrind"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    totals = [_total(out.with_name(f"{out.name}.{mark}")) for mark in range(1, 2 * len(CARRIERS) + 1)]
    return {between: {"machine": round(total / EVENTS)} for between, total in zip(CARRIERS, totals[1::2], strict=True)}


def _total(dump: Path) -> int:
    found = re.search(rb"^totals: (\d+)", dump.read_bytes(), re.MULTILINE)
    assert found, f"{dump.name} has no totals"
    return int(found[1])


@pytest.fixture(scope="session")
def written_down(request: pytest.FixtureRequest, counted: dict[str, Figure]) -> dict[str, Figure]:
    """After `counted`; by the flag, in place of what was there for this build."""
    known: dict[str, Any] = (yaml.safe_load(FILE.read_bytes()) if FILE.exists() else None) or {}
    if request.config.getoption("--regenerate"):
        known[BUILD] = counted
        FILE.write_text(HEADER + spelled(known), encoding="utf-8")
    if BUILD not in known:
        pytest.skip(
            f"there are no figures for {BUILD}: `pytest {Path(__file__).name} -m slow --regenerate` writes them"
        )
    figures: dict[str, Figure] = known[BUILD]
    return figures


@pytest.mark.parametrize("between", CARRIERS)
def test_no_event_takes_a_tenth_more_instructions(
    between: str, counted: dict[str, Figure], written_down: dict[str, Figure]
) -> None:
    measure(f"machine instructions of an event, {between}", counted[between]["machine"])
    assert not excess(written_down[between], counted[between]), f"{between}, compared with {FILE.name}"
    if is_outdated(written_down[between], counted[between]):
        notes.append(f"{between}: a tenth cheaper than {FILE.name} says")
