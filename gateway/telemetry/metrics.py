"""All metrics in one table: what `/metrics` exposes, what the docs print, what dashboards and alerts may name.

Where OpenTelemetry's conventions for generative AI have a name, it is theirs, spelled as their Prometheus exporter
does: `gen_ai.server.time_to_first_token` in seconds is `gen_ai_server_time_to_first_token_seconds`. Of these, `server`
is what clients see of the gateway, and `client` what the gateway sees of its upstreams. All else is `triglot_…`.

Values of labels come from the configuration or from lists in the code, never from a client or an upstream: whatever
anybody asks for, the number of series has a limit. A label is empty where there is nothing to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LABELS: Final = {
    "route": "Route as configured; of a pattern, the pattern. Empty where the model has none",
    "upstream": "Upstream as configured. Empty where none was called",
    "model": "Model of a target as configured; for a pattern that passes names on, the pattern",
    "client_dialect": "What the client speaks",
    "upstream_dialect": "What the upstream speaks. Empty where none was called",
    "end": "Of a request: complete, refused, broken, client_left, client_stalled or drained. Of an attempt: complete, "
    "the error's word, or left where it was called off",
    "error": "Kind of the error that the client was told. Empty where there was none",
    "result": "Of a hedge: won, lost or failed. Of a cut answer: continued or given_up",
    "gen_ai_operation_name": "chat, text_completion or embeddings; count_tokens is ours",
    "gen_ai_provider_name": "Dialect of the upstream. Empty where none was called",
    "gen_ai_request_model": "Route as configured: the model that clients ask for; of a pattern, the pattern",
    "gen_ai_token_type": "input or output",
    "error_type": "What it ended with instead of an answer. Empty where it is complete",
    "version": "Of the gateway",
}
"""Each label that occurs, and what it can say."""

_OPERATION: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "upstream")
_TARGET: Final = ("upstream", "model")
_DURATION_S: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST_TOKEN_S: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0),  # beyond the conventions': long prompts and cold starts take longer
)
_PER_TOKEN_S: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS: Final = tuple(float(4**power) for power in range(14))
_LAG_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Kind(StrEnum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Of(StrEnum):
    """What a gauge is where several workers have one each, of those that live."""

    SUM = "livesum"
    LEAST = "livemin"
    MOST = "livemax"


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric, of which there is one: its name as exposed (without `_bucket`, `_sum`, `_count`), what it says."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's, beside infinity."""
    of: Of = Of.SUM
    otel: str = ""
    """The name in OpenTelemetry's conventions, where it has one."""


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, labels, meaning)


def _gauge(name: str, meaning: str, *labels: str, of: Of = Of.SUM) -> Metric:
    return Metric(name, Kind.GAUGE, labels, meaning, of=of)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str, otel: str = "") -> Metric:
    return Metric(name, Kind.HISTOGRAM, labels, meaning, buckets, otel=otel)


# -- what clients see --------------------------------------------------------------------------------------------------

REQUEST_DURATION: Final = _histogram(
    "gen_ai_server_request_duration_seconds",
    "Time from a request to the end of its answer",
    _DURATION_S,
    *_OPERATION,
    "error_type",
    otel="gen_ai.server.request.duration",
)
TIME_TO_FIRST_TOKEN: Final = _histogram(
    "gen_ai_server_time_to_first_token_seconds",
    "Time from a request to the first content of its stream",
    _FIRST_TOKEN_S,
    *_OPERATION,
    otel="gen_ai.server.time_to_first_token",
)
TIME_PER_OUTPUT_TOKEN: Final = _histogram(
    "gen_ai_server_time_per_output_token_seconds",
    "Time for each token after the first, of streams that are complete and have counted their tokens",
    _PER_TOKEN_S,
    *_OPERATION,
    otel="gen_ai.server.time_per_output_token",
)
REQUESTS: Final = _counter(
    "triglot_requests_total",
    "Requests that have ended",
    *("route", "upstream", "client_dialect", "upstream_dialect", "end", "error"),
)
STREAMS_IN_FLIGHT: Final = _gauge("triglot_streams_in_flight", "Requests for a stream that are under way now", "route")
REQUESTS_IN_FLIGHT: Final = _gauge("triglot_requests_in_flight", "Requests that are under way now")
CLIENT_PAUSE: Final = _counter(
    "triglot_client_pause_seconds_total",
    "Time that answers stood still until their client took more of them",
    "route",
)
FIELDS_DROPPED: Final = _counter(
    "triglot_fields_dropped_total",
    "Fields of requests that the upstream's dialect has no place for (x-gateway-dropped)",
    *("route", "upstream"),
)
FIELDS_ADAPTED: Final = _counter(
    "triglot_fields_adapted_total",
    "Fields of requests that mean something else at the upstream (x-gateway-adapted)",
    *("route", "upstream"),
)
FRAGMENTS_DROPPED: Final = _counter(
    "triglot_fragments_dropped_total",
    "Fragments of tool calls that came too late to belong anywhere",
    *("route", "upstream"),
)
GRAMMAR_FAULTS: Final = _counter(
    "triglot_grammar_faults_total",
    "Answers of ours that broke the grammar of their dialect: defects of the gateway",
    "client_dialect",
)

