"""`triglot serve`, and one thing more: on SIGUSR1 it writes down which tasks there are, by what they run.

python -m tests.faults.soak.gateway_child REPORT serve --config routes.yaml
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from pathlib import Path

import orjson

from gateway import cli


def main(report: Path, arguments: list[str]) -> None:
    """Runs the command line."""

    def count_tasks(*_: object) -> None:
        names = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
        with report.open("ab") as file:
            file.write(orjson.dumps(names) + b"\n")

    report.touch()
    signal.signal(signal.SIGUSR1, count_tasks)
    cli.main(arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
