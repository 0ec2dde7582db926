"""The lock file holds what `pyproject.toml` requires, whole, with hashes, and nothing of the machine it was made on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.release import lock
from tests.release.project import REQUIRED, ROOT

LOCKED = lock.read()
MAKE_S = 300.0
PYTHONS = ("3.11", "3.12", "3.13")
PLACES = re.compile(r"://|--(?!hash=)|^-|@ |(?<![\w.(])/\w", re.MULTILINE)
"""An address, an option of pip's, a direct reference or a path of a machine."""


def environments() -> Iterator[dict[str, str]]:
    """Where the file has to be right: Linux on both kinds of machine, with every Python that is promised."""
    for python in PYTHONS:
        for machine in ("x86_64", "aarch64"):
            yield {
                "python_version": python,
                "python_full_version": f"{python}.7",
                "platform_machine": machine,
                "sys_platform": "linux",
                "platform_system": "Linux",
                "os_name": "posix",
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
                "extra": "",
            }


def is_installed(name: str, wanted: str) -> bool:
    try:
        return version(name) == wanted
    except PackageNotFoundError:
        return False


def applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_what_the_project_requires_is_locked_in_a_version_that_fits(name: str) -> None:
    assert lock.is_direct(LOCKED[name])
    assert REQUIRED[name].specifier.contains(LOCKED[name].version)


def test_nothing_is_locked_that_nobody_requires() -> None:
    assert {name for name, each in LOCKED.items() if lock.is_direct(each)} == REQUIRED.keys()
    assert all(set(each.via) - {"triglot"} <= LOCKED.keys() for each in LOCKED.values())
    assert all(each.via for each in LOCKED.values())


@pytest.mark.parametrize("name", sorted(LOCKED))
def test_what_a_package_requires_is_locked_in_a_version_that_fits(name: str) -> None:
    """On Linux, for each Python. Only the same release can be asked; pip checks them all in `test_distributions.py`."""
    if not is_installed(name, LOCKED[name].version):
        pytest.skip(f"{name} {LOCKED[name].version} is not installed here, so nobody can be asked what it requires")
    required = [Requirement(each) for each in requires(name) or ()]
    for environment in environments():
        if not applies(LOCKED[name].requirement, environment):
            continue
        for each in required:
            if applies(each, environment):
                found = LOCKED[canonicalize_name(each.name)]
                assert applies(found.requirement, environment)
                assert each.specifier.contains(found.version)


@pytest.mark.parametrize("name", sorted(LOCKED))
def test_every_release_has_hashes(name: str) -> None:
    """Without them pip would take whatever an index hands out under that name."""
    assert LOCKED[name].hashes


def test_it_names_no_index_and_no_machine() -> None:
    text = lock.LOCK.read_text()
    assert PLACES.findall(text) == []
    assert text.splitlines()[1] == "#    make lock"


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.com/simple",
        "-e .",
        "    # from https://example.com/simple",
        "some @ file:///home/me/some.whl",
        "    # via -r /home/me/requirements.in",
    ],
)
def test_the_test_above_would_see_one(line: str) -> None:
    assert PLACES.search(line)


@pytest.mark.slow
def test_make_lock_would_write_the_same(tmp_path: Path) -> None:
    """Nothing in `pyproject.toml` has changed since. Files that were added to a release later don't count."""
    path = tmp_path / "requirements.lock"
    shutil.copy(lock.LOCK, path)
    command = ["make", "lock", f"VENV={tmp_path / 'venv'}", f"LOCK={path}", f"PYTHON={sys.executable}"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=MAKE_S, check=False)
    if "No matching distribution found for uv" in made.stderr:
        pytest.skip("pip finds no uv here, which `make lock` works with")
    assert made.returncode == 0, made.stderr
    again = lock.read(path)
    assert {name: (each.requirement, each.via) for name, each in again.items()} == {
        name: (each.requirement, each.via) for name, each in LOCKED.items()
    }
    assert all(again[name].hashes >= each.hashes for name, each in LOCKED.items())
