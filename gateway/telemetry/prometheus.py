"""The metrics of the table, kept by prometheus-client: of one process, or of several that count in files of a folder.

A worker's files bear its number, not its process id: who comes after a worker that died goes on with its counters, so
that nothing is lost and no file is left over. Gauges begin anew.

Imported only where metrics are on.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import prometheus_client
from prometheus_client import CollectorRegistry, disable_created_metrics, values
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from gateway.telemetry import metrics
from gateway.telemetry.log import Record
from gateway.telemetry.meter import COMPLETE, COUNTING, Called
from gateway.telemetry.metrics import METRICS, Kind, Metric, Of
from gateway.telemetry.timeline import Timeline

_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus-client looks for the folder."""
_EMPTY: Final = 1 << 16
"""Bytes of a new file, as prometheus-client makes them."""
_FILES: Final = (Kind.COUNTER, Kind.HISTOGRAM)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which tells when it began


class _Series(dict[tuple[str, ...], Any]):
    """The series of one metric by their labels, made when first asked for: a look-up costs no call."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self._made = made

    def __missing__(self, labels: tuple[str, ...]) -> Any:
        series = self[labels] = self._made.labels(*labels) if labels else self._made
        return series


class Prometheus:
    """A meter that can be scraped."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: of the files that several processes count in."""
        self._folder = folder
        self._registry = CollectorRegistry()
        series = {metric: _Series(_made(metric, self._registry)) for metric in METRICS}
        for metric in METRICS:
            if not metric.labels:
                series[metric][()]
        self._series = series
        self._requests = series[metrics.REQUESTS]
        self._durations = series[metrics.REQUEST_DURATION]
        self._calls = series[metrics.ATTEMPTS]
        self._call_durations = series[metrics.OPERATION_DURATION]
        self._tokens = series[metrics.TOKEN_USAGE]
        self.streams: Counter[str] = Counter()
        """Requests for a stream that are under way, by route."""

    # -- what happened -----------------------------------------------------------------------------------------------

    def stream_began(self, route: str) -> None:
        """A request for a stream has found its route."""
        self.streams[route] += 1

    def ended(self, record: Record, operation: str, timeline: Timeline, pause_s: float) -> None:
        """A request is over."""
        route, upstream, dialect = record.route or "", record.upstream or "", record.upstream_dialect or ""
        error = record.error or ""
        self._requests[route, upstream, record.client_dialect, dialect, record.end, error].inc()
        if not route:
            return
        if record.stream:
            self.streams[route] -= 1
        place = operation, dialect, route, upstream
        what = error or ("" if record.end == COMPLETE else record.end)
        self._durations[*place, what].observe((record.duration_ms or 0.0) / 1000)
        if record.stream and timeline.first_content is not None:
            self._note_pace(place, timeline, is_complete=not what)
        if operation != COUNTING:
            self._note_tokens(place, timeline)
        if pause_s:
            self._series[metrics.CLIENT_PAUSE][(route,)].inc(pause_s)
        self._note_rare(record, route, upstream)

    def called(self, call: Called) -> None:
        """A call of an upstream is over."""
        self._calls[call.route, call.upstream, call.end].inc()
        what = "" if call.end == COMPLETE else call.end
        place = call.operation, call.dialect, call.route, call.upstream, what
        self._call_durations[place].observe(call.seconds)

    def retried(self, route: str, upstream: str) -> None:
        """A target is asked once more."""
        self._series[metrics.RETRIES][route, upstream].inc()

    def failed_over(self, route: str, upstream: str) -> None:
        """This upstream failed, and another target is asked."""
        self._series[metrics.FAILOVERS][route, upstream].inc()

    def _note_pace(self, place: tuple[str, ...], timeline: Timeline, *, is_complete: bool) -> None:
        first, last, tokens = timeline.first_content, timeline.last_content, timeline.usage.output
        assert first is not None
        assert last is not None
        self._series[metrics.TIME_TO_FIRST_TOKEN][place].observe(first - timeline.begun)
        if is_complete and tokens is not None and tokens > 1:
            self._series[metrics.TIME_PER_OUTPUT_TOKEN][place].observe((last - first) / (tokens - 1))

    def _note_tokens(self, place: tuple[str, ...], timeline: Timeline) -> None:
        """Only what was counted: unknown is not zero."""
        usage = timeline.usage
        if usage.input is not None:
            self._tokens[*place, "input"].observe(usage.input)
        if usage.output is not None:
            self._tokens[*place, "output"].observe(usage.output)

    def _note_rare(self, record: Record, route: str, upstream: str) -> None:
        """What most requests have nothing of."""
        series = self._series
        if record.dropped:
            series[metrics.FIELDS_DROPPED][route, upstream].inc(record.dropped)
        if record.adapted:
            series[metrics.FIELDS_ADAPTED][route, upstream].inc(record.adapted)
        if record.dropped_fragments:
            series[metrics.FRAGMENTS_DROPPED][route, upstream].inc(record.dropped_fragments)
        if record.grammar_fault is not None:
            series[metrics.GRAMMAR_FAULTS][(record.client_dialect,)].inc()
        if record.hedge is not None:
            series[metrics.HEDGES][route, record.hedge].inc()
        if record.cut_by is not None:
            series[metrics.CONTINUATIONS][route, "given_up" if record.continued is None else "continued"].inc()

    # -- how things stand --------------------------------------------------------------------------------------------

    def set(self, metric: Metric, labels: tuple[str, ...], value: float) -> None:
        """A gauge stands at this now."""
        self._series[metric][labels].set(value)

    def add(self, metric: Metric, labels: tuple[str, ...], amount: float) -> None:
        """A counter goes on by this."""
        self._series[metric][labels].inc(amount)

    def observe(self, metric: Metric, value: float) -> None:
        """A histogram without labels has one value more."""
        self._series[metric][()].observe(value)

    def page(self, accept: str) -> tuple[bytes, str]:
        """All metrics as Prometheus reads them, of all processes, and the media type."""
        encode, media_type = choose_encoder(accept)
        registry = self._registry
        if self._folder is not None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        return encode(registry), media_type


