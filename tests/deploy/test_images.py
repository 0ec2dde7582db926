"""The image and the compose file. No container engine is needed: the Dockerfile's commands are run in a folder."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deploy.proxies import DEPLOY
from tests.faults.harness import free_port, is_open
from tests.faults.hostile_upstream import until

ROOT: Final = DEPLOY.parent
DOCKERFILE: Final = DEPLOY / "Dockerfile"
COMPOSE: Final = DEPLOY / "compose.yaml"
_KNOWN: Final = {
    *("ARG", "FROM", "WORKDIR", "RUN", "COPY", "ENV", "USER"),
    *("EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
}


def instructions() -> list[tuple[str, str]]:
    """Word and arguments of each, with continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined)]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, its FROM first."""
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def the(stage: list[tuple[str, str]], wanted: str) -> str:
    (only,) = [rest for word, rest in stage if word == wanted]
    return only


def is_sent(path: str) -> bool:
    """Whether the builder gets a file of the repository: the last line of the ignore file that fits decides."""
    sent = True
    for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines():
        pattern = line.lstrip("!")
        if line and not line.startswith("#") and (pattern == "*" or path == pattern or path.startswith(f"{pattern}/")):
            sent = line.startswith("!")
    return sent


def test_the_dockerfile_has_only_instructions_that_there_are() -> None:
    assert {word for word, _ in instructions()} <= _KNOWN
    assert len(stages()) == 2


def test_the_image_is_not_root_and_says_whether_it_is_well() -> None:
    last = stages()[-1]
    assert int(the(last, "USER").partition(":")[0]) > 0
    assert the(last, "HEALTHCHECK")
    assert the(last, "STOPSIGNAL") == "SIGTERM"
    order = [word for word, _ in last]
    assert all(order.index("USER") > at for at, word in enumerate(order) if word in ("RUN", "COPY"))
    assert not any("pip" in rest for word, rest in last if word == "RUN")


def test_what_is_installed_comes_from_the_lock_file() -> None:
    runs = " && ".join(rest for word, rest in stages()[0] if word == "RUN")
    installs = re.findall(r"pip install[^&]*", runs)
    assert len(installs) == 2
    assert "--require-hashes -r requirements.lock" in installs[0]
    assert "--no-deps ." in installs[1]


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    for path in (path.removeprefix("./") for paths in copied for path in paths):
        assert (ROOT / path).exists(), path
        assert is_sent(path), path
    assert not is_sent("tests")
    assert not is_sent(".git")
    assert not is_sent("deploy/kubernetes/secret.yaml")


@pytest.mark.slow
def test_the_steps_of_the_dockerfile_make_a_gateway_that_is_well(tmp_path: Path) -> None:
    """Each RUN and COPY in its order, `/opt/triglot` being a folder of this test's; then the health check is asked."""
    build, opt = tmp_path / "build", tmp_path / "opt-triglot"
    build.mkdir()
    for word, rest in stages()[0][1:]:
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                _copy(ROOT / source, build / target / (Path(source).name if target == "./" else ""))
        elif word == "RUN":
            command = rest.replace("/opt/triglot", str(opt))
            done = subprocess.run(command, shell=True, cwd=build, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    port = free_port()
    health = ast.literal_eval(the(stages()[-1], "HEALTHCHECK").partition("CMD ")[2])
    health = [str(opt / "bin/python"), *(part.replace(":8080", f":{port}") for part in health[1:])]
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    assert subprocess.run(health, env=environment, capture_output=True).returncode != 0  # nobody is there yet
    serve = ["serve", "--host", "127.0.0.1", "--port", str(port), "--config", str(ROOT / "routes.yaml")]
    with subprocess.Popen([str(opt / "bin/triglot"), *serve], env=environment, cwd=tmp_path) as process:
        try:
            until(lambda: is_open(port) or process.poll() is not None, "the gateway listens", 20)
            assert subprocess.run(health, env=environment).returncode == 0
        finally:
            process.terminate()
    assert process.returncode == 0


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


# -- compose ----------------------------------------------------------------------------------------------------------


def compose() -> dict[str, Any]:
    document = yaml.safe_load(COMPOSE.read_text())
    assert isinstance(document, dict)
    return document


def complaints(file: Path) -> str:
    """What the schema of compose files has against one; nothing if it is right."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


def test_the_compose_file_keeps_to_its_schema(tmp_path: Path) -> None:
    assert not complaints(COMPOSE)
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("restart:", "restrat:", 1))
    assert "restrat" in complaints(wrong)


def test_what_it_mounts_and_builds_is_there() -> None:
    for name, service in compose()["services"].items():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in compose()["volumes"] or (DEPLOY / source).exists(), f"{name}: {source}"
    build = compose()["services"]["gateway"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DOCKERFILE


def test_nothing_is_published_beyond_this_machine() -> None:
    ports = [port for service in compose()["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_gateway_is_locked_up_and_has_time_to_drain() -> None:
    gateway = compose()["services"]["gateway"]
    assert gateway["read_only"] is True
    assert gateway["tmpfs"] == ["/tmp"]
    assert gateway["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in gateway["security_opt"]
    assert int(gateway["stop_grace_period"].removesuffix("s")) > 31
