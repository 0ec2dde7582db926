"""The page about faults says what the catalogue says."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults.catalogue import pages, rows
from tests.faults.page import page

PAGE = Path(__file__).parent.parent.parent / "docs" / "faults.md"


def test_the_page_in_the_docs_is_the_catalogue() -> None:
    """`make docs` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_row_is_on_it() -> None:
    told = PAGE.read_text(encoding="utf-8")
    names = [row.fault for row in rows()] + [outage.fault for found in pages() for outage in found.outages]
    for name in names:
        assert f"| {name} |" in told


def test_every_test_that_holds_a_promise_exists() -> None:
    """The table of the promises names them."""
    folder = Path(__file__).parent
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", (folder / "README.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    for path, name in named:
        assert re.search(rf"def {name}\(", (folder / path).read_text(encoding="utf-8")), f"{path}::{name}"