def _made(metric: Metric, registry: CollectorRegistry) -> Any:
    make: Callable[..., Any] = getattr(prometheus_client, metric.kind.capitalize())
    more: dict[str, Any] = {"buckets": metric.buckets} if metric.buckets else {}
    if metric.kind is Kind.GAUGE:
        more["multiprocess_mode"] = str(metric.of)
    return make(metric.name, metric.meaning, metric.labels, registry=registry, **more)


# -- one process, or several -------------------------------------------------------------------------------------------


def alone() -> Prometheus:
    """The meter of a gateway that is one process, whatever the environment says."""
    values.ValueClass = values.MutexValue
    return Prometheus()


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder for the files of all workers. Removed at the end by the process that made it. Raises OSError."""
    owner, path = os.getpid(), Path(tempfile.mkdtemp(prefix="triglot-metrics-"))
    try:
        yield path
    finally:
        if os.getpid() == owner:  # and not by a worker that ends
            shutil.rmtree(path, ignore_errors=True)


def of_worker(folder: Path, number: int) -> Prometheus:
    """The meter of one of several workers: in its own process, with the counters of who had this number before."""
    os.environ[_FOLDER] = str(folder)
    values.ValueClass = values.MultiProcessValue(partial(int, number))  # type: ignore[no-untyped-call]
    for prefix in _FILES:
        path = _file(folder, prefix, number)
        if not path.exists():
            _put_empty(path)
    for mode in Of:
        _put_empty(_file(folder, f"gauge_{mode}", number))
    return Prometheus(folder)


def worker_ended(folder: Path, number: int) -> None:
    """Its gauges are no more; what it counted stays."""
    mark_process_dead(number, str(folder))  # type: ignore[no-untyped-call]


def _file(folder: Path, prefix: str, number: int) -> Path:
    return folder / f"{prefix}_{number}.db"


def _put_empty(path: Path) -> None:
    """All at once: another worker may be reading, and takes a file that is not yet as long as it must be for broken."""
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.truncate(_EMPTY)
    new.replace(path)
