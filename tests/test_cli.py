"""The command line: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.exit_codes import MEANINGS, ExitCode
from gateway.simulator.sayings import SAYS
from gateway.simulator.script import FAULTS
from gateway.workers.binding import why_not

GOOD = """
upstreams:
  simulator: {dialect: openai, url: "simulator://"}
  far: {dialect: openai, url: "http://example.com/v1", key: sk-canary}
routes:
  demo: simulator
  exact: {targets: [{upstream: simulator}], strict: true}
  heavy: {targets: [{upstream: simulator, weight: 3}, {upstream: far, model: big}], fallback: [{upstream: far}]}
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def routes_file(folder: Path, text: str) -> str:
    path = folder / "routes.yaml"
    path.write_text(text)
    return str(path)


def test_check_prints_routes_targets_and_fallbacks(tmp_path: Path) -> None:
    result = run("check", "-c", routes_file(tmp_path, GOOD))
    assert result.exit_code == 0
    assert "simulator x3" in result.stdout
    assert "far as big" in result.stdout
    assert "exact (strict)" in result.stdout
    assert "ok" in result.stdout


def test_check_names_an_unusual_balance(tmp_path: Path) -> None:
    result = run("check", "-c", routes_file(tmp_path, MIXED))
    assert "shared (sticky)" in result.stdout
    assert "demo (" not in result.stdout


def test_check_warns_of_a_key_sent_in_the_clear_and_never_prints_it(tmp_path: Path) -> None:
    result = run("check", "-c", routes_file(tmp_path, GOOD))
    assert "warning:" in result.stderr
    assert "far" in result.stderr
    assert "sk-canary" not in result.output


def test_check_names_file_line_and_path_of_every_problem_and_exits_with_1(tmp_path: Path) -> None:
    text = GOOD.replace("demo: simulator", "demo: simulater").replace("weight: 3", "weight: x")
    result = run("check", "-c", routes_file(tmp_path, text))
    assert result.exit_code == 1
    assert 'no upstream "simulater"; did you mean "simulator"?' in result.stderr
    assert "routes.heavy.targets[0].weight" in result.stderr
    assert "routes.yaml:6:" in result.stderr


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    result = run("check", "-c", str(tmp_path / "nowhere.yaml"))
    assert result.exit_code == 1
    assert "nowhere.yaml" in result.stderr


def test_schema_is_json_with_the_three_sections() -> None:
    result = run("schema")
    assert result.exit_code == 0
    assert {"server", "upstreams", "routes"} <= set(orjson.loads(result.stdout)["properties"])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_serve_refuses_to_listen_beyond_loopback_unless_told(tmp_path: Path, host: str) -> None:
    result = run("serve", "-c", routes_file(tmp_path, GOOD), "--host", host)
    assert result.exit_code == 2
    assert "--open" in result.output


def test_simulate_lists_what_it_can_say_and_how_it_can_fail() -> None:
    told = run("help", "scripts").stdout
    assert all(f"  {name} " in told for name in (*SAYS, *FAULTS))


def test_simulate_refuses_an_unknown_fault() -> None:
    result = run("simulate", "--script", "fault=explode")
    assert result.exit_code == 2
    assert "fault=" in result.output


@pytest.mark.parametrize("command", [(), *((name,) for name in main.commands), ("keys", "new"), ("keys", "hash")])
def test_help_fits_a_terminal_as_they_have_always_been(command: tuple[str, ...]) -> None:
    """24 lines of 80 columns; whoever asks in other words gets the same."""
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) <= 24
    assert max(map(len, result.stdout.splitlines())) <= 80
    if len(command) == 1:
        assert run("help", *command).stdout.splitlines()[1:] == result.stdout.splitlines()[1:]


def test_exit_codes_are_told() -> None:
    told = run("help", "exit-codes").stdout
    assert all(code in told and says in told for code, says in MEANINGS.items())
    assert {str(int(code)) for code in ExitCode} <= set(MEANINGS)


def test_help_of_nothing_known_says_what_there_is() -> None:
    result = run("help", "serv")
    assert result.exit_code == ExitCode.USAGE
    assert "exit-codes" in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(shell: str) -> None:
    """What it prints asks triglot itself, in the way that triglot answers."""
    assert f"_TRIGLOT_COMPLETE={shell}_complete" in run("completion", shell).stdout
    current = "se" if shell == "fish" else "1"
    asked = {"_TRIGLOT_COMPLETE": f"{shell}_complete", "COMP_WORDS": "triglot se", "COMP_CWORD": current}
    result = CliRunner().invoke(main, [], prog_name="triglot", env=asked)
    assert "serve" in result.stdout
    assert "bench" not in result.stdout


def test_bash_takes_what_is_printed_for_it() -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    script = run("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script.encode(), check=True, timeout=20)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EADDRINUSE, "--port 0"),
        (errno.EACCES, "below 1024"),
        (errno.EADDRNOTAVAIL, "--host 127.0.0.1"),
        (errno.EMFILE, "can't be listened on"),
    ],
)
def test_an_address_that_cannot_be_had_comes_with_its_remedy(number: int, told: str) -> None:
    assert told in why_not(OSError(number, os.strerror(number)), "192.0.2.1", 80)


