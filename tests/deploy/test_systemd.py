"""The systemd unit: systemd takes it, it is locked up, and it waits as long as the gateway drains."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from gateway.config import Server
from tests.deploy.proxies import DEPLOY

UNIT: Final = DEPLOY / "systemd/triglot.service"
PROGRAM: Final = "/opt/triglot/bin/triglot"
MOST_EXPOSED: Final = 2.0
"""Of 10; what systemd calls OK is below 5, and services as they come have 9."""


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def analyze(tmp_path: Path, *arguments: str) -> str:
    """What systemd says of the unit, with a program in it that exists on this machine."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: apt install systemd")
    text = UNIT.read_text()
    assert text.count(f"ExecStart={PROGRAM}") == 1
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace(f"ExecStart={PROGRAM}", f"ExecStart={sys.executable}"))
    done = subprocess.run([program, *arguments, str(unit)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    assert UNIT.name not in analyze(tmp_path, "verify")  # it names the unit where it has something to say of it


def test_the_unit_is_locked_up(tmp_path: Path) -> None:
    said = analyze(tmp_path, "security", "--offline=yes")
    found = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert found, said
    assert float(found[1]) <= MOST_EXPOSED


def test_it_stops_later_than_the_gateway_drains_and_reloads_by_a_signal() -> None:
    drain = Server().drain
    assert drain is not None
    assert int(settings()["TimeoutStopSec"][0]) > drain + 1
    assert settings()["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_a_wrong_configuration_is_not_tried_again() -> None:
    assert settings()["RestartPreventExitStatus"] == ["1 2"]
    command = [sys.executable, "-m", "gateway", "serve", "--config"]
    assert subprocess.run([*command, "/nonexistent/routes.yaml"], capture_output=True).returncode in (1, 2)
