"""Client libraries as people use them: tools over several turns, and objects, by each API on each upstream."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from tests.agents.installed import HERE, python_program
from tests.agents.upstreams import DIALECTS, UPSTREAMS, Gateways
from tests.e2e.gateway_process import KINDS

pytestmark = pytest.mark.agents

RUN_S: Final = 180.0
CLIENTS: Final = [client for client in ("openai", "anthropic", "responses") if client in KINDS]

TASK: Final = """\
step call get_weather {"city": "Oslo"}
with call get_weather {"city": "Rome"}
step call get_weather {"city": "Lima"}"""
CLOSING: Final = """\
All 2 steps are done.
get_weather said: Oslo has 12 degrees
get_weather said: Rome has 12 degrees
get_weather said: Lima has 12 degrees
Came back: 3 of 3 calls, 3 of 3 results, 2 of 2 texts, 0 of 0 thoughts, 0 of 0 seals."""

JSON: Final = "say=json&ttft=0ms&tps=0"
SIMULATED: Final = {"city": "Oslo", "degrees": 3}
"""What the simulator makes of the schema."""


@cache
def ran(program: str, *arguments: Any) -> Any:
    """What a program of `programs/` tells. It plays all upstreams in one run: to load such a library takes seconds."""
    text = orjson.dumps(arguments).decode()
    return orjson.loads(_output([str(python_program()), str(HERE / "programs" / f"{program}_program.py"), text], {}))


def told(upstream: str, program: str, *arguments: Any) -> Any:
    """What a program tells of one upstream, with which it could play to the end."""
    found = ran(program, *arguments)[upstream]
    assert "failure" not in found, found["failure"]
    return found


def _output(command: list[str], variables: Mapping[str, str]) -> bytes:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=RUN_S, check=False)
    assert ended.returncode == 0, ended.stderr.decode(errors="replace")[-3000:]
    return ended.stdout


def urls(gws: Gateways) -> tuple[tuple[str, str], ...]:
    return tuple((name, gws.url(name)) for name in UPSTREAMS)


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("library", ["langchain", "pydantic_ai"])
def test_an_agent_works_over_several_turns(library: str, client: str, upstream: str, gws: Gateways) -> None:
    """Pitfalls 2, 58, 62: parallel calls in a turn, another call in the next, and every result comes back; streamed."""
    found = told(upstream, library, client, TASK, urls(gws))
    assert found["calls"] == [["Oslo", "Rome"], ["Lima"], []]
    assert found["text"] == CLOSING
    assert found["streamed"].endswith(CLOSING)
    assert found["pieces"] > 20
    assert found["is_counted"]


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("library", ["langchain", "pydantic_ai"])
def test_an_agent_gives_objects(library: str, client: str, upstream: str, gws: Gateways) -> None:
    """By a schema for the answer, and by a tool whose arguments are the answer."""
    objects = told(upstream, library, client, TASK, urls(gws))["objects"]
    assert objects["function_calling"] == SIMULATED
    assert objects["json_schema"] == SIMULATED or is_refused(upstream, objects["json_schema"])


def is_refused(upstream: str, answer: Any) -> bool:
    """A model written by hand can't be asked for a schema, and the client is told so."""
    return upstream == "truss" and "not supported by this model; ignoring it would change the meaning" in answer


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("client", CLIENTS)
def test_instructor_gives_objects_whole_and_in_pieces(client: str, upstream: str, gws: Gateways) -> None:
    found = told(upstream, "instructor", client, urls(gws))
    assert found["function_calling"]["pieces"] > 1
    for name, way in found.items():
        is_impossible = name == "json_schema" and is_refused(upstream, way)
        assert is_impossible or way["whole"] == way["streamed"] == SIMULATED


# -- llm, the command ----------------------------------------------------------------------------------------------

FUNCTION: Final = """\
def get_weather(city: str) -> str:
    "The weather in a city."
    return f"{city} has 12 degrees"
"""
MODELS: Final = {"openai": "gpt-4.1", "responses": "gpt-5.5", "anthropic": "anthropic/claude-sonnet-4-5"}
"""client → a model that the command calls by that API."""


def llm(client: str, url: str, folder: Path, *arguments: str) -> str:
    variables = {
        "LLM_USER_PATH": str(folder),
        "OPENAI_API_KEY": "key",
        "ANTHROPIC_API_KEY": "key",
        "OPENAI_BASE_URL": f"{url}/v1",
        "ANTHROPIC_BASE_URL": url,
    }
    command = [str(python_program().with_name("llm")), "-m", MODELS[client], *arguments]
    return _output(command, variables).decode()


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", CLIENTS)
def test_llm_runs_its_tools_over_several_turns(client: str, upstream: str, gws: Gateways, tmp_path: Path) -> None:
    """By the Responses API it asks for reasoning too; what comes of it has to come back."""
    said = llm(client, gws.url(upstream), tmp_path, "--functions", FUNCTION, TASK)
    answer, _, thoughts = said.partition(" texts, ")
    assert answer.endswith(CLOSING.partition(" texts, ")[0])
    assert re.fullmatch(r"(\d) of \1 thoughts, (\d) of \2 seals\.\n", thoughts)


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("client", CLIENTS)
def test_llm_gets_an_object_for_its_schema(client: str, upstream: str, gws: Gateways, tmp_path: Path) -> None:
    said = llm(client, gws.url(upstream, JSON), tmp_path, "--schema", "city, degrees int", "The weather?")
    assert orjson.loads(said) == SIMULATED