# -- what the gateway sees of its upstreams ----------------------------------------------------------------------------

OPERATION_DURATION: Final = _histogram(
    "gen_ai_client_operation_duration_seconds",
    "Time that one call of an upstream took, a wait for its turn included",
    _DURATION_S,
    *_OPERATION,
    "error_type",
    otel="gen_ai.client.operation.duration",
)
TOKEN_USAGE: Final = _histogram(
    "gen_ai_client_token_usage",
    "Tokens of a request, as its upstream counted them",
    _TOKENS,
    *_OPERATION,
    "gen_ai_token_type",
    otel="gen_ai.client.token.usage",
)
ATTEMPTS: Final = _counter("triglot_attempts_total", "Calls of upstreams that have ended", "route", "upstream", "end")
ATTEMPTS_IN_FLIGHT: Final = _gauge(
    "triglot_attempts_in_flight", "Calls of an upstream that are under way now or wait for their turn", "upstream"
)
RETRIES: Final = _counter("triglot_retries_total", "Calls that asked a target once more", *("route", "upstream"))
FAILOVERS: Final = _counter(
    "triglot_failovers_total",
    "Requests that went on to another target, by the upstream that had failed",
    *("route", "upstream"),
)
HEDGES: Final = _counter("triglot_hedges_total", "Second targets asked while the first was late", "route", "result")
CONTINUATIONS: Final = _counter(
    "triglot_continuations_total", "Answers cut in the middle where another target could go on", "route", "result"
)
BREAKER_STATE: Final = _gauge(
    "triglot_breaker_state",
    "0: closed, calls go there. 1: half open, one call probes it. 2: open, it is left alone",
    *_TARGET,
    of=Of.MOST,
)
BREAKER_OPENINGS: Final = _counter("triglot_breaker_openings_total", "How often failed calls opened it", *_TARGET)
UPSTREAM_HEALTHY: Final = _gauge("triglot_upstream_healthy", "1 unless its health checks fail", "upstream", of=Of.LEAST)
QUEUE_LENGTH: Final = _gauge("triglot_queue_length", "Calls that wait for their turn at an upstream", "upstream")
QUEUE_REFUSALS: Final = _counter(
    "triglot_queue_refusals_total", "Calls for which an upstream's queue had no room", "upstream"
)

# -- the process -------------------------------------------------------------------------------------------------------

LOOP_LAG: Final = _histogram(
    "triglot_event_loop_lag_seconds", "How late a timer rang that is set twice a second", _LAG_S
)
BUILD_INFO: Final = _gauge("triglot_build_info", "Always 1", "version", of=Of.MOST)

METRICS: Final = (
    REQUEST_DURATION,
    TIME_TO_FIRST_TOKEN,
    TIME_PER_OUTPUT_TOKEN,
    OPERATION_DURATION,
    TOKEN_USAGE,
    REQUESTS,
    REQUESTS_IN_FLIGHT,
    STREAMS_IN_FLIGHT,
    CLIENT_PAUSE,
    FIELDS_DROPPED,
    FIELDS_ADAPTED,
    FRAGMENTS_DROPPED,
    GRAMMAR_FAULTS,
    ATTEMPTS,
    ATTEMPTS_IN_FLIGHT,
    RETRIES,
    FAILOVERS,
    HEDGES,
    CONTINUATIONS,
    BREAKER_STATE,
    BREAKER_OPENINGS,
    UPSTREAM_HEALTHY,
    QUEUE_LENGTH,
    QUEUE_REFUSALS,
    LOOP_LAG,
    BUILD_INFO,
)
"""All there are, in the order in which they are told."""
