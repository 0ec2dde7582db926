"""Tables and JSON of a benchmark."""

from __future__ import annotations

import io

import orjson
from rich.console import Console

from gateway.bench.figures import Level, Line, Probe
from gateway.bench.measure import Results
from gateway.bench.plan import Pair, Plan
from gateway.bench.report import WIDTH, Setting, plain, tables

PAIR = Pair("anthropic", "responses")
PLAN = Plan((PAIR,), (1, 50))
DIRECT = Line(
    Probe(0.2, 0.5, None, None, None),
    {n: Level(0.25, 0.5, 20.0, 21.0, 22.0, 0, 50.0, None, None, None, 0.1) for n in PLAN.streams},
)
THROUGH = Line(
    Probe(1.0, 2.0, 0.41, 0.37, 61.4),
    {
        1: Level(1.2, 1.2, 20.0, 21.5, 23.0, 0, 49.9, 77.7, 25.1, None, 0.1),
        50: Level(2.25, 4.5, 20.1, 24.5, 70.0, 3, 2499.6, 33.3, 10.0, 48.6, 0.2),
    },
)
SETTING = Setting({"triglot": "0.1.0", "cores": 2}, ["CPU is coarse"])
RESULTS = Results({"anthropic": DIRECT}, {PAIR: THROUGH})


def printed(results: Results) -> str:
    console = Console(file=io.StringIO(), width=WIDTH)
    console.print(tables(PLAN, results, SETTING))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(shown: str) -> list[list[str]]:
    """What stands in the tables' rows, blank by blank."""
    return [line.split() for line in shown.splitlines() if " / " in line and "p50" not in line]


def test_the_tables_have_every_figure_and_what_is_added() -> None:
    shown = printed(RESULTS)
    assert "anthropic<-responses" in shown
    requests, alone, many = rows(shown)
    assert requests[1:] == ["1.0", "/", "2.0", "0.2", "/", "0.5", "0.8", "/", "1.5", "0.41", "0.37", "61.4"]
    assert alone[1:] == ["1", "77.7", "25.1", "0.9", "/", "0.7", "20.0", "/", "21.5", "21.0", "0", "-", "50"]
    assert many == ["50", "33.3", "10.0", "2.0", "/", "4.0", "20.1", "/", "24.5", "21.0", "3", "49", "2500"]
    assert "CPU is coarse" in shown
    assert "100 tokens a stream, one every 20 ms" in shown


def test_what_was_not_measured_is_a_dash() -> None:
    bare = Line(Probe(1.0, 2.0, None, None, None), THROUGH.levels)
    assert rows(printed(Results({"anthropic": DIRECT}, {PAIR: bare})))[0][-3:] == ["-"] * 3


def test_a_direct_line_that_stalls_or_a_load_without_time_is_a_reason_to_doubt() -> None:
    stalled = Line(
        DIRECT.probe, {**DIRECT.levels, 50: Level(0.2, 0.5, 20.0, 90.0, 90.0, 7, 50.0, None, None, None, 0.9)}
    )
    shown = printed(Results({"anthropic": stalled}, {PAIR: THROUGH}))
    assert "stalled on the direct line too (anthropic at 50)" in shown
    assert "nearly full (anthropic at 50)" in shown
    assert "direct line too" not in printed(RESULTS)
    assert "nearly full" not in printed(RESULTS)


def test_json_has_all_that_the_tables_have_and_the_direct_line() -> None:
    found = orjson.loads(orjson.dumps(plain(PLAN, Results(RESULTS.direct, RESULTS.pairs, [("x", "y", 2)]), SETTING)))
    assert found["setting"] == {"triglot": "0.1.0", "cores": 2}
    assert (found["tokens"], found["pace_ms"], found["rounds"], found["probes"]) == (100, 20.0, 1, 200)
    assert found["notes"] == ["CPU is coarse"]
    assert found["faults"] == [{"where": "x", "what": "y", "count": 2}]
    (direct,), (pair,) = found["direct"], found["pairs"]
    assert direct["client"] == "anthropic"
    assert [level["streams"] for level in direct["levels"]] == [1, 50]
    assert (pair["client"], pair["upstream"]) == ("anthropic", "responses")
    assert pair["one_at_a_time"]["added_ttft_p50_ms"] == 0.8
    many = pair["levels"][1]
    assert (many["streams"], many["stalls"], many["cpu_us_event"], many["memory_kb_stream"]) == (50, 3, 33.3, 48.6)
    assert (many["added_ttft_p50_ms"], many["added_ttft_p99_ms"]) == (2.0, 4.0)
