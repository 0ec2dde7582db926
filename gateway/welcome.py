"""What `triglot serve` prints once it listens: where, its routes and upstreams, and a call to try for each dialect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import click
import orjson

from gateway.config import Config
from gateway.dialects import DIALECTS
from gateway.terminal import say

_SHOWN: Final = 12
"""Of routes and of upstreams; `triglot check` tells all."""
_OWN_TO_EACH: Final = (
    "each has breakers, balance, retry budgets and health checks of its own; max_in_flight and queues are shared out"
)


def welcome(config: Config, port: int) -> None:
    """Prints it. The port is the real one, where the settings say 0."""
    base = f"http://{config.server.host}:{port}"
    say(f"{click.style('triglot', bold=True)} listens on {base}")
    upstreams = [f"{name} ({upstream.dialect}, {upstream.url})" for name, upstream in config.upstreams.items()]
    say(f"routes: {_some(list(config.routes))}")
    say(f"upstreams: {_some(upstreams)}")
    if config.server.workers > 1:
        say(f"{config.server.workers} workers: {_OWN_TO_EACH}")
    for title, call in calls(config, base):
        say(f"\n# {title}", dim=True)
        say(call)


def calls(config: Config, base: str) -> Iterator[tuple[str, str]]:
    """For each dialect, whose clients speak it, and a call to try."""
    exact = [name for name in config.routes if "*" not in name and "?" not in name]
    model = "demo" if "demo" in exact else (exact or ["MODEL"])[0]
    shown = ' -H "authorization: Bearer $TRIGLOT_KEY"' if config.keys else ""
    for sample in (dialect.sample for dialect in DIALECTS.values() if dialect.sample is not None):
        body = orjson.dumps(sample.body).decode().replace("{model}", model)
        yield sample.client, f"curl -N {base}{sample.path.replace('{model}', model)}{shown} -d '{body}'"


def _some(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _SHOWN} more (triglot check tells all)"] if len(names) > _SHOWN else []
    return ", ".join([*names[:_SHOWN], *more])
