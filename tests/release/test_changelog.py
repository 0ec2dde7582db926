"""The changelog has one shape, for people and scripts: versions, newest first, and what changed in each."""

from __future__ import annotations

import re
from itertools import pairwise

from packaging.version import Version

from tests.release.project import ROOT

KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
LINES = (ROOT / "CHANGELOG.md").read_text().splitlines()
VERSION_HEADING = re.compile(r"## (\S+) \((?:unreleased|\d{4}-\d\d-\d\d)\)")


def test_it_begins_with_its_title() -> None:
    assert LINES[0] == "# Changelog"


def test_every_heading_is_a_version_or_a_kind_of_change() -> None:
    headings = [line for line in LINES[1:] if line.startswith("#")]
    wrong = [
        line
        for line in headings
        if not VERSION_HEADING.fullmatch(line) and line not in [f"### {kind}" for kind in KINDS]
    ]
    assert headings
    assert not wrong


def test_no_version_has_a_kind_of_change_twice_and_they_come_in_order() -> None:
    kinds: list[str] = []
    for line in (line for line in LINES[1:] if line.startswith("#")):
        kinds = [] if line.startswith("## ") else [*kinds, line.removeprefix("### ")]
        assert kinds == sorted(set(kinds), key=KINDS.index)


def test_versions_come_newest_first_and_only_the_newest_may_be_unreleased() -> None:
    found = [match for match in map(VERSION_HEADING.fullmatch, LINES) if match]
    assert all(Version(later[1]) > Version(earlier[1]) for later, earlier in pairwise(found))
    assert all("unreleased" not in match[0] for match in found[1:])


def test_every_other_line_belongs_to_an_entry() -> None:
    """No entry is empty, none ends without a full stop, and no merge has left its marks."""
    text = [line for line in LINES[1:] if line and not line.startswith("#")]
    assert all(line.startswith(("- ", "  ")) for line in text)
    entries = re.split(r"^- ", "\n".join(text), flags=re.MULTILINE)[1:]
    assert [entry for entry in entries if not entry.rstrip().endswith(".")] == []
