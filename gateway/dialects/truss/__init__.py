"""Baseten Truss `predict` (`protocol/truss.md`): free-form JSON in; text, JSON or another dialect's events out.

A `prompt` is answered with raw text or a JSON string, `messages` with OpenAI's chunks or completion. An upstream may
answer in any of these; what it is gets detected, and then OpenAI's or Anthropic's own decoder reads what is theirs.
"""

from __future__ import annotations

from typing import Final

from gateway.dialects.base import Absent, Dialect, Path, Sample
from gateway.dialects.truss.decoding import decoder
from gateway.dialects.truss.encoding import dump, encoder, guard
from gateway.dialects.truss.failures import dump_error, load_error
from gateway.dialects.truss.loading import load, observe, passes
from gateway.dialects.truss.options import MEANINGS, Options
from gateway.dialects.truss.parsing import parse
from gateway.dialects.truss.prefixing import PREFIXING
from gateway.dialects.truss.rendering import forward, render

_PREFIXES: Final = ("", "/model-{model}")
_TARGETS: Final = (
    Path(""),
    Path("/production", {"env": "production"}),
    Path("/development", {"env": "development"}),
    Path("/environments/{env}"),
    Path("/deployment/{deployment}"),
)
_ABSENT: Final = (
    "/async_predict",
    "/wake",
    "/async_queue_status",
    "/websocket",
    "/run_remote",
    "/async_run_remote",
    "/async_request/{request}",
)
_NOT_SERVED: Final = {"error": "{path} is part of this API and not served by this gateway"}
_OWNED: Final = ("/model-", "/production/", "/development/", "/environments/", "/deployment/", "/async_request/")


def _paths(action: str) -> tuple[Path, ...]:
    """An action under every prefix and target (truss.md §2.1)."""
    return tuple(Path(prefix + target.template + action, target.params) for prefix in _PREFIXES for target in _TARGETS)


def _owns(path: str) -> bool:
    return path.endswith(("/predict", ":predict")) or path.startswith(_OWNED)


DIALECT: Final = Dialect(
    name="truss",
    paths=(*_paths("/predict"), Path("/v1/models/{model}:predict")),
    owns=_owns,
    parse=parse,
    render=render,
    forward=forward,
    encoder=encoder,
    guard=guard,
    decoder=decoder,
    dump=dump,
    load=load,
    observe=observe,
    passes=passes,
    prefixing=PREFIXING,
    dump_error=dump_error,
    load_error=load_error,
    options=Options,
    meanings=MEANINGS,
    auth="bearer",
    lends=(*_paths("/sync"), Path("/model-{model}")),
    absent=tuple(Absent(path.template, 501, _NOT_SERVED) for action in _ABSENT for path in _paths(action)),
    sample=Sample(
        "Truss",
        "/model-{model}/production/predict",
        {"prompt": "Write a haiku about the ocean.", "stream": True},
        options={"input": "prompt"},
    ),
    lossy=(
        ("finish reason, usage, ids and certainty of raw text", "stop, an estimate, our own; `x-gateway-completeness`"),
        ("a failure in mid-stream of raw text", "the connection ends without its last chunk"),
        ("tool calls in raw text", "an error"),
        ("reasoning and citations in raw text", "dropped"),
        ("roles in a prompt", "spelled by a template"),
        ("tools, images, reasoning and output formats of models that read a prompt", "refused, or dropped and named"),
        (
            "reasoning settings, output formats, logit_bias and given beginnings where no profile names the engine",
            "reasoning dropped and named, the others refused",
        ),
        ("the user's id, service tier, cache key and verbosity", "dropped, and named"),
        ("conversations in messages", "as in openai, by the same profiles"),
    ),
)
