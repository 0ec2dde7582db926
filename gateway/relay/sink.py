"""The client's side of one relay: ASGI messages, in the order that HTTP wants them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.types import Scope, Send

from gateway.errors import GatewayError, Unfit
from gateway.neutral.events import Start
from gateway.wire.extensions import ABORT

Headers = Mapping[str, str]
Tell = Callable[[GatewayError], Awaitable[None]]
"""Ends an answer under way with an error, in the words of its dialect."""


class Aborted(Exception):
    """Raised through a server that lacks our extension: it closes the connection without the last chunk."""


class Sink:
    """Sends one response. A client of HTTP/1.0 can't see a missing last chunk, so it gets the body whole or not."""

    def __init__(self, scope: Scope, send: Send, head: Callable[[Start | None], Headers], max_answer: int) -> None:
        """`head` makes the response's headers once the answer begins. `max_answer`: bytes collected at most."""
        self._send = send
        self._abort = scope.get("extensions", {}).get(ABORT)
        self._head = head
        self._collected: list[bytes] | None = [] if scope.get("http_version") == "1.0" else None
        self._max_answer = self._room = max_answer
        self._start: Start | None = None
        self._tell: Tell | None = None
        self.is_committed = False
        self.is_over = False

    async def commit(self, start: Start | None, tell: Tell | None = None) -> None:
        """The commit point: from here on the client has status 200. `tell`: how it hears that the answer breaks off."""
        self._start = start
        self._tell = tell
        if self._collected is None:
            self.is_committed = True
            await self._send_head(self._head(start))
        else:
            self._collected.clear()  # of an earlier attempt that broke
            self._room = self._max_answer

    async def write(self, data: bytes) -> None:
        if self._collected is not None:
            self._collected.append(data)
            self._room -= len(data)
            if self._room < 0:
                raise Unfit(f"the answer exceeds {self._max_answer} bytes, and HTTP/1.0 can't have it streamed")
        else:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def close(self) -> None:
        """The body is complete."""
        if self._collected is None:
            self.is_over = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self.whole(b"".join(self._collected), self._head(self._start))

    async def whole(self, body: bytes, headers: Headers, status: int = 200) -> None:
        """A response in one piece, with its length."""
        self.is_committed = True
        await self._send_head({**headers, "content-length": str(len(body))}, status)
        self.is_over = True
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def break_off(self, error: GatewayError) -> None:
        """The answer under way ends here, for a reason that lies outside of it, and is told where that can be."""
        if self._tell is None:
            self.abort()
        else:
            await self._tell(error)

    def abort(self) -> None:
        """Cuts the connection; what was written before still arrives."""
        if self._abort is None:
            raise Aborted("the answer broke after its head was sent")
        self.is_over = True
        self._abort()

    async def _send_head(self, headers: Headers, status: int = 200) -> None:
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})
