"""What this API has beside messages: the count of a prompt's tokens, and pages of models (anthropic-messages.md §9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from gateway.dialects.anthropic.parsing import parse
from gateway.dialects.anthropic.rendering import PATH
from gateway.dialects.base import Counting, Inbound, Json, Outbound, Path
from gateway.errors import BadRequest
from gateway.neutral.request import Request

_FOR_ANSWERS: Final = frozenset(
    ("max_tokens", "stream", "metadata", "stop_sequences", "temperature", "top_p", "top_k", "service_tier")
)
"""Fields of messages that counting has no use for: ignored where a client sends them, a 400 at the vendor's."""
_MAX_PAGE: Final = 1000


def _parse(inbound: Inbound) -> Request:
    """A messages request without what only an answer needs."""
    return parse(replace(inbound, body={**_counted(inbound.body), "max_tokens": 1}))


def _ask(outbound: Outbound) -> Outbound:
    """The prompt alone; a limit of the answer that rendering had to make up is nothing to report."""
    adapted = tuple(told for told in outbound.adapted if not told.endswith("tokens=default"))
    return replace(outbound, body=_counted(outbound.body), path=f"{PATH}/count_tokens", adapted=adapted)


def _counted(body: Json) -> Json:
    return {name: value for name, value in body.items() if name not in _FOR_ANSWERS}


def _dump(count: int) -> Json:
    return {"input_tokens": count}


def _load(body: Any) -> int | None:
    count = body.get("input_tokens") if isinstance(body, dict) else None
    return count if type(count) is int else None


COUNTS: Final = Counting(Path(f"{PATH}/count_tokens"), "/messages/count_tokens", _parse, _dump, _ask, _load)


def page(names: Sequence[str], query: Mapping[str, str]) -> tuple[Sequence[str], bool]:
    """The models of a page and whether more follow in its direction. Without a limit a page holds the most it may."""
    limit = _limit(query.get("limit"))
    if "after_id" in query and "before_id" in query:
        raise BadRequest("before_id: not together with after_id", param="before_id")
    if "before_id" in query:
        before = names[: _place(names, query, "before_id")]
        return before[-limit:], len(before) > limit
    after = names[_place(names, query, "after_id") + 1 :] if "after_id" in query else names
    return after[:limit], len(after) > limit


def _limit(text: str | None) -> int:
    if text is None:
        return _MAX_PAGE
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= _MAX_PAGE):
        raise BadRequest(f"limit: expected an integer between 1 and {_MAX_PAGE}", param="limit")
    return int(text)


def _place(names: Sequence[str], query: Mapping[str, str], cursor: str) -> int:
    if query[cursor] not in names:
        raise BadRequest(f"{cursor}: expected the id of a model that is listed", param=cursor)
    return names.index(query[cursor])
