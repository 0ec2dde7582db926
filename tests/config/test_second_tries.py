"""`hedge:` and `continue_after_cut:` of a route: how they may be written, and what makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config import Config, ConfigError, Hedge, parse, schema, summary

BOTH = "targets: [{upstream: a}, {upstream: b}]"
ONE = "targets: [{upstream: a}]"
SPARE = "targets: [{upstream: a}], fallback: [{upstream: b}]"
CAN = "options: {profile: vllm}"
CANT = "options: {profile: openai}"


def configured(route: str, a: str = CANT, b: str = CANT) -> Config:
    lines = [f"  {name}: {{dialect: openai, url: 'simulator://', {options}}}" for name, options in (("a", a), ("b", b))]
    return parse("\n".join(["upstreams:", *lines, f"routes: {{demo: {{{route}}}}}"]), "routes.yaml", {})


@pytest.mark.parametrize(
    ("written", "hedge"),
    [
        ("{}", Hedge(after="p95", max_ratio=0.1)),
        ("{after: p95}", Hedge()),
        ("{after: 500ms, max_ratio: 1}", Hedge(after=0.5, max_ratio=1)),
    ],
)
@pytest.mark.parametrize("places", [BOTH, SPARE])
def test_a_hedge_is_a_delay_and_a_share(places: str, written: str, hedge: Hedge) -> None:
    assert configured(f"{places}, hedge: {written}").routes["demo"].hedge == hedge


def test_nobody_hedges_or_goes_on_unasked() -> None:
    route = configured(BOTH).routes["demo"]
    assert route.hedge is None
    assert not route.continue_after_cut


@pytest.mark.parametrize(
    ("route", "complaint"),
    [
        (f"{ONE}, hedge: {{}}", "hedge: needs a second target, or a fallback, to ask"),
        (f"{BOTH}, hedge: {{max_ratio: 0}}", "hedge.max_ratio: must be above 0"),
        (f"{BOTH}, hedge: {{max_ratio: 1.1}}", "hedge.max_ratio: must be at most 1, not 1.1"),
        (f"{BOTH}, hedge: {{after: 0s}}", "hedge.after: must be above 0"),
        (f"{BOTH}, hedge: {{after: 5}}", "hedge.after: 5: a duration needs a unit"),
        (f"{BOTH}, hedge: {{after: p99}}", 'hedge.after: "p99": not a duration'),
        (f"{BOTH}, hedge: {{before: 1s}}", "hedge.before: unknown setting"),
        (f"{BOTH}, hedge: {{after: 60s}}", "hedge.after: not before timeouts.first_token (60s), so it would never be"),
        (
            f"{BOTH}, hedge: {{after: 2s}}, timeouts: {{first_token: 1s}}",
            "hedge.after: not before timeouts.first_token (1s), so it would never be reached",
        ),
        (f"{BOTH}, continue_after_cut: true", "continue_after_cut: no target can be given the beginning of an answer"),
        (f"{BOTH}, continue_after_cut: perhaps", "continue_after_cut: expected true or false"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(route: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(route)
    (told,) = caught.value.messages
    assert complaint.replace('5"', "5") in told.replace('5"', "5")
    assert "routes.demo." in told


@pytest.mark.parametrize("places", [BOTH, SPARE])
def test_one_target_that_can_go_on_is_enough(places: str) -> None:
    assert configured(f"{places}, continue_after_cut: true", b=CAN).routes["demo"].continue_after_cut


def test_what_is_told_of_a_route_has_both() -> None:
    (told,) = summary(configured(f"{BOTH}, hedge: {{after: 1s}}, continue_after_cut: true", a=CAN))["routes"]
    assert told["hedge"] == {"after": 1.0, "max_ratio": 0.1}
    assert told["continue_after_cut"] is True


def test_editors_know_both_ways_to_write_a_delay() -> None:
    after: dict[str, Any] = schema()["$defs"]["Hedge"]["properties"]["after"]
    assert "p95" in after["pattern"]
