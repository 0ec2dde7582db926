"""What our server offers to an app beyond ASGI."""

from typing import Final

ABORT: Final = "triglot.abort"
"""`scope["extensions"][ABORT]()` sends what was written and closes the connection, without the last chunk."""
