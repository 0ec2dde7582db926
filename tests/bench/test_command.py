"""`triglot bench` as a user runs it: with real processes, whose figures nobody asserts."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import orjson
import pytest
from click.testing import CliRunner

from gateway.bench import processes
from gateway.cli import main
from tests.e2e.gateway_process import ROOT

PATIENCE_S: Final = 120.0
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway", "bench", *arguments]


def test_a_quick_run_measures_whole_streams_and_tells_all_figures_as_json() -> None:
    ended = subprocess.run(
        command(
            "--quick", "--pairs", "openai:anthropic,truss:truss", "--streams", "1,3", "--tokens", "5", "--json", "-"
        ),
        cwd=ROOT,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == b""  # no bar, no colours: nobody looks
    found = orjson.loads(ended.stdout)
    assert found["faults"] == []
    assert found["tokens"] == 5
    assert [line["client"] for line in found["direct"]] == ["openai", "truss"]
    assert [(line["client"], line["upstream"]) for line in found["pairs"]] == [
        ("openai", "anthropic"),
        ("truss", "truss"),
    ]
    for line in (*found["direct"], *found["pairs"]):
        assert [level["streams"] for level in line["levels"]] == [1, 3]
        assert all(level["gap_p50_ms"] > 0 and level["ttft_p50_ms"] > 0 for level in line["levels"])
    for line in found["pairs"]:
        assert line["one_at_a_time"].keys() >= {"added_ttft_p50_ms", "added_ttft_p99_ms", "cpu_ms_whole", "rest_mb"}
        assert all("cpu_us_event" in level and "memory_kb_stream" in level for level in line["levels"])
        if sys.platform == "linux":
            assert line["one_at_a_time"]["cpu_ms_streamed"] > 0
            assert line["one_at_a_time"]["rest_mb"] > 10
            assert all(level["cpu_us_event"] > 0 for level in line["levels"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--pairs", "openai:claude"), 'no pair "openai:claude"'),
        (("--streams", "0"), '"0" streams'),
        (("--tokens", "0"), "--tokens"),
        (("--rounds", "0"), "--rounds"),
        (("--pace", "0"), "--pace"),
        (("--json", "nowhere/at/all.json"), "no such directory"),
        (("--url", "http://127.0.0.1:1"), "--upstream-port"),
        (("--upstream-port", "9"), "--url"),
        (("--pid", "1"), "--url"),
        (("--url", "ftp://127.0.0.1", "--upstream-port", "9"), "ftp://127.0.0.1"),
        (("--url", "http://127.0.0.1:1", "--upstream-port", "9", "--pin"), "--pin"),
    ],
)
def test_what_cant_be_measured_is_refused_by_name_before_anything_starts(
    arguments: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    result = CliRunner().invoke(main, ["bench", *arguments])
    assert result.exit_code == 2
    assert told in result.output


def test_a_port_that_is_taken_is_told_in_the_gateways_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(processes, "free_port", lambda: port)
        result = CliRunner().invoke(
            main, ["bench", "--quick", "--pairs", "truss:truss", "--streams", "1", "--tokens", "1"]
        )
    assert result.exit_code == 3
    assert "the gateway did not start" in result.stderr
    assert "address already in use" in result.stderr


def test_pinning_says_where_it_can_not_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    result = CliRunner().invoke(main, ["bench", "--pin"])
    assert result.exit_code == 3
    assert "--pin needs Linux" in result.stderr


def test_pinning_needs_a_second_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    with pytest.raises(processes.CannotMeasure, match="2 cores"):
        processes.split_cores(1)


def test_each_worker_gets_one_core_and_the_rest_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 1, 2}, raising=False)
    assert processes.split_cores(1) == (frozenset({3}), frozenset({1, 2}))
    assert processes.split_cores(2) == (frozenset({2, 3}), frozenset({1}))


@linux_only
def test_a_gateway_with_a_core_of_its_own_stays_there() -> None:
    core = max(os.sched_getaffinity(0))
    with processes.gateway(processes.routes(9), processes.free_port(), cores={core}) as child:
        assert os.sched_getaffinity(child.pid) == {core}


@linux_only
@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_pinning_is_told_with_the_figures() -> None:
    asked = ("--pin", "--quick", "--pairs", "truss:truss", "--streams", "1", "--tokens", "1", "--json", "-")
    ended = subprocess.run(command(*asked), cwd=ROOT, capture_output=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "gateway on core" in orjson.loads(ended.stdout)["setting"]["pinned"]


def test_streams_beyond_the_limit_of_open_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 256))
    with pytest.raises(processes.CannotMeasure, match=r"500 streams need 1200 open files.*allows 256"):
        processes.allow_files(500)


def test_a_server_that_runs_already_is_measured_in_place_of_a_gateway() -> None:
    upstream_port, port = processes.free_port(), processes.free_port()
    with processes.gateway(processes.routes(upstream_port), port) as running:
        where = ("--url", f"http://127.0.0.1:{port}", "--upstream-port", str(upstream_port), "--model", "responses")
        asked = ("--pairs", "anthropic:responses", "--streams", "2", "--tokens", "3", "--json", "-")
        result = CliRunner().invoke(main, ["bench", "--quick", *where, *asked, "--pid", str(running.pid)])
        running.check()
    assert result.exit_code == 0, result.output
    found = orjson.loads(result.stdout)
    assert found["faults"] == []
    assert found["setting"]["measured"] == f"127.0.0.1:{port}"
    (pair,) = found["pairs"]
    if sys.platform == "linux":
        assert pair["one_at_a_time"]["cpu_ms_streamed"] > 0


def test_an_upstream_that_listens_already_is_used_and_left_alone() -> None:
    with processes.upstream(0.02) as (child, port), processes.upstream(0.02, port) as (other, same):
        assert (other, same) == (None, port)
        assert child is not None
    with processes.upstream(0.02, processes.free_port()) as (started, _):
        assert started is not None


@pytest.mark.parametrize("metrics", [True, False])
def test_metrics_of_the_gateway_are_on_or_off(metrics: bool) -> None:
    port = processes.free_port()
    with processes.gateway(processes.routes(9, metrics=metrics), port):
        assert httpx.get(f"http://{processes.HOST}:{port}/metrics").status_code == (200 if metrics else 404)


@pytest.mark.slow
def test_several_workers_are_metered_together() -> None:
    asked = ("--pairs", "truss:truss", "--streams", "2", "--tokens", "2", "--workers", "2", "--json", "-")
    result = CliRunner().invoke(main, ["bench", "--quick", *asked])
    assert result.exit_code == 0, result.output
    found = orjson.loads(result.stdout)
    assert (found["workers"], found["metrics"], found["faults"]) == (2, True, [])
    if sys.platform == "linux":
        assert found["pairs"][0]["levels"][0]["cpu_us_event"] > 0


def test_answers_that_are_not_whole_are_told_and_are_exit_code_1() -> None:
    upstream_port, port = processes.free_port(), processes.free_port()
    with processes.gateway(processes.routes(upstream_port), port):
        where = ("--url", f"http://127.0.0.1:{port}", "--upstream-port", str(upstream_port), "--model", "nobody")
        asked = ("--pairs", "anthropic:openai", "--streams", "2", "--tokens", "3", "--json", "-")
        result = CliRunner().invoke(main, ["bench", "--quick", *where, *asked])
    assert result.exit_code == 1
    faults = orjson.loads(result.stdout)["faults"]
    assert sum(fault["count"] for fault in faults) == 5 + 50 + 50 + 2
    assert all(fault["where"] == "anthropic<-openai" and "status 404" in fault["what"] for fault in faults)
    assert "not whole: anthropic<-openai" in result.stderr


@linux_only
def test_a_process_to_be_metered_has_to_be_there() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    where = ("--url", "http://127.0.0.1:9", "--upstream-port", "9", "--pid", str(gone.pid))
    result = CliRunner().invoke(main, ["bench", *where])
    assert result.exit_code == 3
    assert "there is no such process" in result.stderr


# --- what ends a run ---


def children(pid: int) -> dict[str, int]:
    """The processes that a process has begun, by the module they run."""
    found = {}
    for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, IndexError):  # it has just ended, or only begins
            found[Path(f"/proc/{each}/cmdline").read_text().split("\0")[2]] = int(each)
    return found


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@contextmanager
def measuring() -> Iterator[tuple[subprocess.Popen[str], dict[str, int]]]:
    """A run that would take minutes, once all its processes are there; and these, by the module they run."""
    begun = command("--quick", "--pairs", "openai:openai", "--streams", "1", "--tokens", "20", "--rounds", "100")
    with subprocess.Popen(begun, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            until(lambda: len(children(running.pid)) == 2)
            yield running, children(running.pid)
        finally:
            running.kill()


@linux_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_told_to_end_leaves_no_process_behind(number: signal.Signals) -> None:
    with measuring() as (running, begun):
        running.send_signal(number)
        _, told = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 130
    assert "interrupted" in told
    assert begun.keys() == {"gateway", "gateway.bench.upstream"}
    assert all(map(is_gone, begun.values()))


@linux_only
def test_a_process_that_dies_meanwhile_is_named_and_there_are_no_figures() -> None:
    with measuring() as (running, begun):
        os.kill(begun["gateway.bench.upstream"], signal.SIGKILL)
        out, told = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 1
    assert "the upstream ended with status -9" in told
    assert out == ""
    assert is_gone(begun["gateway"])


def test_the_upstream_ends_with_whoever_began_it() -> None:
    with processes.upstream(0.02) as (child, _):
        assert child is not None
        assert child.process.stdin is not None
        child.check()
        child.process.stdin.close()
        assert child.process.wait(PATIENCE_S) == 0


def test_a_gateway_that_has_died_is_told_with_its_last_words() -> None:
    with processes.gateway(processes.routes(9), processes.free_port()) as child:
        child.check()
        child.process.kill()
        child.process.wait(PATIENCE_S)
        with pytest.raises(processes.CannotMeasure, match=r"the gateway ended with status -9 .*last words:"):
            child.check()
