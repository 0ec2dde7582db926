"""Which requests belong together, and to whom."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from gateway.config.balance import Balance
from gateway.neutral.request import (
    Audio,
    Data,
    Document,
    FileRef,
    FunctionTool,
    Image,
    Part,
    Request,
    Role,
    SearchResult,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    Url,
)
from gateway.routing.affinity import attraction, beginning, key, key_of

LIMIT = 1024
TOOLS = (FunctionTool("look_up", schema={"type": "object"}), FunctionTool("note"))


def user(*parts: Part) -> Turn:
    return Turn(Role.USER, parts)


def assistant(*parts: Part) -> Turn:
    return Turn(Role.ASSISTANT, parts)


def asked(question: str, **further: object) -> Request:
    request = Request("m", (user(Text(text=question)),), system=(Text(text="Be brief."),), tools=TOOLS)
    return replace(request, **further)  # type: ignore[arg-type]


# --- the beginning of a conversation ---


def test_the_beginning_stays_while_the_conversation_grows() -> None:
    turns = [user(Text(text="What is a haiku?"))]
    seen = set()
    for step in range(20):
        seen.add(beginning(asked("", turns=tuple(turns)), LIMIT))
        call = ToolCall(id=f"c{step}", name="note", arguments="{}")
        turns += [
            assistant(Text(text=f"Answer {step}"), call),
            user(ToolResult(call_id=f"c{step}"), Text(text="Go on")),
        ]
    assert len(seen) == 1


@pytest.mark.parametrize(
    "other",
    [
        asked("What is a sonnet?"),
        asked("What is a haiku?", system=(Text(text="Be verbose."),)),
        asked("What is a haiku?", system=()),
        asked("What is a haiku?", tools=TOOLS[:1]),
        asked("What is a haiku?", tools=()),
    ],
)
def test_another_beginning_is_another_key(other: Request) -> None:
    assert beginning(other, LIMIT) != beginning(asked("What is a haiku?"), LIMIT)


@pytest.mark.parametrize(
    "other",
    [
        asked("What is a haiku?", model="another", temperature=0.3, max_tokens=9, stream=True, user_id="u"),
        asked("What is a haiku?", tools=tuple(replace(tool, description="later") for tool in TOOLS)),
        asked("", turns=(user(Text(text="What is a haiku?", cache={"type": "ephemeral"})),)),
        asked("", turns=(Turn(Role.SYSTEM, (Text(text="Now:"),)), user(Text(text="What is a haiku?")))),
    ],
)
def test_what_is_no_part_of_the_beginning_changes_nothing(other: Request) -> None:
    assert beginning(other, LIMIT) == beginning(asked("What is a haiku?"), LIMIT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Image(source=Url("https://x/1.png")), Image(source=Url("https://x/2.png"))),
        (Image(source=Data("image/png", "AAAA")), Image(source=Data("image/png", "BBBB"))),
        (Image(source=FileRef("file_1")), Image(source=FileRef("file_2"))),
        (Audio(mime="audio/wav", base64="AAAA"), Audio(mime="audio/wav", base64="BBBB")),
        (Document(text="one"), Document(text="other")),
        (Document(source=Data("application/pdf", "AAAA")), Document(source=Data("application/pdf", "BBBB"))),
        (Document(parts=(Text(text="one"),)), Document(parts=(Text(text="other"),))),
        (ToolResult(call_id="c", parts=(Text(text="one"),)), ToolResult(call_id="c", parts=(Text(text="other"),))),
        (
            SearchResult(source="s", title="t", parts=(Text(text="one"),)),
            SearchResult(source="s", title="t", parts=(Text(text="other"),)),
        ),
    ],
    ids=lambda part: type(part).__name__,
)
def test_every_kind_of_part_sets_conversations_apart(one: Part, other: Part) -> None:
    keys = {beginning(Request("m", (user(part, Text(text="Look")),)), LIMIT) for part in (one, other)}
    assert len(keys) == 2


def test_the_same_text_elsewhere_is_another_beginning() -> None:
    """Sections and pieces don't run into each other."""
    text = (Text(text="ab"),)
    requests = (
        Request("m", (user(*text),)),
        Request("m", (), system=text),
        Request("m", (user(Text(text="a"), Text(text="b")),)),
        Request("m", (), tools=(FunctionTool("ab"),)),
    )
    assert len({beginning(request, LIMIT) for request in requests}) == 4


