"""A meter on prometheus-client: what one record, one call and one reading become."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

from gateway.neutral.events import TextDelta, Usage
from gateway.telemetry import metrics, prometheus
from gateway.telemetry.log import Record
from gateway.telemetry.meter import COUNTING, Called
from gateway.telemetry.prometheus import Prometheus
from gateway.telemetry.timeline import Timeline

UNHEARD = Timeline(0.0)
"""Of an answer of which nothing came."""


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where values are kept is a matter of the process."""
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")


def samples(meter: Prometheus) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(meter.page("")[0].decode()):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def total(meter: Prometheus, name: str, **labels: str) -> float:
    return sum(value for known, told, value in samples(meter) if known == name and labels.items() <= told.items())


def record(**fields: Any) -> Record:
    known: dict[str, Any] = {"route": "r", "upstream": "u", "upstream_dialect": "truss", "duration_ms": 250.0}
    return Record("req_1", "openai", **(known | fields))


def heard(*moments: float, output: int | None = None) -> Timeline:
    """Of an answer whose content came at these times."""
    timeline = Timeline(0.0)
    for moment in moments:
        timeline.note([TextDelta(0, "x")], moment)
    timeline.note([Usage(input=7, output=output)], moments[-1])
    return timeline


@pytest.mark.parametrize(
    ("fields", "name", "labels", "amount"),
    [
        ({"dropped": 2}, "triglot_fields_dropped_total", {"route": "r", "upstream": "u"}, 2),
        ({"adapted": 3}, "triglot_fields_adapted_total", {"route": "r", "upstream": "u"}, 3),
        ({"dropped_fragments": 4}, "triglot_fragments_dropped_total", {"route": "r", "upstream": "u"}, 4),
        ({"grammar_fault": "stray"}, "triglot_grammar_faults_total", {"client_dialect": "openai"}, 1),
        ({"hedge": "won"}, "triglot_hedges_total", {"route": "r", "result": "won"}, 1),
        ({"cut_by": "t"}, "triglot_continuations_total", {"route": "r", "result": "given_up"}, 1),
        ({"cut_by": "t", "continued": "u"}, "triglot_continuations_total", {"route": "r", "result": "continued"}, 1),
    ],
)
def test_what_is_rare_is_counted_when_it_happens(
    fields: dict[str, Any], name: str, labels: dict[str, str], amount: float
) -> None:
    meter = prometheus.alone()
    meter.ended(record(), "chat", UNHEARD, 0.0)
    assert total(meter, name) == 0
    meter.ended(record(**fields), "chat", UNHEARD, 0.0)
    assert [(told, value) for known, told, value in samples(meter) if known == name] == [(labels, amount)]


def test_the_time_for_each_token_leaves_the_first_one_out() -> None:
    meter = prometheus.alone()
    meter.stream_began("r")
    meter.ended(record(stream=True), "chat", heard(1.0, 2.0, 3.0, output=5), 0.0)
    assert total(meter, "gen_ai_server_time_to_first_token_seconds_sum") == 1.0
    assert total(meter, "gen_ai_server_time_per_output_token_seconds_sum") == pytest.approx(0.5)


@pytest.mark.parametrize("output", [None, 0, 1])
def test_without_a_second_token_there_is_no_time_for_each(output: int | None) -> None:
    meter = prometheus.alone()
    meter.stream_began("r")
    meter.ended(record(stream=True), "chat", heard(1.0, output=output), 0.0)
    assert total(meter, "gen_ai_server_time_per_output_token_seconds_count") == 0


def test_an_answer_that_broke_has_a_first_token_and_no_pace() -> None:
    """And what it ended with stands beside its duration."""
    meter = prometheus.alone()
    meter.stream_began("r")
    meter.ended(record(stream=True, end="broken", error="timeout"), "chat", heard(1.0, 2.0, output=5), 0.0)
    assert total(meter, "gen_ai_server_time_to_first_token_seconds_count") == 1
    assert total(meter, "gen_ai_server_time_per_output_token_seconds_count") == 0
    assert total(meter, "gen_ai_server_request_duration_seconds_count", error_type="timeout") == 1


def test_a_client_that_left_is_no_answer() -> None:
    meter = prometheus.alone()
    meter.ended(record(end="client_left"), "chat", UNHEARD, 0.0)
    assert total(meter, "gen_ai_server_request_duration_seconds_count", error_type="client_left") == 1


def test_counting_a_prompt_uses_no_tokens() -> None:
    meter = prometheus.alone()
    meter.ended(record(), COUNTING, heard(1.0), 0.0)
    assert total(meter, "gen_ai_client_token_usage_count") == 0
    assert total(meter, "triglot_requests_total") == 1
    meter.ended(record(), "embeddings", heard(1.0), 0.0)
    assert total(meter, "gen_ai_client_token_usage_sum", gen_ai_operation_name="embeddings") == 7


def test_who_found_no_route_is_one_series_whatever_was_asked_for() -> None:
    """It has no duration of an operation: there was none."""
    meter = prometheus.alone()
    meter.ended(Record("req_1", "openai", end="refused", error="not_found", stream=True), "chat", UNHEARD, 0.0)
    assert total(meter, "triglot_requests_total", route="", upstream="", error="not_found") == 1
    assert total(meter, "gen_ai_server_request_duration_seconds_count") == 0
    assert meter.streams == {}


def test_a_call_is_told_with_its_end_and_its_duration() -> None:
    meter = prometheus.alone()
    meter.called(Called("r", "chat", "u", "truss", "rate_limit", 0.5))
    assert total(meter, "triglot_attempts_total", route="r", upstream="u", end="rate_limit") == 1
    labels = {"error_type": "rate_limit", "gen_ai_provider_name": "truss", "gen_ai_request_model": "r"}
    assert total(meter, "gen_ai_client_operation_duration_seconds_sum", **labels) == 0.5


def test_a_worker_goes_on_where_the_one_before_it_ended(tmp_path: Path) -> None:
    """With its counters and histograms; its gauges begin anew."""
    for number in (1, 2):
        meter = prometheus.of_worker(tmp_path, number)
        meter.called(Called("r", "chat", "u", "truss", "complete", 0.5))
        meter.set(metrics.QUEUE_LENGTH, ("u",), 3)
    assert total(meter, "triglot_attempts_total") == 2
    assert total(meter, "triglot_queue_length") == 6
    files = sorted(path.name for path in tmp_path.iterdir())
    prometheus.worker_ended(tmp_path, 2)
    assert total(meter, "triglot_queue_length") == 3
    again = prometheus.of_worker(tmp_path, 2)
    again.called(Called("r", "chat", "u", "truss", "complete", 0.5))
    assert total(again, "triglot_attempts_total") == 3
    assert total(again, "gen_ai_client_operation_duration_seconds_count") == 3
    assert total(again, "triglot_queue_length") == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_a_new_file_is_whole_before_anybody_can_read_it(tmp_path: Path) -> None:
    """Another worker reads whatever ends in .db, and takes a shorter one for broken."""
    prometheus.of_worker(tmp_path, 1)
    assert {path.stat().st_size for path in tmp_path.glob("*.db")} == {1 << 16}
    assert list(tmp_path.glob("*.new")) == []


def test_the_folder_is_removed_at_the_end(tmp_path: Path) -> None:
    with prometheus.shared_folder() as folder:
        prometheus.of_worker(folder, 1)
        assert folder.is_dir()
    assert not folder.exists()
