"""Where the text is in a JSON answer of a Truss model."""

from __future__ import annotations

from typing import Any, Final

from gateway.dialects.truss.options import Options
from gateway.errors import (
    Malformed,
)

_TEXT_FIELDS: Final = ("output", "text", "result", "response", "generated_text", "completion", "data")


def find_text(body: Any, options: Options) -> str:
    """The text of an answer; a list of one is opened. Raises Malformed, naming the keys found."""
    if options.text_path:
        body = _follow(body, options.text_path)
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    if isinstance(body, str):
        return body
    if isinstance(body, dict):
        for name in _TEXT_FIELDS:
            if isinstance(text := body.get(name), str):
                return text
        found = ", ".join(sorted(str(name)[:32] for name in body)[:10])
        raise Malformed(f"no text in the upstream's answer: expected one of {', '.join(_TEXT_FIELDS)}, got {found}")
    raise Malformed(f"no text in the upstream's answer: expected a string or an object, got {type(body).__name__}")


def _follow(body: Any, path: str) -> Any:
    for step in path.split("."):
        try:
            body = body[int(step)] if isinstance(body, list) else body[step]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Malformed(f"no {path} in the upstream's answer") from error
    return body
