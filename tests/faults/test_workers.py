"""`triglot serve --workers 2`: both serve, all drain and reload together, one that dies is replaced."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson
import pytest

from tests.faults.callers import FOUR, OPENAI_CALLER, Call, ask, assert_broken, assert_finished, calling, read_reply
from tests.faults.harness import Process, free_port, gateway_process, settings
from tests.faults.hostile_upstream import HostileUpstream, Peer, Seen, until
from tests.faults.test_reload import VOICE_OF, listed, logged, routes_file, streamed
from tests.faults.voices import LAST_CHUNK, OPENAI, RAW, answers, chunk
from tests.measured import measure

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")

STREAMS, TOKENS = 50, 100
"""Of each worker."""
SLACK_S = 1.0
"""What a busy machine may add to what is promised."""
KINDS = [(caller, route) for caller in FOUR for route in ("openai", "anthropic", "truss", "responses")] * 2


@contextmanager
def working(folder: Path, routes: bytes, *options: str) -> Iterator[Process]:
    """Two workers, both of which serve."""
    with gateway_process(folder, routes, free_port(), "--workers", "2", *options) as process:
        logged(process, "triglot listens")
        yield process


def workers_of(process: Process) -> list[int]:
    """Process ids."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


async def begins_and_waits(peer: Peer, seen: Seen) -> None:
    """A stream goes on once it is released; a whole answer comes at once."""
    voice = VOICE_OF[seen.target]
    if not orjson.loads(seen.body).get("stream", True):
        await peer.send(voice.answer(seen))
        return
    await peer.send(voice.head, chunk(voice.opening), chunk(voice.token("Salt ")))
    await peer.released()
    await peer.send(chunk(voice.token("combs ")), chunk(voice.finish + voice.terminator), LAST_CHUNK)


def begun(stack: ExitStack, process: Process) -> list[Call]:
    """A stream of each kind, all of which have begun."""
    calls = [stack.enter_context(calling(process.port, caller.request(route))) for caller, route in KINDS]
    for call in calls:
        call.read_until(b"Salt")
    return calls


def forms() -> list[str]:
    return [caller.form(RAW if route == "truss" else OPENAI) for caller, route in KINDS]


def status_of(port: int, path: str) -> int:
    return ask(port, f"GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n".encode()).status


async def many_tokens(peer: Peer, seen: Seen) -> None:
    voice = VOICE_OF[seen.target]
    await peer.send(voice.head, chunk(voice.opening))
    for _ in range(TOKENS):
        await peer.send(chunk(voice.token("Salt ")))
        await asyncio.sleep(0.01)
    await peer.send(chunk(voice.finish + voice.terminator), LAST_CHUNK)


