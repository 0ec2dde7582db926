"""The command line: reads arguments, then delegates.

Exit codes: `gateway.exit_codes`.

What only one command needs is imported there: a gateway that serves would hold several megabytes of it for ever.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import click
import orjson

from gateway.config import (
    LOG_FORMATS,
    LOG_LEVELS,
    Config,
    ConfigError,
    NoFile,
    load,
    schema,
    spelled,
    summary,
    warnings,
)
from gateway.config import Server as ServerSettings
from gateway.dialects import DIALECTS, owner_of
from gateway.errors import BadRequest, ClientError, NoRoute
from gateway.exit_codes import ExitCode
from gateway.keys import keys
from gateway.simulator import script as sc
from gateway.terminal import console, say
from gateway.topics import completion, tell
from gateway.welcome import welcome

_config_option = click.option(
    "--config",
    "-c",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("routes.yaml"),
    show_default=True,
    help="The routes file.",
)
_BEGINNING = f'{{upstreams: {{demo: {{dialect: {owner_of("/").name}, url: "simulator://"}}}}, routes: {{demo: demo}}}}'


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="triglot", prog_name="triglot")
def main() -> None:
    """Triglot: one streaming endpoint for OpenAI, Anthropic and Truss clients, on upstreams of any of them.

    How commands end: triglot help exit-codes
    """


for _command in (keys, tell, completion):
    main.add_command(_command)


@main.command()
@_config_option
@click.option("--host", help="Address to listen on, instead of the file's.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on, instead of the file's.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that serve, instead of the file's number.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), help="Least level of log lines, instead of the file's.")
@click.option("--log-format", type=click.Choice(LOG_FORMATS), help="How they look, instead of the file's.")
@click.option("--watch", "watches", is_flag=True, help="Reload the routes file when it changes, as on SIGHUP.")
@click.option("--open", "is_open", is_flag=True, help="Listen beyond loopback although no client keys are configured.")
def serve(path: Path, watches: bool, is_open: bool, **options: Any) -> None:
    """Start the gateway. SIGTERM drains and ends it, SIGHUP reloads the routes file."""
    given = {name: value for name, value in options.items() if value is not None}

    def read() -> Config:
        return _with(load(path, os.environ), given, path)

    config = _loaded(read)
    if config.is_exposed and not is_open:
        raise click.UsageError(
            f"{config.server.host} is reachable by others and no client keys are configured, so anybody could spend "
            "your upstream credit. Make a key by `triglot keys new --id ID`, listen on 127.0.0.1, or say --open if "
            "something in front checks who calls."
        )
    _without_command_line_of_httpx()
    from gateway import serving
    from gateway.reload import RoutesFile

    serving.serve(RoutesFile(path, read, config, may_be_open=is_open), partial(welcome, config), watches=watches)


def _without_command_line_of_httpx() -> None:
    """httpx loads a command line of its own, with rich and Pygments, wherever it finds them: 3.5 MB of each process."""
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # how Python is told that there is none


def _with(config: Config, given: Mapping[str, object], path: Path) -> Config:
    """The configuration, with what the command line says of the server instead. Raises ConfigError."""
    config = config.model_copy(update={"server": config.server.model_copy(update=given)})
    if wrong := [f"{path}: {spelled(place)}: {why}" for place, why in config.unshared()]:
        raise ConfigError(wrong)
    return config


@main.command()
@_config_option
def check(path: Path) -> None:
    """Validate the routes file and print what it says."""
    from rich.table import Table

    config = _loaded(lambda: load(path, os.environ))
    table = Table("route", "targets, in order", "fallback", box=None, pad_edge=False)
    for route in summary(config)["routes"]:
        targets = [_told(target) for target in route["targets"]]
        table.add_row(_titled(route), "\n".join(targets), "\n".join(_told(target) for target in route["fallback"]))
    console().print(table)
    for key in summary(config)["keys"]:
        say(f"key {key['id']}: {_told_rights(key)}")
    for warning in warnings(config):
        say(f"warning: {warning}", err=True, fg="yellow")
    say(f"{path}: ok", fg="green")


@main.command()
@_config_option
@click.option("--model", required=True, help="The name a client would ask for.")
@click.option(
    "--dialect",
    "spoken",
    type=click.Choice(list(DIALECTS)),
    default=owner_of("/").name,
    show_default=True,
    help="What the client speaks.",
)
@click.option("--body", type=click.File("rb"), help="The request's body as JSON; - for stdin. Otherwise: a least one.")
@click.option("--header", "-H", "headers", multiple=True, metavar="NAME:VALUE", help="A header of the request.")
@click.option("--strict", "is_strict", is_flag=True, help="As a client that sends x-gateway-strict: 1.")
@click.option("--json", "is_json", is_flag=True, help="For scripts: durations in seconds, sizes in bytes.")
def explain(
    path: Path,
    model: str,
    spoken: str,
    body: BinaryIO | None,
    headers: tuple[str, ...],
    is_strict: bool,
    is_json: bool,
) -> None:
    """Say what would become of a request: its route, its targets in order and why, and what each would not get.

    No server is asked. What is told is how a gateway sees it that has just started.
    """
    from gateway import explain as ex

    config, dialect, sent = _loaded(lambda: load(path, os.environ)), DIALECTS[spoken], dict(map(_header, headers))
    try:
        call = ex.call(config, dialect, model, body.read() if body else None, sent, is_strict=is_strict)
        explanation = ex.explain(config, dialect, call, sent)
    except ClientError as error:
        hint = "--model" if isinstance(error, NoRoute) else "--body"
        raise click.BadParameter(error.message, param_hint=hint) from error
    if is_json:
        click.echo(orjson.dumps(ex.plain(explanation), option=orjson.OPT_INDENT_2))
    else:
        from gateway.picture import picture

        console().print(picture(explanation), highlight=False)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter("without a colon; write it like x-session-id: 42", param_hint="--header")
    return name.strip().lower(), value.strip()


@main.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of the routes file, for editors."""
    click.echo(orjson.dumps(schema(), option=orjson.OPT_INDENT_2))


