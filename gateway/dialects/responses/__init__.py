"""OpenAI Responses (`protocol/openai-responses.md`), without state: as server, as client, streamed and whole."""

from __future__ import annotations

from typing import Final

from gateway.dialects.base import Dialect, Path, Sample, same_form
from gateway.dialects.responses.decoding import Decoder, load
from gateway.dialects.responses.encoding import Encoder
from gateway.dialects.responses.failures import dump_error, load_error
from gateway.dialects.responses.guarding import guard
from gateway.dialects.responses.options import MEANINGS, Options
from gateway.dialects.responses.output import dump
from gateway.dialects.responses.parsing import parse
from gateway.dialects.responses.rendering import PATH, forward, render
from gateway.dialects.responses.sealed import FORMAT
from gateway.dialects.responses.siblings import ABSENT, COUNTS, SERVED


def _owns(path: str) -> bool:
    return path == SERVED or path.startswith((SERVED + "/", "/v1/conversations"))


DIALECT: Final = Dialect(
    name="responses",
    paths=(Path(SERVED),),
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
    meanings=MEANINGS,
    auth="bearer",
    passed_on=("retry-after", "x-should-retry", "x-ratelimit-", "openai-processing-ms", "openai-version"),
    absent=ABSENT,
    ending=PATH,
    counts=COUNTS,
    seals=FORMAT,
    sample=Sample(
        "OpenAI Responses",
        SERVED,
        {"model": "{model}", "input": "Write a haiku about the ocean.", "stream": True},
    ),
    lossy=(
        ("stored state: previous_response_id, conversation, prompt, background, item references", "refused"),
        ("stop sequences, seed, penalties, logit_bias and other sampling fields", "dropped, and named"),
        ("the stop sequence that matched", "status completed"),
        ("pause_turn", "status completed"),
        ("calls of other vendors' hosted tools", "dropped"),
        ("citations without a web address", "dropped"),
        ("is_error of a tool result", "the text begins with `Error: `"),
    ),
)