def cpu_s(process: Process) -> float:
    """Of the process and its workers."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in all_of(process)]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def all_of(process: Process) -> list[int]:
    return [process.pid, *workers_of(process)]


# -- serving -------------------------------------------------------------------------------------------------------


def test_both_workers_serve_and_their_lines_say_who(upstream: HostileUpstream, tmp_path: Path) -> None:
    upstream.perform(answers(OPENAI))
    with working(tmp_path, settings(upstream.port)) as process:
        for _ in range(64):
            assert ask(process.port, OPENAI_CALLER.request("openai")).status == 200
        until(lambda: len(process.lines) == 64, "every request has its line")
        log = process.said
        assert {line["worker"] for line in process.lines} == {1, 2}
        measure("requests of 64 that the busier of two workers got", max(Counter(served_by(process)).values()))
    assert log.count("triglot listens on") == 1
    assert log.count("2 workers: each has breakers, balance, retry budgets and health checks of its own") == 1


def served_by(process: Process) -> list[int]:
    return [line.get("worker", 1) for line in process.lines]


@pytest.mark.slow
async def test_lines_of_workers_never_mix(upstream: HostileUpstream, tmp_path: Path) -> None:
    """A thousand of them, from both at the same time."""
    upstream.perform(answers(OPENAI))
    with working(tmp_path, settings(upstream.port)) as process:
        for _ in range(10):
            await asyncio.gather(*(streamed(process.port, OPENAI_CALLER.request("openai")) for _ in range(100)))
        await asyncio.to_thread(until, lambda: process.log.read_bytes().count(b'"end"') == 1000, "all is written")
        assert Counter(line["end"] for line in process.lines) == {"complete": 1000}


@pytest.mark.slow
def test_port_0_is_one_port_for_all_and_told_once(upstream: HostileUpstream, tmp_path: Path) -> None:
    upstream.perform(answers(OPENAI))
    (tmp_path / "routes.yaml").write_bytes(settings(upstream.port))
    with run(tmp_path, "--workers", "2", "--port", "0") as (process, log):
        until(lambda: "listens on" in log.read_text(), "it says where it listens")
        (port,) = re.findall(r"listens on http://127\.0\.0\.1:(\d+)", log.read_text())
        for _ in range(8):
            assert ask(int(port), OPENAI_CALLER.request("openai")).status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@contextmanager
def run(folder: Path, *options: str, code: str = "") -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`triglot serve`, with a piece of code run before."""
    script = f"{code}\nfrom gateway.cli import main\nmain()"
    command = [sys.executable, "-c", script, "serve", "--config", str(folder / "routes.yaml"), *options]
    log = folder / "log"
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield process, log
        finally:
            process.terminate()
            process.wait(10)


