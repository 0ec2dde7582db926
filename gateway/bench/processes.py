"""The two processes beside the load: begun, waited for, and ended whatever happens."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

import orjson

from gateway.dialects import DIALECTS, Dialect

HOST: Final = "127.0.0.1"
_START_S: Final = 30.0
_END_S: Final = 5.0
_TOLD: Final = 1500
"""Characters of a log that are shown when its process has failed."""
_SPARE_FILES: Final = 200
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a benchmark is ended by."""


class CannotMeasure(Exception):
    """Why there are no figures. `is_start`: a process could not be started at all."""

    def __init__(self, message: str, *, is_start: bool = False) -> None:
        super().__init__(message)
        self.is_start = is_start


class Child:
    """A process of ours, with what it wrote."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.name = name
        self.process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raises CannotMeasure if it has ended."""
        if (status := self.process.poll()) is not None:
            raise CannotMeasure(f"the {self.name} ended with status {status} meanwhile; its last words:\n{self.said()}")

    def said(self) -> str:
        """The last lines of its log."""
        return Path(self._log.name).read_text(errors="replace")[-_TOLD:].strip() or "(none)"


@contextmanager
def _child(name: str, *arguments: str, cores: Collection[int] = ()) -> Iterator[Child]:
    """A module of ours, run until the end of the block. In a session of its own: a Ctrl-C is ours to pass on."""
    with tempfile.NamedTemporaryFile(prefix=f"triglot-bench-{name}-") as log:
        process = None
        try:
            with _uninterrupted():
                process = subprocess.Popen(
                    [sys.executable, "-m", *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                )
            if cores:
                os.sched_setaffinity(process.pid, cores)
            yield Child(name, process, log)
        finally:
            if process is not None:
                _end(process)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Signals that end us come a moment later: a process whose beginning is interrupted would be nobody's."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in came:
            signal.raise_signal(each)


def _end(process: subprocess.Popen[bytes]) -> None:
    with process:  # which closes its pipes
        process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
        finally:
            process.kill()


@contextmanager
def upstream(pace_s: float, port: int = 0) -> Iterator[tuple[Child | None, int]]:
    """The paced upstream, and its port. On a port where one listens already, that one, which is no child of ours."""
    if port and is_taken(port):
        yield None, port
        return
    with _child("upstream", "gateway.bench.upstream", str(port), f"{pace_s * 1000:g}") as child:
        yield child, int(_first_line(child))


@contextmanager
def gateway(routes: bytes, port: int, cores: Collection[int] = (), workers: int = 1) -> Iterator[Child]:
    """`triglot serve` on a routes file, once it listens."""
    with tempfile.TemporaryDirectory(prefix="triglot-bench-") as folder:
        path = Path(folder) / "routes.yaml"
        path.write_bytes(routes)
        several = ("--workers", str(workers)) if workers > 1 else ()
        command = ("gateway", "serve", "-c", str(path), "--port", str(port), *several)
        with _child("gateway", *command, cores=cores) as child:
            _first_line(child)
            yield child


def _first_line(child: Child) -> bytes:
    """What both say once they listen. Raises CannotMeasure if it does not come."""
    out = child.process.stdout
    assert out is not None
    is_told, _, _ = select.select([out], [], [], _START_S)
    line = out.readline() if is_told else b""
    if not line:
        raise CannotMeasure(f"the {child.name} did not start; its last words:\n{child.said()}", is_start=True)
    return line


def routes(upstream_port: int, *, metrics: bool = True) -> bytes:
    """A routes file: for each dialect a model of its name, and an upstream."""
    upstreams = {
        name: {"dialect": name, "url": f"http://{HOST}:{upstream_port}/{name}", "options": options(dialect)}
        for name, dialect in DIALECTS.items()
    }
    targets = {name: {"targets": [{"upstream": name}], "retries": {"same_target": 0}} for name in upstreams}
    return orjson.dumps({"server": {"host": HOST, "metrics": metrics}, "upstreams": upstreams, "routes": targets})


def options(dialect: Dialect) -> dict[str, Any]:
    """What is set for an upstream of the benchmark, for the least words on the wire."""
    return dict(dialect.sample.options) if dialect.sample is not None else {}


def is_taken(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def allow_files(streams: int) -> None:
    """Lets this process and its children hold that many streams: the gateway has two sockets for each."""
    needed = 2 * streams + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        except (ValueError, OSError) as error:
            raise CannotMeasure(
                f"{streams} streams need {needed} open files, and this system allows {hard} (ulimit -Hn)", is_start=True
            ) from error


def split_cores(workers: int) -> tuple[frozenset[int], frozenset[int]]:
    """A core for each worker of the gateway, and all others for the rest. Raises CannotMeasure where that can't be."""
    if sys.platform != "linux":
        raise CannotMeasure("--pin needs Linux: no other system lets a process choose its core", is_start=True)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) <= workers:
        raise CannotMeasure(f"--pin needs {workers + 1} cores, and this process may use {len(cores)}", is_start=True)
    return frozenset(cores[-workers:]), frozenset(cores[:-workers])
