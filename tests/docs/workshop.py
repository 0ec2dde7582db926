"""Where the code blocks of a page are run, one after the other, as a reader would.

A folder that looks like a clone of this repository after `make`, a home of its own, and no network but loopback. Blocks
are taken as they stand; the one thing exchanged in them is the gateway's address, as many tests share a machine.
Variables that a block exports are there for those below it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import orjson

from tests.docs.blocks import ROOT, Block, Way
from tests.docs.stand_in import COMMANDS, HOSTS, PACKAGES, PORT
from tests.e2e.gateway_process import START_S, wait_until_ready

ADDRESS: Final = "127.0.0.1:8080"
"""Where the gateway of every page listens."""
_RUN_S: Final = 90.0
_TOOLS: Final = ("bash", "curl", "make")
_VARIABLES: Final = "variables.sh"
_NAME: Final = re.compile(r"\$\{(\w+)")
_PROMPT: Final = "$ "
_SCRIPT: Final = """\
set -eo pipefail
[ ! -f {variables} ] || source {variables}
trap 'export -p > {variables}' EXIT
"""


class BlockFailed(AssertionError):
    """A block that doesn't do what its page says."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What blocks find: Python's folder, further ones for the path, and Node's packages."""

    python: Path = Path(sys.executable)
    path: tuple[Path, ...] = ()
    node_modules: Path | None = None
    packages: tuple[str, ...] = ()


def missing_tools() -> list[str]:
    """Programs that blocks need and this machine doesn't have."""
    return [name for name in _TOOLS if shutil.which(name) is None]


