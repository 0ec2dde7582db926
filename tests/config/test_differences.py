"""What a reload changed, by name."""

from __future__ import annotations

from gateway.config import differences, parse

BEFORE = """
server: {drain: 30s}
upstreams:
  one: {dialect: openai, url: "http://one/v1", key: sk-canary}
  two: {dialect: openai, url: "http://two/v1"}
routes: {"a-*": one, "*-b": two, plain: one}
"""


def changed(*replacements: tuple[str, str]) -> tuple[str, ...]:
    text = BEFORE
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return differences(parse(BEFORE, "before", {}), parse(text, "after", {}))


def test_what_means_the_same_is_no_difference() -> None:
    assert changed() == ()
    assert changed(("30s", "30000ms"), ("plain: one", "plain: {targets: [{upstream: one, weight: 1}]}")) == ()


def test_everything_is_named_and_nothing_quoted() -> None:
    third = ('"http://two/v1"}', '"http://two/v1"}\n  x: {dialect: openai, url: "http://x"}')
    assert changed(("30s", "5s"), ("sk-canary", "sk-other"), third, ("plain: one", "other: one")) == (
        "changed server.drain",
        "changed upstreams.one",
        "new upstreams.x",
        "gone routes.plain",
        "new routes.other",
    )


def test_the_order_of_routes_counts_as_it_decides_between_patterns() -> None:
    assert changed(('"a-*": one, "*-b": two', '"*-b": two, "a-*": one')) == ("the order of routes",)
