"""`python -m tests.bench [--only WORDS] [--burden SHARE]`: what events and requests cost, as YAML."""

from __future__ import annotations

import sys

import click

from tests.bench.figures import measure, spelled


@click.command()
@click.option("--only", default="", help="What was done, or between whom: a part of its name.")
@click.option("--burden", default=0.0, help="This share of an event's instructions is wasted on top.")
def main(only: str, burden: float) -> None:
    """What events and requests cost."""
    sys.stdout.write(spelled(measure(only, burden)))


if __name__ == "__main__":
    main()
