"""Takes a credential out of what an upstream said, in whatever form it is repeated there."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

import orjson

REDACTED: Final = "[key]"
_LEAST: Final = 8
"""Letters of a credential, at the end of a text that was cut, that are too many to be shown; fewer open nothing."""


def redacted(text: str, secret: str) -> str:
    """The text without the secret: as it is, escaped for JSON or a URL, in base64, or cut short at the end."""
    if not secret:
        return text
    for form in _forms(secret):
        text = text.replace(form, REDACTED)
        for size in range(min(len(form), len(text)) - 1, _LEAST - 1, -1):
            if text.endswith(form[:size]):
                text = text[:-size] + REDACTED
                break
    return text


def tells(text: str, secret: str) -> bool:
    """Whether the secret, in any of these forms, stands in the text. What is shorter can't hold it."""
    return bool(secret) and len(text) >= len(secret) and any(form in text for form in _forms(secret))


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield orjson.dumps(secret)[1:-1].decode()
    yield quote(secret, safe="")
    yield b64encode(secret.encode()).decode().rstrip("=")
