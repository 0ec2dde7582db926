"""The gateway's own signature tokens, `gw1.…`: what reasoning without a vendor's signature carries (mapping.md §6.3).

A token names the kind of server that the reasoning came from and holds that server's sealed value, if there was one, so
that a client which returns the block gives us back what the server wants to see again. With a key it ends in an HMAC,
and a token that was tampered with counts as foreign.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

import orjson

from gateway.neutral.request import OpaqueValue

PREFIX: Final = "gw1."
NONE: Final = "none"
"""The format of a value that seals nothing."""
FOREIGN: Final = OpaqueValue("foreign", "", "foreign")
"""What a token says that we can't read or did not make: it fits no server."""


class Sealer:
    """Makes and reads tokens; `key` may be empty."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key

    def seal(self, origin: str, value: OpaqueValue | None = None) -> str:
        """The token of reasoning from a server of this kind, with that server's own sealed value, if it made one."""
        token = {"o": value.origin or origin if value else origin, "f": value.format if value else NONE}
        sealed = PREFIX + _encoded(orjson.dumps(token | ({"d": value.data} if value and value.data else {})))
        return f"{sealed}.{self._mac(sealed)}" if self._key else sealed

    def open(self, token: str) -> OpaqueValue | None:
        """What a token holds; `FOREIGN` where it isn't sound, None where it isn't one of ours at all."""
        if not token.startswith(PREFIX):
            return None
        sealed, mac = token, ""
        if self._key:
            sealed, _, mac = token.rpartition(".")
            if not hmac.compare_digest(mac.encode(), self._mac(sealed).encode()):
                return FOREIGN
        try:
            body = sealed.removeprefix(PREFIX).partition(".")[0]
            held = orjson.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
            origin, format_, data = held["o"], held["f"], held.get("d", "")
        except (binascii.Error, orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError):
            return FOREIGN
        is_sound = all(isinstance(word, str) for word in (origin, format_, data))
        return OpaqueValue(format_, data, origin) if is_sound else FOREIGN

    def _mac(self, sealed: str) -> str:
        return _encoded(hmac.digest(self._key, sealed.encode(), hashlib.sha256)[:16])


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