@pytest.mark.slow
def test_a_port_that_is_taken_is_told_once(upstream: HostileUpstream, tmp_path: Path) -> None:
    """Also by another gateway with workers, whose connections it would else get a part of."""
    with working(tmp_path, settings(upstream.port)) as process:
        command = [sys.executable, "-m", "gateway", "serve", "-c", str(tmp_path / "routes.yaml")]
        command += ["--workers", "2", "--port", str(process.port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 3
    assert ended.stderr.count("address already in use") == 1
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


@pytest.mark.slow
def test_a_limit_is_kept_by_all_workers_together(upstream: HostileUpstream, tmp_path: Path) -> None:
    upstream.perform(begins_and_waits)
    server = {
        "url": f"http://127.0.0.1:{upstream.port}/v1",
        "dialect": "openai",
        "max_in_flight": 5,
        "queue": {"size": 0},
    }
    file = orjson.dumps({"upstreams": {"one": server}, "routes": {"one": "one"}})
    with working(tmp_path, file) as process, ExitStack() as stack:
        calls = [stack.enter_context(calling(process.port, OPENAI_CALLER.request("one"))) for _ in range(40)]
        until(lambda: len(process.lines) == 35, "all but five were refused")
        assert len(upstream.requests) == 5
        upstream.release()
        replies = [call.read_reply() for call in calls]
    assert Counter(reply.status for reply in replies)[200] == 5


@pytest.mark.slow
async def test_two_workers_do_the_work_of_two(upstream: HostileUpstream, tmp_path: Path) -> None:
    """Told by CPU, as the load takes its share of the same cores: on two free ones, two workers that need as much for a
    token as one alone carry twice as many, less what the kernel's hash gives one of them more than the other."""
    upstream.perform(many_tokens)
    cost: dict[str, list[float]] = {"1": [], "2": []}
    shares: list[float] = []
    for round_, workers in itertools.product(range(3), cost):
        folder = tmp_path / f"{round_}-{workers}"
        folder.mkdir()
        with gateway_process(folder, settings(upstream.port), free_port(), "--workers", workers) as process:
            logged(process, "triglot listens")
            before, streams = cpu_s(process), STREAMS * int(workers)
            await asyncio.gather(*(streamed(process.port, OPENAI_CALLER.request("anthropic")) for _ in range(streams)))
            cost[workers].append((cpu_s(process) - before) / (streams * TOKENS) * 1e6)
        busiest = max(Counter(served_by(process)).values()) / streams
        shares += [busiest] if workers == "2" else []
    one, two = (sorted(values)[1] for values in cost.values())
    for workers, value in zip(cost, (one, two), strict=True):
        measure(f"CPU µs a token, its request included, of {workers} workers", value)
    measure("times the throughput of one worker that two have on two free cores, by CPU", 2 * one / two)
    measure("% of 100 streams that the busier of two workers got", max(shares) * 100)
    assert 2 * one / two > 1


# -- the end -------------------------------------------------------------------------------------------------------


def test_sigterm_drains_all_workers(upstream: HostileUpstream, tmp_path: Path) -> None:
    """Streams of both end whole; whoever comes meanwhile is told to go elsewhere, by whichever worker."""
    upstream.perform(begins_and_waits)
    with working(tmp_path, settings(upstream.port)) as process, ExitStack() as stack:
        calls = begun(stack, process)
        process.popen.send_signal(signal.SIGTERM)
        until(lambda: process.said.count("draining: ") == 2, "both drain")
        for _ in range(16):
            assert status_of(process.port, "/readyz") == 503
            assert status_of(process.port, "/livez") == 200
        refused = ask(process.port, OPENAI_CALLER.request("openai"))
        assert (refused.status, refused.header("retry-after")) == (503, "1")
        upstream.release()
        for call, form in zip(calls, forms(), strict=True):
            assert_finished(call.read_reply(), form)
        assert process.popen.wait(5) == 0
        assert workers_gone(process)
    assert Counter(line["end"] for line in process.lines) == {"complete": len(KINDS), "drained": 1}
    assert {line["worker"] for line in process.lines} == {1, 2}


def workers_gone(process: Process) -> bool:
    """Whether nobody listens any more, and no worker has been left behind."""
    return not any(f"--port {process.port}" in told for told in command_lines())


def command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # gone meanwhile
            continue


@pytest.mark.slow
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_at_the_deadline_streams_of_all_workers_are_told(
    upstream: HostileUpstream, tmp_path: Path, sig: signal.Signals
) -> None:
    """Also where the signal reaches every process, as from a terminal or systemd: none takes it for a second one."""
    upstream.perform(begins_and_waits)
    with working(tmp_path, settings(upstream.port, server={"drain": "1s"})) as process, ExitStack() as stack:
        calls = begun(stack, process)
        began = time.monotonic()
        for pid in [*workers_of(process), process.pid]:
            os.kill(pid, sig)
        for call, form in zip(calls, forms(), strict=True):
            assert_broken(call.read_reply(), form)
        assert time.monotonic() - began > 0.9
        assert process.popen.wait(10) == 0
        measure("s from the end of draining to the exit, 2 workers", time.monotonic() - began - 1)
        assert time.monotonic() - began < 2 + SLACK_S
    assert Counter(line["end"] for line in process.lines) == {"drained": len(KINDS)}


@pytest.mark.slow
@pytest.mark.parametrize(("sig", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_all_workers_at_once(
    upstream: HostileUpstream, tmp_path: Path, sig: signal.Signals, status: int
) -> None:
    upstream.perform(begins_and_waits)
    with working(tmp_path, settings(upstream.port)) as process, ExitStack() as stack:
        calls = begun(stack, process)
        process.popen.send_signal(signal.SIGTERM)
        until(lambda: process.said.count("draining: ") == 2, "both drain")
        process.popen.send_signal(sig)
        began = time.monotonic()
        for call, form in zip(calls, forms(), strict=True):
            assert_broken(call.read_reply(), form)
        assert process.popen.wait(10) == status
        assert time.monotonic() - began < 1 + SLACK_S
        assert workers_gone(process)


@pytest.mark.slow
def test_a_worker_that_hangs_does_not_hold_the_exit_up(upstream: HostileUpstream, tmp_path: Path) -> None:
    with working(tmp_path, settings(upstream.port, server={"drain": "500ms"})) as process:
        os.kill(workers_of(process)[0], signal.SIGSTOP)
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(10) == 0
        assert workers_gone(process)
    assert "hangs, and is killed" in process.said


@pytest.mark.slow
def test_workers_drain_when_their_supervisor_is_killed(upstream: HostileUpstream, tmp_path: Path) -> None:
    upstream.perform(begins_and_waits)
    with working(tmp_path, settings(upstream.port)) as process, ExitStack() as stack:
        calls = begun(stack, process)
        process.popen.kill()
        until(lambda: process.said.count("draining: ") == 2, "both drain")
        upstream.release()
        for call, form in zip(calls, forms(), strict=True):
            assert_finished(call.read_reply(), form)
        until(lambda: workers_gone(process), "the workers are gone")


# -- reloading -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_reloads_under_load_cut_no_stream_and_fail_no_request(upstream: HostileUpstream, tmp_path: Path) -> None:
    """20 streams from before the first reload to behind the last; what is in force is so in both workers."""
    upstream.perform(begins_and_waits)
    over = asyncio.Event()
    rounds = 5
    with working(tmp_path, routes_file(upstream.port, "steady", "round-0")) as process:
        path = tmp_path / "routes.yaml"
        async with asyncio.TaskGroup() as group:
            streams = [
                group.create_task(streamed(process.port, caller.request("round-0")))
                for caller, _ in zip(itertools.cycle(FOUR), range(20), strict=False)
            ]
            await asyncio.to_thread(upstream.wait_for_requests, 20)
            steady = [group.create_task(whole_calls(process.port, over)) for _ in range(2)]
            for round_ in range(1, rounds + 1):
                path.write_bytes(routes_file(upstream.port, "steady", f"round-{round_}"))
                process.popen.send_signal(signal.SIGHUP)
                await asyncio.to_thread(logged, process, "reloaded ", round_)
                for _ in range(8):
                    assert await asyncio.to_thread(listed, process) == ["steady", f"round-{round_}"]
            over.set()
            assert not any(stream.done() for stream in streams)
            upstream.release()
    for stream, caller in zip(streams, itertools.cycle(FOUR), strict=False):
        assert_finished(read_reply(stream.result()[0]), caller.form(OPENAI))
    replies = [reply for task in steady for reply in task.result()]
    assert {read_reply(raw).status for raw, _ in replies} == {200}
    assert process.said.count("reloaded ") == rounds
    measure("requests during 5 reloads of 2 workers, none failed", len(replies))


async def whole_calls(port: int, over: asyncio.Event) -> list[tuple[bytes, float]]:
    """One after the other."""
    replies: list[tuple[bytes, float]] = []
    while not over.is_set():
        replies.append(await streamed(port, OPENAI_CALLER.request("steady", stream=False)))
    return replies


def test_a_bad_file_changes_nothing_anywhere_and_is_told_once(upstream: HostileUpstream, tmp_path: Path) -> None:
    upstream.perform(answers(OPENAI))
    with working(tmp_path, routes_file(upstream.port, "first")) as process:
        path = tmp_path / "routes.yaml"
        path.write_bytes(routes_file(upstream.port, "second", dialect="opneai"))
        process.popen.send_signal(signal.SIGHUP)
        logged(process, f"{path} was not reloaded: 1 problem; what was in force stays")
        path.write_bytes(routes_file(upstream.port, "second", max_in_flight=1))
        process.popen.send_signal(signal.SIGHUP)
        logged(process, f"{path} was not reloaded: 1 problem; what was in force stays", 2)
        log = process.said
        assert log.count('did you mean "openai"?') == 1
        assert log.count("each of 2 workers needs one of them at least") == 1
        assert "worker 1: " not in log.partition("triglot listens")[2]
        assert all(listed(process) == ["first"] for _ in range(8))


@pytest.mark.slow
def test_a_watched_file_is_put_in_force_in_all_workers(upstream: HostileUpstream, tmp_path: Path) -> None:
    with working(tmp_path, routes_file(upstream.port, "first"), "--watch") as process:
        (tmp_path / "routes.yaml").write_bytes(routes_file(upstream.port, "edited"))
        logged(process, "reloaded ")
        assert all(listed(process) == ["edited"] for _ in range(8))


# -- crashes -------------------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_is_replaced_and_others_go_on(upstream: HostileUpstream, tmp_path: Path) -> None:
    """Its streams break in sight of their clients; those of the other one are whole. No new connection is refused."""
    upstream.perform(begins_and_waits)
    with working(tmp_path, settings(upstream.port)) as process, ExitStack() as stack:
        calls = begun(stack, process)
        before = workers_of(process)
        os.kill(before[0], signal.SIGKILL)
        began = time.monotonic()
        assert all(status_of(process.port, "/livez") == 200 for _ in range(16))
        until(lambda: len(workers_of(process)) == 2, "there are two again")
        measure(
            "s from kill -9 of a worker until its successor and the other had answered 16 requests",
            time.monotonic() - began,
        )
        assert time.monotonic() - began < 2 + SLACK_S
        assert set(before) & set(workers_of(process)) == {before[1]}
        upstream.release()
        replies = [call.read_reply() for call in calls]
        broken = [index for index, reply in enumerate(replies) if not reply.is_whole]
        assert 0 < len(broken) < len(replies)
        for index, (reply, form) in enumerate(zip(replies, forms(), strict=True)):
            if index in broken:
                assert not reply.is_whole
                assert b"combs" not in reply.body
            else:
                assert_finished(reply, form)
        assert f"worker 1 (process {before[0]}) was killed by SIGKILL; another one starts\n" in process.said
        (tmp_path / "routes.yaml").write_bytes(routes_file(upstream.port, "second"))
        process.popen.send_signal(signal.SIGHUP)
        logged(process, "reloaded ")
        assert all(listed(process) == ["second"] for _ in range(8))


@pytest.mark.slow
def test_a_worker_that_is_told_to_end_drains_and_is_replaced(upstream: HostileUpstream, tmp_path: Path) -> None:
    with working(tmp_path, settings(upstream.port)) as process:
        before = workers_of(process)
        os.kill(before[1], signal.SIGTERM)
        logged(process, f"worker 2 (process {before[1]}) ended with status 0; another one starts\n")
        assert all(status_of(process.port, "/livez") == 200 for _ in range(16))
        assert len(workers_of(process)) == 2


@pytest.mark.slow
def test_a_worker_that_dies_again_and_again_is_waited_for_a_little(upstream: HostileUpstream, tmp_path: Path) -> None:
    with working(tmp_path, settings(upstream.port)) as process:
        for count in range(1, 4):
            until(lambda: len(workers_of(process)) == 2, "there are two again")
            newest = max(workers_of(process))
            os.kill(newest, signal.SIGKILL)
            logged(process, "was killed by SIGKILL; another one starts", count)
        assert "another one starts after 0." in process.said
        assert all(status_of(process.port, "/livez") == 200 for _ in range(16))


DIES = """
import os
from gateway import server
server.run = lambda *_: os._exit(7)
"""


def test_where_no_worker_can_start_the_gateway_says_so_and_ends(upstream: HostileUpstream, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_bytes(settings(upstream.port))
    with run(tmp_path, "--workers", "2", "--port", str(free_port()), code=DIES) as (process, log):
        assert process.wait(20) == 3
    told = log.read_text().splitlines()
    assert re.fullmatch(
        r"worker \d \(process \d+\) ended with status 7 before it served, and no other worker serves: the gateway ends",
        orjson.loads(told[-1])["message"],
    )
    assert "listens" not in log.read_text()
    assert 4 <= len(told) <= 8
