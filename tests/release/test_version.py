"""The version stands in `pyproject.toml`, and everything else asks for it."""

from __future__ import annotations

import re
from importlib.metadata import version

from click.testing import CliRunner
from packaging.version import Version

from gateway.cli import main
from tests.release.project import NAME, ROOT, VERSION, tracked

MAY_TELL_IT = {"pyproject.toml", "CHANGELOG.md"}
"""Where the version is decided, and where its history is told."""
IMAGE = "deploy/kubernetes/deployment.yaml"
"""A manifest can ask nobody: what it says is compared instead."""
TEXT = {".md", ".py", ".toml", ".yaml", ".yml", ".json", ".cfg", ".in", ".service", ".conf", ".sh", ""}


def test_the_command_tells_the_version_of_the_project() -> None:
    told = CliRunner().invoke(main, ["--version"])
    assert told.output == f"triglot, version {version(NAME)}\n"
    assert version(NAME) == VERSION, "installed before the version was changed: `make test` installs it anew"


def test_the_version_is_one_that_installers_can_order() -> None:
    assert str(Version(VERSION)) == VERSION


def test_the_changelog_begins_with_this_version() -> None:
    first = re.search(r"^## (\S+) \((unreleased|\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None, "a heading like `## 0.1.0 (unreleased)` or `## 0.1.0 (2026-11-24)`"
    assert first[1] == VERSION


def test_no_other_file_repeats_it() -> None:
    """A second place is one that will be forgotten: what has to show the version asks the installed package."""
    spelled = re.compile(
        rf"""(?:triglot\W{{0,2}}v?|(?:triglot|__)\S{{0,20}}version(?:__)?["']?\s*[:=]\s*["']?){re.escape(VERSION)}""",
        re.IGNORECASE,
    )
    assert spelled.search(f'__version__ = "{VERSION}"')
    assert spelled.search(f"image: triglot:{VERSION}")
    files = [name for name in tracked() - MAY_TELL_IT - {IMAGE} if (ROOT / name).suffix in TEXT]
    repeated = [name for name in files if spelled.search((ROOT / name).read_text(errors="replace"))]
    assert not repeated


def test_the_manifest_runs_the_image_of_this_version() -> None:
    assert re.findall(r"image: triglot:(\S+)", (ROOT / IMAGE).read_text()) == [VERSION]
