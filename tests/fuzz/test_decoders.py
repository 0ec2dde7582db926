"""Every decoder under a coverage-guided fuzzer, for minutes: `pytest -m fuzz`.

`TRIGLOT_FUZZ_S` sets the seconds for all decoders together, 600 where it isn't set; they run two at a time.
`TRIGLOT_FUZZ_RUNS` tries so many inputs of each instead, the same ones every time: as CI does, which is to speak of a
change and not of chance.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from gateway.dialects import DIALECTS
from tests.dialects.cases import STREAMS

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "triglot" / "fuzz"
SECONDS: Final = int(os.environ.get("TRIGLOT_FUZZ_S", "600"))
RUNS: Final = int(os.environ.get("TRIGLOT_FUZZ_RUNS", "0"))
AT_ONCE: Final = 2


def fuzzer() -> Path:
    """A Python with the fuzzer in it, kept for later runs. Skips the test where it can't be had."""
    python = CACHE / "bin" / "python"
    if not python.exists():
        venv.create(CACHE, with_pip=True)
    # No dependency of the tests: it has no wheel for some of the Pythons they run on.
    install = [str(python), "-m", "pip", "install", "-q", "atheris>=3.0,<4", "orjson>=3.11"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the fuzzer can't be installed: {done.stderr.strip()[-200:]}")
    return python


def corpus_of(dialect: str, folder: Path) -> Path:
    """The transcripts that a decoder may meet, each with a byte of choices in front."""
    corpus = folder / dialect
    corpus.mkdir()
    for case in STREAMS:
        for choices in (0, 0x20 | 8, 0xE0 | 1):
            (corpus / f"{case}-{choices}").write_bytes(bytes([choices]) + case.input)
    return corpus


def fuzz(python: Path, dialect: str, folder: Path) -> tuple[int, str]:
    """Exit status and the end of what the fuzzer said."""
    bound = [f"-runs={RUNS}", "-seed=1"] if RUNS else [f"-max_total_time={SECONDS * AT_ONCE // len(DIALECTS)}"]
    options = [*bound, "-timeout=20", "-rss_limit_mb=1024"]
    options.append(f"-artifact_prefix={folder}/{dialect}-")
    command = [str(python), "-m", "tests.fuzz.target", dialect, str(corpus_of(dialect, folder)), *options]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False, env=environment(folder)
    )
    return done.returncode, done.stderr[-3000:]


def environment(folder: Path) -> dict[str, str]:
    """What is found is written where the test can show it."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "PYTHONHASHSEED": "0"}


@pytest.mark.fuzz
def test_no_bytes_break_a_decoder(tmp_path: Path) -> None:
    """No exception, one end, no unbounded buffer (HARDENING.md §2, fuzz)."""
    python = fuzzer()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(DIALECTS, pool.map(lambda name: fuzz(python, name, tmp_path), DIALECTS), strict=True))
    for dialect, (_, said) in found.items():
        sys.stderr.write(f"{dialect}: {runs_in(said)} inputs\n")
    broken = [f"{dialect}:\n{said}" for dialect, (status, said) in found.items() if status]
    if broken:  # in full: whoever reads this may never see the same inputs again
        pytest.fail("\n\n".join([*broken, *inputs_in(tmp_path)]), pytrace=False)
    assert min(runs_in(said) for _, said in found.values()) > 1000


def inputs_in(folder: Path) -> list[str]:
    """The inputs that broke something, as text that can be copied."""
    return [
        f"{file.name}: {base64.b85encode(file.read_bytes()).decode()}" for file in folder.glob("*-*") if file.is_file()
    ]


def runs_in(said: str) -> int:
    """How many inputs were tried, 0 where one of them broke something."""
    runs = re.findall(r"Done (\d+) runs", said)
    return int(runs[-1]) if runs else 0
