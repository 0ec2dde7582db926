"""YAML text → plain values with lines, references filled in, bombs refused."""

from __future__ import annotations

import pytest

from gateway.config.settings_file import MAX_FILE_BYTES, ConfigError, Problem, Settings, meant, read, spelled


def settings(text: str | bytes, **environ: str) -> Settings:
    return read(text, "routes.yaml", environ)


def refusal(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings(text)
    return caught.value.messages


def flaws(text: str, **environ: str) -> list[str]:
    return [problem.told("routes.yaml") for problem in settings(text, **environ).problems]


def test_every_scalar_stays_the_text_that_was_written() -> None:
    read_as_text = settings("a: {4.10: 4.10, no: no, t: 2024-01-01, n: 1:30, x: 0x1F, s: '7', e: ''}").values
    assert read_as_text == {
        "a": {"4.10": "4.10", "no": "no", "t": "2024-01-01", "n": "1:30", "x": "0x1F", "s": "7", "e": ""}
    }


def test_what_has_no_schema_is_read_as_json_would_have_it() -> None:
    text = "a: {i: 4, f: -0.5, e: 1e3, t: true, n: ~, s: x, l: [1, {k: false}], no: no, big: 1e999, v: 1.2.3, z: 007}"
    assert meant(settings(text).values) == {
        "a": {
            **{"i": 4, "f": -0.5, "e": 1000.0, "t": True, "n": None, "s": "x", "l": [1, {"k": False}]},
            **{"no": "no", "big": "1e999", "v": "1.2.3", "z": "007"},
        }
    }


def test_quotes_keep_text_text() -> None:
    assert meant(settings("a: '4'\nb: \"true\"\nc: |-\n  5\nd: ${N}", N="6").values) == {
        "a": "4",
        "b": "true",
        "c": "5",
        "d": 6,
    }


def test_what_is_left_empty_is_none() -> None:
    assert settings("a:\nb: ~\nc: null\nd: 'null'").values == {"a": None, "b": None, "c": None, "d": "null"}


def test_every_place_knows_its_line() -> None:
    lines = settings("# hello\na:\n  b: [x, y]\n  c:\n    - z\n    - {k:\n         v}\n").lines
    assert lines == {
        (): 1,
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "b", 0): 3,
        ("a", "b", 1): 3,
        ("a", "c"): 4,
        ("a", "c", 0): 5,
        ("a", "c", 1): 6,
        ("a", "c", 1, "k"): 6,
    }


def test_a_place_that_is_not_written_is_known_by_the_nearest_around_it() -> None:
    known = settings("a:\n  b: [x]\n").known
    assert known(("a", "b", 0, "deeper", 3)) == ("a", "b", 0)
    assert known(("z", "b")) == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${NAME}", "Ada"),
        ("hello ${NAME}, ${NAME}!", "hello Ada, Ada!"),
        ("${ABSENT:-nobody}", "nobody"),
        ("${EMPTY:-nobody}", "nobody"),
        ("${ABSENT:-}", ""),
        ("${NAME:-nobody}", "Ada"),
        ("$${NAME}", "${NAME}"),
        ("$$$$", "$$"),
        ("$NAME costs 5$", "$NAME costs 5$"),
        ("${SNEAKY}", "${NAME}"),
    ],
)
def test_references_come_from_the_environment(text: str, value: str) -> None:
    found = settings(f"a: '{text}'", NAME="Ada", EMPTY="", SNEAKY="${NAME}")
    assert found.values == {"a": value}
    assert found.problems == ()


def test_only_values_that_hold_a_reference_count_as_foreign() -> None:
    found = settings("a: x\nb: $$\nc: '${NAME}'\nd: ['${ABSENT:-x}']", NAME="Ada")
    assert found.from_environment == {("c",), ("d", 0)}


def test_names_are_not_filled_in() -> None:
    assert settings("'${NAME}': x", NAME="Ada").values == {"${NAME}": "x"}


