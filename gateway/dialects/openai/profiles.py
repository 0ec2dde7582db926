"""What the kinds of servers that speak OpenAI chat accept beyond, or short of, the common ground: data, one row each.

Sources: `protocol/openai-chat.md` §1 to §5, and the vendors' own pages and sources as of November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Final

from gateway.dialects.openai.options import (
    Echo,
    Effort,
    MaxTokensName,
    Options,
    PrefillStyle,
    ReasoningField,
    ReasoningStyle,
    Sampler,
    Structured,
    SystemRole,
    ToolIds,
    UserField,
)
from gateway.dialects.turns import MidSystem

SAMPLERS: Final[tuple[Sampler, ...]] = ("top_k", "min_p", "repetition_penalty")
_USUAL: Final[tuple[Effort, ...]] = ("low", "medium", "high")
_ALL: Final[tuple[Effort, ...]] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of server; the defaults are what nearly all of them take."""

    max_tokens: MaxTokensName = "max_tokens"
    samplers: tuple[Sampler, ...] = ()
    max_stops: int = 4
    system_role: SystemRole = "system"
    system_parts: bool = False
    mid_system: MidSystem = "user"
    tool_parts: bool = False
    tool_images: bool = False
    files: bool = False
    strict_tools: bool = False
    allowed_tools: bool = False
    custom_tools: bool = False
    tool_ids: ToolIds = "any"
    reasoning: ReasoningStyle = "effort"
    efforts: tuple[Effort, ...] = _USUAL
    reasoning_field: ReasoningField = "none"
    echo_reasoning: Echo = "never"
    think_tags: bool = False
    prefill: PrefillStyle = "none"
    structured: Structured = "json_schema"
    strict_schema: bool = False
    user: UserField = "user"
    cache_key: bool = False
    service_tiers: tuple[str, ...] = ()
    verbosity: bool = False
    stream_usage: bool = True


MEANINGS: Final[Mapping[str, str]] = {
    "max_tokens": "the name of the limit on the answer",
    "samplers": "sampling fields beyond OpenAI's that it reads",
    "max_stops": "stop sequences it takes",
    "system_role": "what it calls the role of instructions",
    "system_parts": "whether instructions may be an array of parts, else one string",
    "mid_system": "later instructions: in the `user`'s turn, `native` in place, or `hoist`ed to the front",
    "tool_parts": "whether a tool's result may be an array of texts, else one string",
    "tool_images": "whether a tool's result may hold images, else they stand in the user's message behind it",
    "files": "whether it reads files such as PDFs",
    "strict_tools": "whether `strict` of a function is passed on",
    "allowed_tools": "whether it knows a list of allowed tools, else the other tools are not declared",
    "custom_tools": "whether it knows free-text tools, else they are functions of one string",
    "tool_ids": "`mistral9`: ids of calls are nine letters and digits",
    "reasoning": "how reasoning is asked for: by `effort` alone, by a switch of the chat template "
    "(`enable_thinking`, `template_args`) or a `thinking_type`, both with an effort, or in a `reasoning_obj`",
    "efforts": "efforts it knows; others become the next one below, or else above",
    "reasoning_field": "where it reads earlier reasoning in an assistant message",
    "echo_reasoning": "which assistant messages have to have their reasoning: `always`, those with calls, or `never`",
    "think_tags": "whether it leaves `<think>…</think>` in the text, which is then taken apart here",
    "prefill": "how the beginning of an answer is given: flags of the body (`vllm`), `prefix` or `partial` of the last "
    "message, merely a `trailing` message, or not at all",
    "structured": "the strongest output format it knows",
    "strict_schema": "whether `strict` of a schema is passed on",
    "user": "the field of the user's id",
    "cache_key": "whether it reads `prompt_cache_key`",
    "service_tiers": "service tiers it knows",
    "verbosity": "whether it reads `verbosity`",
    "stream_usage": "whether it may be asked for usage in a stream",
}
"""What each setting of a profile says, for the docs."""

PROFILES: Final[Mapping[str, Profile]] = {
    "generic": Profile(files=True),
    "openai": Profile(
        max_tokens="max_completion_tokens",
        system_role="developer",
        system_parts=True,
        mid_system="native",
        tool_parts=True,
        files=True,
        strict_tools=True,
        allowed_tools=True,
        custom_tools=True,
        efforts=_ALL,
        strict_schema=True,
        user="safety_identifier",
        cache_key=True,
        service_tiers=("auto", "default", "flex", "scale", "priority", "fast"),
        verbosity=True,
    ),
    "vllm": Profile(
        samplers=SAMPLERS,
        max_stops=64,
        reasoning="enable_thinking",
        efforts=_ALL,
        reasoning_field="reasoning",
        echo_reasoning="always",
        prefill="vllm",
    ),
    "sglang": Profile(
        samplers=SAMPLERS,
        max_stops=64,
        reasoning="enable_thinking",
        efforts=_USUAL,
        reasoning_field="reasoning_content",
        echo_reasoning="always",
        prefill="vllm",
    ),
    "llamacpp": Profile(
        samplers=SAMPLERS,
        max_stops=64,
        reasoning="enable_thinking",
        efforts=(),
        reasoning_field="reasoning_content",
        echo_reasoning="always",
        prefill="trailing",
    ),
    "ollama": Profile(
        max_stops=64,
        efforts=("none", "low", "medium", "high"),
        reasoning_field="reasoning",
        echo_reasoning="tool_turns",
        prefill="trailing",
        user="none",
    ),
    "baseten": Profile(
        samplers=("top_k",),
        max_stops=32,
        reasoning="template_args",
        efforts=("low", "medium", "high", "xhigh", "max"),
        reasoning_field="reasoning_content",
        echo_reasoning="tool_turns",
    ),
    "deepseek": Profile(
        max_stops=16,
        mid_system="native",
        reasoning="thinking_type",
        efforts=("low", "medium", "high", "xhigh", "max"),
        reasoning_field="reasoning_content",
        echo_reasoning="always",
        prefill="prefix",
        structured="json_object",
    ),
    "openrouter": Profile(
        samplers=SAMPLERS,
        mid_system="native",
        files=True,
        reasoning="reasoning_obj",
        efforts=_ALL,
        reasoning_field="reasoning_details",
        echo_reasoning="always",
        prefill="trailing",
        strict_schema=True,
        verbosity=True,
    ),
}


def profile_of(options: Options) -> Profile:
    """The profile of an upstream, with what its operator set otherwise."""
    profile, set_here = PROFILES[options.profile], _settings_of(options)
    if set_here == _NOTHING_SET:  # asked for with every request
        return profile
    return replace(
        profile, **{name: value for name, value in zip(SETTINGS, set_here, strict=True) if value is not None}
    )


SETTINGS: Final = tuple(field.name for field in fields(Profile))
_settings_of: Final = attrgetter(*SETTINGS)
_NOTHING_SET: Final = (None,) * len(SETTINGS)
