"""CPU and memory of a process, where they can be had."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from gateway.bench.meter import Reading, meter, of_ps, read_ps

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="CPU clocks of other processes are Linux's")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("  0:01.50  2048\n", Reading(1.5, 2048 * 1024)),
        ("00:00:07 15680", Reading(7, 15680 * 1024)),
        ("1-02:03:04 1", Reading(((24 + 2) * 60 + 3) * 60 + 4, 1024)),
        ("", None),
        ("TIME RSS", None),
        ("1:00", None),
    ],
)
def test_ps_is_read_as_linux_and_macos_print_it(line: str, expected: Reading | None) -> None:
    assert read_ps(line) == expected


def test_ps_tells_of_this_process() -> None:
    reading = of_ps(os.getpid())
    assert reading is not None
    assert reading.memory > 10_000_000
    assert reading.kernel_s is None  # ps knows of no such thing


@linux_only
def test_cpu_time_grows_with_what_a_process_spends_and_nothing_else() -> None:
    reads, note = meter()
    assert reads is not None
    assert note == ""
    before, spent = reads(os.getpid()), time.process_time()
    while time.process_time() < spent + 0.05:
        pass
    after = reads(os.getpid())
    assert before is not None
    assert after is not None
    assert before.kernel_s is not None
    assert before.kernel_s <= before.cpu_s + 0.02
    assert 0.05 <= after.cpu_s - before.cpu_s <= time.process_time() - spent + 0.05


@linux_only
def test_children_count_too() -> None:
    reads, _ = meter()
    assert reads is not None
    alone = reads(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        child_alone = reads(child.pid)
        together = reads(os.getpid())
        child.communicate(b"\n")
    assert alone is not None
    assert child_alone is not None
    assert together is not None
    assert together.memory > alone.memory


@linux_only
def test_a_process_that_is_gone_has_no_reading() -> None:
    reads, _ = meter()
    assert reads is not None
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert reads(child.pid) is None


def test_a_system_without_proc_and_ps_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("PATH", "")
    reads, note = meter()
    assert reads is None
    assert "CPU and memory are missing" in note


def test_where_ps_is_what_there_is_its_coarseness_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    reads, note = meter()
    assert reads is of_ps
    assert "10 ms" in note
