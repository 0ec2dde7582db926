"""Keeps several workers running at one address, and tells them all the same. It serves nothing itself.

uvicorn's own supervisor answers a SIGHUP by new workers, which would cut or outlive every stream, starts one that
crashes again at once for ever, asks each for a pong twice a second, and has no second signal.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, NoReturn

from gateway.config import Config
from gateway.exit_codes import SIGNAL, ExitCode
from gateway.reload import LOOK_EVERY_S, RoutesFile, mark
from gateway.workers.crashes import Crashes
from gateway.workers.orders import READY, TAKEN, Order, Take, Word, send

logger: Final = logging.getLogger("triglot")

ORDER_S: Final = 5.0
"""Time for a worker to take an order, and to put a configuration in force; who hangs for longer is replaced."""
KILL_S: Final = 2.0
"""After the time to drain, of which a worker needs one second at most."""
STOPPING: Final = (signal.SIGTERM, signal.SIGINT)

UNTIL_IT_SERVES: Final = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.SIG_IGN,  # a terminal's, which the supervisor gets too
    signal.SIGHUP: signal.SIG_IGN,
    signal.SIGCHLD: signal.SIG_DFL,
}
"""What a new worker does about signals; later its server has a say."""
SIGNALS: Final = tuple(UNTIL_IT_SERVES)

Serve = Callable[[int, Config, list[socket.socket], socket.socket], None]
"""(number, configuration, sockets to listen on, channel): serves until it is told to end. In a worker's process."""


@dataclass(slots=True)
class Process:
    """A worker that runs."""

    pid: int
    channel: socket.socket
    begun: float
    is_ready: bool = False


@dataclass(slots=True)
class Place:
    """What a worker is started for, again and again: its number, from 1, and its sockets."""

    number: int
    listeners: list[socket.socket]
    process: Process | None = None
    starts_at: float | None = 0.0
    """When the next one starts, where none runs; None: never again."""
    crashes: Crashes = field(default_factory=Crashes)


