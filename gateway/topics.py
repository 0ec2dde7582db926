"""`triglot help` and `triglot completion`: what is told beside the commands' own help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import click
from click.shell_completion import get_completion_class

from gateway.exit_codes import MEANINGS
from gateway.simulator.sayings import SAYS
from gateway.simulator.script import FAULTS

_SHELLS: Final = ("bash", "zsh", "fish")


def _listed(title: str, rows: Mapping[str, str]) -> str:
    return "\n".join([f"{title}:", *(f"  {name:13} {says}" for name, says in rows.items())])


def exit_codes() -> str:
    """Every exit code and what it means."""
    return _listed("Exit codes", MEANINGS)


def scripts() -> str:
    """What the simulator can be told."""
    says = _listed("What the simulator says, as say=NAME", {name: what for name, (what, _) in SAYS.items()})
    return f"{says}\n\n{_listed('Faults, as fault=NAME or fault=NAME@N', FAULTS)}"


TOPICS: Final[Mapping[str, Callable[[], str]]] = {"exit-codes": exit_codes, "scripts": scripts}


@click.command("help")
@click.argument("about", required=False, metavar="[COMMAND|exit-codes|scripts]")
@click.pass_context
def tell(context: click.Context, about: str | None) -> None:
    """Tell of a command, of exit codes, or of the simulator's scripts."""
    root = context.find_root()
    group = root.command
    assert isinstance(group, click.Group)
    command = group.get_command(root, about) if about else group
    if about is not None and about in TOPICS:
        click.echo(TOPICS[about]())
    elif command is None:
        known = ", ".join((*group.list_commands(root), *TOPICS))
        raise click.UsageError(f"{about}: nothing is known of it; there are {known}")
    else:
        within = click.Context(command, info_name=about, parent=root) if about else root
        click.echo(command.get_help(within))


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete triglot's commands and options.

    \b
    bash:  echo 'source <(triglot completion bash)' >> ~/.bashrc
    zsh:   echo 'source <(triglot completion zsh)' >> ~/.zshrc
    fish:  triglot completion fish > ~/.config/fish/completions/triglot.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(context.find_root().command, {}, "triglot", "_TRIGLOT_COMPLETE").source())
