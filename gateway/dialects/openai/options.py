"""What an operator may set for an OpenAI chat upstream: its kind of server, and where it differs from that kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from gateway.dialects.turns import MidSystem

ProfileName = Literal["generic", "openai", "vllm", "sglang", "llamacpp", "ollama", "baseten", "deepseek", "openrouter"]
MaxTokensName = Literal["max_tokens", "max_completion_tokens"]
SystemRole = Literal["system", "developer"]
ReasoningStyle = Literal["effort", "enable_thinking", "template_args", "thinking_type", "reasoning_obj", "none"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
ReasoningField = Literal["reasoning_content", "reasoning", "reasoning_details", "none"]
Echo = Literal["always", "tool_turns", "never"]
PrefillStyle = Literal["vllm", "prefix", "partial", "trailing", "none"]
ToolIds = Literal["any", "mistral9"]
Structured = Literal["json_schema", "json_object", "none"]
UserField = Literal["user", "safety_identifier", "none"]
Sampler = Literal["top_k", "min_p", "repetition_penalty"]

OWN_MEANINGS: Final[Mapping[str, str]] = {
    "profile": "the kind of server that listens there; every setting of that kind may be set on its own too",
    "keeps_billing_header": "a line that one coding agent puts in front of its instructions, different in each call, "
    "is passed on although it defeats prefix caches",
}
"""What the options say that are no settings of a profile, for editors and the docs."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator may set for an upstream of this dialect.

    Beside `OWN_MEANINGS`, each replaces the setting of that name that the profile has (`profiles.MEANINGS`).
    """

    profile: ProfileName = "generic"
    keeps_billing_header: bool = False
    max_tokens: MaxTokensName | None = None
    samplers: tuple[Sampler, ...] | None = None
    max_stops: int | None = None
    system_role: SystemRole | None = None
    system_parts: bool | None = None
    mid_system: MidSystem | None = None
    tool_parts: bool | None = None
    tool_images: bool | None = None
    files: bool | None = None
    strict_tools: bool | None = None
    allowed_tools: bool | None = None
    custom_tools: bool | None = None
    tool_ids: ToolIds | None = None
    reasoning: ReasoningStyle | None = None
    efforts: tuple[Effort, ...] | None = None
    reasoning_field: ReasoningField | None = None
    echo_reasoning: Echo | None = None
    think_tags: bool | None = None
    prefill: PrefillStyle | None = None
    structured: Structured | None = None
    strict_schema: bool | None = None
    user: UserField | None = None
    cache_key: bool | None = None
    service_tiers: tuple[str, ...] | None = None
    verbosity: bool | None = None
    stream_usage: bool | None = None
