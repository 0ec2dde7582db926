"""Every row of mapping.md §3.2 and §3.3: what chat and responses upstreams hear of other clients' requests."""

from __future__ import annotations

from hashlib import sha256

import pytest

from gateway.errors import Kind, Unsupported
from tests.dialects.mapping import Row, refusal
from tests.dialects.requests import BODIES, Json, chat_tool, message_tool, response_tool
from tests.dialects.sdk_types import faults

SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "string"}}}
AS_SCHEMA = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
LONG = "x" * 65
HASHED = sha256(LONG.encode()).hexdigest()
OPENAI = {"profile": "openai"}
CACHED: Json = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}}
CITED = {"enabled": True}
FIVE = ["a", "b", "c", "d", "e"]


def chat(
    name: str,
    fields: Json,
    sent: Json,
    dropped: tuple[str, ...] = (),
    adapted: tuple[str, ...] = (),
    profile: str = "generic",
) -> Row:
    """A row of §3.2 for a chat upstream."""
    return Row(name, "anthropic", fields, "openai", sent, dropped, adapted, {"profile": profile})


def responses(name: str, fields: Json, sent: Json, dropped: tuple[str, ...] = (), adapted: tuple[str, ...] = ()) -> Row:
    """A row of §3.2 for a responses upstream."""
    return Row(name, "anthropic", fields, "responses", sent, dropped, adapted)


def only(**choice: object) -> Json:
    return {"tools": [message_tool()], "tool_choice": choice}


