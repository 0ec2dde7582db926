"""What the commands print: in colours where somebody looks and wants them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from rich.console import Console


def has_colours(stream: TextIO) -> bool:
    """Whether it is a terminal that knows colours, in front of somebody who wants them (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str, *, err: bool = False, **style: Any) -> None:
    """One line, in a style of click's."""
    click.echo(click.style(text, **style), err=err, color=has_colours(sys.stderr if err else sys.stdout))


def console(*, err: bool = False, width: int | None = None) -> Console:
    """For tables and the like. Where nobody wants colours, nothing is bold or dim either."""
    from rich.console import Console  # several megabytes, which a gateway that serves has no use for

    color_system = "auto" if has_colours(sys.stderr if err else sys.stdout) else None
    return Console(stderr=err, color_system=color_system, width=width)  # type: ignore[arg-type]