class Supervisor:
    """Starts workers, replaces those that end, reloads and stops all of them. `run()` blocks until none is left.

    Processes are forks of this one, which has all modules in memory: a start takes a few hundredths of a second, and
    what nobody writes to is there once.
    """

    def __init__(
        self,
        file: RoutesFile,
        listeners: Sequence[list[socket.socket]],
        serve: Serve,
        on_ready: Callable[[], None],
        *,
        watches: bool = False,
    ) -> None:
        """One worker for each of `listeners`. `on_ready` is called once, when all of them serve."""
        self._file = file
        self._config = file.in_force
        self._places = [Place(number, own) for number, own in enumerate(listeners, 1)]
        self.serve = serve
        self.on_end: Callable[[int], None] | None = None
        """Told the number of a worker that has ended, before another one starts in its place."""
        self._on_ready: Callable[[], None] | None = on_ready
        self._looks_at = time.monotonic() + LOOK_EVERY_S if watches else None
        self._selector = selectors.DefaultSelector()
        self._caught: list[int] = []
        self._is_reload_wanted = False
        self._awaited: dict[int, Process] = {}
        """Who has still to put the configuration in force, by process id."""
        self._ends_at: float | None = None
        """When who is still there, or has still not put a configuration in force, is killed."""
        self._is_stopping = False
        self._status: int = ExitCode.FINE

    def run(self) -> int:
        """The exit status: 0, or 128 and the signal's number if a second one came, or 3 if no worker could start."""
        gc.collect()
        gc.freeze()  # no collection writes to pages that all workers share
        with self._signals_caught():
            while self._step():
                pass
        return self._status

    def _step(self) -> bool:
        """Waits for what comes next and reacts; whether there is anything left to do."""
        self._start_who_is_due()
        for key, _ in self._selector.select(self._patience_s()):
            key.data()
        self._reap()
        caught, self._caught = self._caught, []
        for number in caught:
            self._react(signal.Signals(number))
        self._look()
        self._reload()
        self._kill_who_is_late()
        return any(place.process or place.starts_at is not None for place in self._places)

    def _patience_s(self) -> float | None:
        moments = [place.starts_at for place in self._places]
        known = [moment for moment in (*moments, self._looks_at, self._ends_at) if moment is not None]
        return max(0.0, min(known) - time.monotonic()) if known else None

    # -- signals -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _signals_caught(self) -> Iterator[None]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            self._selector.register(ours, selectors.EVENT_READ, lambda: ours.recv(4096))
            signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
            before = {each: signal.signal(each, lambda number, _: self._caught.append(number)) for each in SIGNALS}
            try:
                yield
            finally:
                signal.set_wakeup_fd(-1)
                for each, handler in before.items():
                    signal.signal(each, handler)
                self._selector.close()

    def _react(self, caught: signal.Signals) -> None:
        if caught is signal.SIGHUP:
            self._is_reload_wanted = True
        elif caught in STOPPING and self._is_stopping:
            self._status = SIGNAL + caught
            self._stop(Word.HURRY, KILL_S)
        elif caught in STOPPING:
            self._stop(Word.DRAIN, self._config.server.drain + KILL_S)

    def _stop(self, word: Word, limit_s: float) -> None:
        self._is_stopping = True
        self._is_reload_wanted, self._looks_at = False, None
        self._awaited.clear()
        self._ends_at = time.monotonic() + limit_s
        for place in self._places:
            place.starts_at = None
            if place.process is None:
                _close(place.listeners)
            else:
                self._order(place.process, word)

    # -- workers -----------------------------------------------------------------------------------------------------

    def _start_who_is_due(self) -> None:
        for place in self._places:
            if place.starts_at is not None and place.starts_at <= time.monotonic():
                place.starts_at = None
                self._start(place)

    def _start(self, place: Place) -> None:
        ours, theirs = socket.socketpair()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if not pid:
            ours.close()
            self._become_worker(place, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        theirs.close()
        ours.settimeout(ORDER_S)
        place.process = process = Process(pid, ours, time.monotonic())
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(process))

    def _become_worker(self, place: Place, channel: socket.socket) -> NoReturn:
        """In the new process: nothing of the supervisor's or of other workers' may be left open here."""
        signal.set_wakeup_fd(-1)
        for each, handler in UNTIL_IT_SERVES.items():
            signal.signal(each, handler)
        for other in self._places:
            if other.process is not None:
                other.process.channel.close()
            if other.listeners is not place.listeners:
                _close(other.listeners)
        self._selector.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self.serve(place.number, self._config, place.listeners, channel)
        sys.exit()

    def _hear(self, process: Process) -> None:
        said = b""
        with suppress(OSError):
            said = process.channel.recv(64)
        if not said:  # it ends, which `_reap` will see
            self._selector.unregister(process.channel)
        if READY in said:
            process.is_ready = True
            self._greet()
        if TAKEN in said:
            self._awaited.pop(process.pid, None)

    def _greet(self) -> None:
        on_ready = self._on_ready
        if on_ready is not None and all(place.process and place.process.is_ready for place in self._places):
            self._on_ready = None
            on_ready()

    def _reap(self) -> None:
        for place in self._places:
            process = place.process
            if process is None:
                continue
            pid, how = os.waitpid(process.pid, os.WNOHANG)
            if pid:
                place.process = None
                self._bury(process)
                if self.on_end is not None:
                    self.on_end(place.number)
                self._replace(place, process, os.waitstatus_to_exitcode(how))

    def _bury(self, process: Process) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(process.channel)
        process.channel.close()
        self._awaited.pop(process.pid, None)

    def _replace(self, place: Place, process: Process, status: int) -> None:
        if self._is_stopping:
            _close(place.listeners)  # what comes from here on is for those who are still there
            return
        now = time.monotonic()
        wait_s = place.crashes.wait_s(now - process.begun, has_served=process.is_ready)
        is_alone = not any(other.process and other.process.is_ready for other in self._places)
        told = f"worker {place.number} (process {process.pid}) {_ended(status)}"
        if is_alone and (place.crashes.is_hopeless or (status == ExitCode.CANNOT_START and not process.is_ready)):
            logger.error("%s before it served, and no other worker serves: the gateway ends", told)
            self._status = ExitCode.CANNOT_START
            self._stop(Word.DRAIN, KILL_S)
            return
        place.starts_at = now + wait_s
        after = f" after {wait_s:g} s" if wait_s else ""
        logger.log(logging.ERROR if status else logging.INFO, "%s; another one starts%s", told, after)

    # -- orders ------------------------------------------------------------------------------------------------------

    def _order(self, process: Process, order: Order) -> None:
        try:
            send(process.channel, order)
        except OSError:
            _kill(process)  # gone, or it hangs; who comes after it begins with what is in force

    def _look(self) -> None:
        if self._looks_at is not None and time.monotonic() >= self._looks_at:
            self._looks_at = time.monotonic() + LOOK_EVERY_S
            self._is_reload_wanted |= self._file.is_to_be_read(mark(self._file.path))

    def _reload(self) -> None:
        """Reads the file once for all. Whoever starts from then on begins with the new configuration."""
        if self._is_stopping:
            return
        if self._config is not self._file.in_force and not self._awaited:
            self._file.took(self._config)
            self._ends_at = None
        if not self._is_reload_wanted or self._awaited:
            return
        self._is_reload_wanted = False
        config = self._file.read()
        if config is None:
            return
        self._config = config
        self._awaited = {place.process.pid: place.process for place in self._places if place.process}
        self._ends_at = time.monotonic() + ORDER_S
        for process in list(self._awaited.values()):
            self._order(process, Take(config))

    def _kill_who_is_late(self) -> None:
        if self._ends_at is None or time.monotonic() < self._ends_at:
            return
        self._ends_at = None
        for place in self._places:
            if place.process and (self._is_stopping or place.process.pid in self._awaited):
                logger.error("worker %d (process %d) hangs, and is killed", place.number, place.process.pid)
                _kill(place.process)


def _ended(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)


def _close(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        each.close()
