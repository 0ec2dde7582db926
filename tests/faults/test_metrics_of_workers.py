"""`/metrics` with `--workers 2`: whoever is asked tells of both, and a worker that dies takes nothing with it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.telemetry.metrics import METRICS
from tests.faults.callers import OPENAI_CALLER, ask
from tests.faults.harness import Process, settings
from tests.faults.hostile_upstream import HostileUpstream, until
from tests.faults.scraped import families, series, value
from tests.faults.test_workers import begins_and_waits, begun, workers_of, working
from tests.faults.voices import OPENAI, answers, hangs_after

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")

REQUESTS = 40
TOLD = "triglot_requests_total"


@pytest.fixture
def process(upstream: HostileUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    """Two workers, whose temporary files are in a folder of the test's."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    upstream.perform(answers(OPENAI))
    with working(tmp_path, settings(upstream.port)) as running:
        yield running


def files(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "tmp").rglob("*.db")}


def asked(process: Process, times: int = REQUESTS) -> set[int]:
    """Requests, of which both workers get some; who got them."""
    before = len(process.lines)
    for _ in range(times):
        assert ask(process.port, OPENAI_CALLER.request("openai")).status == 200
    until(lambda: len(process.lines) == before + times, "every request has its line")
    return {line["worker"] for line in process.lines[before:]}


def kill_one(process: Process) -> None:
    """And wait for the one that comes in its place."""
    old = workers_of(process)
    os.kill(old[0], signal.SIGKILL)
    until(lambda: len(workers_of(process)) == 2 and workers_of(process) != old, "another one has started")


def test_whoever_is_asked_tells_the_sum_of_both(process: Process) -> None:
    """In the same series as one process has; one that named it would be new with every worker that starts."""
    assert asked(process) == {1, 2}
    for _ in range(8):  # of which each gets some
        assert value(process.port, TOLD, route="openai", end="complete") == REQUESTS
        assert value(process.port, "gen_ai_server_request_duration_seconds_count") == REQUESTS
        assert value(process.port, "gen_ai_server_request_duration_seconds_bucket", le="+Inf") == REQUESTS
    assert set(families(process.port)) <= {metric.name for metric in METRICS}
    assert not [labels for _, labels in series(process.port) if "pid" in dict(labels)]


def test_streams_of_both_are_in_flight(process: Process, upstream: HostileUpstream) -> None:
    upstream.perform(begins_and_waits)
    with ExitStack() as stack:
        calls = begun(stack, process)
        until(lambda: value(process.port, "triglot_streams_in_flight") == len(calls), "both have told of theirs")
        upstream.release()
        for call in calls:
            call.read_reply()
    until(lambda: value(process.port, "triglot_streams_in_flight") == 0, "both have told that theirs are over")


def test_what_a_killed_worker_counted_stays_and_what_it_had_in_flight_goes(
    process: Process, upstream: HostileUpstream, tmp_path: Path
) -> None:
    """And no file is left over, however often one dies."""
    assert asked(process) == {1, 2}
    before = files(tmp_path)
    upstream.perform(hangs_after(OPENAI.first()))
    for _ in range(3):
        kill_one(process)
    assert value(process.port, TOLD, route="openai") == REQUESTS
    upstream.perform(answers(OPENAI))
    asked(process)
    assert value(process.port, TOLD, route="openai") == 2 * REQUESTS
    assert value(process.port, "triglot_build_info") == 1
    assert files(tmp_path) == before


def test_streams_of_a_killed_worker_are_in_flight_no_more(process: Process, upstream: HostileUpstream) -> None:
    upstream.perform(begins_and_waits)
    with ExitStack() as stack:
        calls = begun(stack, process)
        until(lambda: value(process.port, "triglot_streams_in_flight") == len(calls), "all are told")
        for pid in workers_of(process):
            os.kill(pid, signal.SIGKILL)
        until(lambda: _streams(process) == 0, "those who had them are gone")


def _streams(process: Process) -> float:
    try:
        return value(process.port, "triglot_streams_in_flight")
    except OSError:  # nobody has come after them yet
        return -1


def test_the_folder_goes_with_the_gateway(process: Process, tmp_path: Path) -> None:
    """Who made it removes it, and no worker that ends before."""
    assert len(files(tmp_path)) == 2 * 5
    os.kill(workers_of(process)[0], signal.SIGTERM)
    until(lambda: "ended with status 0; another one starts" in process.log.read_text(), "a worker has ended")
    assert len(files(tmp_path)) >= 2 * 5 - 3
    asked(process, 2)
    process.popen.terminate()
    assert process.popen.wait(10) == 0
    assert list((tmp_path / "tmp").iterdir()) == []
