"""What our server offers to an app beyond ASGI, in `scope["extensions"]`: callables without arguments."""

from typing import Final

ABORT: Final = "triglot.abort"
"""Sends what was written and closes the connection, without the last chunk."""
HANG_UP: Final = "triglot.hang_up"
"""Resets the connection; what the client has not taken of the answer by then is thrown away."""
UNSENT: Final = "triglot.unsent"
"""How many bytes of what was written to this connection the client's machine has not taken yet."""
