"""Lines of several processes on one descriptor stay whole, and say which of them they are from."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable

import orjson
import pytest

from gateway.telemetry.stderr import ACCESS, OfWorker, OneWrite, log_to_stderr


def test_a_text_is_written_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    def write(descriptor: int, data: memoryview) -> int:
        written.append(bytes(data))
        return len(data)

    monkeypatch.setattr(os, "write", write)
    stream = OneWrite(2)
    stream.write("é" * 10_000 + "\n")
    stream.flush()
    assert written == [("é" * 10_000 + "\n").encode()]


def test_what_the_kernel_did_not_take_is_written_next() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, True)
    text = "x" * 1_000_000
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.extend(iter(lambda: os.read(reading, 65536), b"")))
    thread.start()
    OneWrite(writing).write(text + "\ud800")
    os.close(writing)
    thread.join()
    os.close(reading)
    assert b"".join(received).decode() == text + "\\ud800"


def record(name: str, message: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.INFO, __file__, 1, message, (), None)


def test_a_worker_says_who_it_is() -> None:
    form = OfWorker(3)
    assert form.format(record("triglot", "draining")) == "worker 3: draining"
    assert orjson.loads(form.format(record(ACCESS, '{"end":"complete"}'))) == {"end": "complete", "worker": 3}


@pytest.fixture
def restored() -> Callable[[], None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def restore() -> None:
        root.handlers[:] = handlers
        root.setLevel(level)

    return restore


@pytest.mark.parametrize(("worker", "told"), [(None, "hello\n"), (2, "worker 2: hello\n")])
def test_the_log_goes_to_the_error_output(
    worker: int | None, told: str, restored: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as out:
        monkeypatch.setattr(sys, "stderr", stream)
        try:
            log_to_stderr(worker)
            logging.getLogger("triglot.test").info("hello")
        finally:
            restored()
        assert out.readline() == told
