"""What an operator may set for an OpenAI Responses upstream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Profile:
    """What one kind of server calls instructions in mid-conversation, and the efforts it knows by another name."""

    instructions_role: str = "system"
    efforts: Mapping[str, str] = field(default_factory=dict)


_THREE_EFFORTS: Final = {"minimal": "low", "xhigh": "high", "max": "high"}
PROFILES: Final[Mapping[str, Profile]] = {
    "openai": Profile(instructions_role="developer"),
    "generic": Profile(efforts=_THREE_EFFORTS),
    "vllm": Profile(efforts=_THREE_EFFORTS),
}
ProfileName = Literal["openai", "generic", "vllm"]
MEANINGS: Final[Mapping[str, str]] = {
    "profile": "the kind of server that listens there: what it calls later instructions, and which efforts it knows",
    "encrypted_reasoning": "whether its reasoning is asked for in sealed form, which the next turn gives back; "
    "models that don't reason may refuse the question",
}
"""What each option says, for editors and the docs."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator may set for an upstream of this dialect; `MEANINGS` says what each is for."""

    profile: ProfileName = "openai"
    encrypted_reasoning: bool = True
