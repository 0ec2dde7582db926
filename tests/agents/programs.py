"""Coding agents as real programs, without an account: a home of their own, and the gateway as their API."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from tests.agents.installed import node_program
from tests.conformance.images import PNG_BYTES
from tests.conformance.node_clients import environment

RUN_S: Final = 120.0
KEY: Final = "a-clients-key"

_CODEX_CONFIG: Final = """\
model_provider = "gateway"
model_reasoning_effort = "high"
model_reasoning_summary = "auto"

[model_providers.gateway]
name = "gateway"
base_url = "{url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
"""


@dataclass(frozen=True)
class Ran:
    """A run of an agent: the JSON lines it printed, and what it said on stderr."""

    code: int
    lines: Sequence[Mapping[str, Any]]
    stderr: str

    def of_type(self, kind: str) -> list[Mapping[str, Any]]:
        return [line for line in self.lines if line.get("type") == kind]


SCHEMA: Final = {
    "type": "object",
    "properties": {"report": {"type": "string"}, "ok": {"type": "boolean"}},
    "required": ["report", "ok"],
    "additionalProperties": False,
}


def claude_code(url: str, prompt: str, folder: Path, *options: str, **more: str) -> Ran:
    """`claude -p` in a folder, every tool allowed and all of them declared from the start."""
    arguments = ["-p", prompt, "--model", "demo", "--output-format", "stream-json", "--verbose", *options]
    variables = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "ENABLE_TOOL_SEARCH": "false",
        "IS_SANDBOX": "1",  # as root it asks for this before it skips its questions
        **more,
    }
    return _run([str(node_program("claude")), *arguments, "--dangerously-skip-permissions"], variables, folder)


def codex(url: str, prompt: str, folder: Path, model: str, schema: Mapping[str, Any] | None = None) -> Ran:
    """`codex exec` in a folder, without its sandbox, which not every machine can make."""
    home = _home(folder) / "codex"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(_CODEX_CONFIG.format(url=url))
    options = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json", "-m", model]
    if schema is not None:
        (home / "schema.json").write_bytes(orjson.dumps(schema))
        options += ["--output-schema", str(home / "schema.json")]
    variables = {"CODEX_HOME": str(home), "GATEWAY_KEY": KEY}
    return _run([str(node_program("codex")), "exec", *options, prompt], variables, folder)


def picture(path: Path) -> str:
    """Writes an image; how the simulator tells of it, if every byte arrived."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PNG_BYTES)
    return f"I see an image, image/png of {len(PNG_BYTES)} bytes, sha256 {sha256(PNG_BYTES).hexdigest()[:16]}."


def _home(folder: Path) -> Path:
    home = folder.parent / f"{folder.name}-home"
    home.mkdir(exist_ok=True)
    return home


def _run(command: Sequence[str], variables: Mapping[str, str], folder: Path) -> Ran:
    folder.mkdir(exist_ok=True)
    variables = {"PATH": environment()["PATH"], "HOME": str(_home(folder)), **variables}
    ended = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=RUN_S,
        check=False,
    )
    lines = [orjson.loads(line) for line in ended.stdout.splitlines() if line.startswith(b"{")]
    return Ran(ended.returncode, lines, ended.stderr.decode(errors="replace"))
