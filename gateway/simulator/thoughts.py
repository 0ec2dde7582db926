"""The simulator's reasoning, and how it knows its own thoughts again when a client brings them back."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from gateway.neutral.events import BlockKind
from gateway.neutral.request import OpaqueValue, Reasoning, Request
from gateway.neutral.response import Block


def thought(number: int) -> str:
    """The thought of a step, counted from 1: always the same, so that it is known again."""
    return f"Step {number} needs some thinking: what comes before {number + 1}, and is it safe? 🧠 Yes."


def are_asked(request: Request) -> bool:
    """Whether the request turns reasoning on."""
    asked = request.reasoning
    return asked is not None and asked.mode != "off" and asked.effort != "none"


def block(number: int, seal_format: str) -> Block:
    """A thought as a block of an answer, sealed where the played API seals reasoning."""
    text = thought(number)
    return Block(BlockKind.REASONING, text, signature=OpaqueValue(seal_format, seal(text)) if seal_format else None)


def seal(text: str) -> str:
    """An opaque value that holds the text and proves it, as a vendor's signature does."""
    data = text.encode()
    return base64.b64encode(hashlib.sha256(data).digest()[:8] + data).decode()


def unseal(value: str) -> str | None:
    """The text in a seal; None if a single byte of it was changed."""
    try:
        raw = base64.b64decode(value, validate=True)
        text = raw[8:].decode()
    except ValueError:
        return None
    return text if seal(text) == value else None


def returned(request: Request, numbers: Sequence[int]) -> tuple[int, int]:
    """How many thoughts of these numbers came back in the history, and how many of them under an intact seal."""
    wanted = {thought(number) for number in numbers}
    seen: set[str] = set()
    sealed: set[str] = set()
    for part in request.parts():
        if isinstance(part, Reasoning):
            inside = unseal(part.signature.data) if part.signature else None
            if inside is not None and part.text in ("", inside):
                sealed.add(inside)
            seen.add(part.text or inside or "")
    return len(wanted & seen), len(wanted & sealed)
