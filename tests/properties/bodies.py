"""Client bodies that use everything, and the same with something wrong in them."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

from hypothesis import strategies as st

Json = dict[str, Any]

PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA: Final[Json] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
    "required": ["city"],
}

CHAT: Final[Json] = {
    "model": "demo",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {
            "role": "user",
            "name": "jo",
            "content": [
                {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "content": "Let me see.",
            "reasoning_content": "Hm.",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0}
            ],
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
                {"id": "functions.now:1", "type": "function", "function": {"name": "now", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "rain"},
        {"role": "tool", "tool_call_id": "functions.now:1", "content": [{"type": "text", "text": "noon"}]},
        {"role": "system", "content": "Now answer."},
        {"role": "user", "content": "Well?"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "weather", "description": "W", "parameters": SCHEMA, "strict": True}},
        {"type": "function", "function": {"name": "now"}},
    ],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "parallel_tool_calls": False,
    "max_completion_tokens": 100,
    "max_tokens": 90,
    "temperature": 1.5,
    "top_p": 0.9,
    "top_k": 5,
    "min_p": 0.1,
    "stop": ["a", "b"],
    "seed": 1,
    "n": 1,
    "logprobs": False,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "logit_bias": {"1": 2},
    "reasoning_effort": "high",
    "verbosity": "low",
    "stream": True,
    "stream_options": {"include_usage": True},
    "user": "jo",
    "metadata": {"a": "b"},
    "service_tier": "auto",
    "prompt_cache_key": "k",
    "store": False,
    "chat_template_kwargs": {"enable_thinking": True},
}
CHAT_PLAIN: Final[Json] = {
    "model": "demo",
    "messages": [{"role": "user", "content": "Hi"}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "out", "schema": SCHEMA, "strict": True}},
    "reasoning": {"effort": "low", "exclude": True},
    "thinking": {"type": "enabled"},
}
MESSAGES: Final[Json] = {
    "model": "demo",
    "max_tokens": 2000,
    "system": [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "Be kind."},
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {
                    "type": "document",
                    "title": "T",
                    "source": {"type": "text", "media_type": "text/plain", "data": "words"},
                    "citations": {"enabled": True},
                },
                {
                    "type": "search_result",
                    "source": "https://example.com",
                    "title": "T",
                    "content": [{"type": "text", "text": "found"}],
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "ZGF0YQ=="},
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "b", "name": "now", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "a",
                    "is_error": True,
                    "content": [
                        {"type": "text", "text": "rain"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    ],
                },
                {"type": "tool_result", "tool_use_id": "b", "content": "noon"},
                {"type": "text", "text": "Well?", "cache_control": {"type": "ephemeral"}},
            ],
        },
        {"role": "system", "content": "Now answer."},
    ],
    "tools": [
        {"name": "weather", "description": "W", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}},
        {"name": "now", "input_schema": {"type": "object"}, "defer_loading": False},
        {"type": "web_search_20250305", "name": "web_search"},
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "summarized"},
    "output_config": {"effort": "high"},
    "stop_sequences": ["a"],
    "top_k": 5,
    "metadata": {"user_id": "u" * 200},
    "service_tier": "auto",
    "context_management": {"edits": []},
    "stream": True,
}
MESSAGES_PLAIN: Final[Json] = {
    "model": "demo",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hi"}],
    "temperature": 0.5,
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
}
PREDICT: Final[Json] = {"prompt": "Hi", "max_new_tokens": 5, "temperature": 0.5, "stream": True}

RESPONSES: Final[Json] = {
    "model": "demo",
    "instructions": "Be brief.",
    "input": [
        {"role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]},
        {
            "type": "message",
            "id": "msg_1",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"},
                {"type": "input_image", "image_url": "https://example.com/a.png"},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "content": None,
            "encrypted_content": "gw1.eyJvIjoib3BlbmFpIiwiZiI6Im5vbmUifQ",
        },
        {
            "type": "message",
            "id": "msg_2",
            "role": "assistant",
            "status": "completed",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "weather", "arguments": '{"city":"Oslo"}'},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "b", "name": "patch", "input": "*** Begin"},
        {"type": "function_call", "call_id": "c", "name": "ask", "namespace": "agents", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "rain"},
        {"type": "custom_tool_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "done"}]},
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}],
        },
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {
            "type": "local_shell_call",
            "call_id": "d",
            "action": {"type": "exec", "command": ["ls"]},
            "status": "completed",
        },
        {"type": "local_shell_call_output", "id": "d", "output": "a.txt"},
        {"type": "agent_message", "text": "Hello from another agent."},
        {"role": "developer", "content": "Now answer."},
        {"role": "user", "content": "Well?"},
    ],
    "tools": [
        {"type": "function", "name": "weather", "description": "W", "parameters": SCHEMA, "strict": True},
        {
            "type": "custom",
            "name": "patch",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"},
        },
        {
            "type": "namespace",
            "name": "agents",
            "description": "Others.",
            "tools": [{"type": "function", "name": "ask", "parameters": {"type": "object"}}],
        },
        {"type": "web_search"},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]},
    "parallel_tool_calls": False,
    "max_output_tokens": 100,
    "temperature": 1.5,
    "top_p": 0.9,
    "top_logprobs": 2,
    "reasoning": {"effort": "high", "summary": "auto", "context": "auto"},
    "text": {"verbosity": "low"},
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    "store": False,
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "truncation": "disabled",
    "user": "jo",
    "metadata": {"a": "b"},
    "service_tier": "auto",
    "prompt_cache_key": "k",
    "client_metadata": {"x": "y"},
}
RESPONSES_PLAIN: Final[Json] = {
    "model": "demo",
    "input": "Hi",
    "text": {"format": {"type": "json_schema", "name": "out", "schema": SCHEMA, "strict": True}},
    "tools": [{"type": "function", "name": "weather", "parameters": None}],
    "tool_choice": {"type": "function", "name": "weather"},
    "truncation": "auto",
    "background": False,
}

SEEDS: Final[dict[str, list[Json]]] = {
    "openai": [CHAT, CHAT_PLAIN],
    "anthropic": [MESSAGES, MESSAGES_PLAIN],
    "responses": [RESPONSES, RESPONSES_PLAIN],
    "truss": [PREDICT, {name: value for name, value in CHAT.items() if name != "model"}],
}
"""Bodies of each dialect that parse."""

FIELDS: Final = sorted(
    {name for bodies in SEEDS.values() for body in bodies for name in body} | {"input", "instructions"}
)

values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
        st.sampled_from(["user", "assistant", "text", "function", "auto", "data:image/png;base64,@@", "high", "tool"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "role", "content", "text", "name", "id", "x"]), inner, max_size=4),
    ),
    max_leaves=6,
)
"""JSON as the edge lets it in: numbers that JSON can write, no lone surrogates."""


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    if path:
        yield path
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield from paths(value[key], (*path, key))


@st.composite
def mutated(draw: st.DrawFn, bodies: st.SearchStrategy[Json]) -> Json:
    """A body with up to three of its values replaced by something else, or taken out."""
    body = deepcopy(draw(bodies))
    for _ in range(draw(st.integers(1, 3))):
        *front, last = draw(st.sampled_from(list(paths(body))))
        inner = body
        for key in front:
            inner = inner[key]
        if draw(st.booleans()):
            inner[last] = draw(values)
        else:
            del inner[last]
        if not body:
            break
    return body
