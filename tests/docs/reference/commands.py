"""Every command, as its `--help` says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from gateway.cli import main
from gateway.exit_codes import MEANINGS
from tests.docs.reference.markdown import block, code, table
from tests.docs.reference.markdown import page as joined

_INTRODUCTION: Final = """\
# Commands

What each command's `--help` says; `make docs` writes this page. `python -m gateway` is the same as `triglot`.
"""
_WIDTH: Final = 80


def page() -> str:
    """The page, in Markdown."""
    spelled = (_spelled(names, command) for names, command in commands())
    return joined(_INTRODUCTION, *spelled, "## Exit codes\n", _exit_codes())


def _exit_codes() -> str:
    return table(("code", "meaning"), [(code(number), meaning) for number, meaning in MEANINGS.items()])


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands, in groups too, each by what one types."""
    yield from _commands(("triglot",), main)


def _commands(names: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not command.hidden:
        yield names, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands((*names, name), inner)


def helped(names: tuple[str, ...], command: click.Command) -> str:
    """What `--help` prints on a terminal of 80 columns."""
    helps = main.context_settings["help_option_names"]
    context = click.Context(
        command, info_name=" ".join(names), terminal_width=_WIDTH, max_content_width=_WIDTH, help_option_names=helps
    )
    return command.get_help(context)


def _spelled(names: tuple[str, ...], command: click.Command) -> str:
    return joined(f"## `{' '.join(names)}`\n", block(helped(names, command)))
