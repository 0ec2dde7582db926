"""`triglot keys`: makes client keys, and the hashes that the routes file knows them by."""

from __future__ import annotations

import re
import secrets
import sys
from hashlib import sha256
from typing import Final

import click
import orjson

from gateway.config import ConfigError, parse
from gateway.dialects import DIALECTS

_BEGINNING: Final = "tg-"
"""So that people and secret scanners see what it is."""
_BYTES: Final = 32
"""Of chance: as many as the hash has, so that no dictionary helps against it."""
_LEAST: Final = 16
"""Characters of a key that somebody brings; anything shorter is guessed from its hash."""
_SENDABLE: Final = re.compile(r"[!-~]{16,512}")


@click.group("keys")
def keys() -> None:
    """Make client keys, and hashes of them for the routes file."""


@keys.command()
@click.option("--id", "name", required=True, help="What logs call it: letters, digits, - _ and .")
@click.option(
    "--route", "routes", multiple=True, metavar="NAME", help="A model name it may use; * is any text. Else all."
)
@click.option("--max-in-flight", type=click.IntRange(1), metavar="N", help="Most requests at a time.")
@click.option("--requests-per-minute", type=click.IntRange(1), metavar="N", help="Most requests in a minute.")
@click.option("--expires", metavar="DATE", help="When it stops working, like 2027-01-31.")
@click.option("--admin", is_flag=True, help="Opens /metrics too, from other machines.")
def new(
    name: str,
    routes: tuple[str, ...],
    max_in_flight: int | None,
    requests_per_minute: int | None,
    expires: str | None,
    admin: bool,
) -> None:
    """Make a key. It is shown this once, with the YAML to paste into the routes file."""
    key = _BEGINNING + secrets.token_urlsafe(_BYTES)
    settings = {
        "routes": f"[{', '.join(map(_quoted, routes))}]" if routes else None,
        "max_in_flight": max_in_flight,
        "requests_per_minute": requests_per_minute,
        "expires": _quoted(expires) if expires else None,
        "admin": "true" if admin else None,
    }
    lines = [f"sha256: {_hash(key)}", *(f"{each}: {value}" for each, value in settings.items() if value is not None)]
    entry = "\n".join(f"    {line}" for line in lines)
    _check(f"keys:\n  {_quoted(name)}:\n{entry}")
    click.echo(f"# Give this to the client; it is not kept anywhere and can't be shown again:\n{key}\n")
    click.echo(f"# Paste this into routes.yaml, below `keys:` if there are others:\nkeys:\n  {name}:\n{entry}")


@keys.command("hash")
def print_hash() -> None:
    """Print the hash of a key that you have, asked for without showing it, or read from a pipe."""
    if sys.stdin.isatty():
        key = str(click.prompt("Key", hide_input=True, err=True))
    else:
        key = sys.stdin.read(4096).removesuffix("\n").removesuffix("\r")
    if not _SENDABLE.fullmatch(key):
        what = f"a key is one line of {_LEAST} to 512 printable ASCII characters without spaces"
        raise click.UsageError(f"{what}; `triglot keys new` makes one")
    click.echo(f"sha256: {_hash(key)}")


def _hash(key: str) -> str:
    return sha256(key.encode("ascii")).hexdigest()


def _quoted(name: str) -> str:
    """As the routes file reads it: a dollar begins a reference there."""
    return orjson.dumps(name.replace("$", "$$")).decode()


def _check(entry: str) -> None:
    """That a routes file would take it, whatever its routes are called."""
    dialect = next(iter(DIALECTS))
    others = f'upstreams: {{any: {{dialect: {dialect}, url: "simulator://"}}}}\nroutes: {{"*": any}}\n'
    try:
        parse(others + entry, "", {})
    except ConfigError as error:
        raise click.UsageError("; ".join(message.split(": ", 1)[1] for message in error.messages)) from None
