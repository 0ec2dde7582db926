"""What a benchmark is asked for, as it stands on the command line."""

from __future__ import annotations

import pytest

from gateway.bench.plan import MAX_STREAMS, Pair, Plan, read_pairs, read_streams

NAMES = ("anthropic", "openai", "truss")


def test_pairs_are_read_in_order_and_once() -> None:
    pairs = read_pairs("openai:anthropic, openai:openai,openai:anthropic", NAMES)
    assert [str(pair) for pair in pairs] == ["openai<-anthropic", "openai<-openai"]


def test_a_star_stands_for_each_dialect() -> None:
    assert read_pairs("truss:*", NAMES) == tuple(Pair("truss", name) for name in NAMES)
    assert len(read_pairs("*:*", NAMES)) == 9


@pytest.mark.parametrize("text", ["", "openai", "openai:", "openai:claude", "openai:openai,", "openai<-openai"])
def test_what_is_no_pair_is_named_with_what_there_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"no pair .*CLIENT:UPSTREAM.*anthropic, openai, truss"):
        read_pairs(text, NAMES)


def test_numbers_of_streams_are_ascending_and_once() -> None:
    assert read_streams("200, 1,50,1") == (1, 50, 200)


@pytest.mark.parametrize("text", ["0", "", "1,", "-1", "1.5", "many", str(MAX_STREAMS + 1)])
def test_what_is_no_number_of_streams_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"from 1 to {MAX_STREAMS}"):
        read_streams(text)


def test_a_plan_knows_how_long_it_takes() -> None:
    plan = Plan((Pair("openai", "truss"), Pair("openai", "openai")), (1, 50), tokens=100, pace_s=0.02)
    assert plan.clients == ("openai",)
    assert plan.level_s(1) == pytest.approx(2.0)
    assert plan.level_s(50) == pytest.approx(3.0)
