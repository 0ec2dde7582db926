"""Reasoning items in sealed form: OpenAI's own, and those that carry what another vendor sealed (mapping.md §6.3).

OpenAI takes its encrypted reasoning back only under the item id it gave it, so that the two are one value here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import orjson

from gateway.dialects.sealing import Sealer
from gateway.neutral.request import OpaqueValue, Part, Reasoning, RedactedReasoning

FORMAT: Final = "openai-encrypted"
_REDACTED: Final = "redacted:"
"""In front of a format inside our token: the block itself was sealed, not signed."""


def join_item(item_id: str, encrypted: str, origin: str = "") -> OpaqueValue:
    """The encrypted content of an upstream's reasoning item, with the id it belongs to."""
    return OpaqueValue(FORMAT, orjson.dumps([item_id, encrypted]).decode(), origin)


def split_item(value: OpaqueValue) -> tuple[str, str]:
    """Id and encrypted content; the content alone, without an id, where the value is no such pair."""
    try:
        item_id, encrypted = orjson.loads(value.data)
    except (orjson.JSONDecodeError, ValueError, TypeError):
        return "", value.data
    return (item_id, encrypted) if isinstance(item_id, str) and isinstance(encrypted, str) else ("", value.data)


def seal(sealer: Sealer, origin: str, value: OpaqueValue | None, *, is_redacted: bool = False) -> str:
    """The `encrypted_content` that a client gets and gives back: this API's own as it is, any other in a token."""
    if value is not None and value.format == FORMAT and not value.origin:
        return value.data
    if value is not None and is_redacted:
        value = replace(value, format=_REDACTED + value.format)
    return sealer.seal(origin, value)


def read_reasoning(text: str, encrypted: str, sealer: Sealer, *, is_summary: bool, where: str) -> Part:
    """The part that a reasoning item of a client's history is. What this API sealed itself needs no id here: it goes
    nowhere else than to an upstream of this API, which gets the item as it is."""
    if not encrypted:
        return Reasoning(text, None, is_summary, where=where)
    value = sealer.open(encrypted)
    if value is None:
        value = OpaqueValue(FORMAT, encrypted)
    elif value.format.startswith(_REDACTED):
        return RedactedReasoning(replace(value, format=value.format.removeprefix(_REDACTED)), where=where)
    return Reasoning(text, value, is_summary, where=where)