def test_only_so_much_is_read_of_each_section() -> None:
    long = "x" * LIMIT
    same = {beginning(asked(long + end, system=(Text(text=long + end),)), LIMIT) for end in ("", "a", "b" * 99)}
    assert len(same) == 1
    apart = {beginning(asked(question, system=(Text(text=long * 9),)), LIMIT) for question in ("a", "b")}
    assert len(apart) == 2, "a long system prompt must not make all conversations one"


@pytest.mark.parametrize("text", ["é" * LIMIT, "\ud800" * LIMIT, "😀" * LIMIT])
def test_any_text_can_begin_a_conversation(text: str) -> None:
    assert beginning(asked(text), LIMIT) == beginning(asked(text + "more"), LIMIT)


def test_a_client_that_names_what_shares_a_cache_is_believed() -> None:
    keys = {beginning(asked(question, cache_key="session-1"), LIMIT) for question in ("a", "b")}
    assert keys == {key_of("session-1")}


def test_where_nothing_is_said_there_is_no_key() -> None:
    assert beginning(Request("m", (assistant(Text(text="Well,")),)), LIMIT) == b""


# --- which key a balance goes by ---


@pytest.mark.parametrize(
    ("balance", "expected"),
    [
        ("weighted", b""),
        ("least_in_flight", b""),
        ("fastest", b""),
        ("prefix", beginning(asked("Hi"), 16 * 1024)),
        ({"sticky": "user"}, key_of("u-1")),
        ({"sticky": {"header": "X-Session"}}, key_of("s-1")),
        ({"sticky": {"header": "x-other"}}, b""),
    ],
)
def test_each_balance_has_its_key(balance: object, expected: bytes) -> None:
    found = key(Balance.model_validate(balance), asked("Hi", user_id="u-1"), {"x-session": "s-1"})
    assert found == expected


def test_a_request_without_user_has_no_session() -> None:
    assert key(Balance.model_validate({"sticky": "user"}), asked("Hi"), {}) == b""


# --- whom a key belongs to ---


def owner(number: int, weights: dict[str, int]) -> str:
    of = key_of(f"session {number}")
    return max(weights, key=lambda name: attraction(of, name, weights[name]))


MANY = range(4000)


@pytest.mark.parametrize("weights", [{"a": 1, "b": 1, "c": 1, "d": 1}, {"a": 1, "b": 7, "c": 2}])
def test_keys_are_shared_by_weight(weights: dict[str, int]) -> None:
    owned = Counter(owner(number, weights) for number in MANY)
    for name, weight in weights.items():
        assert owned[name] / len(MANY) == pytest.approx(weight / sum(weights.values()), abs=0.03)


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_a_new_target_takes_its_share_and_nothing_else_moves(count: int) -> None:
    old = {f"t{index}": 1 for index in range(count)}
    new = {**old, "added": 1}
    moved = [number for number in MANY if owner(number, old) != owner(number, new)]
    assert all(owner(number, new) == "added" for number in moved)
    assert len(moved) / len(MANY) == pytest.approx(1 / (count + 1), abs=0.03)


def test_a_target_that_goes_leaves_its_keys_to_all_others() -> None:
    old = {"a": 1, "b": 1, "c": 1, "d": 1}
    new = {name: weight for name, weight in old.items() if name != "a"}
    heirs = Counter(owner(number, new) for number in MANY if owner(number, old) == "a")
    assert all(owner(number, new) == owner(number, old) for number in MANY if owner(number, old) != "a")
    assert max(heirs.values()) < 1.3 * min(heirs.values())


def test_a_heavier_weight_only_attracts() -> None:
    old, new = {"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 1, "c": 1}
    assert all(owner(number, new) in (owner(number, old), "a") for number in MANY)


def test_keys_are_the_same_in_every_process() -> None:
    """`hash()` would differ from worker to worker, and from start to start."""
    code = (
        "from gateway.routing.affinity import attraction, key_of;"
        "print(key_of('s').hex(), attraction(key_of('s'), 'a', 3))"
    )
    here = f"{key_of('s').hex()} {attraction(key_of('s'), 'a', 3)}"
    for seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here
