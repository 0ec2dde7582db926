"""Secrets that occur nowhere else, and the search for them, whole or in part, in whatever form they got out."""

from __future__ import annotations

import hashlib
from base64 import b32encode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_PART: Final = 10
"""Letters of each of the parts that a secret is searched by; nobody says these by chance."""
_AROUND: Final = 60
"""Bytes shown on both sides of what was found."""


@dataclass(frozen=True)
class Secret:
    """A text in three parts, any of which is enough to be found by. `between` is what makes it awkward to handle."""

    name: str
    between: str = "-"

    @cached_property
    def parts(self) -> tuple[str, str, str]:
        letters = b32encode(hashlib.sha256(self.name.encode()).digest()).decode().lower()
        return letters[:_PART], letters[_PART : 2 * _PART], letters[2 * _PART : 3 * _PART]

    @property
    def text(self) -> str:
        return self.between.join(self.parts)

    @cached_property
    def forms(self) -> tuple[bytes, ...]:
        """Plain and in hex, to be looked for without regard to case."""
        plain = [part.encode() for part in self.parts]
        return (*plain, *(part.hex().encode() for part in plain))

    @cached_property
    def encoded(self) -> tuple[bytes, ...]:
        """What base64 makes of each part wherever it stands: the letters that no neighbour has a bit of."""
        return tuple(_middle(part.encode(), ahead) for part in self.parts for ahead in range(3))


def _middle(part: bytes, ahead: int) -> bytes:
    first, last = -(-ahead * 8 // 6), (ahead + len(part)) * 8 // 6
    return b64encode(bytes(ahead) + part)[first:last]


CLIENT_KEY: Final = Secret("the key of a client")
OWN_KEY: Final = Secret("a client's own credential for an upstream")
UNKNOWN_KEY: Final = Secret("a key that nobody knows")
ODD_KEY: Final = Secret("a key with what no key holds", "\"' \\")
COOKIE: Final = Secret("a cookie")
QUERY: Final = Secret("a key in a query")
USERINFO: Final = Secret("a password in an address")
UPSTREAM_KEYS: Final = {
    dialect: Secret(f"the gateway's credential at {dialect}")
    for dialect in ("openai", "anthropic", "responses", "truss")
}
SEAL_KEY: Final = Secret("what signatures are made with")

PROMPT: Final = Secret("what a user asks", ' "\n')
SYSTEM: Final = Secret("what an application asks for", "\t\\")
TOOL: Final = Secret("what a tool is for", ": ")
ARGUMENTS: Final = Secret("what a tool is called with", " ")
RESULT: Final = Secret("what a tool found", "\r\n")
IMAGE: Final = Secret("what is in an image")
USER: Final = Secret("who asks")
ANSWER: Final = Secret("what a model answers", " ")

CREDENTIALS: Final = (CLIENT_KEY, OWN_KEY, UNKNOWN_KEY, ODD_KEY, COOKIE, QUERY, USERINFO)
"""What clients show to be let in."""
OURS: Final = (*UPSTREAM_KEYS.values(), SEAL_KEY)
"""What the gateway itself knows."""
PROMPTS: Final = (PROMPT, SYSTEM, TOOL, ARGUMENTS, RESULT, IMAGE, USER)
"""What clients send to be read by a model."""
ALL: Final = (*CREDENTIALS, *OURS, *PROMPTS, ANSWER)


def found(text: bytes, *secrets: Secret) -> Iterator[str]:
    """Where each of the secrets stands in a text, one sentence each."""
    lower = text.lower()
    for secret in secrets:
        for where, forms in ((lower, secret.forms), (text, secret.encoded)):
            for form in forms:
                if (at := where.find(form)) >= 0:
                    yield f"{secret.name}: …{text[max(0, at - _AROUND) : at + _AROUND]!r}…"
                    break
