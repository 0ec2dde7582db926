"""The beginning of an answer, for an upstream that goes on behind it (mapping.md §4.5)."""

from __future__ import annotations

from typing import Final

from gateway.dialects.base import Json, Prefixing
from gateway.dialects.openai.options import Options
from gateway.dialects.openai.profiles import profile_of
from gateway.neutral.request import Request

LIMITS: Final = ("max_tokens", "max_completion_tokens")
CONTINUED: Final[Json] = {"add_generation_prompt": False, "continue_final_message": True}
"""What makes engines with a chat template go on with the last message instead of answering it."""


def takes(text: str, options: Options) -> bool:
    """By the profile: no server of this dialect minds how the text ends."""
    return profile_of(options).prefill != "none"


def put(body: Json, request: Request, text: str, options: Options) -> Json | None:
    """The client's own body with one assistant message more."""
    style = profile_of(options).prefill
    message: Json = {"role": "assistant", "content": text}
    if style in ("prefix", "partial"):
        message[style] = True
    flags = CONTINUED if style == "vllm" else {}
    return {**body, **limited(body, request), **flags, "messages": [*body["messages"], message]}


def limited(body: Json, request: Request) -> Json:
    """The limit by the name that the body has for it."""
    return {name: request.max_tokens for name in LIMITS if body.get(name) is not None}


PREFIXING: Final = Prefixing(takes, put)
