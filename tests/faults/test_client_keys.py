"""`triglot serve` with client keys: shared out among workers, reloaded, and never open by accident."""

from __future__ import annotations

import signal
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
import requests

from tests.faults.harness import Process, free_port, gateway_process
from tests.faults.test_reload import logged

KEY: Final = "tg-canary-0123456789abcdef"
OTHER: Final = "tg-other-canary-0123456789"


def document(host: str = "127.0.0.1", **keys: dict[str, Any]) -> bytes:
    return orjson.dumps(
        {
            "server": {"host": host},
            "upstreams": {"simulator": {"dialect": "openai", "url": "simulator://?ttft=0ms&tps=1000"}},
            "routes": {"demo": "simulator"},
            **({"keys": keys} if keys else {}),
        }
    )


def known_by(key: str, **settings: Any) -> dict[str, Any]:
    return {"sha256": sha256(key.encode()).hexdigest(), **settings}


def ask(process: Process, key: str) -> int:
    """Over a connection of its own, so that it comes to either worker."""
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hi"}]}
    url = f"http://127.0.0.1:{process.port}/v1/chat/completions"
    headers = {"authorization": f"Bearer {key}", "connection": "close"}
    return requests.post(url, json=body, headers=headers, timeout=10).status_code


def test_two_workers_together_serve_what_a_key_may_ask_for_and_no_more(tmp_path: Path) -> None:
    routes = document(checkout=known_by(KEY, requests_per_minute=10))
    with gateway_process(tmp_path, routes, free_port(), "--workers", "2") as process:
        logged(process, "triglot listens")
        statuses = [ask(process, KEY) for _ in range(40)]
        assert ask(process, OTHER) == 401
    assert statuses.count(200) + statuses.count(429) == 40
    assert 5 <= statuses.count(200) <= 12
    """Each has five; whoever gets no request serves none, and a minute may end meanwhile."""
    assert {line["key_id"] for line in process.lines if line["status"] in (200, 429)} == {"checkout"}
    assert KEY not in process.log.read_text()


def test_a_reload_changes_who_is_known(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    with gateway_process(tmp_path, document(one=known_by(KEY)), free_port()) as process:
        assert (ask(process, KEY), ask(process, OTHER)) == (200, 401)
        path.write_bytes(document(two=known_by(OTHER)))
        process.popen.send_signal(signal.SIGHUP)
        logged(process, "reloaded ")
        assert (ask(process, KEY), ask(process, OTHER)) == (401, 200)


def test_a_reload_never_opens_a_gateway_that_others_can_reach(tmp_path: Path) -> None:
    """Nor by a file that says loopback: it goes on listening where it does."""
    path = tmp_path / "routes.yaml"
    with gateway_process(tmp_path, document("0.0.0.0", one=known_by(KEY)), free_port()) as process:
        for number, host in enumerate(("0.0.0.0", "127.0.0.1"), 1):
            path.write_bytes(document(host))
            process.popen.send_signal(signal.SIGHUP)
            logged(process, "was not reloaded", number)
            assert (ask(process, KEY), ask(process, OTHER)) == (200, 401)
