"""`balance:` of a route: how it may be written, and what makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config import ConfigError, parse, schema
from gateway.config.balance import Fastest, LeastInFlight, Prefix, Sticky, Way, Weighted

BOTH = "[{upstream: a}, {upstream: b}]"


def text(balance: str, targets: str = BOTH) -> str:
    simulated = "{dialect: openai, url: 'simulator://'}"
    upstreams = f"upstreams: {{a: {simulated}, b: {simulated}}}"
    return f"{upstreams}\nroutes:\n  demo:\n    targets: {targets}\n    balance: {balance}\n"


WRITTEN: list[tuple[str, Way]] = [
    ("weighted", Weighted()),
    ("least_in_flight", LeastInFlight()),
    ("fastest", Fastest()),
    ("prefix", Prefix(max_load=1.25, read=16 * 1024)),
    ("{prefix: {max_load: 2, read: 1KiB}}", Prefix(max_load=2, read=1024)),
    ("{prefix: }", Prefix()),
    ("{sticky: user}", Sticky.model_validate("user")),
    ("{sticky: {header: X-Session-Id}}", Sticky(header="x-session-id")),
]


@pytest.mark.parametrize(("written", "way"), WRITTEN)
def test_a_balance_is_a_name_or_a_name_with_settings(written: str, way: Way) -> None:
    assert parse(text(written), "routes.yaml", {}).routes["demo"].balance.way == way


def test_without_a_word_weights_decide() -> None:
    simple = "upstreams: {a: {dialect: openai, url: 'simulator://'}}\nroutes: {demo: a}"
    assert parse(simple, "routes.yaml", {}).routes["demo"].balance.is_by_weight


@pytest.mark.parametrize(("written", "_"), WRITTEN)
def test_what_is_told_of_a_balance_can_be_written_again(written: str, _: Way) -> None:
    balance = parse(text(written), "routes.yaml", {}).routes["demo"].balance
    told = balance.model_dump()
    assert type(balance).model_validate(told) == balance


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("fastst", '.balance: "fastst": no way to balance; did you mean "fastest"?'),
        ("{fastst: }", '.balance.fastst: unknown setting; did you mean "fastest"?'),
        ("{fastest: , prefix: }", ".balance: expected one way to balance, one of weighted, least_in_flight, fastest, "),
        ("{}", ".balance: expected one way to balance"),
        ("[fastest]", ".balance: expected a mapping, not a list"),
        ("", ".balance: expected a mapping, not nothing"),
        ("{prefix: {max_load: 1}}", ".balance.prefix.max_load: must be at least 1.05, not 1"),
        ("{prefix: {max_load: 11}}", ".balance.prefix.max_load: must be at most 10, not 11"),
        ("{prefix: {read: 16}}", ".balance.prefix.read: 16: a size needs a unit"),
        ("{prefix: 3}", ".balance.prefix: expected a mapping"),
        ("{fastest: {decay: 1s}}", ".balance.fastest.decay: unknown setting"),
        ("sticky", ".balance: sticky goes by `user` or by a header; write sticky: user, or"),
        ("{sticky: }", ".balance.sticky: sticky goes by `user` or by a header"),
        ("{sticky: session}", ".balance.sticky: sticky goes by `user` or by a header"),
        ("{sticky: {header: }}", ".balance.sticky: sticky goes by `user` or by a header"),
        (
            "{sticky: {header: x session}}",
            '.balance.sticky.header: "x session": not the name of a header; write it',
        ),
        ('{sticky: {header: ""}}', '.balance.sticky.header: "": not the name of a header'),
        ("{sticky: {header: 'x-é'}}", ".balance.sticky.header: "),
    ],
)
def test_a_wrong_balance_is_refused_with_its_path(written: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text(written), "routes.yaml", {})
    assert "routes.demo" + complaint in caught.value.messages[-1]


@pytest.mark.parametrize("targets", ["[{upstream: a}]", "[{upstream: a}, {upstream: b, weight: 0}]"])
@pytest.mark.parametrize("written", ["least_in_flight", "fastest", "prefix", "{sticky: user}"])
def test_one_target_leaves_nothing_to_balance(written: str, targets: str) -> None:
    with pytest.raises(ConfigError, match=r"routes\.demo\.balance: \w+ needs two targets with a weight above 0"):
        parse(text(written, targets), "routes.yaml", {})


def test_a_weight_that_means_nothing_is_refused() -> None:
    targets = "[{upstream: a}, {upstream: b, weight: 3}]"
    with pytest.raises(ConfigError, match=r"routes\.demo\.targets\[1\]\.weight: fastest heeds no weights"):
        parse(text("fastest", targets), "routes.yaml", {})
    for written in ("weighted", "least_in_flight", "prefix", "{sticky: user}"):
        parse(text(written, targets), "routes.yaml", {})


def test_a_target_may_stand_by_whatever_the_balance() -> None:
    targets = "[{upstream: a, model: x}, {upstream: a, model: y}, {upstream: b, weight: 0}]"
    for written, _ in WRITTEN:
        parse(text(written, targets), "routes.yaml", {})


def test_the_schema_knows_every_way() -> None:
    names, settings = balance_schema()["anyOf"]
    assert names == {"enum": ["weighted", "least_in_flight", "fastest", "prefix"]}
    assert list(settings["properties"]) == ["weighted", "least_in_flight", "fastest", "prefix", "sticky"]
    assert (settings["minProperties"], settings["maxProperties"]) == (1, 1)
    assert settings["additionalProperties"] is False
    assert all(way["description"] for way in settings["properties"].values())


def test_the_schema_takes_a_session_by_user_or_by_header() -> None:
    sticky = next(part for part in balance_schema()["anyOf"][1]["properties"]["sticky"]["anyOf"] if "$ref" in part)
    user, by_header = schema()["$defs"][sticky["$ref"].rpartition("/")[2]]["anyOf"]
    assert user["const"] == "user"
    assert by_header["required"] == ["header"]


def balance_schema() -> dict[str, Any]:
    found: dict[str, Any] = schema()["$defs"]["Balance"]
    return found
