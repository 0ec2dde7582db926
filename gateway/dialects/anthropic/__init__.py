"""Anthropic Messages (`protocol/anthropic-messages.md`): as server, as client, streamed and whole."""

from __future__ import annotations

from typing import Final

from gateway.dialects.anthropic.decoding import Decoder, load
from gateway.dialects.anthropic.encoding import Encoder, dump
from gateway.dialects.anthropic.failures import dump_error, load_error
from gateway.dialects.anthropic.guarding import guard
from gateway.dialects.anthropic.limits import LIMITS
from gateway.dialects.anthropic.options import Options
from gateway.dialects.anthropic.parsing import HEADERS, parse
from gateway.dialects.anthropic.rendering import PATH, forward, render
from gateway.dialects.anthropic.siblings import COUNTS, page
from gateway.dialects.base import Dialect, Path, Sample, same_form


def _owns(path: str) -> bool:
    return path == PATH or path.startswith(PATH + "/")


DIALECT: Final = Dialect(
    name="anthropic",
    paths=(Path(PATH),),
    owns=_owns,
    parse=parse,
    render=render,
    forward=forward,
    encoder=Encoder,
    guard=guard,
    decoder=Decoder,
    dump=dump,
    load=load,
    observe=load,
    passes=same_form,
    dump_error=dump_error,
    load_error=load_error,
    options=Options,
    auth="x-api-key",
    id_header="request-id",
    passed_on=("retry-after", "x-should-retry", "anthropic-ratelimit-"),
    limits=LIMITS,
    reads=HEADERS,
    ending="/messages",
    counts=COUNTS,
    seals="anthropic",
    sample=Sample(
        "Anthropic",
        PATH,
        {
            "model": "{model}",
            "max_tokens": 200,
            "messages": [{"role": "user", "content": "Write a haiku about the ocean."}],
            "stream": True,
        },
    ),
    told_by=("anthropic-version", "x-api-key"),
    page=page,
    lossy=(
        ("refusals of OpenAI models", "text, with stop_reason refusal"),
        ("penalties, seed, logit_bias, logprobs and other sampling fields", "dropped, and named"),
        ("instructions in mid-conversation", "a <system-reminder> in the user's turn"),
        ("reasoning in history", "dropped, and named"),
    ),
)
