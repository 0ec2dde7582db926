"""The real Truss model server, as `server/run.sh` starts it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.gateway_process import free_port, wait_until_ready

SERVER: Final = Path(__file__).parent / "server"
FIRST_START_S: Final = 420.0
"""The first start installs the `truss` package, about 400 MB, into the cache folder; later ones take seconds."""


@contextmanager
def truss_server(model: str, folder: Path, *, is_development: bool = False) -> Iterator[str]:
    """Starts a model; the URL of its predict. Skips the test where the server can't be had.

    A development deployment has Truss' control proxy in front, and needs the port behind its own too.
    """
    port, log = free_port(), folder / "log.txt"
    command = ["bash", str(SERVER / "run.sh"), str(port), model, *(["development"] if is_development else [])]
    environment = {**os.environ, "TRUSS_BUILD": str(folder)}
    with log.open("wb") as out, ExitStack() as starting:
        starting.enter_context(_one_at_a_time())
        with subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True) as process:
            try:
                _wait(port, process, log)
                starting.close()
                yield f"http://127.0.0.1:{port}/v1/models/model:predict"
            finally:
                os.killpg(process.pid, signal.SIGKILL)  # asked politely it waits for open requests, up to an hour


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Of several test processes: the first start installs for all of them."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triglot" / "truss.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/v1/models/model", process, log, FIRST_START_S)
    except RuntimeError as error:
        pytest.skip(f"the real Truss server could not be started: {error}")
