"""The command line: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.simulator.sayings import SAYS
from gateway.simulator.script import FAULTS

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
    told = run("simulate", "--help").stdout
    assert all(f"  {name} " in told for name in (*SAYS, *FAULTS))


def test_simulate_refuses_an_unknown_fault() -> None:
    result = run("simulate", "--script", "fault=explode")
    assert result.exit_code == 2
    assert "fault=" in result.output


@pytest.mark.parametrize("command", ["serve", "check", "schema", "simulate"])
def test_help_fits_one_screen(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) <= 40


def test_serve_on_a_taken_port_says_so_without_a_welcome(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "gateway", "serve", "-c", routes_file(tmp_path, GOOD), "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 3
    assert "address already in use" in ended.stderr
    assert "listens" not in ended.stdout
