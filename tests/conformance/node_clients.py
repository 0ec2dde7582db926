"""The JavaScript clients: one Node process for all of them, told conversations as lines of JSON."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import orjson

from tests.conformance.conversation import Heard, Talk, heard_of

FOLDER: Final = Path(__file__).parent / "node"
PATIENCE_S: Final = 60.0
OLDEST_NODE: Final = 20


class Unavailable(Exception):
    """Why there are no JavaScript clients on this machine."""


def environment() -> dict[str, str]:
    """The one to find Node in: `.[conformance]` puts one beside Python, which comes before the machine's own."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}


def require_node() -> None:
    """Raises Unavailable where Node or npm is missing or too old."""
    path = environment()["PATH"]
    if not (node := shutil.which("node", path=path)) or not shutil.which("npm", path=path):
        raise Unavailable("needs node and npm: pip install -e '.[conformance]'")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        raise Unavailable(f"needs node {OLDEST_NODE} or newer, found {version}: pip install -e '.[conformance]'")


def install() -> None:
    """The packages of the lock file, once for each content of it, in `node_modules` beside it."""
    require_node()
    lock, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".installed"
    if installed.exists() and installed.read_bytes() == lock.read_bytes():
        return
    command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=FOLDER, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"npm ci failed: {done.stderr.strip()[-500:]}")
    installed.write_bytes(lock.read_bytes())


def versions() -> dict[str, str]:
    """The packages that the clients are made of, and their versions, from the lock file."""
    wanted = orjson.loads((FOLDER / "package.json").read_bytes())["dependencies"]
    locked = orjson.loads((FOLDER / "package-lock.json").read_bytes())["packages"]
    return {name: locked[f"node_modules/{name}"]["version"] for name in wanted}


class NodeClients:
    """Conversations of JavaScript clients; many threads may have one at a time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._ids = count()
        self._waiting: dict[int, Future[list[dict[str, Any]]]] = {}
        self._writing = threading.Lock()

    def perform(self, client: str, url: str, talk: Talk) -> list[Heard]:
        """What a client heard in a conversation. Raises TimeoutError if it never ends."""
        number, future = next(self._ids), Future[list[dict[str, Any]]]()
        self._waiting[number] = future
        line = orjson.dumps({"id": number, "client": client, "url": url, "talk": talk}) + b"\n"
        with self._writing:
            assert self._process.stdin is not None
            self._process.stdin.write(line)
            self._process.stdin.flush()
        return [heard_of(fields) for fields in future.result(PATIENCE_S)]

    def listen(self) -> None:
        """Hands out what the process writes until it ends; whoever still waits then is told so."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = orjson.loads(line)
            self._waiting.pop(told["id"]).set_result(told["heard"])
        for future in self._waiting.values():
            future.set_exception(RuntimeError("the Node process ended"))


@contextmanager
def node_clients() -> Iterator[NodeClients]:
    """The process, from its start to its end."""
    install()
    command = ["node", "main.mjs"]
    with subprocess.Popen(
        command, cwd=FOLDER, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        clients = NodeClients(process)
        listener = threading.Thread(target=clients.listen)
        listener.start()
        try:
            yield clients
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.kill()
            listener.join()
