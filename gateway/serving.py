"""What `triglot serve` runs: the gateway in this process, or in several at one address."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from gateway import app, server
from gateway.config import Config
from gateway.exit_codes import ExitCode
from gateway.reload import Reloader, RoutesFile
from gateway.telemetry.meter import Gauged
from gateway.telemetry.stderr import Log
from gateway.workers.binding import why_not
from gateway.workers.listening import listeners, probed
from gateway.workers.supervisor import Supervisor
from gateway.workers.worker import Worker

logger = logging.getLogger("triglot")

OnReady = Callable[[int], None]
"""(port): the gateway listens. Called once, in the process that was started."""


def serve(file: RoutesFile, on_ready: OnReady, *, watches: bool) -> None:
    """Serves until SIGINT or SIGTERM. Reloads on SIGHUP and, if it `watches`, whenever the file has changed."""
    log = _log(file.in_force)
    file.on_taken = lambda config: log.take(config.server.log_level, config.server.log_format)
    if file.in_force.server.workers == 1:
        _alone(file, on_ready, watches=watches)
    else:
        sys.exit(_together(file, on_ready, watches=watches))


def _log(config: Config, worker: int | None = None) -> Log:
    return Log(sys.stderr, config.server.log_level, config.server.log_format, worker)


def _alone(file: RoutesFile, on_ready: OnReady, *, watches: bool) -> None:
    config = file.in_force
    gateway = app.build(config)
    running = server.Server(
        gateway,
        config.server,
        app.refuse,
        on_drain=gateway.drain,
        on_ready=lambda: on_ready(running.port),
        on_deadline=gateway.end,
    )

    async def take(config: Config) -> None:
        await gateway.take(config)
        running.take(config.server)

    reloader = Reloader(file, take)
    gateway.beside += [reloader.run, *([reloader.watch] if watches else [])]
    signal.signal(signal.SIGHUP, lambda *_: reloader.ask())
    try:
        sockets = probed(config.server.host, config.server.port)
    except OSError as error:
        logger.error("%s", why_not(error, config.server.host, config.server.port))
        sys.exit(ExitCode.CANNOT_START)
    server.run(running, sockets)


def _together(file: RoutesFile, on_ready: OnReady, *, watches: bool) -> int:
    settings = file.in_force.server
    try:
        sockets = listeners(settings.host, settings.port, settings.workers)
    except OSError as error:
        logger.error("%s", why_not(error, settings.host, settings.port))
        return ExitCode.CANNOT_START
    port = sockets[0][0].getsockname()[1]
    supervisor = Supervisor(file, sockets, _be_worker, partial(on_ready, port), watches=watches)
    return _metered(supervisor) if settings.metrics else supervisor.run()


def _metered(supervisor: Supervisor) -> int:
    """All workers count in one folder, so that each can tell of all."""
    from gateway.telemetry import prometheus  # before there are workers, which then have it in common

    with ExitStack() as stack:
        try:
            folder = stack.enter_context(prometheus.shared_folder())
        except OSError as error:
            logger.error("%s", error)
            logger.error("several workers count in a folder of temporary files: set TMPDIR, or server.metrics: off")
            return ExitCode.CANNOT_START
        supervisor.serve = partial(_be_worker, meter_of=partial(prometheus.of_worker, folder))
        supervisor.on_end = partial(prometheus.worker_ended, folder)
        return supervisor.run()


def _be_worker(
    number: int,
    config: Config,
    sockets: list[socket.socket],
    channel: socket.socket,
    meter_of: Callable[[int], Gauged] | None = None,
) -> None:
    log = _log(config, number)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # what is said of a start is said once
    gateway = app.build(config.shared(number), meter_of and meter_of(number))

    async def take(config: Config) -> None:
        await gateway.take(config.shared(number))
        worker.take(config.server)
        log.take(config.server.log_level, config.server.log_format)

    worker = Worker(
        channel,
        take,
        gateway,
        config.server,
        app.refuse,
        on_drain=gateway.drain,
        on_deadline=gateway.end,
    )
    gateway.beside.append(worker.obey)
    server.run(worker, sockets)
