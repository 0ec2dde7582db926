"""Where log lines go: to the standard error output, each in one write, so that those of several processes never mix."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Final

from gateway.telemetry.traces import trace_of

ACCESS: Final = "triglot.access"
"""The logger whose messages are JSON objects."""


class OneWrite:
    """A stream that keeps nothing back: a line is one call of the kernel, which lets no other in between."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> None:
        """More than one call only where the kernel takes less than all."""
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            data = data[os.write(self._descriptor, data) :]

    def flush(self) -> None:
        """Nothing is left."""


class Untold(logging.Formatter):
    """Writes down where an exception came from and what kind it is, and not what it says."""

    def formatException(self, ei: Any) -> str:
        return trace_of(ei[1]) if ei[1] is not None else ""


class OfWorker(Untold):
    """Says which of several workers a line is from: in front of the text, or in a field where it is JSON."""

    def __init__(self, number: int) -> None:
        super().__init__("%(message)s")
        self._number = number

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.name == ACCESS:
            return f'{text[:-1]},"worker":{self._number}}}'
        return f"worker {self._number}: {text}"


def log_to_stderr(worker: int | None = None) -> None:
    """All that is logged from here on. `worker`: the number of this process, if it is one of several."""
    handler = logging.StreamHandler(OneWrite(sys.stderr.fileno()))
    handler.setFormatter(Untold("%(message)s") if worker is None else OfWorker(worker))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
