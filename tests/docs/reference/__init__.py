"""The pages under `docs/reference/`, printed from what the code works by; `make docs` writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.docs.reference import commands, errors, headers, log, metrics, settings

ROOT: Final = Path(__file__).parents[3]
FOLDER: Final = ROOT / "docs" / "reference"
PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "settings": settings.page,
    "commands": commands.page,
    "headers": headers.page,
    "metrics": metrics.page,
    "log": log.page,
    "errors": errors.page,
}
"""The name of each page, and what prints it."""


def file_of(name: str) -> Path:
    """Where a page is written."""
    return FOLDER / f"{name}.md"
