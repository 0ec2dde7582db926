"""uvicorn with our connections: starts, drains, stops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Self

import uvicorn

from gateway.connection import Connection, Draining, Refuse, Settings
from gateway.exit_codes import SIGNAL

if TYPE_CHECKING:
    import socket
    from types import FrameType

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

ENDING_S: Final = 0.5
"""Time for last words once the deadline is over, and for clients to take them."""
ABORTED_S: Final = 0.1
"""Time for tasks whose clients are gone to notice it."""

SWITCH_S: Final = 0.0005
"""How long a thread that works on a large body may keep the event loop waiting, each time the loop wants on; Python's
own 5 ms come due several times for one token."""
COLLECT: Final = (10_000, 10, 10)
"""Python's own first threshold, 700, makes one large body's objects be looked through a hundred times, and those of a
thousand streams as they come and go: a tenth of all CPU, in pauses of up to 100 ms. With ten thousand it is a
thirtieth, and 30 ms; with more the pauses grow again. Tokens cost nothing either way: what one needs goes with it."""


logger = logging.getLogger("triglot")
_Task = asyncio.Task[None]


class Server(uvicorn.Server):
    """One listening server. `run()` blocks, `serve()` is for a running loop, `in_thread()` for tests.

    It ends in this order, at the first SIGINT or SIGTERM, or once `should_exit` is set:

    1. `on_drain` is called. The listener stays open and kept connections stay as they are, so that whoever asks can be
       told to go elsewhere; each answer that begins from here on closes its connection.
    2. What is under way gets `settings.drain` seconds.
    3. `on_deadline` is called, and everyone has `ENDING_S` to say goodbye.
    4. The listener and all connections are closed, tasks that still run are cancelled, the application is shut down.

    A second signal goes to 3. at once, and makes the process's exit status 128 plus the signal's number; it is 0 after
    any other end.
    """

    def __init__(
        self,
        app: object,
        settings: Settings,
        refuse: Refuse,
        on_drain: Callable[[], None] | None = None,
        on_ready: Callable[[], None] | None = None,
        on_deadline: Callable[[], None] | None = None,
    ) -> None:
        """`app` is an ASGI 3 application with a lifespan. `on_ready` is called once the server listens."""
        options = {
            **UVICORN,
            "http": self._connection,
            "host": settings.host,
            "port": settings.port,
            "timeout_keep_alive": settings.idle_timeout,
        }
        super().__init__(uvicorn.Config(app, **options))  # type: ignore[arg-type]
        self.settings = settings
        self.refuse = refuse
        self.on_drain = on_drain
        self.on_ready = on_ready
        self.on_deadline = on_deadline
        self.draining = Draining()
        self.forced_by: int | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.up_or_failed = threading.Event()

    @property
    def port(self) -> int:
        """The port it listens on; the real one where the settings say 0."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    def take(self, settings: Settings) -> None:
        """Other settings for connections made from now on, and for the time to drain. Host and port stay."""
        self.settings = settings

    def _connection(self, **options: Any) -> Connection:
        return Connection(self.settings, self.refuse, self.draining, **options)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, hurry at the second. uvicorn would raise them anew at the end."""
        if self.should_exit:
            self.forced_by = sig
            self.hurry()
        self.should_exit = True

    def hurry(self) -> None:
        """The time to drain is over. From any thread, from a signal handler."""
        self.force_exit = True
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.draining.news.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen."""
        self.loop = asyncio.get_running_loop()
        try:
            await super().startup(sockets)
        finally:
            self.up_or_failed.set()
        if self.started and self.on_ready is not None:
            self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then end, as the class says."""
        await self._drain()
        for listener in self.servers:
            listener.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        self._listen_to(state.tasks)
        await self.draining.until(lambda: not state.tasks and not state.connections, ENDING_S)
        for connection in list(state.connections):  # their clients don't take what they are sent
            connection.transport.abort()
        await self.draining.until(lambda: not state.tasks, ABORTED_S)
        for task in list(state.tasks):
            task.cancel("the server ends")
        await self.lifespan.shutdown()
        logger.info("drained: all requests are over")

    async def _drain(self) -> None:
        """Until everything that is under way now has ended, or been told to."""
        under_way, connections = set(self.server_state.tasks), self.server_state.connections
        self._listen_to(under_way, under_way.discard)
        self.draining.has_begun = True
        if self.on_drain is not None:
            self.on_drain()
        for connection in list(connections):
            if isinstance(connection, Connection):
                connection.answer_for_the_last_time()
        logger.info("draining: %d requests are under way, and have %g s", len(under_way), self.settings.drain)

        def is_over() -> bool:
            is_taken = not under_way and not any(each.transport.is_closing() for each in connections)
            return is_taken or self.force_exit

        if not await self.draining.until(is_over, self.settings.drain) or self.force_exit:
            logger.warning("draining is over: %d requests are ended", len(under_way))
            if self.on_deadline is not None:
                self.on_deadline()

    def _listen_to(self, tasks: Iterable[_Task], *on_end: Callable[[_Task], None]) -> None:
        for task in list(tasks):
            for react in (*on_end, lambda _: self.draining.news.set()):
                task.add_done_callback(react)

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


def run(server: Server, sockets: list[socket.socket] | None = None) -> None:
    """Serve until SIGINT or SIGTERM, then drain. Exits with status 3 if it can't start, else as `Server` says.

    `sockets`: bound ones to listen on, instead of the address of the settings.
    """
    _steady()
    server.run(sockets)
    if server.forced_by is not None:
        sys.exit(SIGNAL + server.forced_by)


def _steady() -> None:
    """Sets the interpreter up for short pauses instead of throughput; for a process that does nothing but serve."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()  # what was imported stays, and need not be looked through again and again
    gc.set_threshold(*COLLECT)
