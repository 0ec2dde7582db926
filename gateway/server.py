"""uvicorn with our connections: starts, drains, stops."""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Self

import uvicorn

from gateway.connection import Connection, Refuse, Settings

if TYPE_CHECKING:
    import socket

UVICORN: Final[dict[str, Any]] = {
    "loop": "uvloop",
    "ws": "none",
    "interface": "asgi3",
    "lifespan": "on",
    "log_config": None,
    "access_log": False,
    "proxy_headers": False,
    "server_header": False,
    "date_header": False,
    "backlog": 4096,  # the kernel cuts it to net.core.somaxconn
}

SWITCH_S: Final = 0.0005
"""How long a thread that works on a large body may keep the event loop waiting, each time the loop wants on; Python's
own 5 ms come due several times for one token."""
COLLECT: Final = (10_000, 10, 10)
"""Python's own first threshold, 700, makes one large body's objects be looked through a hundred times."""


class Server(uvicorn.Server):
    """One listening server. `run()` blocks, `serve()` is for a running loop, `in_thread()` for tests.

    `on_ready` is called once it listens, `on_drain` when shutting down begins, before the listener closes;
    `settings.drain` seconds later whatever still runs is cancelled.
    """

    def __init__(
        self,
        app: object,
        settings: Settings,
        refuse: Refuse,
        on_drain: Callable[[], None] | None = None,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        """`app` is an ASGI 3 application with a lifespan."""
        options = {
            **UVICORN,
            "http": functools.partial(Connection, settings, refuse),
            "host": settings.host,
            "port": settings.port,
            "timeout_keep_alive": settings.idle_timeout,
            "timeout_graceful_shutdown": settings.drain,
        }
        super().__init__(uvicorn.Config(app, **options))  # type: ignore[arg-type]
        self.on_drain = on_drain
        self.on_ready = on_ready
        self.up_or_failed = threading.Event()

    @property
    def port(self) -> int:
        """The port it listens on; the real one where the settings say 0."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen."""
        try:
            await super().startup(sockets)
        finally:
            self.up_or_failed.set()
        if self.started and self.on_ready is not None:
            self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain: accept nothing new, let running answers end, cancel the rest at the deadline."""
        if self.on_drain is not None:
            self.on_drain()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Serve in a thread as long as the block lasts. Raises `RuntimeError` if it can't start."""

        def run_or_fail() -> None:
            with contextlib.suppress(SystemExit):
                self.run()

        thread = threading.Thread(target=run_or_fail, name="triglot")
        thread.start()
        try:
            self.up_or_failed.wait()
            if not self.started:
                raise RuntimeError("the server did not start; its log says why")
            yield self
        finally:
            self.should_exit = True
            thread.join()


def run(
    app: object,
    settings: Settings,
    refuse: Refuse,
    on_drain: Callable[[], None] | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then drain. Exits with status 3 if it can't start."""
    _steady()
    with contextlib.suppress(KeyboardInterrupt):
        Server(app, settings, refuse, on_drain, on_ready).run()


def _steady() -> None:
    """Sets the interpreter up for short pauses instead of throughput; for a process that does nothing but serve."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()  # what was imported stays, and need not be looked through again and again
    gc.set_threshold(*COLLECT)
