"""What an operator may set for an Anthropic upstream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator may set for an upstream of this dialect.

    `version`: the `anthropic-version` sent. `max_tokens`: sent when the client set none, which this API demands.
    """

    version: str = "2023-06-01"
    max_tokens: int = 8192


SAMPLING_VERSION: Final = "2023-06-01"
"""The last version that takes sampling fields; later ones refuse them even at their defaults."""
