"""What dialects have beside their main call: endings, counts, samples, pages of models."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.dialects import DIALECTS
from gateway.dialects.anthropic.siblings import page
from gateway.dialects.base import Dialect, Inbound, Outbound
from gateway.errors import BadRequest
from gateway.neutral.request import Request, Text

COUNTING = [dialect for dialect in DIALECTS.values() if dialect.counts is not None]
CALLS = [called for dialect in DIALECTS.values() for called in (dialect, *dialect.relayed)]


@pytest.mark.parametrize("called", CALLS, ids=lambda called: f"{called.name}{called.ending}")
def test_an_ending_is_how_the_path_of_a_call_really_ends(called: Dialect) -> None:
    """So that the simulator knows whose words to use. What more than one could claim goes to the longest."""
    body = orjson.loads(SAMPLES[called.name].replace(b"{model}", b"m"))
    inbound = Inbound({**body, "prompt": "x", "input": "x"} if called not in DIALECTS.values() else body)
    path = called.forward(inbound.body, called.parse(inbound), "m", called.options()).path
    longest = max((one.ending for one in CALLS if path.endswith(one.ending)), key=len)
    assert longest == called.ending


SAMPLES = {name: orjson.dumps(dialect.sample.body) for name, dialect in DIALECTS.items() if dialect.sample}


def said(request: Request) -> str:
    """All texts of a prompt."""
    return " ".join(part.text for turn in request.turns for part in turn.parts if isinstance(part, Text))


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_shows_a_call_that_it_takes(name: str) -> None:
    dialect = DIALECTS[name]
    assert dialect.sample is not None
    request = dialect.parse(Inbound(orjson.loads(SAMPLES[name].replace(b"{model}", b"demo"))))
    assert request.stream
    assert "haiku" in said(request)
    assert b"'" not in SAMPLES[name]  # it is shown between such quotes, for a shell


@pytest.mark.parametrize("dialect", COUNTING, ids=lambda dialect: dialect.name)
def test_a_count_is_read_as_it_is_spelled(dialect: Dialect) -> None:
    assert dialect.counts is not None
    assert dialect.counts.load(dialect.counts.dump(7)) == 7
    assert dialect.counts.ask(Outbound({})).path.endswith(dialect.counts.ending)


@pytest.mark.parametrize("dialect", COUNTING, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("body", [[], {}, "x", None, {"input_tokens": "7"}, {"input_tokens": True}])
def test_what_is_no_count_is_none(dialect: Dialect, body: Any) -> None:
    assert dialect.counts is not None
    assert dialect.counts.load(body) is None


def test_only_the_prompt_is_counted_and_whatever_else_a_client_says_of_it_stays() -> None:
    """anthropic-messages.md §9: what only an answer needs is a 400 at the vendor's; betas add to the prompt."""
    counts = DIALECTS["anthropic"].counts
    assert counts is not None
    asked = counts.ask(Outbound({"model": "m", "messages": [], "max_tokens": 1, "stream": True, "new_beta": 1}))
    assert asked.body == {"model": "m", "messages": [], "new_beta": 1}


NAMES = ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("query", "expected", "has_more"),
    [
        ({}, "abcd", False),
        ({"limit": "4"}, "abcd", False),
        ({"limit": "3"}, "abc", True),
        ({"after_id": "b"}, "cd", False),
        ({"after_id": "a", "limit": "2"}, "bc", True),
        ({"after_id": "d"}, "", False),
        ({"before_id": "d", "limit": "2"}, "bc", True),
        ({"before_id": "c"}, "ab", False),
        ({"before_id": "a"}, "", False),
    ],
)
def test_a_page_holds_what_was_asked_for(query: dict[str, str], expected: str, has_more: bool) -> None:
    assert page(NAMES, query) == (tuple(expected), has_more)


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "2.0", "", "²", "9" * 5000])
def test_a_limit_that_is_none_is_refused(limit: str) -> None:
    with pytest.raises(BadRequest) as caught:
        page(NAMES, {"limit": limit})
    assert caught.value.param == "limit"
