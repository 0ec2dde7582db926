"""W3C Trace Context: what of a client's trace goes on to upstreams.

The gateway reports no spans of its own yet, so it adds none: an upstream's spans hang below the client's, and no tool
looks for one that nobody has sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_KEY: Final = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER: Final = re.compile(rf"({_KEY})=[ !-+\--<>-~]{{0,255}}[!-+\--<>-~]")
_MAX_MEMBERS: Final = 32
_MAX_STATE: Final = 8192
"""Characters of a state. The specification wants 512 carried at least; 32 members fit."""
_SAMPLED: Final = 1


def trace_of(parent: str, state: str) -> Mapping[str, str]:
    """The headers that go on, from the values of the client's (several fields of one name are joined by commas).

    A parent that is not valid begins no trace, and its state goes with it; a state that is not valid goes alone. Of
    later versions only what this one knows goes on.
    """
    found = _PARENT.fullmatch(parent.strip(" \t"))
    if found is None:
        return {}
    version, trace, span, flags, more = found.groups()
    if version == "ff" or not int(trace, 16) or not int(span, 16) or (version == "00" and more is not None):
        return {}
    if version != "00":
        flags = f"{int(flags, 16) & _SAMPLED:02x}"
    told = {TRACEPARENT: f"00-{trace}-{span}-{flags}"}
    members = _members(state)
    return {**told, TRACESTATE: ",".join(members)} if members else told


def trace_id(trace: Mapping[str, str]) -> str | None:
    """What a trace is known by; None where there is none."""
    return trace[TRACEPARENT][3:35] if TRACEPARENT in trace else None


def _members(state: str) -> list[str]:
    """The members of a state; none if any of it is not valid."""
    members = [stripped for member in state[: _MAX_STATE + 1].split(",") if (stripped := member.strip(" \t"))]
    found = [_MEMBER.fullmatch(member) for member in members]
    keys = {match[1] for match in found if match is not None}
    is_valid = len(keys) == len(members) <= _MAX_MEMBERS and len(state) <= _MAX_STATE
    return members if is_valid else []
