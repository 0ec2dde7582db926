"""The beginning of an answer, for a model whose engine is known to go on behind it (truss.md §2.4)."""

from __future__ import annotations

from typing import Final

from gateway.dialects.base import Json, Prefixing
from gateway.dialects.openai import prefixing
from gateway.dialects.truss.options import Options
from gateway.dialects.truss.rendering import has_known_engine
from gateway.neutral.request import Request


def takes(text: str, options: Options) -> bool:
    """As the engine's own server does."""
    return has_known_engine(options) and prefixing.takes(text, options)


def put(body: Json, request: Request, text: str, options: Options) -> Json | None:
    """A prompt has no messages: to write the text behind it would make another prompt of it."""
    return prefixing.put(body, request, text, options) if "messages" in body else None


PREFIXING: Final = Prefixing(takes, put)
