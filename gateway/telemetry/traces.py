"""An exception for the log: where it happened and what kind it is, but not what it says.

The text of an exception often quotes what was being worked on: `KeyError` a key, `ValueError` a value. Here that may be
a prompt or a credential.
"""

from __future__ import annotations

import traceback
from typing import Final

_LINKS: Final = {
    True: "\n\nThe above exception was the direct cause of the following exception:\n\n",
    False: "\n\nDuring handling of the above exception, another exception occurred:\n\n",
}


def trace_of(error: BaseException) -> str:
    """The lines of code that an exception and its causes came through, and their classes; the last is the exception."""
    told, shown = _told(error), {id(error)}
    while (behind := error.__cause__ or error.__context__) is not None and id(behind) not in shown:
        told = _told(behind) + _LINKS[error.__cause__ is not None] + told
        shown.add(id(behind))
        error = behind
    return told


def _told(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__))
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    whole = f"Traceback (most recent call last):\n{frames}{name}"
    return "\n".join([whole, *(f"with:\n{trace_of(each)}" for each in inner)])
