"""Anthropic Messages (`protocol/anthropic-messages.md`): as server, as client, streamed and whole."""

from __future__ import annotations

from typing import Final

from gateway.dialects.anthropic.decoding import Decoder, load
from gateway.dialects.anthropic.encoding import Encoder, dump
from gateway.dialects.anthropic.failures import dump_error, load_error
from gateway.dialects.anthropic.guarding import guard
from gateway.dialects.anthropic.limits import LIMITS
from gateway.dialects.anthropic.options import MEANINGS, OPTION_MEANINGS, PROFILES, Options
from gateway.dialects.anthropic.parsing import HEADERS, parse
from gateway.dialects.anthropic.prefixing import PREFIXING
from gateway.dialects.anthropic.rendering import PATH, forward, render
from gateway.dialects.anthropic.siblings import COUNTS, page
from gateway.dialects.base import Dialect, Path, Profiles, Sample, same_form


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
    prefixing=PREFIXING,
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
        ("several answers (`n`), audio, and beginnings of an answer where the model continues none", "refused"),
        ("images over http, in other formats than JPEG, PNG, GIF and WebP; other files than PDF and text", "refused"),
        ("files that another vendor keeps", "refused"),
        ("a schema whose root is no object, where the server takes no schemas", "refused"),
        ("a schema beside a call that is demanded, where the server takes no schemas", "left out, and named"),
        ("penalties, seed, logit_bias, min_p, logprobs, verbosity, metadata, cache keys and unknown fields", "dropped"),
        ("temperature, top_p and top_k where the API's version or the model takes none, or beside thinking", "dropped"),
        ("a temperature above 1", "1"),
        ("service tiers other than auto and default", "dropped"),
        ("the detail of images, names of speakers, name and description of a schema", "dropped"),
        ("hosted tools of other vendors, and what they did in a history", "dropped"),
        ("reasoning of other servers in a history", "dropped; in a loop of calls thinking is off for that request"),
        ("thinking beside a call that is demanded, or with too few tokens for it", "off for that request"),
        ("an effort, where the server takes budgets", "a budget; none where nobody asks for thinking"),
        ("instructions in mid-conversation", "a `<system-reminder>` in the user's turn, unless set otherwise"),
        ("a schema, where the server takes none", "a tool that has to be called; its arguments are the answer's text"),
        ("any JSON object as the answer's form", "an instruction"),
        ("alternatives at the root of a tool's schema", "one object with the properties of all"),
        ("free-text tools", "functions of one string, their grammar in words; calls come back as free text"),
        ("a list of allowed tools", "the others are not declared"),
        ("more than four cache breakpoints", "the last four"),
        ("arguments in a history that are no JSON object", "closed, or wrapped as `value` or `_raw`"),
        ("refusals of OpenAI models", "text, with stop_reason refusal"),
        ("the stop sequence that matched, where the server does not tell it", "stop_reason end_turn"),
        ("citations of other vendors", "dropped"),
        ("arguments that were cut, in a whole answer", "`_raw`"),
    ),
    meanings=OPTION_MEANINGS,
    profiles=Profiles(PROFILES, MEANINGS),
)
