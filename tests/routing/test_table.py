"""Model name → route."""

from __future__ import annotations

import pytest

from gateway.config import matches, parse
from gateway.errors import Kind, NoRoute
from gateway.routing.table import Table


def table(*names: str) -> Table:
    routes = "".join(f'  "{name}": s\n' for name in names)
    text = f"upstreams:\n  s: {{dialect: openai, url: 'simulator://'}}\nroutes:\n{routes}"
    return Table(parse(text, "routes.yaml", {}))


def refusal(names: list[str], *configured: str) -> NoRoute:
    with pytest.raises(NoRoute) as caught:
        table(*configured).find(names)
    return caught.value


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("claude-opus", "claude-opus"),
        ("claude-haiku-4", "claude-haiku-*"),
        ("claude-x", "claude-*"),
        ("claude-x-mini", "claude-*"),
        ("gpt-x-mini", "*-mini"),
        ("anything", "*"),
        ("", "*"),
    ],
)
def test_exact_names_win_then_the_longer_literal_part_then_the_star(name: str, route: str) -> None:
    assert table("*", "*-mini", "claude-*", "claude-haiku-*", "claude-opus").find([name])[0].name == route


def test_patterns_of_equal_length_go_by_the_order_of_the_file() -> None:
    assert table("ab*", "*cd").find(["abcd"])[0].name == "ab*"
    assert table("*cd", "ab*").find(["abcd"])[0].name == "*cd"


def test_names_are_tried_in_order_each_against_names_and_patterns() -> None:
    routes = table("haiku", "opus@*", "opus")
    assert routes.find(["opus@staging", "opus"])[0].name == "opus@*"
    assert routes.find(["haiku@staging", "haiku"])[0].name == "haiku"


def test_a_pattern_is_no_name_of_its_own() -> None:
    assert table("claude-*").names == ()
    assert table("b", "claude-*", "a").names == ("b", "a")


def test_a_route_knows_whether_it_is_a_pattern() -> None:
    assert table("claude-*").find(["claude-3"])[0].is_pattern
    assert not table("demo").find(["demo"])[0].is_pattern


def test_a_route_has_what_its_configuration_says() -> None:
    text = """
upstreams: {a: {dialect: openai, url: "simulator://"}, b: {dialect: openai, url: "simulator://"}}
routes: {demo: {targets: [{upstream: a}], fallback: [{upstream: b}], timeouts: {idle: 1s}}}
"""
    route = Table(parse(text, "routes.yaml", {})).find(["demo"])[0]
    assert [target.upstream for target in route.targets] == ["a"]
    assert [target.upstream for target in route.fallback] == ["b"]
    assert route.timeouts.idle == 1
    assert set(route.upstreams) == {"a", "b"}


@pytest.mark.parametrize(
    ("pattern", "name", "is_match"),
    [
        ("abc", "abc", True),
        ("abc", "abcd", False),
        ("*", "", True),
        ("a*", "a", True),
        ("a*", "ba", False),
        ("*a", "ba", True),
        ("*a", "ab", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("ab*bc", "abc", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a*bb*b", "abb", False),
        ("a*bb*b", "abbb", True),
        ("*b*", "abc", True),
        ("*b*", "ac", False),
        ("**", "x", True),
        ("a**c", "abc", True),
        ("a.c*", "abc", False),
        ("[a]*", "a", False),
        ("a?*", "ab", False),
        ("A*", "a", False),
    ],
)
def test_a_star_is_any_text_and_nothing_else_is_special(pattern: str, name: str, is_match: bool) -> None:
    assert matches(pattern, name) is is_match


def test_a_hostile_name_costs_one_pass_per_piece() -> None:
    # A backtracking matcher would need longer than the age of the universe.
    assert not matches("a*" * 60 + "b", "a" * 1_000_000)


def test_an_unknown_model_is_told_the_nearest_name() -> None:
    error = refusal(["dem"], "demo", "deepseek")
    assert error.message == 'no route for model "dem"; did you mean "demo"?'
    assert error.kind is Kind.NOT_FOUND


def test_an_unknown_model_is_told_what_is_configured_but_no_pattern() -> None:
    assert refusal(["gpt-9"], "demo", "deepseek", "claude-*").message == (
        'no route for model "gpt-9"; configured: demo, deepseek'
    )
    assert refusal(["x"], "claude-*").message == 'no route for model "x"; configured: none'
    assert refusal([], "demo").message == 'no route for model ""; configured: demo'


def test_at_most_ten_names_are_listed() -> None:
    configured = [f"route-{letter}" for letter in "abcdefghijk"]
    listed = ", ".join(configured[:10])
    assert refusal(["x"], *configured[:10]).message == f'no route for model "x"; configured: {listed}'
    assert refusal(["x"], *configured).message == f'no route for model "x"; configured: {listed}, …'


def test_a_client_s_text_is_cut_and_made_printable() -> None:
    name = "a\r\n\x1b[31m\u202e\ud800" + "x" * 100
    assert refusal([name], "demo").message == f'no route for model "a???[31m??{"x" * 54}"; configured: demo'


def test_a_pattern_does_not_take_a_version_for_a_name() -> None:
    route, name = table("demo-*").find(["demo-1@staging", "demo-1"], is_versioned=True)
    assert (route.name, name) == ("demo-*", "demo-1")
    with pytest.raises(NoRoute):
        table("demo-*").find(["demo-1@abc123"], is_versioned=True)


def test_a_name_that_only_has_an_at_sign_in_it_is_a_name() -> None:
    assert table("claude-*").find(["claude-3@20240620"])[0].name == "claude-*"


@pytest.mark.parametrize(("written", "is_strict"), [("", False), (", strict: true", True), (", strict: false", False)])
def test_a_route_knows_whether_it_is_strict(written: str, is_strict: bool) -> None:
    upstreams = "upstreams: {s: {dialect: openai, url: 'simulator://'}}"
    text = f"{upstreams}\nroutes: {{a: {{targets: [{{upstream: s}}]{written}}}}}"
    assert Table(parse(text, "routes.yaml", {})).find(["a"])[0].is_strict is is_strict
