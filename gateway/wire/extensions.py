"""What our server offers to an app beyond ASGI, in `scope["extensions"]`: callables; some have an argument."""

from typing import Final

ABORT: Final = "triglot.abort"
"""Sends what was written and closes the connection, without the last chunk."""
BEGIN: Final = "triglot.begin"
"""Takes an answer's status, its header lines as they are sent, and the length of its body, None where it is chunked:
both are not among the lines, which must be in order. Never waits; false where nothing was done and `send` has to do."""
WRITE: Final = "triglot.write"
"""Writes a piece of the answer under way, whose head is out and gave no length. It never waits, takes what it is given,
and says whether there is room for more; where not, the next `send` waits for it."""
IS_FULL: Final = "triglot.is_full"
"""Whether the client has enough for now, so that the next `send` waits for it."""
WHEN_LEFT: Final = "triglot.when_left"
"""Takes what to call, without arguments, should the client leave before its answer is over. Asked for when the request
has been read whole, in place of waiting for ASGI's `http.disconnect`."""
HANG_UP: Final = "triglot.hang_up"
"""Resets the connection; what the client has not taken of the answer by then is thrown away."""
UNSENT: Final = "triglot.unsent"
"""How many bytes of what was written to this connection the client's machine has not taken yet."""
