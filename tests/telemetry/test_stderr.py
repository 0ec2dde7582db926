"""Lines of several processes on one descriptor stay whole, and have the level and the form that was asked for."""

from __future__ import annotations

import logging
import os
import pty
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

import orjson
import pytest

from gateway.telemetry.log import Record, write
from gateway.telemetry.stderr import Log, OneWrite

RECORD = Record("req_1", "openai", route="demo", status=200)


def test_a_text_is_written_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    def take(descriptor: int, data: memoryview) -> int:
        written.append(bytes(data))
        return len(data)

    monkeypatch.setattr(os, "write", take)
    OneWrite(2).write("é" * 10_000 + "\n")
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


@contextmanager
def restored() -> Iterator[None]:
    """The logging of this process, as it was, at the end of the block."""
    root, ours = logging.getLogger(), logging.getLogger("triglot")
    before = root.handlers[:], root.level, ours.level
    names = ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks")
    flags = {name: getattr(logging, name) for name in names if hasattr(logging, name)}
    try:
        yield
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        ours.setLevel(before[2])
        for name, value in flags.items():
            setattr(logging, name, value)


@dataclass(frozen=True, slots=True)
class Out:
    """A stream, and the descriptor where what was written to it can be read."""

    stream: TextIO
    reading: int


@pytest.fixture(params=["pipe", "terminal"])
def out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Out]:
    """A pipe, or a terminal."""
    reading, writing = os.pipe() if request.param == "pipe" else pty.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    os.set_blocking(reading, False)
    with os.fdopen(writing, "w") as stream, restored():
        yield Out(stream, reading)
    os.close(reading)


on_a_pipe = pytest.mark.parametrize("out", ["pipe"], indirect=True)
on_a_terminal = pytest.mark.parametrize("out", ["terminal"], indirect=True)


def lines(out: Out) -> list[str]:
    return os.read(out.reading, 65536).decode().splitlines()


@on_a_pipe
def test_a_pipe_gets_one_object_a_line(out: Out) -> None:
    """What the gateway says of itself too, so that a collector has one form to read."""
    Log(out.stream)
    write(RECORD)
    logging.getLogger("triglot").warning('upstream "%s" is left alone', "gpu-1")
    first, second = map(orjson.loads, lines(out))
    assert (first["level"], first["route"], first["status"]) == ("info", "demo", 200)
    assert (second["level"], second["message"]) == ("warning", 'upstream "gpu-1" is left alone')


@on_a_pipe
def test_a_worker_says_who_it_is(out: Out) -> None:
    Log(out.stream, worker=3)
    write(RECORD)
    logging.getLogger("triglot").info("draining")
    assert [orjson.loads(line)["worker"] for line in lines(out)] == [3, 3]


@on_a_terminal
def test_a_terminal_gets_a_coloured_line(out: Out) -> None:
    Log(out.stream)
    write(RECORD)
    (line,) = lines(out)
    assert "\x1b[32m200\x1b[0m" in line
    assert "demo" in line


@on_a_terminal
@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_nobody_gets_colours_who_wants_none(out: Out, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    Log(out.stream)
    write(RECORD)
    (line,) = lines(out)
    assert "200  demo" in line
    assert "\x1b" not in line


@on_a_terminal
def test_an_empty_no_color_says_nothing(out: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    Log(out.stream)
    write(RECORD)
    assert "\x1b[32m" in lines(out)[0]


@on_a_terminal
def test_json_can_be_had_on_a_terminal(out: Out) -> None:
    Log(out.stream, form="json")
    write(RECORD)
    assert orjson.loads(lines(out)[0])["request_id"] == "req_1"


@on_a_pipe
def test_text_can_be_had_on_a_pipe_without_colours(out: Out) -> None:
    Log(out.stream, form="text", worker=2)
    write(RECORD)
    (line,) = lines(out)
    assert "worker 2: 200  demo  openai  req_1" in line
    assert "\x1b" not in line


@on_a_pipe
@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["info", "warning", "error"]),
        ("info", ["info", "warning", "error"], ["info", "warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_a_level_is_the_least_that_is_written(level: str, ours: list[str], theirs: list[str], out: Out) -> None:
    """Of libraries nothing at debug: nobody has asked what they say there."""
    Log(out.stream, level)
    for name in ("triglot.upstreams", "uvicorn.error"):
        for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger(name).log(number, "%s", name)
    told = list(map(orjson.loads, lines(out)))
    assert [line["level"] for line in told if line["message"] == "triglot.upstreams"] == ours
    assert [line["level"] for line in told if line["message"] == "uvicorn.error"] == theirs


@on_a_pipe
def test_level_and_form_can_change(out: Out) -> None:
    """As a reload does it."""
    log = Log(out.stream)
    log.take("warning", "text")
    write(RECORD)
    logging.getLogger("triglot").warning("late")
    (line,) = lines(out)
    assert line.endswith(" late")


@on_a_pipe
def test_a_line_that_cannot_be_written_ends_nothing(out: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    Log(out.stream)
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logging.getLogger("triglot").info("%d", "no number")
    logging.getLogger("triglot").info("next")
    assert [orjson.loads(line)["message"] for line in lines(out)] == ["next"]
