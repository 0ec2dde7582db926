"""The reverse proxies, each run from its file in `deploy/` as that stands.

A test can't have the addresses of a real machine. What it changes is listed per proxy, as whole settings and what
stands there instead: each has to be in the file exactly once, outside of comments. Caddy reads its addresses from its
environment, so its file is not touched at all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.faults.harness import free_port, is_open
from tests.faults.hostile_upstream import until

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
CADDY_TELLS: Final = (2, 8)
"""Caddy before this ends a cut answer with a last chunk, as if it were whole. 2.6 does, 2.8.4 and 2.11 don't."""
_START_S: Final = 20.0

_NGINX_MAIN: Final = """
{user}
daemon off;
worker_processes 2;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    sendfile on; tcp_nopush on; gzip on; gzip_types *;   # as distributions set it, and worse
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/triglot.conf;
}}
"""
"""What an operator's nginx.conf is to a site file."""


@dataclass(frozen=True, slots=True)
class Call:
    """How a proxy is started: `command`, with these files written first and this added to its environment."""

    command: list[str]
    files: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A kind of proxy. `program` as its Debian package names it, `version`: how it tells that; `needs_root`: its file
    drops root's rights.
    """

    name: str
    program: str
    version: str
    file: Path
    call: Callable[[Path, Path, int, int], Call]
    needs_root: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that runs. Everything it writes is below `folder`."""

    proxy: Proxy
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def hides_cuts(self) -> bool:
        """Whether it ends an answer that was cut as if it were whole. Then its file says so by a header."""
        return self.proxy.name == "caddy" and version_of(self.proxy) < CADDY_TELLS

    def written(self) -> bytes:
        """All it has written to disk, logs and temporary files, besides what it was given."""
        given = {"triglot.conf", "nginx.conf", "haproxy.cfg"}
        paths = (path for path in self.folder.rglob("*") if path.is_file() and path.name not in given)
        return b"".join(path.read_bytes() for path in paths)


def settings_of(file: Path) -> str:
    """A file of a proxy without its comments."""
    return "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in file.read_text().splitlines())


def _readdressed(file: Path, changes: Mapping[str, str]) -> str:
    """The file with other settings in these places. Raises where one of them is not there exactly once."""
    text = file.read_text()
    for setting, other in changes.items():
        pattern = re.compile(rf"^(\s*){re.escape(setting)}(?![\w.:])", re.MULTILINE)
        places = pattern.findall(text)
        assert len(places) == 1, f"{file.name} has {setting!r} {len(places)} times"
        text = pattern.sub(rf"\g<1>{other}", text)
    return text


def _nginx(file: Path, folder: Path, port: int, gateway: int) -> Call:
    site = _readdressed(
        file,
        {
            "listen 80": f"listen 127.0.0.1:{port}",
            "server 127.0.0.1:8080": f"server 127.0.0.1:{gateway}",
            "access_log /var/log/nginx/triglot.log": f"access_log {folder}/triglot.log",
        },
    )
    main = _NGINX_MAIN.format(folder=folder, user="user root;" if os.getuid() == 0 else "")
    return Call(["-p", str(folder), "-c", str(folder / "nginx.conf")], {"triglot.conf": site, "nginx.conf": main})


def _caddy(file: Path, folder: Path, port: int, gateway: int) -> Call:
    return Call(
        ["run", "--adapter", "caddyfile", "--config", str(file)],
        {},
        {
            "TRIGLOT_SITE": f":{port}",
            "TRIGLOT_GATEWAY": f"127.0.0.1:{gateway}",
            "TRIGLOT_CADDY_ADMIN": f"unix/{folder}/admin.socket",
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
        },
    )


def _haproxy(file: Path, folder: Path, port: int, gateway: int) -> Call:
    text = _readdressed(
        file,
        {
            "bind :80": f"bind 127.0.0.1:{port}",
            "server gateway-1 127.0.0.1:8080": f"server gateway-1 127.0.0.1:{gateway}",
        },
    )
    return Call(["-db", "-f", str(folder / "haproxy.cfg")], {"haproxy.cfg": text})


PROXIES: Final = (
    Proxy("nginx", "nginx", "-v", DEPLOY / "nginx/triglot.conf", _nginx),
    Proxy("caddy", "caddy", "version", DEPLOY / "caddy/Caddyfile", _caddy),
    Proxy("haproxy", "haproxy", "-v", DEPLOY / "haproxy/haproxy.cfg", _haproxy, needs_root=True),
)


def program_of(proxy: Proxy) -> str:
    """Where it is installed. Skips the test where it isn't, or can't be run as whoever runs the test."""
    found = shutil.which(proxy.program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{proxy.program} is not installed: apt install {proxy.program}")
    if proxy.needs_root and os.getuid() != 0:
        pytest.skip(f"{proxy.program} has to be started as root: its file drops root's rights")
    return found


def version_of(proxy: Proxy) -> tuple[int, int]:
    """Its first two numbers."""
    said = subprocess.run([program_of(proxy), proxy.version], capture_output=True, text=True, check=True)
    found = re.search(r"(\d+)\.(\d+)", said.stdout + said.stderr)
    assert found, said
    return int(found[1]), int(found[2])


@contextmanager
def running(proxy: Proxy, folder: Path, gateway: int) -> Iterator[Running]:
    """The proxy in front of a gateway's port, as long as the block lasts."""
    program, port = program_of(proxy), free_port()
    call = proxy.call(proxy.file, folder, port, gateway)
    for name, text in call.files.items():
        (folder / name).write_text(text)
    log = folder / "output"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [program, *call.command], stdout=out, stderr=out, env={**os.environ, **call.environment}
        ) as process,
    ):
        try:
            until(lambda: is_open(port) or process.poll() is not None, f"{proxy.name} listens", _START_S)
            assert process.poll() is None, log.read_text()
            yield Running(proxy, port, folder)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