def test_a_host_that_nobody_knows_is_said_to_be_unknown() -> None:
    assert "no such host" in why_not(socket.gaierror(-2, "?"), "nowhere.invalid", 80)


def test_serve_on_a_taken_port_says_so_without_a_welcome(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "gateway", "serve", "-c", routes_file(tmp_path, GOOD), "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 3
    assert "address already in use" in ended.stderr
    assert "listens" not in ended.stdout


def test_without_a_file_there_is_one_to_begin_with(tmp_path: Path) -> None:
    result = run("serve", "-c", str(tmp_path / "absent.yaml"))
    assert result.exit_code == 1
    assert "no such file; --config names another" in result.stderr
    beginning = result.stderr.partition("begin with:\n")[2]
    assert run("check", "-c", routes_file(tmp_path, beginning)).exit_code == 0


def test_simulate_on_a_taken_port_names_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("simulate", "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 3
    assert "take another port" in result.stderr
    assert "simulating" not in result.stdout


def test_serve_refuses_more_workers_than_a_limit_can_be_shared_among(tmp_path: Path) -> None:
    path = routes_file(tmp_path, GOOD.replace("key: sk-canary", "max_in_flight: 3"))
    assert run("check", "-c", path).exit_code == 0
    result = run("serve", "-c", path, "--workers", "4")
    assert result.exit_code == 1
    assert f"{path}: upstreams.far.max_in_flight: each of 4 workers needs one of them at least" in result.stderr


# --- explain ---

MIXED = """
upstreams:
  near: {dialect: openai, url: "http://near:8000/v1"}
  far: {dialect: anthropic, url: "https://far.example.com", key: sk-canary, breaker: false}
routes:
  demo: {targets: [{upstream: near, weight: 3}, {upstream: far, model: big}], timeouts: {idle: 90s}}
  shared: {targets: [{upstream: near}, {upstream: far}], balance: {sticky: {header: x-session}}}
"""


def test_explain_shows_the_route_the_targets_and_the_settings(tmp_path: Path) -> None:
    result = run("explain", "-c", routes_file(tmp_path, MIXED), "--model", "demo")
    assert result.exit_code == 0
    assert "route demo: exact name" in result.stdout
    assert result.stdout.index("near") < result.stdout.index("far")
    for told in ("passed through", "translated", "75%", "max_tokens=default", "timeouts.idle", "90s", "breaker.window"):
        assert told in result.stdout, told
    assert "sk-canary" not in result.output


def test_explain_cuts_nothing_off_where_the_terminal_is_narrow(tmp_path: Path) -> None:
    name = "a-target-with-a-name-that-fits-no-column-" * 3
    text = MIXED.replace("upstreams:", f"upstreams:\n  {name}: {{dialect: openai, url: 'simulator://'}}", 1)
    text = text.replace("routes:", f"routes:\n  far: {name}", 1)
    shown = run("explain", "-c", routes_file(tmp_path, text), "--model", "far").stdout
    assert "…" not in shown
    letters = "".join(line[3:20].strip() for line in shown.splitlines()[4:40])
    assert name in letters


def test_explain_prints_json_for_scripts(tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"system": "Hi", "max_tokens": 9, "top_k": 3, "messages": [{"role": "user", "content": "Hello"}]}')
    result = run(
        *("explain", "-c", routes_file(tmp_path, MIXED), "--model", "demo", "--dialect", "anthropic"),
        *("--body", str(body), "--json"),
    )
    told = orjson.loads(result.stdout)
    assert (told["route"], told["dialect"], told["stream"]) == ("demo", "anthropic", False)
    assert [(step["upstream"], step["passes"]) for step in told["steps"]] == [("near", False), ("far", True)]
    assert told["steps"][0]["dropped"] == ["top_k"]
    assert told["settings"]["timeouts.idle"] == 90


def test_explain_goes_by_the_headers_it_is_told(tmp_path: Path) -> None:
    path = routes_file(tmp_path, MIXED)
    firsts = {
        orjson.loads(run("explain", "-c", path, "--model", "shared", "-H", f"X-Session: {session}", "--json").stdout)[
            "steps"
        ][0]["upstream"]
        for session in range(10)
    }
    assert firsts == {"near", "far"}


@pytest.mark.parametrize(
    ("arguments", "body", "told"),
    [
        (("--model", "dmeo"), None, 'no route for model "dmeo"; did you mean "demo"?'),
        (("--model", "demo", "--body", "-"), '{"messages": [{"role": "user", "content": 7}]}', "messages.0.content"),
        (("--model", "demo", "--body", "-"), "{", "not valid JSON"),
        (("--model", "demo", "-H", "x-session"), None, "write it like x-session-id: 42"),
        (("--model", "demo", "--dialect", "latin"), None, "latin"),
        ((), None, "--model"),
    ],
)
def test_explain_refuses_what_it_cannot_read(
    tmp_path: Path, arguments: tuple[str, ...], body: str | None, told: str
) -> None:
    command = ("explain", "-c", routes_file(tmp_path, MIXED), *arguments)
    result = CliRunner().invoke(main, command, input=body)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())


def test_explain_of_a_wrong_file_exits_with_1(tmp_path: Path) -> None:
    result = run(
        "explain", "-c", routes_file(tmp_path, MIXED.replace("demo: {targets", "demo: {tragets")), "--model", "demo"
    )
    assert result.exit_code == 1
