"""Client keys, looked up by their digest: whose request is it, and what may it use?

Keys are nowhere kept: what a client sends is hashed and forgotten. No message repeats any of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from gateway.config import ClientKey, matches
from gateway.errors import BadKey

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case."""

HOW_TO_SEND: Final = 'send it as "Authorization: Bearer KEY", "Authorization: Api-Key KEY" or "x-api-key: KEY"'
CHALLENGE: Final[Mapping[str, str]] = {"www-authenticate": "Bearer"}
"""What every 401 has to say (RFC 9110 §11.6.1)."""
_SCHEMES: Final = (b"bearer", b"api-key")
_READABLE: Final = re.compile(rb"[!-~]{1,512}")
"""What can be a key; ours have 46 letters, and JSON web tokens of other systems some hundreds."""
_MOST: Final = 4
"""Credentials of one request that are looked at: its own and an upstream's, and whatever a proxy adds."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whoever has a key. Limits of None are none; `expires` in epoch seconds."""

    id: str
    digest: bytes = field(repr=False)
    routes: tuple[str, ...]
    max_in_flight: int | None
    requests_per_minute: int | None
    expires: float
    is_admin: bool

    def may_use(self, name: str) -> bool:
        """Whether a model name is one of those that the key is for."""
        return any(matches(pattern, name) for pattern in self.routes)


class Keyring:
    """All client keys, by their digest."""

    def __init__(self, keys: Mapping[str, ClientKey]) -> None:
        holders = [_holder(name, key) for name, key in keys.items()]
        self._by_digest = {holder.digest: holder for holder in holders}

    def find(self, given: Sequence[bytes], now: float) -> tuple[Holder, bytes]:
        """Whose key is among these credentials, and the first of the others, which is none of ours. Raises BadKey.

        `now` in epoch seconds. What can't be read is empty.
        """
        found: Holder | None = None
        foreign = b""
        for credential in given[:_MOST]:
            holder = self._known(credential)
            found, foreign = found or holder, foreign or (credential if holder is None else b"")
        if found is None:
            raise _unknown(given)
        if found.expires <= now:
            raise _bad_key(f'the key "{found.id}" has expired')
        return found, foreign

    def _known(self, credential: bytes) -> Holder | None:
        """A dict finds by the digest, which tells nothing of the key; that it is the same is told in constant time."""
        digest = sha256(credential).digest()
        holder = self._by_digest.get(digest)
        return holder if holder is not None and compare_digest(holder.digest, digest) else None


def credentials(headers: Headers) -> list[bytes]:
    """What may be keys in a request's headers, in their order, each once; empty for one that can't be read."""
    found: dict[bytes, None] = {}
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.strip().partition(b" ")
            found[_readable(token.strip() if scheme.lower() in _SCHEMES else b"")] = None
        elif name == b"x-api-key":
            found[_readable(value.strip())] = None
    return list(found)


def _readable(token: bytes) -> bytes:
    return token if _READABLE.fullmatch(token) else b""


def _unknown(given: Sequence[bytes]) -> BadKey:
    if not given:
        return _bad_key("no key was sent")
    if not any(given):
        return _bad_key("the key that was sent can't be read: it is 1 to 512 printable ASCII characters without spaces")
    return _bad_key("the key that was sent is not known here")


def _bad_key(what: str) -> BadKey:
    return BadKey(f"{what}; {HOW_TO_SEND}", headers=CHALLENGE)


def _holder(name: str, key: ClientKey) -> Holder:
    return Holder(
        id=name,
        digest=bytes.fromhex(key.sha256),
        routes=key.routes,
        max_in_flight=key.max_in_flight,
        requests_per_minute=key.requests_per_minute,
        expires=math.inf if key.expires is None else key.expires.timestamp(),
        is_admin=key.admin,
    )
