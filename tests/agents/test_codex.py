"""Codex, the real program, on every kind of upstream that has tools."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import orjson
import pytest

from tests.agents.programs import SCHEMA, Ran, codex, picture
from tests.agents.upstreams import BUSY, DIALECTS, UPSTREAMS, Gateways, accesses

pytestmark = pytest.mark.agents

FREE_TEXT: Final = "gpt-5.5"
"""A model that Codex knows: it declares a custom `apply_patch`, and hosted tools."""
NAMESPACED: Final = "demo"
"""A model that it doesn't know: it declares a namespace of tools."""


def told(ran: Ran) -> str:
    """What the agent says at the end of a run in which nothing went wrong."""
    assert not ran.of_type("error"), ran.lines
    return last_words(ran)


def last_words(ran: Ran) -> str:
    assert ran.code == 0, (ran.stderr, ran.lines)
    assert not ran.of_type("turn.failed"), ran.lines
    return next(item["text"] for item in reversed(items(ran)) if item["type"] == "agent_message")


def items(ran: Ran) -> list[dict[str, str]]:
    return [line["item"] for line in ran.of_type("item.completed")]


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_it_works_over_several_turns(upstream: str, gws: Gateways, tmp_path: Path) -> None:
    """Pitfalls 75, 76, 106, 107, 108, 117, 118: commands, parallel ones and a patch in free text really run.

    What it sends: `tests/data/codex_request.json`.
    """
    folder = tmp_path / "project"
    steps = (
        "step run printf 'salt wind\\n' > note.txt && cat note.txt",
        "step run wc -c < note.txt",
        "with run echo beside",
        'step patch second.txt it\'s a "second" file ✓',
        "step run cat none.txt",
    )
    said = told(codex(gws.url(upstream), "\n".join(steps), folder, FREE_TEXT))
    assert (folder / "note.txt").read_text() == "salt wind\n"
    assert (folder / "second.txt").read_text() == 'it\'s a "second" file ✓\n'
    assert "All 4 steps are done.\nexec_command said: " in said
    assert "Output:\nsalt wind\n" in said
    assert "Output:\n10\n" in said
    assert "Output:\nbeside\n" in said
    assert "apply_patch said: Exit code: 0" in said
    assert "No such file" in said
    assert f"5 of 5 calls, 5 of 5 results, 4 of 4 texts, {UPSTREAMS[upstream].came_back(4)}." in said


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_it_calls_a_tool_of_a_namespace(upstream: str, gws: Gateways, tmp_path: Path) -> None:
    """Pitfall 106: the model sees `namespace__tool`, Codex its own tool, and the result finds its way back.

    What it sends: `tests/data/codex_namespace_request.json`.
    """
    folder = tmp_path / "project"
    steps = 'step call close_agent {"target": "nobody"}\nstep run echo salt > note.txt'
    said = told(codex(gws.url(upstream), steps, folder, NAMESPACED))
    assert (folder / "note.txt").read_text() == "salt\n"
    assert "close_agent said: " in said
    assert "nobody" in said
    assert f"2 of 2 calls, 2 of 2 results, 2 of 2 texts, {UPSTREAMS[upstream].came_back(2)}." in said


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_it_shows_an_image(upstream: str, gws: Gateways, tmp_path: Path) -> None:
    """Pitfall 78: the image is the result of a tool, and every byte of it reaches the model."""
    folder = tmp_path / "project"
    seen = picture(folder / "red.png")
    step = f'step call view_image {{"path": "{folder}/red.png"}}'
    assert seen in told(codex(gws.url(upstream), step, folder, FREE_TEXT))


@pytest.mark.parametrize("upstream", DIALECTS)
def test_it_answers_by_a_schema_after_its_calls(upstream: str, gws: Gateways, tmp_path: Path) -> None:
    """mapping.md §5.4: tools, reasoning and a schema in one request."""
    folder = tmp_path / "project"
    ran = codex(gws.url(upstream), "step run echo salt > note.txt", folder, FREE_TEXT, SCHEMA)
    answer = orjson.loads(told(ran))
    assert answer["ok"] is True
    assert "1 of 1 calls, 1 of 1 results" in answer["report"]
    assert (folder / "note.txt").read_text() == "salt\n"


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_broken_stream_is_never_the_end_of_a_turn(
    upstream: str, gws: Gateways, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Pitfalls 43, 48, 118: a failure in mid-stream is told as one: it asks again, and at last gives up."""
    folder = tmp_path / "project"
    script = "say=agent&ttft=0ms&tps=40&fault=error@4"
    with caplog.at_level("INFO", "triglot.access"):
        ran = codex(gws.url(upstream, script), "step run echo salt > note.txt", folder, FREE_TEXT)
    assert ran.code != 0
    assert ran.of_type("turn.failed")
    assert not (folder / "note.txt").exists()
    ends = [(line["status"], line["end"]) for line in accesses(caplog)]
    assert len(ends) > 1
    assert set(ends) == {(200, "broken")}


@pytest.mark.parametrize("upstream", DIALECTS)
def test_it_comes_back_to_a_busy_upstream(
    upstream: str, gws: Gateways, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Pitfall 53: it is told when, says that it reconnects, and goes on."""
    folder = tmp_path / "project"
    with caplog.at_level("INFO", "triglot.access"):
        said = last_words(codex(gws.url(upstream, BUSY), "step run echo salt > note.txt", folder, FREE_TEXT))
    assert "1 of 1 calls, 1 of 1 results" in said
    assert [line["status"] for line in accesses(caplog)] == [429, 200] * 2
