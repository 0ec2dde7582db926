"""The pictures of `docs/how-it-works.md`, drawn as SVG; the code makes what they quote. `make docs` writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.docs.pictures import backpressure, commit, cut, events
from tests.docs.reference import ROOT

FOLDER: Final = ROOT / "docs" / "pictures"
PICTURES: Final[Mapping[str, Callable[[], str]]] = {
    "events": events.picture,
    "commit-point": commit.picture,
    "backpressure": backpressure.picture,
    "cut": cut.picture,
}
"""The name of each picture, and what draws it."""
