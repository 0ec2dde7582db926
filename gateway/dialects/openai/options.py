"""What an operator may set for an OpenAI chat upstream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

SAMPLERS: Final = ("top_k", "min_p", "repetition_penalty")


@dataclass(frozen=True, slots=True)
class Profile:
    """What one kind of server accepts beyond, or short of, the common ground."""

    max_tokens: str = "max_tokens"
    samplers: frozenset[str] = frozenset()
    max_stops: int = 4


PROFILES: Final[Mapping[str, Profile]] = {
    "generic": Profile(),
    "openai": Profile(max_tokens="max_completion_tokens"),
    "vllm": Profile(samplers=frozenset(SAMPLERS), max_stops=64),
    "sglang": Profile(samplers=frozenset(SAMPLERS), max_stops=64),
    "llamacpp": Profile(samplers=frozenset(SAMPLERS), max_stops=64),
    "ollama": Profile(max_stops=64),
    "baseten": Profile(max_stops=32),
    "deepseek": Profile(max_stops=16),
    "openrouter": Profile(samplers=frozenset(SAMPLERS)),
}
ProfileName = Literal["generic", "openai", "vllm", "sglang", "llamacpp", "ollama", "baseten", "deepseek", "openrouter"]


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator may set for an upstream of this dialect. `profile`: the kind of server that listens there."""

    profile: ProfileName = "generic"