FROM_ANTHROPIC = [
    chat("max_tokens", {"max_tokens": 5}, {"max_tokens": 5, "max_completion_tokens": None}),
    chat("max_tokens at OpenAI", {"max_tokens": 5}, {"max_tokens": None, "max_completion_tokens": 5}, profile="openai"),
    responses("max_tokens", {"max_tokens": 5}, {"max_output_tokens": 5}),
    chat(
        "sampling, zeroes too",
        {"temperature": 0, "top_p": 0},
        {"temperature": 0, "top_p": 0},
    ),
    responses("sampling", {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5, "top_p": 0.5}),
    chat("top_k", {"top_k": 7}, {"top_k": None}, ("top_k",)),
    chat("top_k where it is known", {"top_k": 7}, {"top_k": 7}, profile="vllm"),
    responses("top_k", {"top_k": 7}, {"top_k": None}, ("top_k",)),
    chat("four stops", {"stop_sequences": FIVE}, {"stop": FIVE[:4]}, (), ("stop_sequences=first_4",)),
    chat("five stops", {"stop_sequences": FIVE}, {"stop": FIVE}, profile="vllm"),
    chat("a line's end as a stop", {"stop_sequences": ["\n"]}, {"stop": ["\n"]}),
    responses("stops", {"stop_sequences": ["a"]}, {"stop": None}, ("stop_sequences",)),
    responses("no stops", {"stop_sequences": []}, {"stop": None}),
    chat(
        "one call at a time",
        only(type="auto", disable_parallel_tool_use=True),
        {"tool_choice": "auto", "parallel_tool_calls": False},
    ),
    responses(
        "one call at a time",
        only(type="any", disable_parallel_tool_use=True),
        {"tool_choice": "required", "parallel_tool_calls": False},
    ),
    chat(
        "one at a time of no tools",
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        {"tools": None, "tool_choice": None, "parallel_tool_calls": None},
        ("tool_choice",),
    ),
    chat(
        "a schema",
        AS_SCHEMA,
        {"response_format": {"type": "json_schema", "json_schema": {"name": "output", "schema": SCHEMA}}},
    ),
    chat(
        "a schema in its old place",
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "output", "schema": SCHEMA}}},
    ),
    responses("a schema", AS_SCHEMA, {"text": {"format": {"type": "json_schema", "name": "output", "schema": SCHEMA}}}),
    chat("user_id", {"metadata": {"user_id": "jo"}}, {"user": "jo", "safety_identifier": None}),
    chat(
        "user_id at OpenAI",
        {"metadata": {"user_id": "jo"}},
        {"user": None, "safety_identifier": "jo"},
        profile="openai",
    ),
    responses("user_id", {"metadata": {"user_id": "jo"}}, {"safety_identifier": "jo"}),
    chat("a long user_id", {"metadata": {"user_id": LONG}}, {"user": HASHED}, (), ("metadata.user_id=hashed",)),
    responses(
        "a long user_id",
        {"metadata": {"user_id": LONG}},
        {"safety_identifier": HASHED},
        (),
        ("metadata.user_id=hashed",),
    ),
    chat(
        "user_id for nobody",
        {"metadata": {"user_id": "jo"}},
        {"user": None},
        ("metadata.user_id",),
        profile="ollama",
    ),
    chat("other metadata", {"metadata": {"user_id": None, "x": 1}}, {"metadata": None}, ("metadata.x",)),
    chat(
        "cache_control anywhere",
        {
            "system": [CACHED],
            "tools": [message_tool(cache_control={"type": "ephemeral"})],
            "messages": [{"role": "user", "content": [CACHED]}],
        },
        {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "a"}]},
        ("cache_control",),
    ),
    responses(
        "cache_control anywhere",
        {"system": [CACHED], "messages": [{"role": "user", "content": [CACHED]}]},
        {"instructions": "a", "input": [{"type": "message", "role": "user", "content": "a"}]},
        ("cache_control",),
    ),
    chat(
        "documents and results to be cited",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "search_result", "source": "s", "title": "t", "content": [], "citations": CITED},
                        {"type": "document", "source": {"type": "text", "data": "d"}, "citations": CITED},
                    ],
                }
            ]
        },
        {},
        ("citations",),
    ),
    chat("cache_control on top", {"cache_control": {"type": "ephemeral"}}, {"cache_control": None}, ("cache_control",)),
    chat(
        "tier standard_only",
        {"service_tier": "standard_only"},
        {"service_tier": "default"},
        (),
        ("service_tier=default",),
        profile="openai",
    ),
    chat("tier auto", {"service_tier": "auto"}, {"service_tier": "auto"}, profile="openai"),
    chat("tiers elsewhere", {"service_tier": "auto"}, {"service_tier": None}, ("service_tier",)),
    responses("tier auto", {"service_tier": "auto"}, {"service_tier": "auto"}),
    chat("speed", {"speed": "fast"}, {"service_tier": "priority"}, profile="openai"),
    chat("speed elsewhere", {"speed": "fast"}, {"service_tier": None}, ("speed",)),
    chat("no speed", {"speed": "standard"}, {"service_tier": None}),
    chat(
        "what is Anthropic's own",
        {"container": {"skills": []}, "mcp_servers": [], "context_management": {}, "compaction": {}, "fallbacks": []}
        | {"thread": {"x": 1}, "diagnostics": {}, "inference_geo": "us", "output_config": {"task_budget": {}}},
        {"container": None, "mcp_servers": None, "thread": None},
        (
            *("compaction", "container", "context_management", "diagnostics", "fallbacks", "inference_geo"),
            *("mcp_servers", "output_config.task_budget", "thread"),
        ),
    ),
    chat("a hosted tool", {"tools": [SEARCH]}, {"tools": None}, ("tools.web_search_20250305",)),
    responses("a hosted tool", {"tools": [SEARCH]}, {"tools": None}, ("tools.web_search_20250305",)),
    chat(
        "a hosted tool and one at a time",
        {"tools": [SEARCH], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        {"tools": None, "tool_choice": None, "parallel_tool_calls": None},
        ("tool_choice", "tools.web_search_20250305"),
    ),
    chat(
        "a demand that another tool can meet",
        {"tools": [SEARCH, message_tool()], "tool_choice": {"type": "any"}},
        {"tool_choice": "required"},
        ("tools.web_search_20250305",),
    ),
    chat("stream", {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    chat("no stream", {"stream": False}, {"stream": None, "stream_options": None}),
    responses("stream", {"stream": True}, {"stream": True, "stream_options": None}),
]


def across(
    client: str, name: str, fields: Json, sent: Json, dropped: tuple[str, ...] = (), adapted: tuple[str, ...] = ()
) -> Row:
    """A row of §3.3, at the upstream that speaks the other of OpenAI's two APIs."""
    upstream = "openai" if client == "responses" else "responses"
    return Row(name, client, fields, upstream, sent, dropped, adapted, OPENAI)


FLAT = {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True, "description": "D"}
NESTED = {"type": "json_schema", "json_schema": {name: value for name, value in FLAT.items() if name != "type"}}
BETWEEN_OPENAIS = [
    across("openai", "limit", {"max_completion_tokens": 5}, {"max_output_tokens": 5}),
    across("openai", "old limit", {"max_tokens": 5}, {"max_output_tokens": 5, "max_tokens": None}),
    across("responses", "limit", {"max_output_tokens": 5}, {"max_completion_tokens": 5}),
    across("openai", "schema", {"response_format": NESTED}, {"text": {"format": FLAT}}),
    across("responses", "schema", {"text": {"format": FLAT}}, {"response_format": NESTED}),
    across(
        "openai", "object", {"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}
    ),
    across(
        "responses",
        "object",
        {"text": {"format": {"type": "json_object"}}},
        {"response_format": {"type": "json_object"}},
    ),
    across("openai", "effort", {"reasoning_effort": "low"}, {"reasoning": {"effort": "low", "summary": "auto"}}),
    across("responses", "effort", {"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
    across(
        "responses",
        "instructions",
        {
            "instructions": "Be brief.",
            "input": [{"role": "developer", "content": "Kind."}, {"role": "user", "content": "Hi"}],
        },
        {
            "messages": [
                {
                    "role": "developer",
                    "content": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Kind."}],
                },
                {"role": "user", "content": "Hi"},
            ]
        },
    ),
    across(
        "openai",
        "instructions",
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]},
        {"instructions": "Be brief.", "input": [{"type": "message", "role": "user", "content": "Hi"}]},
    ),
    across("openai", "tools", {"tools": [chat_tool(strict=True)]}, {"tools": [response_tool(strict=True)]}),
    across("responses", "tools", {"tools": [response_tool(strict=True)]}, {"tools": [chat_tool(strict=True)]}),
    across("responses", "strictness not said", {"tools": [response_tool()]}, {"tools": [chat_tool()]}),
    across("openai", "verbosity", {"verbosity": "low"}, {"text": {"verbosity": "low"}}),
    across("responses", "verbosity", {"text": {"verbosity": "low"}}, {"verbosity": "low"}),
    across(
        "openai",
        "what responses have no field for",
        {"stop": ["a"], "seed": 0, "presence_penalty": 1, "frequency_penalty": 1, "logit_bias": {"5": 1}},
        {"stop": None, "seed": None},
        ("frequency_penalty", "logit_bias", "presence_penalty", "seed", "stop"),
    ),
    across(
        "openai", "defaults", {"presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}, "n": 1}, {"n": None}
    ),
    across("openai", "one at a time", {"parallel_tool_calls": False}, {"parallel_tool_calls": None}),
    across("openai", "metadata", {"metadata": {"a": "b"}}, {"metadata": {"a": "b"}}),
    across("openai", "the key of a cache", {"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}),
    across("responses", "the key of a cache", {"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}),
    across("openai", "user", {"user": "jo"}, {"safety_identifier": "jo"}),
    across("responses", "tier", {"service_tier": "flex"}, {"service_tier": "flex"}),
    across("openai", "tier", {"service_tier": "flex"}, {"service_tier": "flex"}),
]
ROWS = [*FROM_ANTHROPIC, *BETWEEN_OPENAIS]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_of_the_table(row: Row) -> None:
    """mapping.md §3.2, §3.3; pitfalls 73, 97, 103, 104, 109."""
    row.check()


@pytest.mark.parametrize("row", [row for row in ROWS if row.dropped], ids=str)
def test_strict_clients_are_told_instead(row: Row) -> None:
    """mapping.md §3: a drop becomes a 400, whose param is a path of the client's body."""
    with pytest.raises(Unsupported) as caught:
        row.carried_strictly()
    first = str(caught.value.param).partition(".")[0]
    assert first in row.body or first == "cache_control"


@pytest.mark.parametrize("row", [row for row in ROWS if not row.dropped], ids=str)
def test_strict_clients_may_be_adapted_to(row: Row) -> None:
    assert row.carried_strictly() == row.carried()


@pytest.mark.parametrize("row", [row for row in ROWS if row.options.get("profile") != "vllm"], ids=str)
def test_the_vendors_own_types_accept_what_is_sent(row: Row) -> None:
    """Strict servers refuse fields that they don't know."""
    assert faults(row.upstream, row.carried().body) == []


REFUSED = [
    ("anthropic", {"max_tokens": 0}, "max_tokens"),
    ("anthropic", {"container": "c"}, "container"),
    ("anthropic", {"container": {"id": "c"}}, "container.id"),
    ("anthropic", {"thread": {"continue": "t"}}, "thread.continue"),
    ("anthropic", {"tools": [SEARCH], "tool_choice": {"type": "tool", "name": "web_search"}}, "tool_choice"),
    ("anthropic", {"tools": [SEARCH], "tool_choice": {"type": "any"}}, "tool_choice"),
    ("anthropic", {"tool_choice": {"type": "tool", "name": "f"}}, "tool_choice"),
    ("anthropic", {"tools": [{"type": "computer_20250124", "name": "computer"}]}, "tools.0.type"),
    ("anthropic", {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "messages"),
]


@pytest.mark.parametrize("upstream", ["openai", "responses", "truss"])
@pytest.mark.parametrize(("client", "fields", "param"), REFUSED)
def test_what_is_refused_by_its_wire_path(client: str, fields: Json, param: str, upstream: str) -> None:
    """mapping.md §3.2, REJECT."""
    error = refusal(client, BODIES[client](**fields), upstream)
    assert (error.param, error.kind) == (param, Kind.UNSUPPORTED)


@pytest.mark.parametrize("upstream", ["anthropic", "responses", "truss"])
def test_several_answers_are_refused(upstream: str) -> None:
    """mapping.md §3.1, §10: between other dialects than chat there is one answer."""
    assert refusal("openai", BODIES["openai"](n=2), upstream).param == "n"
