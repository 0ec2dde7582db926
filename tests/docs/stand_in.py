"""The commands of code blocks that can't do here what they do for a reader: `python -m tests.docs.stand_in COMMAND …`.

`triglot` is the real one. Only `triglot serve` is told another port, and calls the upstreams of its routes file at the
addresses that stand in for them: nobody's vendor is called by a test.
`npm` installs nothing: it says whether the packages are those that the tests have installed.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from gateway.cli import main as cli

PORT: Final = "TRIGLOT_DOCS_PORT"
HOSTS: Final = "TRIGLOT_DOCS_HOSTS"
PACKAGES: Final = "TRIGLOT_DOCS_PACKAGES"
_CONFIG: Final = ("--config", "-c")


def triglot(arguments: Sequence[str]) -> None:
    """Ends the process, as the command does."""
    changed = [*arguments]
    if arguments[:1] == ["serve"]:
        changed = _served(changed)
    cli(changed, prog_name="triglot")


def _served(arguments: list[str]) -> list[str]:
    at = next((place + 1 for place, word in enumerate(arguments) if word in _CONFIG), None)
    path = Path(arguments[at]) if at else Path("routes.yaml")
    answered = path.with_suffix(".answered.yaml")
    answered.write_text(elsewhere(path.read_text(), orjson.loads(os.environ[HOSTS])))
    rest = [*arguments[1:]] if at is None else [*arguments[1 : at - 1], *arguments[at + 1 :]]
    return ["serve", "--config", str(answered), "--port", os.environ[PORT], *rest]


def elsewhere(text: str, hosts: Mapping[str, str]) -> str:
    """A routes file whose upstreams are at other addresses. `hosts`: pattern of a URL's beginning → what is instead."""
    for pattern, instead in hosts.items():
        text = re.sub(pattern, instead, text)
    return text


def npm(arguments: Sequence[str]) -> None:
    """Ends with status 1 where a package to install is none that the tests have."""
    command, *wanted = [word for word in arguments if not word.startswith("-")]
    missing = [name for name in wanted if name not in orjson.loads(os.environ[PACKAGES])]
    if command != "install" or missing:
        sys.exit(f"npm {' '.join(arguments)}: not installed for these tests: {', '.join(missing) or command}")


COMMANDS: Final[Mapping[str, Callable[[Sequence[str]], None]]] = {"triglot": triglot, "npm": npm}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](sys.argv[2:])
