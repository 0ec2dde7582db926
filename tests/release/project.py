"""What the project says of itself in `pyproject.toml`, and which files it consists of."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final[Mapping[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME: Final[str] = PROJECT["name"]
VERSION: Final[str] = PROJECT["version"]


def named(requirements: Iterable[str]) -> dict[str, Requirement]:
    """Requirements by the canonical names of what they require; the project's own extras left out."""
    read = (Requirement(each) for each in requirements)
    return {canonicalize_name(each.name): each for each in read if each.name != NAME}


REQUIRED: Final = named(PROJECT["dependencies"])
"""What the gateway runs on."""
EXTRAS: Final = {extra: named(each) for extra, each in PROJECT["optional-dependencies"].items()}
"""What tests and development need besides, by the extra that brings it."""


def tracked() -> set[str]:
    """The files of the repository. Skips the test where this is none, as in an unpacked source distribution."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0 or not listed.stdout:
        pytest.skip("this is no git repository, so nobody knows which files belong to it")
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
