"""`make` on a machine that lacks something says which package has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SYSTEMS = {
    "debian": ("ID=debian", "apt install"),
    "ubuntu": ("ID=ubuntu\nID_LIKE=debian", "apt install"),
    "rocky": ('ID="rocky"\nID_LIKE="rhel centos fedora"', "dnf install"),
    "alpine": ("ID=alpine", "apk add"),
    "other": ("ID=other", "brew install"),
}
OLD = '#!/bin/sh\ncase "$2" in *print*) echo 3.9 ;; *) exit 1 ;; esac\n'
WITHOUT_VENV = '#!/bin/sh\ncase "$2" in *venv*) exit 1 ;; *) exec {python} "$@" ;; esac\n'


def make(folder: Path, system: str, python: str = "") -> subprocess.CompletedProcess[str]:
    """What the Makefile runs, where `python` is all there is of Python."""
    (folder / "os-release").write_text(SYSTEMS[system][0])
    binaries = folder / "bin"
    binaries.mkdir()
    for name in ("rm",):
        (binaries / name).symlink_to(f"/bin/{name}")
    if python:
        (binaries / "python3").write_text(python.replace("{python}", sys.executable))
        (binaries / "python3").chmod(0o755)
    environment = {"PATH": str(binaries), "TRIGLOT_OS_RELEASE": str(folder / "os-release")}
    command = ["/bin/sh", str(ROOT / "scripts" / "venv.sh"), str(folder / "venv")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", ["", OLD, WITHOUT_VENV], ids=["none", "old", "without venv"])
def test_what_is_missing_is_named_with_its_package(tmp_path: Path, system: str, python: str) -> None:
    ended = make(tmp_path, system, python)
    assert ended.returncode == 1
    assert SYSTEMS[system][1] in ended.stderr
    assert ("no venv module" if python == WITHOUT_VENV else "3.11 or newer") in ended.stderr
    assert ("python3 is 3.9" in ended.stderr) is (python == OLD)
    assert not (tmp_path / "venv").exists()


def test_the_makefile_makes_its_environment_so() -> None:
    told = subprocess.run(
        ["make", "-n", "VENV=nowhere", "PYTHON=python3.99", "serve"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "scripts/venv.sh nowhere python3.99" in told.stdout