def test_every_missing_variable_is_named_with_its_line_and_path() -> None:
    assert flaws("a:\n  b: '${ONE} ${TWO}'\n  c:\n    - '${THREE}'", TWO="") == [
        "routes.yaml:2: a.b: environment variable ONE is not set; export it, or write ${ONE:-DEFAULT}",
        "routes.yaml:2: a.b: environment variable TWO is empty; write ${TWO:-} if that is meant",
        "routes.yaml:4: a.c[0]: environment variable THREE is not set; export it, or write ${THREE:-DEFAULT}",
    ]


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A-b}", "${A:-${B}}", "${A"])
def test_a_malformed_reference_is_refused_without_repeating_it(text: str) -> None:
    assert flaws(f"a: 'secret{text}'", A="x", B="y")[0] == (
        "routes.yaml:1: a: ${ without a name and }; write ${NAME}, ${NAME:-default}, or $$ for a dollar"
    )


def test_a_reference_without_quotes_in_braces_is_explained() -> None:
    assert refusal("a: 1\nb: {key: ${KEY}}") == ['routes.yaml:2: inside { } a reference needs quotes, like "${NAME}"']


def test_a_name_given_twice_is_refused_at_its_second_place() -> None:
    assert flaws("a:\n  b: 1\n  c: 2\n  b: 3") == ["routes.yaml:4: a.b: given twice, first on line 2"]
    assert settings("a: 1\na: 2").values == {"a": "1"}


def test_a_name_that_is_no_text_is_refused() -> None:
    assert flaws("a: {[x]: 1}") == ["routes.yaml:1: a: a name must be text, not a list"]


ALIASES = "routes.yaml:2: anchors and aliases are not accepted; write it out"
TAGS = "routes.yaml:2: tags are not accepted; every value is plain text"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: &x [lol, lol]\nc: [*x, *x, *x]", ALIASES),
        ("a: 1\nb: *x", ALIASES),
        ("a: 1\n<<: &x {}", ALIASES),
        ("a: 1\nb: &x [*x]", ALIASES),
        ("a: 1\nb: !!python/object/apply:os.system [id]", TAGS),
        ("a: 1\nb: !secret x", TAGS),
        ("a: 1\nb: !!int 4", TAGS),
        ("a: 1\nb: " + "[" * 40 + "]" * 40, "routes.yaml:2: nested deeper than 32 levels"),
        ("a: 1\nb: " + "[" * 5000, "routes.yaml:2: nested deeper than 32 levels"),
    ],
)
def test_bombs_are_refused_before_they_grow(text: str, message: str) -> None:
    assert refusal(text) == [message]


def test_a_file_up_to_the_limit_is_read_and_no_larger_one() -> None:
    filler = b"a: 1\n#"
    assert settings(filler + b"x" * (MAX_FILE_BYTES - len(filler))).values == {"a": "1"}
    assert refusal(filler + b"x" * (MAX_FILE_BYTES - len(filler) + 1)) == [
        "routes.yaml: larger than the limit of 1048576 bytes"
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [("", "an empty file"), ("# only", "an empty file"), ("[1]", "a list"), ("hello", "a single value")],
)
def test_a_file_that_is_no_mapping_is_refused(text: str, what: str) -> None:
    assert refusal(text) == [f"routes.yaml:1: expected a mapping with upstreams and routes, not {what}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [", "while parsing a flow node expected the node content, but found '<stream end>'"),
        ("a:\n\t- b", "while scanning for the next token found character '\\t' that cannot start any token"),
        ("a: 1\n---\nb: 2", "expected a single document in the stream but found another document"),
        ("a: 1\nb: \x01", "a control character, which YAML doesn't allow"),
        (b"a: 1\nb: \xff", "not UTF-8 at byte 8"),
        ("a: 1\nb: \udc80", "not UTF-8 at byte 8"),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line(text: str | bytes, message: str) -> None:
    assert refusal(text) == [f"routes.yaml:2: {message}"]


def test_a_byte_order_mark_and_foreign_line_ends_are_accepted() -> None:
    assert settings(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n").lines == {(): 1, ("a",): 1, ("b",): 2}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("routes", "deepseek", "targets", 1, "upstream"), "routes.deepseek.targets[1].upstream"),
        (("routes", "claude-*"), "routes.claude-*"),
        (("routes", "gpt-4.1", "targets"), 'routes."gpt-4.1".targets'),
        (("routes", 'a "b"\n'), 'routes."a \\"b\\"\\n"'),
    ],
)
def test_paths_are_spelled_as_people_write_them(path: tuple[str | int, ...], text: str) -> None:
    assert spelled(path) == text


def test_a_message_is_one_printable_line() -> None:
    told = Problem(3, ("a",), "no \x1b[31m\r\n\u202e here").told("routes.yaml")
    assert told == "routes.yaml:3: a: no ?[31m??? here"
