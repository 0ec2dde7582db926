"""CPU time and memory of a process, from Linux's own clocks or, elsewhere, from `ps`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

_SCHEDULED: Final = 2
"""CPUCLOCK_SCHED: all threads of a process, those that have ended too, in ns."""
_TIME: Final = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+(?:\.\d+)?)")


class Reading(NamedTuple):
    """CPU seconds since the process began, bytes of memory it holds now, and what of the CPU was the kernel's."""

    cpu_s: float
    memory: int
    kernel_s: float | None = None


Meter = Callable[[int], Reading | None]
"""A process's id → its reading, its children's included; None if there is no such process."""


def meter() -> tuple[Meter | None, str]:
    """The best there is on this system, and what has to be known of it; None where there is nothing."""
    if sys.platform == "linux":
        return of_linux, ""
    try:
        reading = of_ps(os.getpid())
    except OSError:
        return None, "CPU and memory are missing: there is neither Linux's /proc nor ps"
    if reading is None:
        return None, "CPU and memory are missing: this system's ps doesn't tell them"
    return of_ps, "CPU is ps's, in steps of 10 ms: trust it for many streams only"


def of_linux(pid: int) -> Reading | None:
    """From the process's own CPU clock, and /proc."""
    try:
        family = list(_family(pid))
        pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in family)
        spent = sum(time.clock_gettime(~each << 3 | _SCHEDULED) for each in family)
        ticks = sum(int(Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[12]) for each in family)
    except (OSError, ValueError):
        return None
    return Reading(spent, pages * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK"))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield from _family(int(child))


def of_ps(pid: int) -> Reading | None:
    """From `ps`, of this process alone."""
    told = subprocess.run(["ps", "-o", "time=,rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return read_ps(told.stdout)


def read_ps(line: str) -> Reading | None:
    """`1:02.34 5678`: minutes and seconds, with hours and days before them where needed; KiB."""
    match line.split():
        case [spent, size] if (found := _TIME.fullmatch(spent)) and size.isdecimal():
            days, hours, minutes = (int(part or 0) for part in found.groups()[:3])
            return Reading(((days * 24 + hours) * 60 + minutes) * 60 + float(found[4]), int(size) * 1024)
    return None
