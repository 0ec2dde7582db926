"""The page about faults says what the catalogue says."""

from __future__ import annotations

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
