"""Token counts of OpenAI chat servers, both ways (mapping.md §7.2)."""

from __future__ import annotations

from typing import Any

from gateway.dialects.base import Json
from gateway.neutral import events as ev


def load_usage(usage: Json) -> ev.Usage:
    """The counts, with the exclusive counting of some servers mended (pitfall 31)."""
    details = usage.get("prompt_tokens_details") or {}
    read = _first(details.get("cached_tokens"), usage.get("cached_tokens"), usage.get("prompt_cache_hit_tokens"))
    write = count(details.get("cache_write_tokens"))
    prompt = count(usage.get("prompt_tokens"))
    cached = (read or 0) + (write or 0)
    if prompt is not None and cached > prompt:
        prompt += cached
    completion_details = usage.get("completion_tokens_details") or {}
    return ev.Usage(
        input=prompt,
        output=count(usage.get("completion_tokens")),
        cache_read=read,
        cache_write=write,
        reasoning=_first(completion_details.get("reasoning_tokens"), usage.get("reasoning_tokens")),
        is_final=True,
    )


def _first(*values: Any) -> int | None:
    return next((found for value in values if (found := count(value)) is not None), None)


def count(value: Any) -> int | None:
    """A whole number, else nothing: servers send null, and floats."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def dump_usage(usage: ev.Usage) -> Json:
    """mapping.md §7.2; the total is always recomputed."""
    cached = (usage.cache_read or 0) + (usage.cache_write or 0)
    prompt, completion = max(usage.input or 0, cached), usage.output or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read or 0,
            "cache_write_tokens": usage.cache_write or 0,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
    }