@dataclass
class Workshop:
    """`port`: the gateway's. `hosts`: what stands in for the upstreams of a routes file (`stand_in.elsewhere`)."""

    folder: Path
    port: int
    hosts: Mapping[str, str]
    tools: Tools = field(default_factory=Tools)
    printed: str = ""
    _server: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.clone, self.home, self.bin = (self.folder / name for name in ("triglot", "home", "bin"))
        self.log, self.said, self.variables = (self.folder / name for name in ("log.txt", "said.txt", _VARIABLES))
        for folder in (self.clone / ".venv" / "bin", self.home, self.bin):
            folder.mkdir(parents=True)
        for path in ROOT.iterdir():
            if path.is_file():
                shutil.copy(path, self.clone)
            elif not path.name.startswith("."):
                (self.clone / path.name).symlink_to(path)
        (self.home / ".curlrc").write_text("no-progress-meter\nfail-with-body\n")  # an error status is a failure
        self._commands()

    def _commands(self) -> None:
        ours, theirs = shlex.quote(sys.executable), shlex.quote(str(self.tools.python))
        scripts = {name: f"PYTHONPATH={ROOT} exec {ours} -m tests.docs.stand_in {name}" for name in COMMANDS}
        scripts |= {"python": f"exec {theirs}", "pip": f"exec {theirs} -m pip"}
        for folder in (self.bin, self.clone / ".venv" / "bin"):
            for name, script in scripts.items():
                (folder / name).write_text(f'#!/bin/sh\n{script} "$@"\n')
                (folder / name).chmod(0o755)
        for stamp in (".installed", ".runs"):  # so make has nothing to do
            (self.clone / ".venv" / stamp).touch()
        if self.tools.node_modules is not None:
            (self.clone / "node_modules").symlink_to(self.tools.node_modules)

    def perform(self, block: Block) -> None:
        """Does with a block what is to be done with it. Raises BlockFailed."""
        _PERFORMED[block.way](self, block)

    def close(self) -> None:
        """Ends the server of the page."""
        if self._server is not None:
            _end(self._server, signal.SIGTERM)
            self._server = None

    def _filled(self, text: str) -> str:
        return text.replace(ADDRESS, f"127.0.0.1:{self.port}")

    def _environment(self) -> dict[str, str]:
        places = [str(self.bin), *map(str, self.tools.path), os.environ.get("PATH", os.defpath)]
        return {
            "PATH": os.pathsep.join(places),
            "HOME": str(self.home),
            "CURL_HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "COLUMNS": "120",
            "PIP_NO_INDEX": "1",  # what a page installs has to be there
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            PORT: str(self.port),
            HOSTS: orjson.dumps(self.hosts).decode(),
            PACKAGES: orjson.dumps(self.tools.packages).decode(),
        }

    # -- the ways --------------------------------------------------------------------------------------------------

    def _shell(self, block: Block) -> None:
        text = commands(block.text) if block.language == "console" else block.text
        self._run(block, self._filled(text))

    def _python(self, block: Block) -> None:
        (self.clone / "block.py").write_text(self._filled(block.text))
        self._run(block, "python block.py")

    def _node(self, block: Block) -> None:
        (self.clone / "block.mjs").write_text(self._filled(block.text))
        self._run(block, "node block.mjs")

    def _check(self, block: Block) -> None:
        (self.clone / "block.yaml").write_text(block.text)
        unset = "".join(f': "${{{name}:=a-key}}"; export {name}\n' for name in _NAME.findall(block.text))
        self._run(block, f"{unset}triglot check --config block.yaml")

    def _file(self, block: Block) -> None:
        path = self.home / block.detail[2:] if block.detail.startswith("~/") else self.clone / block.detail
        path.parent.mkdir(parents=True, exist_ok=True)
        if ROOT in path.resolve().parents:
            raise BlockFailed(f"{block.place}: {block.detail} is a file of the repository")
        path.write_text(self._filled(block.text))

    def _json(self, block: Block) -> None:
        _parsed(block, orjson.loads)

    def _toml(self, block: Block) -> None:
        _parsed(block, tomllib.loads)

    def _output(self, block: Block) -> None:
        if not is_printed(self._filled(block.text), self.printed):
            raise BlockFailed(f"{block.place}: this is not what was printed:\n{block.text}\nbut:\n{self.printed}")

    def _shown(self, block: Block) -> None:
        assert block.detail, block.place

    def _serve(self, block: Block) -> None:
        self.close()
        text = commands(block.text) if block.language == "console" else block.text
        with self.log.open("wb") as out:
            self._server = self._started(self._filled(text), out)
        try:
            wait_until_ready(f"http://127.0.0.1:{self.port}/readyz", self._server, self.log, START_S)
        except RuntimeError as error:
            raise BlockFailed(f"{block.place}: {error}") from error
        self.printed = self.log.read_text(errors="replace")

    def _script(self, text: str) -> str:
        return _SCRIPT.format(variables=shlex.quote(str(self.variables))) + text

    def _run(self, block: Block, text: str) -> None:
        with self.said.open("wb") as out:
            process = self._started(text, out)
            try:
                status = str(process.wait(_RUN_S))
            except subprocess.TimeoutExpired:
                status = f"none within {_RUN_S:g} s"
            finally:
                _end(process, signal.SIGKILL)  # with whatever it has left running
        self.printed = self.said.read_text(errors="replace")
        if status != "0":
            said = f"{self.printed[-3000:]}\nthe server: {self._last_of_log()}"
            raise BlockFailed(f"{block.place}: status {status}\n{text}\n{said}")

    def _started(self, text: str, out: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", "-c", self._script(text)],
            cwd=self.clone,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )

    def _last_of_log(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else "none of this page"


_PERFORMED: Final[Mapping[Way, Callable[[Workshop, Block], None]]] = {
    Way.SHELL: Workshop._shell,
    Way.PYTHON: Workshop._python,
    Way.NODE: Workshop._node,
    Way.SERVER: Workshop._serve,
    Way.CHECK: Workshop._check,
    Way.JSON: Workshop._json,
    Way.TOML: Workshop._toml,
    Way.FILE: Workshop._file,
    Way.OUTPUT: Workshop._output,
    Way.SHOWN: Workshop._shown,
}


def _parsed(block: Block, parse: Callable[[str], object]) -> None:
    try:
        parse(block.text)
    except ValueError as error:
        raise BlockFailed(f"{block.place}: {error}") from error


def _end(process: subprocess.Popen[bytes], by: signal.Signals) -> None:
    """Ends a process and those it has started."""
    with contextlib.suppress(ProcessLookupError):  # none of them is there any more
        os.killpg(process.pid, by)
    process.wait(START_S)


@contextmanager
def workshop(folder: Path, port: int, hosts: Mapping[str, str], tools: Tools) -> Iterator[Workshop]:
    """A workshop in an empty folder; its server is ended with the block."""
    made = Workshop(folder, port, hosts, tools)
    try:
        yield made
    finally:
        made.close()


def is_printed(expected: str, printed: str) -> bool:
    """Whether lines were printed as a page shows them: `…` stands for anything, blanks at ends of lines don't count."""
    pattern = ".*?".join(map(re.escape, _trimmed(expected.splitlines()).split("…")))
    return re.search(pattern, _trimmed(printed.splitlines()), re.DOTALL) is not None


def _trimmed(lines: Iterable[str]) -> str:
    return "\n".join(line.rstrip() for line in lines).strip()


def commands(session: str) -> str:
    """The commands of a session at a prompt, without what they printed."""
    taken: list[str] = []
    for line in session.splitlines():
        if line.startswith(_PROMPT):
            taken.append(line.removeprefix(_PROMPT))
        elif taken and not _is_complete(taken[-1]):
            taken[-1] += f"\n{line}"
    return "\n".join(taken)


def _is_complete(command: str) -> bool:
    if command.rstrip().endswith("\\"):
        return False
    return subprocess.run(["bash", "-n", "-c", command], capture_output=True, check=False).returncode == 0
