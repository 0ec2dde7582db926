"""Where the gateway listens, and its limits."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, get_args

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from gateway.config.address import HostSuffix
from gateway.config.complaints import flaw_at
from gateway.config.section import Name, Section, default, sendable
from gateway.config.units import Bytes, Seconds, SecondsOrNone

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "text"]
LOG_LEVELS: Final[tuple[str, ...]] = get_args(LogLevel)
LOG_FORMATS: Final[tuple[str, ...]] = get_args(LogFormat)


class Server(Section):
    """Where the gateway listens, and its limits (figures: HARDENING.md §2)."""

    host: Name = default("127.0.0.1", "Address to listen on. Loopback, so that nobody publishes a gateway by accident.")
    port: Annotated[int, Field(ge=0, le=65535)] = default(
        8080, "Port to listen on; 0 takes any free one. 8080 needs no root, and leaves 8000 to vLLM."
    )
    workers: Annotated[int, Field(ge=1, le=256)] = default(
        1,
        "Processes that serve the address, best one for each core. Each knows its own requests only: breakers, "
        "balance, retry budgets and health checks are each worker's own; max_in_flight and its queue are shared out.",
    )
    metrics: bool = default(
        True,
        "Whether GET /metrics tells Prometheus about requests, upstreams and the process. That costs each request "
        "some 30 microseconds, and its tokens nothing.",
    )
    max_body: Bytes = default(
        "32MiB", "Largest request body. Anthropic takes 32 MB; a long context with a few images fits."
    )
    max_head: Bytes = default("64KiB", "Largest request head, 431 beyond it. nginx passes on 32 KiB; twice that.")
    max_fields: Annotated[int, Field(ge=1)] = default(
        100, "Most header fields of a request, 431 beyond it. SDKs send about 20; Apache allows as many."
    )
    head_timeout: Seconds = default("10s", "Time to receive a whole request head, against slow senders.")
    body_timeout: Seconds = default("15s", "Time to wait for the next bytes of a request body, against slow senders.")
    idle_timeout: Seconds = default(
        "75s",
        "Time a connection may wait for its next request. Above the 60s of common load balancers, so they close first.",
    )
    max_event: Bytes = default(
        "8MiB", "Largest single event from an upstream. Far above any token, enough for an image in base64."
    )
    max_answer: Bytes = default(
        "32MiB", "Largest whole answer from an upstream, streamed or not; as large as a request."
    )
    drain: SecondsOrNone = default(
        "30s",
        "Time that requests under way get to end on SIGTERM. The process takes up to 1s more: set Kubernetes' "
        "terminationGracePeriodSeconds, 30 by default, some seconds higher.",
    )
    first_byte_hold: SecondsOrNone = default(
        "10s",
        "How long the response head waits for the first content, so that a failure before it keeps its HTTP status. "
        "Proxies in front wait 60s for a head (nginx, AWS); 10s is far below and covers most prompts' reading. "
        "Then the head and a sign of life go out, and other targets may still be tried.",
    )
    keep_alive: SecondsOrNone = default(
        "15s",
        "Silence in a stream after which its client gets a sign of life, where its dialect has one. A quarter of the "
        "60s that proxies wait. 0s: none, and the response head waits for content however long that takes.",
    )
    seal_key: Annotated[SecretStr | None, BeforeValidator(sendable)] = default(
        None,
        "Secret that signs the gateway's own signature tokens of reasoning, best as ${NAME}; the same on every "
        "replica. None: tokens are not signed, so a client could make up what a model thought earlier.",
    )
    reveal_model: bool = default(
        False,
        "Whether translated answers name the upstream's model. False: the name the client asked for. Relayed answers "
        "always hold what the upstream says of itself.",
    )
    expose_reasoning: bool = default(
        True, "Whether clients get to see reasoning where a model shows it; its token count stays in any case."
    )
    reasoning_field: Literal["reasoning_content", "reasoning"] = default(
        "reasoning_content",
        "Field in which chat clients get reasoning, in translated answers; most clients know this one. Never both, as "
        "an SDK that knows both would show it twice. Relayed answers keep the upstream's field.",
    )
    context_window_stop: Literal["model_context_window_exceeded", "max_tokens"] = default(
        "model_context_window_exceeded",
        "Stop reason that Anthropic clients get where the upstream's context window is full, in translated answers. "
        "max_tokens: for clients older than that word. Relayed answers keep the upstream's own.",
    )
    estimate_usage: bool = default(
        True,
        "Whether tokens that no upstream counted are estimated where the client's API wants a number, at a quarter of "
        "the characters: agents watch their context by it. False: 0 where the API insists, else no usage. Calls that "
        "count tokens are answered in any case.",
    )
    log_level: LogLevel = default(
        "info",
        "Least level of log lines. info: one line for each request. warning: only what is an operator's business, as "
        "broken answers and upstreams that are left alone. debug: also each call of an upstream.",
    )
    log_format: LogFormat = default(
        "auto",
        "How log lines look. json: one object a line, for machines. text: for people. auto: text on a terminal, else "
        "json.",
    )
    model_hosts: tuple[HostSuffix, ...] = default(
        (),
        "Host suffixes below which a first label model-{id} names the model of a Truss call. None: the path names it.",
    )

    @model_validator(mode="after")
    def _event_fits_answer(self) -> Self:
        if self.max_event > self.max_answer:
            raise flaw_at(("max_event",), "an event may not be larger than max_answer")
        return self

    @model_validator(mode="after")
    def _hold_has_an_end(self) -> Self:
        if not self.keep_alive and "first_byte_hold" in self.model_fields_set:
            raise flaw_at(("first_byte_hold",), "keep_alive is 0s, so the head always waits for content")
        return self

    @property
    def sealing(self) -> bytes:
        """The key that signs tokens of reasoning; empty where there is none."""
        return self.seal_key.get_secret_value().encode() if self.seal_key else b""
