"""The wheel and the source distribution hold what they should, install into a clean environment, and serve there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.gateway_process import free_port, wait_until_ready
from tests.release import lock
from tests.release.project import NAME, ROOT, VERSION, tracked

pytestmark = pytest.mark.slow

INSTALL_S: Final = 600.0
START_S: Final = 30.0
PYTHONS: Final = ("3.11", "3.12", "3.13")
"""All that are promised. Of the others, those that this machine has are tried."""
NOT_IN_SOURCE: Final = {".gitattributes"}
"""Tracked files that only git itself reads."""
ROUTES: Final = 'upstreams: {near: {dialect: openai, url: "simulator://"}}\nroutes: {demo: near}\n'
CALL: Final = b'{"model": "demo", "max_tokens": 50, "stream": true, "messages": [{"role": "user", "content": "Hi"}]}'


def run(command: Sequence[str | Path], cwd: Path, **environment: str) -> str:
    """What a command printed. Fails with all of it where the command fails."""
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env=clean_environment() | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALL_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}"
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Ours, without what lets one Python environment see another."""
    return {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An index of packages that pip can reach. Skips the tests where there is none: `make` needs one too."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "setuptools>=77"]
    asked = subprocess.run(pip, cwd=tmp_path_factory.mktemp("asked"), capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        pytest.skip(f"pip reaches no index of packages here: {asked.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="module")
def built(index: None, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Both distributions, built from a copy of what the repository holds: the wheel from the source distribution."""
    folder = tmp_path_factory.mktemp("built")
    source, out = folder / "source", folder / "out"
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    run([sys.executable, "-m", "build", "--outdir", out, source], folder)
    return {path.suffix: path for path in out.iterdir()}


@pytest.fixture(scope="module", params=[".whl", ".gz"], ids=["wheel", "sdist"])
def installed(
    request: pytest.FixtureRequest, built: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of programs of a clean environment with nothing but one of the distributions and what it requires."""
    return environment_with(tmp_path_factory.mktemp("clean"), [built[request.param]])


def environment_with(folder: Path, *installs: Sequence[str | Path], python: str = sys.executable) -> Path:
    """A new environment in which pip has installed, in turn, what each of the arguments names."""
    run([python, "-m", "venv", folder / "venv"], folder)
    programs = folder / "venv" / "bin"
    for arguments in installs:
        run([programs / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments], folder)
    return programs


# -- what is in them -----------------------------------------------------------------------------------------------


def test_both_are_named_for_the_project_and_its_version(built: Mapping[str, Path]) -> None:
    assert built[".whl"].name == f"{NAME}-{VERSION}-py3-none-any.whl"
    assert built[".gz"].name == f"{NAME}-{VERSION}.tar.gz"


def test_the_wheel_holds_the_package_and_its_licence_and_no_more(built: Mapping[str, Path]) -> None:
    with zipfile.ZipFile(built[".whl"]) as wheel:
        names = set(wheel.namelist())
    about = f"{NAME}-{VERSION}.dist-info/"
    assert {name for name in names if not name.startswith(about)} == {
        name for name in tracked() if name.startswith("gateway/")
    }
    assert "gateway/py.typed" in names
    assert f"{about}licenses/LICENSE" in names


def test_the_source_distribution_is_the_repository(built: Mapping[str, Path]) -> None:
    root = f"{NAME}-{VERSION}/"
    with tarfile.open(built[".gz"]) as archive:
        names = {entry.name.removeprefix(root) for entry in archive.getmembers() if entry.isfile()}
    made = {name for name in names if name.startswith(f"{NAME}.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert names - made == tracked() - NOT_IN_SOURCE
    assert "gateway/py.typed" in names


# -- whether they work ---------------------------------------------------------------------------------------------


def test_it_is_whole_where_it_is_installed(installed: Path) -> None:
    """Every requirement is there in a version that fits, and every module can be imported with nothing else around."""
    run([installed / "python", "-m", "pip", "check"], installed)
    walk = (
        "import pkgutil, gateway; "
        "[__import__(m.name) for m in pkgutil.walk_packages(gateway.__path__, 'gateway.') if 'main' not in m.name]; "
        "print(gateway.__file__)"
    )
    assert run([installed / "python", "-I", "-c", walk], installed).strip().startswith(str(installed.parent))


def test_its_commands_run(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    assert run([installed / "triglot", "--version"], tmp_path) == f"triglot, version {VERSION}\n"
    assert "ok" in run([installed / "triglot", "check"], tmp_path)
    assert "passed through" in run([installed / "triglot", "explain", "--model", "demo"], tmp_path)
    assert '"$schema"' in run([installed / "triglot", "schema"], tmp_path)
    assert run([installed / "triglot", "translation"], tmp_path).startswith("#")


def test_it_serves_a_stream_and_ends_when_told(installed: Path, tmp_path: Path) -> None:
    assert_serves(installed, tmp_path)


@pytest.mark.parametrize("version", PYTHONS)
def test_it_serves_on_what_the_lock_file_names_and_on_nothing_else(
    built: Mapping[str, Path], tmp_path: Path, version: str
) -> None:
    """As an image is made: hashes for all, and no release that isn't named."""
    locked: list[str | Path] = ["--require-hashes", "--only-binary", ":all:", "-r", lock.LOCK]
    programs = environment_with(tmp_path, locked, ["--no-deps", built[".whl"]], python=python(version))
    assert "No broken requirements" in run([programs / "python", "-m", "pip", "check"], tmp_path)
    assert_serves(programs, tmp_path)


def python(version: str) -> str:
    """The program of a Python. Skips the test where this machine has none that runs."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None or subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"there is no python{version} here")
    return found


def assert_serves(programs: Path, folder: Path) -> None:
    """Starts a gateway on its simulator, has a stream translated, and ends it."""
    (folder / "routes.yaml").write_text(ROUTES)
    log, port = folder / "log", free_port()
    command = [str(programs / "triglot"), "serve", "--port", str(port)]
    with (
        log.open("wb") as out,
        subprocess.Popen(command, cwd=folder, env=clean_environment(), stdout=out, stderr=out) as process,
    ):
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/readyz", process, log, START_S)
            asked = urllib.request.Request(f"http://127.0.0.1:{port}/v1/messages", data=CALL, method="POST")
            with urllib.request.urlopen(asked, timeout=START_S) as answer:
                stream = answer.read()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == 0
    assert stream.startswith(b"event: message_start\n")
    assert stream.rstrip().endswith(b'data: {"type":"message_stop"}')
