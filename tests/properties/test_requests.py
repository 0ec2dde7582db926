"""For any JSON body: `parse` gives a Request or a client's error that names the field, and so does rendering."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects import DIALECTS
from gateway.dialects.base import Dialect, Inbound, Outbound
from gateway.errors import BadRequest, ClientError, Unsupported
from gateway.neutral.request import Request
from tests.properties.bodies import FIELDS, SEEDS, Json, mutated, values


def test_every_dialect_has_bodies_to_start_from() -> None:
    assert set(SEEDS) == set(DIALECTS)


def parsed(name: str, body: Json) -> Request | None:
    """The request, or None for one refused as it should be."""
    try:
        return DIALECTS[name].parse(Inbound(body))
    except (BadRequest, Unsupported) as error:
        refused = error
    assert refused.param, refused
    assert len(refused.message) < 2000
    return None


def rendered(dialect: Dialect, request: Request) -> Outbound | None:
    """What an upstream is asked, None for a request refused as it should be."""
    try:
        return dialect.render(request, "theirs", dialect.options())
    except ClientError as error:
        refused = error
    assert refused.param, refused
    return None


def rendered_everywhere(name: str, request: Request) -> None:
    """To every upstream of another dialect: a body that can be written, or a client's error with its field."""
    for dialect in others(name, request):
        outbound = rendered(dialect, request)
        if outbound is not None:
            orjson.dumps(outbound.body)
            assert list(outbound.dropped) == sorted(set(outbound.dropped))


def others(name: str, request: Request) -> list[Dialect]:
    """The dialects that this request can be translated to."""
    return [] if request.own_dialect_only else [dialect for dialect in DIALECTS.values() if dialect.name != name]


@pytest.mark.parametrize("name", SEEDS)
def test_the_bodies_to_start_from_are_fine(name: str) -> None:
    for body in SEEDS[name]:
        request = parsed(name, body)
        assert request is not None
        rendered_everywhere(name, request)


@pytest.mark.parametrize("name", SEEDS)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_body_with_something_wrong_in_it(name: str, data: st.DataObject) -> None:
    body = data.draw(mutated(st.sampled_from(SEEDS[name])))
    request = parsed(name, body)
    if request is not None:
        rendered_everywhere(name, request)


@pytest.mark.parametrize("name", SEEDS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_json_at_all(name: str, data: st.DataObject) -> None:
    body = data.draw(st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=5)), values, max_size=8))
    request = parsed(name, body)
    if request is not None:
        rendered_everywhere(name, request)


@pytest.mark.parametrize("name", SEEDS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_strict_request_is_never_short_of_anything(name: str, data: st.DataObject) -> None:
    """mapping.md §3: what is rendered for a strict request dropped nothing."""
    request = parsed(name, data.draw(mutated(st.sampled_from(SEEDS[name]))))
    if request is not None:
        for dialect in others(name, request):
            outbound = rendered(dialect, replace(request, is_strict=True))
            assert outbound is None or outbound.dropped == ()
