"""The beginning of an answer, for an upstream that goes on behind it (mapping.md §4.5)."""

from __future__ import annotations

from typing import Final

from gateway.dialects.anthropic.options import Options
from gateway.dialects.anthropic.thinking import is_thinking
from gateway.dialects.base import Json, Prefixing
from gateway.neutral.request import Request


def takes(text: str, options: Options) -> bool:
    """This API refuses a beginning that ends in a blank, and one without it would not be the same text."""
    return options.features.prefill and bool(text) and not text[-1].isspace()


def put(body: Json, request: Request, text: str, options: Options) -> Json | None:
    """The client's own body with one assistant message more. Nobody thinks in the middle of an answer."""
    if is_thinking(body):
        return None
    messages = [*body["messages"], {"role": "assistant", "content": text}]
    return {**body, "max_tokens": request.max_tokens, "messages": messages}


PREFIXING: Final = Prefixing(takes, put)
