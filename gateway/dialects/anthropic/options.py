"""What an operator may set for an Anthropic upstream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Literal

from gateway.dialects.turns import MidSystem

ProfileName = Literal[
    "generic",
    "anthropic",
    "anthropic-legacy",
    "baseten",
    "deepseek",
    "llamacpp",
    "ollama",
    "openrouter",
    "sglang",
    "vllm",
]
ThinkingStyle = Literal["adaptive", "budget", "none"]
"""How a server is told to think: as deep as an effort says, up to a budget of tokens, or not at all."""
Version = Literal["2023-06-01", "2026-10-21"]
SAMPLING_VERSION: Final[Version] = "2023-06-01"
"""The last version that takes sampling fields; later ones refuse them even at their defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a server accepts."""

    thinking: ThinkingStyle = "budget"
    structured_output: bool = False
    strict_tools: bool = False
    prefill: bool = False
    mid_system: MidSystem = "user"
    sampling: bool = True
    both_sampling: bool = True
    name_limit: int = 128
    max_output: int | None = None
    image_urls: bool = True


PROFILES: Final[Mapping[str, Features]] = {
    "generic": Features(),
    "anthropic": Features(thinking="adaptive", structured_output=True, strict_tools=True, sampling=False),
    "anthropic-legacy": Features(prefill=True, both_sampling=False, name_limit=64),
    "baseten": Features(),
    "deepseek": Features(image_urls=False),
    "llamacpp": Features(prefill=True),
    "ollama": Features(image_urls=False),
    "openrouter": Features(),
    "sglang": Features(),
    "vllm": Features(),
}
"""Named sets of features: Anthropic's own models from the 4.6 generation on, those before it, and other servers."""


MEANINGS: Final[Mapping[str, str]] = {
    "thinking": "how it is told to think: by an effort (`adaptive`), by a `budget` of tokens, or not at all",
    "structured_output": "whether it knows `output_config.format`; else a schema is asked for as a tool",
    "strict_tools": "whether `strict` of a tool is passed on",
    "prefill": "whether a last message of the assistant is continued, else it is refused",
    "mid_system": "later instructions: in the `user`'s turn, `native` in place, or `hoist`ed to the front",
    "sampling": "whether it takes `temperature`, `top_p` and `top_k`",
    "both_sampling": "whether `temperature` and `top_p` may stand in one request",
    "name_limit": "characters of a tool's name",
    "max_output": "tokens of an answer at most; keeps the default of `max_tokens` below it",
    "image_urls": "whether it fetches images by address, else only their data",
}
"""What each feature says, for the docs."""
OPTION_MEANINGS: Final[Mapping[str, str]] = {
    "profile": "the kind of server, which settles what it accepts; each feature may be set on its own too",
    "version": "the `anthropic-version` sent, where the client's body isn't forwarded with its own",
    "max_tokens": "tokens of an answer where the client set no limit, which this API demands",
    **MEANINGS,
}
"""What each option says, for editors and the docs."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator may set for an upstream of this dialect; `OPTION_MEANINGS` says what each is for."""

    profile: ProfileName = "generic"
    version: Version = SAMPLING_VERSION
    max_tokens: int = 8192
    thinking: ThinkingStyle | None = None
    structured_output: bool | None = None
    strict_tools: bool | None = None
    prefill: bool | None = None
    mid_system: MidSystem | None = None
    sampling: bool | None = None
    both_sampling: bool | None = None
    name_limit: int | None = None
    max_output: int | None = None
    image_urls: bool | None = None

    @property
    def features(self) -> Features:
        """The profile's, with what was set beside it."""
        return _features(self)


@cache
def _features(options: Options) -> Features:
    """Made once for all upstreams that are configured alike."""
    set_here = {name: value for name in Features.__slots__ if (value := getattr(options, name)) is not None}
    return replace(PROFILES[options.profile], **set_here)
