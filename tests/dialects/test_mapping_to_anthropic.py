"""Every row of mapping.md §3.1: what a chat or responses client asks, and what an Anthropic upstream hears of it."""

from __future__ import annotations

from hashlib import sha256

import pytest

from gateway.errors import Kind, Unsupported
from tests.dialects.mapping import Row, refusal
from tests.dialects.requests import BODIES, USER, WEATHER, Json, carried, chat, chat_tool, response_tool
from tests.dialects.sdk_types import faults

CACHE = {"type": "ephemeral", "ttl": "1h"}
SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "string"}}}
AS_SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
LIMIT = {"openai": "max_tokens", "responses": "max_output_tokens"}
EARLIER = {"version": "2023-06-01", "profile": "anthropic-legacy"}


def row(
    name: str,
    fields: Json,
    sent: Json | None = None,
    dropped: tuple[str, ...] = (),
    adapted: tuple[str, ...] = (),
    client: str = "openai",
    options: Json | None = None,
) -> Row:
    fields = {LIMIT[client]: 4000} | fields
    return Row(name, client, fields, "anthropic", sent or {}, dropped, adapted, options or {"profile": "generic"})


def choice(**fields: object) -> Json:
    return {"tools": [chat_tool()]} | fields


ROWS = [
    row("max_tokens", {"max_tokens": 5}, {"max_tokens": 5}),
    row("max_completion_tokens wins", {"max_tokens": 5, "max_completion_tokens": 9}, {"max_tokens": 9}),
    row("max_output_tokens", {"max_output_tokens": 7}, {"max_tokens": 7}, client="responses"),
    row(
        "what was said about a schema",
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "description": "D", "schema": {**SCHEMA, "description": "S"}},
            }
        },
        {"output_config": {"format": {"type": "json_schema", "schema": {**SCHEMA, "description": "D\n\nS"}}}},
        options={"profile": "anthropic"},
    ),
    row("no limit", {"max_tokens": None}, {"max_tokens": 8192}, adapted=("max_tokens=default",)),
    row(
        "no limit of a responses client",
        {"max_output_tokens": None},
        {"max_tokens": 8192},
        adapted=("max_output_tokens=default",),
        client="responses",
    ),
    row("temperature", {"temperature": 0}, {"temperature": 0}, options=EARLIER),
    row("temperature above 1", {"temperature": 1.7}, {"temperature": 1.0}, adapted=("temperature=clamped",)),
    row(
        "sampling of a later version",
        {"temperature": 0, "top_p": 1, "top_k": 5},
        {"temperature": None, "top_p": None, "top_k": None},
        ("temperature", "top_k", "top_p"),
        options={"version": "2026-10-21"},
    ),
    row(
        "sampling of a model that has none",
        {"temperature": 0.5, "top_p": 0.5},
        {"temperature": None, "top_p": None},
        ("temperature", "top_p"),
        options={"profile": "anthropic"},
    ),
    row(
        "temperature and top_p exclude each other",
        {"temperature": 0.5, "top_p": 0.5},
        {"temperature": 0.5, "top_p": None},
        ("top_p",),
        options=EARLIER,
    ),
    row("top_p alone", {"top_p": 0.5}, {"top_p": 0.5}, options=EARLIER),
    row("top_k", {"top_k": 7}, {"top_k": 7}),
    row("top_k switched off", {"top_k": -1}, {"top_k": None}),
    row(
        "sampling beside thinking",
        {"temperature": 0.5, "top_k": 7, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        {"temperature": None, "top_k": None, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        ("temperature", "top_k"),
    ),
    row(
        "other samplers",
        {"min_p": 0.1, "repetition_penalty": 1.1, "presence_penalty": 1, "frequency_penalty": -1, "seed": 0}
        | {"logit_bias": {"5": 1}, "min_tokens": 3},
        {"seed": None, "min_p": None, "min_tokens": None, "logit_bias": None},
        (
            *("frequency_penalty", "logit_bias", "min_p", "min_tokens", "presence_penalty", "repetition_penalty"),
            "seed",
        ),
    ),
    row(
        "samplers at their defaults",
        {"min_p": 0, "repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0, "seed": None}
        | {"logit_bias": {}, "min_tokens": 0, "best_of": 1, "logprobs": False, "top_logprobs": 0},
    ),
    row("stop", {"stop": "a"}, {"stop_sequences": ["a"], "stop": None}),
    row("blank stops", {"stop": ["", "\n", " a"]}, {"stop_sequences": [" a"]}, adapted=("stop=blank_removed",)),
    row("n of one", {"n": 1}, {"n": None}),
    row("logprobs", {"logprobs": True, "top_logprobs": 2}, {"logprobs": None}, ("logprobs", "top_logprobs")),
    row(
        "logprobs of a responses client",
        {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
        {"include": None},
        ("include", "top_logprobs"),
        client="responses",
    ),
    row(
        "stream", {"stream": True, "stream_options": {"include_usage": True}}, {"stream": True, "stream_options": None}
    ),
    row(
        "functions",
        {"functions": [{"name": "f", "parameters": SCHEMA}], "function_call": {"name": "f"}},
        {"tools": [{"name": "f", "input_schema": SCHEMA}], "tool_choice": {"type": "tool", "name": "f"}},
    ),
    row(
        "one call at a time",
        choice(parallel_tool_calls=False),
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
    row(
        "one call at a time, demanded",
        choice(parallel_tool_calls=False, tool_choice="required"),
        {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
    ),
    row(
        "no call, one at a time",
        choice(parallel_tool_calls=False, tool_choice="none"),
        {"tool_choice": {"type": "none"}},
    ),
    row("parallel calls", choice(parallel_tool_calls=True), {"tool_choice": None}),
    row("one at a time of no tools", {"parallel_tool_calls": False}, {"tools": None, "tool_choice": None}),
    row(
        "a schema",
        {"response_format": AS_SCHEMA},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}, "tools": None},
        options={"profile": "anthropic"},
    ),
    row(
        "a schema as a tool",
        {"response_format": AS_SCHEMA},
        {"output_config": None, "tool_choice": {"type": "tool", "name": "json_output"}},
        adapted=("response_format=tool",),
    ),
    row(
        "a schema that no answer can follow, as a call is demanded",
        {"response_format": AS_SCHEMA, "tools": [chat_tool()], "tool_choice": "required"},
        {"output_config": None, "tool_choice": {"type": "any"}},
        adapted=("response_format=left_out_for_tool_choice",),
    ),
    row(
        "such a schema of a responses client",
        {
            "tools": [response_tool()],
            "tool_choice": "required",
            "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}},
        },
        {"output_config": None, "tool_choice": {"type": "any"}},
        adapted=("text.format=left_out_for_tool_choice",),
        client="responses",
    ),
    row(
        "a schema of a responses client",
        {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        client="responses",
        options={"profile": "anthropic"},
    ),
    row(
        "any object",
        {"response_format": {"type": "json_object"}},
        {"system": "Answer with a single JSON object and nothing else: no other text, no code fence."},
        adapted=("response_format=instruction",),
    ),
    row("text", {"response_format": {"type": "text"}}, {"system": None}),
    row("verbosity", {"verbosity": "low"}, {"verbosity": None}, ("verbosity",)),
    row("verbosity of a responses client", {"text": {"verbosity": "low"}}, {}, ("text.verbosity",), client="responses"),
    row("user", {"user": "jo"}, {"metadata": {"user_id": "jo"}}),
    row("safety_identifier wins", {"user": "jo", "safety_identifier": "id"}, {"metadata": {"user_id": "id"}}),
    row(
        "a user's address",
        {"user": "jo@example.org"},
        {"metadata": {"user_id": sha256(b"jo@example.org").hexdigest()}},
        adapted=("user=hashed",),
    ),
    row(
        "caching hints",
        {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "prompt_cache_options": {"mode": "implicit"}},
        {"prompt_cache_key": None},
        ("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    ),
    row(
        "what is OpenAI's own",
        {"metadata": {"a": "b"}, "store": True, "prediction": {}, "moderation": {}, "web_search_options": {}},
        {"metadata": None, "store": None},
        ("metadata", "moderation", "prediction", "store", "web_search_options"),
    ),
    row("what asks for nothing", {"metadata": {}, "store": False, "add_generation_prompt": True}),
    row("text as the one modality", {"modalities": ["text"]}, {"modalities": None}),
    row("tier auto", {"service_tier": "auto"}, {"service_tier": "auto"}),
    row(
        "tier default",
        {"service_tier": "default"},
        {"service_tier": "standard_only"},
        adapted=("service_tier=standard_only",),
    ),
    row("another tier", {"service_tier": "flex"}, {"service_tier": None}, ("service_tier",)),
    row("background that is not", {"background": False, "store": True}, {"background": None}, client="responses"),
    row("truncation", {"truncation": "auto"}, {"truncation": None}, ("truncation",), client="responses"),
    row("no truncation", {"truncation": "disabled"}, {"truncation": None}, client="responses"),
    row(
        "what only responses have",
        {"max_tool_calls": 3, "context_management": [{"type": "compaction"}], "metadata": {"a": "b"}},
        {},
        ("context_management", "max_tool_calls", "metadata"),
        client="responses",
    ),
    row(
        "fields of engines",
        {"chat_template_kwargs": {"foo": 1}, "guided_json": {}, "bar": 0, "nothing": None},
        {"bar": None, "guided_json": None},
        ("bar", "chat_template_kwargs", "guided_json"),
    ),
    row(
        "how Anthropic shows thinking",
        {"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted", "pace": 1}},
        {"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}},
        ("thinking.pace",),
    ),
    row("cache_control of everything", {"cache_control": CACHE}, {"cache_control": CACHE}),
    row(
        "cache_control of a message",
        {
            "messages": [
                {"role": "system", "content": "S", "cache_control": CACHE},
                {"role": "user", "content": "a", "cache_control": CACHE},
            ]
        },
        {
            "system": [{"type": "text", "text": "S", "cache_control": CACHE}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": CACHE}]}],
        },
    ),
    row(
        "fields of a function that nobody knows",
        {"tools": [chat_tool(pace=1)]},
        {"tools": [{"name": "get_weather", "description": "Weather", "input_schema": WEATHER}]},
        ("tools.pace",),
    ),
    row("thinking as Anthropic has it", {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
    row(
        "cache_control as Anthropic has it",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}
            ]
        },
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}
            ]
        },
    ),
    row(
        "breakpoints of a responses client last an hour",
        {
            "input": [
                {
                    "role": "user",
                    "content": [{"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"ttl": "12h"}}],
                }
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                    ],
                }
            ]
        },
        client="responses",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_of_the_table(row: Row) -> None:
    """mapping.md §3.1, and pitfall 109: what was dropped and adapted is named."""
    row.check()


@pytest.mark.parametrize("row", [row for row in ROWS if row.dropped], ids=str)
def test_strict_clients_are_told_instead(row: Row) -> None:
    """mapping.md §3: a drop becomes a 400, whose param is a name that the client sent."""
    with pytest.raises(Unsupported) as caught:
        row.carried_strictly()
    assert str(caught.value.param).replace("tools.0.function", "tools") in row.dropped


@pytest.mark.parametrize("row", [row for row in ROWS if not row.dropped], ids=str)
def test_strict_clients_may_be_adapted_to(row: Row) -> None:
    assert row.carried_strictly() == row.carried()


@pytest.mark.parametrize("row", [row for row in ROWS if row.options != EARLIER], ids=str)
def test_the_vendors_own_types_accept_what_is_sent(row: Row) -> None:
    """Whatever the client sent; sampling is no longer in these types."""
    sampling = ("temperature", "top_p", "top_k")
    assert (
        faults("anthropic", {name: value for name, value in row.carried().body.items() if name not in sampling}) == []
    )


REFUSED = [
    ("openai", {"n": 2}, "n"),
    ("openai", {"modalities": ["text", "audio"], "audio": {"voice": "x", "format": "mp3"}}, "audio"),
    ("openai", {"modalities": ["text", "audio"]}, "modalities"),
    ("openai", {"audio": {"voice": "x", "format": "mp3"}}, "audio"),
    ("openai", {"messages": [USER, {"role": "assistant", "content": "So"}]}, "messages.1"),
    ("responses", {"input": [USER, {"role": "assistant", "content": "So"}]}, "input.1"),
    ("openai", {"response_format": {"type": "regex", "regex": "a"}}, "response_format.type"),
    ("responses", {"previous_response_id": "r"}, "previous_response_id"),
    ("responses", {"conversation": {"id": "c"}}, "conversation"),
    ("responses", {"background": True}, "background"),
    ("responses", {"prompt": {"id": "p"}}, "prompt"),
    ("responses", {"input": [{"type": "item_reference", "id": "x"}]}, "input.0.id"),
]


@pytest.mark.parametrize(("client", "fields", "param"), REFUSED)
def test_what_is_refused_by_its_wire_path(client: str, fields: Json, param: str) -> None:
    """mapping.md §3.1, REJECT: never dropped, strict or not."""
    error = refusal(client, BODIES[client](**fields), "anthropic")
    assert (error.param, error.kind) == (param, Kind.UNSUPPORTED)


def test_what_nobody_knows_inside_a_part_is_named() -> None:
    """mapping.md §3.1: unknown fields are dropped and reported, also those in an object of a part."""
    image = {"url": "https://example.com/a.png", "format": "png"}
    body = chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": image}]}])
    assert "image_url.format" in carried("openai", body, "anthropic").dropped
