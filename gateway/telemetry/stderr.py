"""Where log lines go: to the standard error output, each in one write, so that those of several processes never mix."""

from __future__ import annotations

import logging
import os
from typing import Final, TextIO

from gateway.telemetry.spelling import AsJson, AsText, Spell
from gateway.terminal import has_colours

_UNUSED: Final = ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks")
"""What Python would look up for each line, and none of ours says (its logging HOWTO, "Optimization")."""


class OneWrite:
    """A stream that keeps nothing back: a line is one call of the kernel, which lets no other in between."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> None:
        """More than one call only where the kernel takes less than all."""
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            data = data[os.write(self._descriptor, data) :]


class Lines(logging.Handler):
    """Writes each line as `spell` has it."""

    def __init__(self, stream: OneWrite, spell: Spell) -> None:
        super().__init__()
        self.spell = spell
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """As `logging.StreamHandler` does; a line that can't be written is told of by Python, and ends nothing."""
        try:
            self._stream.write(self.spell(record) + "\n")
        except (OSError, ValueError, TypeError):
            self.handleError(record)


class Log:
    """All that is logged from its making on."""

    def __init__(self, stream: TextIO, level: str = "info", form: str = "auto", worker: int | None = None) -> None:
        """Written to what is below `stream`. `worker`: the number of this process, if it is one of several."""
        for name in _UNUSED:
            setattr(logging, name, False)
        self._stream = stream
        self._worker = worker
        self._lines = Lines(OneWrite(stream.fileno()), AsJson(worker))
        logging.basicConfig(handlers=[self._lines], force=True)
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self.take(level, form)

    def take(self, level: str, form: str) -> None:
        """From here on: lines of this level and above, in this form: json, text, or auto for what fits the output.

        Details are ours only: what libraries say at `debug` may hold anything.
        """
        ours = logging.getLevelNamesMapping()[level.upper()]
        logging.getLogger("triglot").setLevel(ours)
        logging.getLogger().setLevel(max(ours, logging.INFO))
        is_text = form == "text" or (form == "auto" and self._stream.isatty())
        self._lines.spell = (
            AsText(self._worker, is_coloured=has_colours(self._stream)) if is_text else AsJson(self._worker)
        )
