"""`triglot bench`: measures, shows how far it is, and tells what it found. Its exit status: `gateway.exit_codes`."""

from __future__ import annotations

import os
import platform
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, Final

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gateway.bench import processes
from gateway.bench.measure import PROBES_S, Bench, Results, Running
from gateway.bench.meter import meter
from gateway.bench.plan import Plan
from gateway.bench.report import WIDTH, Setting, plain, tables
from gateway.exit_codes import SIGNAL, ExitCode
from gateway.terminal import console

INTERRUPTED: Final = SIGNAL + signal.SIGINT


class _Bar:
    """How far it is, on stderr; nothing where that is no terminal."""

    def __init__(self, plan: Plan, stderr: Console) -> None:
        lines = len(plan.clients) + len(plan.pairs)
        seconds = plan.rounds * lines * (PROBES_S + sum(map(plan.level_s, plan.streams)))
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.shown = Progress(
            *columns,
            console=stderr,
            transient=True,
            disable=not stderr.is_terminal,
            refresh_per_second=1,  # each is a pause of the load's
        )
        self._task: TaskID = self.shown.add_task("starting", total=seconds)

    def begin(self, what: str) -> None:
        self.shown.update(self._task, description=what)

    def done(self, seconds: float) -> None:
        self.shown.advance(self._task, seconds)


def run(plan: Plan, json: str, *, is_pinned: bool, running: Running | None = None) -> int:
    """Measures the plan and prints it. `json`: a file for all figures, `-` for stdout instead of the tables.

    Returns the exit status.
    """
    stdout, stderr = _stdout(), console(err=True)
    try:
        with _interruptible():
            results, setting = _measured(plan, stderr, is_pinned, running)
    except processes.CannotMeasure as error:
        stderr.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return ExitCode.CANNOT_START if error.is_start else ExitCode.WRONG
    except KeyboardInterrupt:
        stderr.print("interrupted: what was started has been ended, and there are no figures", highlight=False)
        return INTERRUPTED
    told = orjson.dumps(plain(plan, results, setting), option=orjson.OPT_INDENT_2) + b"\n"
    if json == "-":
        sys.stdout.buffer.write(told)
    else:
        stdout.print(tables(plan, results, setting), highlight=False)
    if json not in ("", "-"):
        Path(json).write_bytes(told)
    for where, what, count in results.faults:
        stderr.print(
            f"not whole: {where}: {count} x {what}", style="red", markup=False, highlight=False, soft_wrap=True
        )
    return ExitCode.WRONG if results.faults else ExitCode.FINE


def _stdout() -> Console:
    """As wide as the tables, whatever the terminal is: a figure that is cut off is none."""
    return console(width=max(console().width, WIDTH))


@contextmanager
def _interruptible() -> Iterator[None]:
    """Other ways to be told to end are as a Ctrl-C: the processes must end too."""
    before = {
        number: signal.signal(number, _as_interrupt) for number in processes.ENDING if number is not signal.SIGINT
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def _measured(plan: Plan, stderr: Console, is_pinned: bool, running: Running | None) -> tuple[Results, Setting]:
    reads, note = meter()
    mine: frozenset[int] = frozenset()
    facts = _facts()
    if is_pinned:
        mine, others = processes.split_cores(plan.workers)
        os.sched_setaffinity(0, others)
        facts["pinned"] = f"gateway on core {_listed(mine)}, all else on {_listed(others)}"
    if running is not None:
        facts["measured"] = f"{running.address.host}:{running.address.port}{running.address.base}"
        if running.pid is not None and reads is not None and reads(running.pid) is None:
            raise processes.CannotMeasure(f"--pid {running.pid}: there is no such process", is_start=True)
    processes.allow_files(max(plan.streams))
    bar = _Bar(plan, stderr)
    with bar.shown:
        results = Bench(plan, reads, bar, mine, running).run()
    return results, Setting(facts, [note] if note else [])


def _listed(cores: frozenset[int]) -> str:
    return ",".join(map(str, sorted(cores)))


def _facts() -> dict[str, Any]:
    return {
        "triglot": version("triglot"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }
