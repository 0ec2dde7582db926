"""OpenAI Chat Completions (`protocol/openai-chat.md`): as server, as client, streamed and whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway.dialects.base import Dialect, Path, Profiles, Sample, same_form
from gateway.dialects.openai import completions, embeddings
from gateway.dialects.openai.decoding import Decoder, load
from gateway.dialects.openai.encoding import Encoder, dump
from gateway.dialects.openai.failures import dump_error, load_error
from gateway.dialects.openai.guarding import guard
from gateway.dialects.openai.options import OWN_MEANINGS, Options
from gateway.dialects.openai.parsing import parse
from gateway.dialects.openai.prefixing import PREFIXING
from gateway.dialects.openai.profiles import MEANINGS, PROFILES
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
    prefixing=PREFIXING,
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
        ("signatures and redacted reasoning", "in `reasoning_details`, for clients that send it back"),
        ("several sealed thoughts in one streamed answer", "given back as one, without their seals"),
        ("whether reasoning is a summary", "the same field either way"),
        ("citations without a web address", "dropped"),
        ("citations of web pages", "annotations over the whole text that quotes them"),
        ("calls and results of a vendor's own tools in an answer", "dropped; the text stays"),
        ("a refusal's category and explanation", "finish_reason content_filter"),
        ("a full context window", "finish_reason length"),
        ("pause_turn", "finish_reason stop"),
        ("split cache counts, audio and image tokens", "the totals"),
        ("is_error of a tool result", "the text begins with `Error: `"),
        (
            "images and files in tool results",
            "in the user's message behind the results, unless the profile says otherwise",
        ),
        ("text behind a tool call in history", "moved before it, and reported"),
        ("documents that hold text", "text under their title"),
        ("documents by address or by id, images by id", "refused"),
        ("citations asked of documents", "dropped, and named"),
        ("cache breakpoints", "dropped, and named"),
        ("tools in namespaces, and with long names", "one name, restored in the answer"),
        ("free-text tools", "functions of one string where the profile says so, restored in the answer"),
        ("tools that run at another vendor", "dropped, and named; refused where one is demanded"),
        ("a budget for reasoning", "an effort, where the profile knows no budgets"),
        ("several answers", "refused"),
        ("logprobs", "dropped, and named"),
        ("an answer's beginning", "as the profile says, else refused"),
    ),
    meanings={**OWN_MEANINGS, **MEANINGS},
    profiles=Profiles(PROFILES, MEANINGS),
)
DIALECT: Final = replace(_CHAT, relayed=(completions.beside(_CHAT), embeddings.beside(_CHAT)))
