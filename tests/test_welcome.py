"""What `triglot serve` prints once it listens, and that the calls it offers are answered."""

from __future__ import annotations

import os
import shutil
import subprocess
from hashlib import sha256
from typing import Any

import pytest

from gateway.config import Config
from gateway.dialects import DIALECTS
from gateway.simulator.sayings import HAIKU
from gateway.welcome import calls, welcome
from tests.e2e import gateway_process as gp

KEY = "tg-shown-once"
SIMULATOR = {"demo": {"dialect": "openai", "url": "simulator://"}}
ROUTES = {"demo": {"targets": [{"upstream": "demo", "model": "demo?tps=1000"}]}}
KEYS = {"me": {"sha256": sha256(KEY.encode()).hexdigest()}}


def config(**document: Any) -> Config:
    return Config.model_validate(document, context={"upstreams": list(document["upstreams"])})


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("keys", [{}, {"keys": KEYS}], ids=["without keys", "with keys"])
def test_each_call_to_try_is_answered(keys: dict[str, Any]) -> None:
    settings = config(server={"port": 0}, upstreams=SIMULATOR, routes=ROUTES, **keys)
    with gp.gateway(settings) as port:
        offered = list(calls(settings, f"http://127.0.0.1:{port}"))
        assert len(offered) == len(DIALECTS)
        for title, call in offered:
            done = subprocess.run(
                ["bash", "-c", f"{call} --fail-with-body -s -S --max-time 20"],
                env={**os.environ, "TRIGLOT_KEY": KEY},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (title, done.stdout, done.stderr)
            assert HAIKU.split()[0] in done.stdout, title


def test_it_tells_the_address_the_routes_and_the_upstreams(capsys: pytest.CaptureFixture[str]) -> None:
    far = {"far": {"dialect": "anthropic", "url": "https://far.example.com", "key": "sk-canary"}}
    welcome(config(upstreams=SIMULATOR | far, routes=ROUTES | {"claude-*": "far"}), 8123)
    printed = capsys.readouterr().out
    assert "triglot listens on http://127.0.0.1:8123\n" in printed
    assert "routes: demo, claude-*\n" in printed
    assert "upstreams: demo (openai, simulator://), far (anthropic, https://far.example.com)\n" in printed
    assert "sk-canary" not in printed


def test_of_very_many_routes_it_tells_some_and_how_many_more(capsys: pytest.CaptureFixture[str]) -> None:
    welcome(config(upstreams=SIMULATOR, routes={f"m{number}": "demo" for number in range(30)}), 1)
    assert "m0, m1, " in (printed := capsys.readouterr().out)
    assert "and 18 more (triglot check tells all)" in printed
