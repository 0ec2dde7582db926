"""How the commands end: their exit codes."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """What a script or a service manager may go by; `MEANINGS` says it in words."""

    FINE = 0
    WRONG = 1
    USAGE = 2
    CANNOT_START = 3


SIGNAL: Final = 128
"""And the signal's number: what hurries an end on, or breaks a measurement off."""

MEANINGS: Final[dict[str, str]] = {
    f"{ExitCode.FINE}": "fine; serve: SIGTERM or Ctrl-C came, and every request under way was ended properly",
    f"{ExitCode.WRONG}": "routes.yaml is wrong, and each problem is told; bench: an answer was not whole",
    f"{ExitCode.USAGE}": "the command line is wrong",
    f"{ExitCode.CANNOT_START}": "could not start: the address is taken or not ours, or no worker came up",
    f"{SIGNAL}+N": "serve: a second signal, of number N, ended the draining at once (130 is Ctrl-C); bench: broken off",
}
"""Every exit code, as it is spelled for people."""
