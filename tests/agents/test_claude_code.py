"""Claude Code, the real program, on every kind of upstream that has tools."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import orjson
import pytest

from tests.agents.programs import SCHEMA, Ran, claude_code, picture
from tests.agents.upstreams import BUSY, DIALECTS, UPSTREAMS, Gateways, accesses

pytestmark = pytest.mark.agents

SECOND: Final = 'it\'s a "second" file ✓'
FAILING: Final = "say=agent&ttft=0ms&tps=40&fault=error@4&when=stream"
"""Tokens come apart from each other: read together with the error, they would make it a status."""


def task(folder: Path) -> str:
    return "\n".join(
        (
            "Do these steps:",
            f"step run printf 'salt wind\\n' > {folder}/note.txt && cat {folder}/note.txt",
            f"step read {folder}/note.txt",
            f"with run wc -c < {folder}/note.txt",
            f"step write {folder}/second.txt {SECOND}",
            f"step read {folder}/none.txt",
        )
    )


def result(ran: Ran) -> str:
    """What it says at its end."""
    results = ran.of_type("result")
    assert len(results) == 1, ran.stderr
    assert results[0]["is_error"] is False, results[0]
    return str(results[0]["result"])


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_it_works_over_several_turns(
    upstream: str, gws: Gateways, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Pitfalls 58, 59, 62, 69, 81, 97, 99: its tools really run; the model gets back every result and its own words.

    What it sends: `tests/data/claude_code_request.json`.
    """
    folder = tmp_path / "project"
    with caplog.at_level("INFO", "triglot.access"):
        said = result(claude_code(gws.url(upstream), task(folder), folder))
    assert (folder / "note.txt").read_text() == "salt wind\n"
    assert (folder / "second.txt").read_text() == f"{SECOND}\n"
    assert "All 4 steps are done.\nBash said: salt wind\nRead said: 1\tsalt wind" in said
    assert "Bash said: 10\nWrite said: File created" in said
    assert "Read failed: File does not exist" in said or "Read said: Error: File does not exist" in said
    assert f"5 of 5 calls, 5 of 5 results, 4 of 4 texts, {UPSTREAMS[upstream].came_back(4)}." in said
    assert [(line["status"], line["stream"]) for line in accesses(caplog)] == [(200, True)] * 5


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_a_stream_error_makes_it_ask_again_for_a_whole_answer(
    upstream: str, gws: Gateways, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Pitfalls 44, 46, 126: it sees the error in mid-stream, and its whole request works on the same route."""
    folder = tmp_path / "project"
    with caplog.at_level("INFO", "triglot.access"):
        ran = claude_code(gws.url(upstream, FAILING), f"step run echo salt > {folder}/note.txt", folder)
    assert "1 of 1 calls, 1 of 1 results" in result(ran)
    assert (folder / "note.txt").read_text() == "salt\n"
    turns = [(line["stream"], line["status"], line["end"]) for line in accesses(caplog)]
    assert turns == [(True, 200, "broken"), (False, 200, "complete")] * 2


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_it_finds_a_tool_and_shows_an_image(upstream: str, gws: Gateways, tmp_path: Path) -> None:
    """Pitfall 65; and as it runs without `ENABLE_TOOL_SEARCH`: most tools are deferred until a search names them."""
    folder = tmp_path / "project"
    seen = picture(folder / "red.png")
    steps = (
        'step call ToolSearch {"query": "select:CronList", "max_results": 5}',
        "step call CronList {}",
        f"step read {folder}/red.png",
    )
    said = result(claude_code(gws.url(upstream), "\n".join(steps), folder, ENABLE_TOOL_SEARCH=""))
    assert "CronList said: No scheduled jobs." in said
    assert seen in said
    assert f"3 of 3 calls, 3 of 3 results, 3 of 3 texts, {UPSTREAMS[upstream].came_back(3)}." in said


@pytest.mark.parametrize("upstream", DIALECTS)
def test_it_comes_back_to_a_busy_upstream(
    upstream: str, gws: Gateways, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Pitfall 53: it is told when."""
    folder = tmp_path / "project"
    with caplog.at_level("INFO", "triglot.access"):
        said = result(claude_code(gws.url(upstream, BUSY), "step run echo salt > note.txt", folder))
    assert "1 of 1 calls, 1 of 1 results" in said
    assert [line["status"] for line in accesses(caplog)] == [429, 200] * 2


@pytest.mark.parametrize("upstream", DIALECTS)
def test_it_answers_by_a_schema_after_its_calls(upstream: str, gws: Gateways, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    steps = f'step run echo salt > {folder}/note.txt\nstep call StructuredOutput {{"report": "words", "ok": true}}'
    ran = claude_code(gws.url(upstream), steps, folder, "--json-schema", orjson.dumps(SCHEMA).decode())
    assert orjson.loads(result(ran)) == {"report": "words", "ok": True}
    assert (folder / "note.txt").read_text() == "salt\n"
