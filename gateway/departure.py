"""A client that leaves before its answer is over, and what becomes of the answer then."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from gateway.errors import GatewayError
from gateway.relay.client_watchdog import ClientWatchdog
from gateway.relay.sink import Sink


class ClientLeft(Exception):
    """The client closed its connection; there is nobody to answer."""


class Departure:
    """The leaving of one request's client.

    By default all that is done for it ends at once. Where the route reads on (`patience_s` above zero), the call of an
    upstream that is under way goes on, for so long at most; what is written goes nowhere, and nobody else is called.
    Not for a client that was hung up on because it took nothing: its upstream has waited long enough.
    """

    def __init__(self, sink: Sink, watchdog: ClientWatchdog) -> None:
        self._sink = sink
        self._watchdog = watchdog
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.TimerHandle | None = None
        self.calls = 0
        """Calls of upstreams that are under way."""
        self.patience_s = 0.0
        """How long an answer is read on; set when the route is known."""
        self.happened_at: float | None = None
        """On the loop's clock; None: the client is there, or got its answer whole."""
        self.reads_on = self.had_head = False
        """Whether an answer is read on for nobody, and whether somebody had heard its beginning."""

    def calling(self) -> Calling:
        """A call of an upstream, as a block. Raises ClientLeft where nobody is there for it, or for another one once it
        failed.
        """
        return Calling(self)

    def happen(self, strike: Callable[[Exception], None]) -> None:
        """The client has left; `strike` ends its request."""
        if self._sink.is_over:  # servers say `disconnect` after an answer's end too
            return
        self.happened_at = self._loop.time()
        self._watchdog.stop()
        left = ClientLeft("the client left")
        if not self.calls or not self.patience_s or self._watchdog.has_stalled:
            strike(left)
            return
        self.reads_on, self.had_head = True, self._sink.has_head
        self._sink.discard()
        if self.patience_s < math.inf:
            self._end = self._loop.call_later(self.patience_s, strike, left)

    def stop(self) -> None:
        """The request is over."""
        if self._end is not None:
            self._end.cancel()


class Calling:
    """A call that its client may leave behind."""

    def __init__(self, departure: Departure) -> None:
        self._departure = departure

    def __enter__(self) -> None:
        if self._departure.happened_at is not None:
            raise ClientLeft("the client left")
        self._departure.calls += 1

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._departure.calls -= 1
        if isinstance(error, GatewayError) and self._departure.happened_at is not None:
            raise ClientLeft("the client left, and then its call failed") from error
