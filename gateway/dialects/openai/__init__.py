"""OpenAI Chat Completions (`protocol/openai-chat.md`): as server, as client, streamed and whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway.dialects.base import Dialect, Path, Sample, same_form
from gateway.dialects.openai import completions, embeddings
from gateway.dialects.openai.decoding import Decoder, load
from gateway.dialects.openai.encoding import Encoder, dump
from gateway.dialects.openai.failures import dump_error, load_error
from gateway.dialects.openai.guarding import guard
from gateway.dialects.openai.options import Options
from gateway.dialects.openai.parsing import parse
from gateway.dialects.openai.rendering import forward, render


def _owns(path: str) -> bool:
    return True


_CHAT: Final = Dialect(
    name="openai",
    paths=(Path("/v1/chat/completions"),),
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
    auth="bearer",
    passed_on=("retry-after", "x-should-retry", "x-ratelimit-", "openai-processing-ms", "openai-version"),
    ending="/chat/completions",
    sample=Sample(
        "OpenAI",
        "/v1/chat/completions",
        {
            "model": "{model}",
            "messages": [{"role": "user", "content": "Write a haiku about the ocean."}],
            "stream": True,
        },
    ),
    lossy=(
        ("signatures and redacted reasoning", "in reasoning_details, for clients that echo it"),
        ("citations", "dropped"),
        ("the stop sequence that matched", "finish_reason stop"),
        ("pause_turn", "finish_reason stop"),
        ("is_error of a tool result", "the text begins with `Error: `"),
        ("text behind a tool call in history", "moved before it"),
    ),
)
DIALECT: Final = replace(_CHAT, relayed=(completions.beside(_CHAT), embeddings.beside(_CHAT)))
