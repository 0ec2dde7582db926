"""Client keys: who may call the gateway, for what, how much and until when. The file holds hashes, never a key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from gateway.config.complaints import flaw, flaw_at, hint
from gateway.config.pattern import overlap
from gateway.config.section import Name, Section, default
from gateway.config.settings_file import Path

HASH_COMMAND: Final = "triglot keys hash"
"""What makes the hash of a key; it reads the key where nobody sees it."""
_NEW_COMMAND: Final = "triglot keys new"
_ID: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_DIGEST: Final = r"[0-9a-fA-F]{64}"
_DAY: Final = r"\d{4}-\d\d-\d\d"
_MOMENT: Final = rf"{_DAY}(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?"
_ALL: Final = "*"


def _id(text: str) -> str:
    if not re.fullmatch(_ID, text):
        raise flaw("the id of a key is 1 to 64 letters, digits, - _ and . of ASCII, beginning with a letter or digit")
    return text


def _digest(text: str) -> str:
    if not re.fullmatch(_DIGEST, text):
        raise flaw(
            "not a SHA-256 in 64 hex digits; a key itself never belongs in this file: "
            f"`{HASH_COMMAND}` makes its hash, `{_NEW_COMMAND} --id ID` a new key"
        )
    return text.lower()


def _moment(value: object) -> object:
    """A day begins at midnight, UTC."""
    if not isinstance(value, str):
        return value
    try:
        if re.fullmatch(_MOMENT, value):
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        raise flaw("{seen}: there is no such date") from None
    raise flaw("{seen}: not a date; write it like 2027-01-31, or with its time like 2027-01-31T12:00:00Z")


KeyId = Annotated[str, AfterValidator(_id), WithJsonSchema({"type": "string", "pattern": f"^{_ID}$"})]
"""What a key is called in logs and metrics."""
Digest = Annotated[str, AfterValidator(_digest), WithJsonSchema({"type": "string", "pattern": rf"^{_DIGEST}$|\$\{{"})]
"""The SHA-256 of a key, in lower case."""
Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "pattern": rf"^{_MOMENT}$|\$\{{"})
]
"""A point in time that knows its offset."""


class ClientKey(Section):
    """A key that clients send, and what it opens."""

    sha256: Digest = Field(
        repr=False, description=f"SHA-256 of the key, in hex. `{_NEW_COMMAND} --id ID` makes a key and prints this."
    )
    routes: tuple[Name, ...] = default(
        (_ALL,),
        "Model names that it may use; * stands for any text. Default: all. []: none, for a key that is only for "
        "operators.",
    )
    max_in_flight: Annotated[int, Field(ge=1, le=1_000_000)] | None = default(
        None,
        "Most requests at a time, from all workers together, each with its share; a stream counts until its last byte, "
        "or until its client leaves. None: any number.",
    )
    requests_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] | None = default(
        None,
        "Most requests in a minute, from all workers together, each with its share. What is refused doesn't count. "
        "None: any number.",
    )
    expires: Moment | None = default(
        None, "When it stops working: a date, whose beginning in UTC it is, or a time with its offset. None: never."
    )
    admin: bool = default(False, "Whether it opens what is for operators, like /metrics, from other machines.")

    @field_validator("sha256")
    @classmethod
    def _is_of_something(cls, digest: str) -> str:
        if digest in _OF_NOTHING:
            raise flaw(f"this is the hash of an empty line, which is no key; `{HASH_COMMAND}` makes the hash of a key")
        return digest

    @model_validator(mode="wrap")
    @classmethod
    def _is_no_key(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Any:
        if isinstance(data, dict) and "key" in data:
            raise flaw_at(("key",), f"keys don't belong here; give its hash as sha256, made by `{HASH_COMMAND}`")
        return handler(data)

    @model_validator(mode="after")
    def _opens_something(self) -> Self:
        if not self.routes and not self.admin:
            raise flaw_at(("routes",), "a key without routes that isn't admin opens nothing")
        return self

    def shared(self, number: int, workers: int) -> Self:
        """As one of several workers has it, `number` from 1: each counts its own requests only."""
        limits = {name: getattr(self, name) for name in SHARED}
        parts = {name: _part(limit, number, workers) for name, limit in limits.items() if limit is not None}
        return self.model_copy(update=parts)


SHARED: Final = ("max_in_flight", "requests_per_minute")
"""Limits of a key that several workers share out."""
_OF_NOTHING: Final = frozenset(
    {
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b",
    }
)
"""SHA-256 of nothing, and of a line end alone: what a command line makes of a variable that isn't set."""


def _part(whole: int, number: int, workers: int) -> int:
    each, rest = divmod(whole, workers)
    return each + (number <= rest)


def unshared(keys: Mapping[str, ClientKey], workers: int) -> Iterator[tuple[Path, str]]:
    """Limits that can't be shared out among as many workers, and why."""
    for name, key in keys.items():
        for limit in SHARED:
            if (getattr(key, limit) or workers) < workers:
                why = f"each of {workers} workers needs one of them at least: raise it, or set server.workers lower"
                yield ("keys", name, limit), why


def unfit(keys: Mapping[str, ClientKey], routes: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """What is wrong with keys beside each other and beside the routes, and why."""
    owners: dict[str, str] = {}
    for name, key in keys.items():
        if (owner := owners.setdefault(key.sha256, name)) != name:
            yield ("keys", name, "sha256"), f"the same key as keys.{owner}; `{_NEW_COMMAND} --id {name}` makes another"
        for index, pattern in enumerate(key.routes):
            if pattern != _ALL and not any(overlap(pattern, route) for route in routes):
                yield ("keys", name, "routes", index), f'no route is called "{pattern}"; {hint(pattern, routes)}'