@main.command()
def translation() -> None:
    """Print what translation keeps, changes and loses, and the profiles of upstreams, in Markdown."""
    from gateway.translation import page

    click.echo(page(), nl=False)


@main.command(epilog="All that a script may say: triglot help scripts")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8081, show_default=True)
@click.option(
    "--script", default="", metavar="QUERY", help="What to say and how to fail: ttft=200ms&tps=20&fault=cut@3"
)
def simulate(host: str, port: int, script: str) -> None:
    """Serve the simulator: an upstream in any dialect that needs no model and no key."""
    from gateway import app, server
    from gateway.simulator.app import ENDINGS, SimulatorApp
    from gateway.telemetry.stderr import Log
    from gateway.workers.binding import why_not
    from gateway.workers.listening import probed

    try:
        base = sc.read(script)
    except BadRequest as error:
        raise click.BadParameter(error.message, param_hint="--script") from error
    try:
        sockets = probed(host, port)
    except OSError as error:
        say(why_not(error, host, port), err=True, fg="red")
        sys.exit(ExitCode.CANNOT_START)
    Log(sys.stderr)
    paths = f"paths that end in {', '.join(ENDINGS)}, and as a predict endpoint on all others"
    settings = ServerSettings(host=host, port=sockets[0].getsockname()[1])
    say(f"simulating on http://{host}:{settings.port}: {paths}")
    server.run(server.Server(SimulatorApp(base), settings, app.refuse), sockets)


