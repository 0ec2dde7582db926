"""Reads the routes file again, when asked or when it has changed, and puts it in force if nothing is wrong with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence, Sized
from pathlib import Path
from typing import Final

from gateway.config import Config, ConfigError, differences

logger: Final = logging.getLogger("triglot")

LOOK_EVERY_S: Final = 1.0
"""How often a watched file is looked at. Looking costs a system call, works on every file system, and sees the links
that Kubernetes swaps, none of which is true of the kernel's notifications."""
BOUND: Final = ("host", "port", "workers", "metrics")
"""Settings of the server that hold as long as it listens."""
MAX_NAMED: Final = 10
"""Changes that one line of the log names."""

Mark = tuple[int, ...] | None
"""Tells one state of a file from another; None: it isn't there."""


class RoutesFile:
    """A routes file and the configuration that it led to. The log has what becomes of it."""

    def __init__(self, path: Path, load: Callable[[], Config], in_force: Config, *, may_be_open: bool = False) -> None:
        """`load` raises ConfigError. `may_be_open`: whether strangers may be served, where no keys are configured.

        `on_taken` is called with each configuration that is in force from then on.
        """
        self.path = path
        self.on_taken: Callable[[Config], None] = lambda _: None
        self.in_force = in_force
        self._load = load
        self._may_be_open = may_be_open
        self._mark = self._seen = mark(path)

    def read(self) -> Config | None:
        """Another configuration to put in force; None where there is none, or something is wrong with it."""
        try:
            read = self._load()
        except ConfigError as error:
            for message in error.messages:
                logger.error("%s", message)
            found = _counted(error.messages, "problem")
            logger.error("%s was not reloaded: %s; what was in force stays", self.path, found)
            return None
        config = self._with_what_is_bound(read)
        if config.is_exposed and not self._may_be_open:
            logger.error("%s: keys: without any, everybody who reaches %s could call it", self.path, config.server.host)
            logger.error("%s was not reloaded; what was in force stays, or start it with --open", self.path)
            return None
        if differences(self.in_force, config):
            return config
        logger.info("reloaded %s: nothing has changed", self.path)
        return None

    def took(self, config: Config) -> None:
        """It is in force now."""
        changes = differences(self.in_force, config)
        self.in_force = config
        self.on_taken(config)
        routes, upstreams = _counted(config.routes, "route"), _counted(config.upstreams, "upstream")
        logger.info("reloaded %s: %s, %s (%s)", self.path, routes, upstreams, _listed(changes))

    def is_to_be_read(self, found: Mark) -> bool:
        """Whether it has changed and then stayed the same since the last look, which found this: nobody writes it."""
        is_new = found == self._seen and found != self._mark
        self._seen = found
        if is_new:
            self._mark = found
            if found is None:
                logger.warning("%s is gone; what it said stays in force", self.path)
        return is_new and found is not None

    def _with_what_is_bound(self, config: Config) -> Config:
        bound = {name: getattr(self.in_force.server, name) for name in BOUND}
        for name, value in bound.items():
            if (wanted := getattr(config.server, name)) != value:
                logger.warning("server.%s: %s takes effect after a restart; until then it is %s", name, wanted, value)
        return config.model_copy(update={"server": config.server.model_copy(update=bound)})


class Reloader:
    """Keeps a configuration in force: all of it at once, or the one from before.

    The file is read in a thread, so that no stream waits for it. Variables of the environment are those that the
    process was started with.
    """

    def __init__(self, file: RoutesFile, take: Callable[[Config], Awaitable[None]]) -> None:
        """`take` puts a configuration in force."""
        self._file = file
        self._take = take
        self._wanted = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask(self) -> None:
        """Wants the file read again. From any thread, from a signal handler, also before `run`."""
        if self._loop is None:
            self._wanted.set()
        else:
            self._loop.call_soon_threadsafe(self._wanted.set)

    async def run(self) -> None:
        """Reads the file again whenever it was asked to; asked several times meanwhile, it reads once."""
        self._loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            config = await asyncio.to_thread(self._file.read)
            if config is not None:
                await self._take(config)
                self._file.took(config)

    async def watch(self) -> None:
        """Asks whenever the file has changed."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._file.is_to_be_read(await asyncio.to_thread(mark, self._file.path)):
                self.ask()


def mark(path: Path) -> Mark:
    """What changes with a file: edited in place, replaced by another, or another one behind a link on the way to it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _listed(changes: Sequence[str]) -> str:
    more = [f"and {len(changes) - MAX_NAMED} more"] if len(changes) > MAX_NAMED else []
    return ", ".join([*changes[:MAX_NAMED], *more])


def _counted(things: Sized, word: str) -> str:
    return f"{len(things)} {word}" + ("" if len(things) == 1 else "s")
