"""Who the client's user is, as an upstream may know it (`protocol/mapping.md` §3.1, §3.2)."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from gateway.dialects.report import Report

# An address, or nothing but a phone number: vendors refuse both. Linear: no nested repeats.
_PERSONAL: Final = re.compile(r"[^@\s]+@[^@\s]+|[+]?[0-9 ()/.-]{7,}")


def spell_user(
    user_id: str, limit: int, report: Report, *, hides_personal: bool = False, field: str = "user_id"
) -> str:
    """The id, or its SHA-256 where it is too long, which keeps two users apart and no text. `field`: whose it is."""
    if len(user_id) <= limit and not (hides_personal and _PERSONAL.fullmatch(user_id)):
        return user_id
    report.adapt(field, "hashed")
    return hashlib.sha256(user_id.encode()).hexdigest()