@main.command()
@click.option("--pairs", metavar="C:U,…", default="*:*", show_default=True, help="Dialects; * stands for each.")
@click.option("--streams", metavar="N,…", help="How many at a time.  [default: 1,50,200,500]")
@click.option("--tokens", metavar="N", type=click.IntRange(1, 100_000), help="Of each stream.  [default: 100]")
@click.option(
    "--pace", metavar="MS", type=click.FloatRange(1, 10_000), default=20, help="Between tokens.  [default: 20]"
)
@click.option("--rounds", metavar="N", type=click.IntRange(1, 100), default=1, help="The median is told.  [default: 1]")
@click.option("--workers", metavar="N", type=click.IntRange(1, 256), default=1, help="Of the gateway.  [default: 1]")
@click.option("--metrics/--no-metrics", default=True, help="Of the gateway: what they cost.")
@click.option("--quick", is_flag=True, help="50 streams of 50 tokens, a minute or two; coarse.")
@click.option("--pin", "is_pinned", is_flag=True, help="The gateway on cores of its own (Linux).")
@click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True),
    default="",
    help="All figures as JSON; - for stdout.",
)
@click.option("--url", metavar="URL", help="Measure the server that runs there instead.")
@click.option("--pid", metavar="N", type=click.IntRange(1), help="Of that server, for its CPU and memory.")
@click.option("--model", metavar="NAME", default="bench", help="What it is asked for.  [default: bench]")
@click.option("--upstream-port", metavar="N", type=click.IntRange(1, 65535), help="Of its upstream; started, if none.")
def bench(
    pairs: str,
    streams: str | None,
    tokens: int | None,
    pace: float,
    rounds: int,
    workers: int,
    metrics: bool,
    quick: bool,
    is_pinned: bool,
    file: str,
    url: str | None,
    pid: int | None,
    model: str,
    upstream_port: int | None,
) -> None:
    """Measure this gateway on this machine: added latency, CPU per token, memory per stream.

    It starts a gateway and an upstream, both on loopback and for itself, and takes about five minutes.
    """
    from gateway.bench import calls, command, measure, plan

    if not Path(file).parent.is_dir():
        raise click.BadParameter(f"{file}: there is no such directory", param_hint="--json")
    if (url is None) is not (upstream_port is None) or (url is None and pid is not None) or (url and is_pinned):
        raise click.UsageError("--url, --upstream-port and maybe --pid go together, and not with --pin")
    try:
        running = measure.Running(calls.read_address(url), model, upstream_port, pid) if url and upstream_port else None
        planned = plan.Plan(
            pairs=plan.read_pairs(pairs, tuple(DIALECTS)),
            streams=plan.read_streams(streams or ("50" if quick else "1,50,200,500")),
            tokens=tokens or (50 if quick else 100),
            pace_s=pace / 1000,
            rounds=rounds,
            workers=workers,
            metrics=metrics,
            probes=50 if quick else 200,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    sys.exit(command.run(planned, file, is_pinned=is_pinned, running=running))


def _loaded(read: Callable[[], Config]) -> Config:
    """The configuration, or every problem of it on stderr and exit code 1."""
    try:
        return read()
    except ConfigError as error:
        for message in str(error).splitlines():
            say(message, err=True, fg="red")
        if isinstance(error, NoFile):
            say(f"A file to begin with:\n{_BEGINNING}", err=True)
        sys.exit(ExitCode.WRONG)


def _titled(route: dict[str, Any]) -> str:
    """The name of a route, with what is unusual about it."""
    balance = route["balance"] if isinstance(route["balance"], str) else next(iter(route["balance"]))
    unusual = (balance if balance != "weighted" else "", "strict" if route["strict"] else "")
    notes = ", ".join(filter(None, unusual))
    return f"{route['name']} ({notes})" if notes else str(route["name"])


def _told_rights(key: dict[str, Any]) -> str:
    """What a client key opens, and how much and until when."""
    limits = {
        "max_in_flight": "{} at a time",
        "requests_per_minute": "{} a minute",
        "expires": "until {:%Y-%m-%d %H:%M %Z}",
    }
    told = [words.format(key[name]) for name, words in limits.items() if key[name] is not None]
    return "; ".join([", ".join(key["routes"]) or "no routes", *told, *(["admin"] if key["admin"] else [])])


def _told(target: dict[str, object]) -> str:
    weight = f" x{target['weight']}" if target.get("weight", 1) != 1 else ""
    model = f" as {target['model']}" if target.get("model") else ""
    return f"{target['upstream']}{model}{weight}"
