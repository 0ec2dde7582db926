"""`python -m tests.bench [--only WORDS] [--burden SHARE] [--no-metrics]`: what events and requests cost, as YAML."""

from __future__ import annotations

import sys

import click

from tests.bench.figures import measure, spelled


@click.command()
@click.option("--only", default="", help="What was done, or between whom: a part of its name.")
@click.option("--burden", default=0.0, help="This share of an event's instructions is wasted on top.")
@click.option("--metrics/--no-metrics", default=True, help="Of the gateway.")
def main(only: str, burden: float, metrics: bool) -> None:
    """What events and requests cost."""
    sys.stdout.write(spelled(measure(only, burden, metrics=metrics)))


if __name__ == "__main__":
    main()
