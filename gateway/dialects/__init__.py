"""The registry of dialects. A further one is its module, and its entry here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.dialects import anthropic, openai, responses, truss
from gateway.dialects.base import Dialect

DIALECTS: Final[Mapping[str, Dialect]] = {
    dialect.name: dialect for dialect in (anthropic.DIALECT, truss.DIALECT, responses.DIALECT, openai.DIALECT)
}
"""By name, in the order in which they are asked whose an unknown path is; the last takes what is left."""


def owner_of(path: str) -> Dialect:
    """The dialect in which an error on this path is told."""
    return next(dialect for dialect in DIALECTS.values() if dialect.owns(path))


__all__ = ["DIALECTS", "Dialect", "owner_of"]
