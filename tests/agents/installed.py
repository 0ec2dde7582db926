"""The programs these tests run: installed once from their registries into the cache folder, outside the repository."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.conformance.node_clients import Unavailable, environment, require_node

HERE: Final = Path(__file__).parent
INSTALL_S: Final = 900.0
"""The agents are 400 MB, the Python packages 200 MB: the first time takes some minutes, later ones nothing."""


@cache
def node_program(name: str) -> Path:
    """A program of `node/package.json`. Skips the test, with the reason, where it can't be had."""
    try:
        require_node()
    except Unavailable as missing:
        pytest.skip(str(missing))
    program = _installed("node", "node/package-lock.json", _install_node) / "node_modules" / ".bin" / name
    _run([str(program), "--version"], f"{name} does not run here")
    return program


@cache
def python_program() -> Path:
    """Python with the packages of `requirements.txt`. Skips the test, with the reason, where it can't be had."""
    return _installed("python", "requirements.txt", _install_python) / "bin" / "python"


def _install_node(folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "node" / name, folder)
    _run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], "npm can't install the agents", cwd=folder)


def _install_python(folder: Path) -> None:
    _run([sys.executable, "-m", "venv", str(folder)], "no virtual environment can be made")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _run([*pip, "-r", str(HERE / "requirements.txt")], "pip can't install the libraries")


def _installed(kind: str, source: str, install: Callable[[Path], None]) -> Path:
    """The folder of an installation: made anew when its source changes, by one process at a time."""
    digest = hashlib.sha256((HERE / source).read_bytes()).hexdigest()[:12]
    folder = _cache() / f"agents-{kind}-{digest}"
    with _locked(folder.with_suffix(".lock")):
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            install(folder)
            (folder / "ready").touch()
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triglot"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], otherwise: str, cwd: Path | None = None) -> None:
    """Runs a command, or skips the test with the reason."""
    try:
        ended = subprocess.run(
            command,
            cwd=cwd,
            env=environment(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=INSTALL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{otherwise}: {error}")
    if ended.returncode:
        pytest.skip(f"{otherwise}: {' '.join(ended.stderr.split())[-300:]}")
