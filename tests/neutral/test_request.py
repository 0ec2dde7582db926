"""What a client may ask, in no dialect."""

from __future__ import annotations

import pytest

from gateway.neutral.request import (
    CustomTool,
    Data,
    Document,
    FunctionTool,
    HostedTool,
    Image,
    Part,
    Reasoning,
    Refusal,
    Request,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)


def request(*parts: Part, system: tuple[Text, ...] = (), tools: tuple[Tool, ...] = ()) -> Request:
    return Request("m", (Turn(Role.USER, parts),), system=system, tools=tools)


def test_an_estimate_is_a_quarter_of_the_characters() -> None:
    """mapping.md §7.2: characters / 4 over system, messages and tools, rounded down."""
    assert request(Text("x" * 40)).estimate_tokens() == 10
    assert request(Text("x" * 43)).estimate_tokens() == 10


@pytest.mark.parametrize(
    "part",
    [
        Text("x" * 400),
        Reasoning("x" * 400),
        Refusal("x" * 400),
        ToolCall("id", "f" * 40, "x" * 360),
        ToolResult("id", (Text("x" * 200), Text("x" * 200))),
    ],
    ids=lambda part: type(part).__name__,
)
def test_every_part_with_text_counts(part: Part) -> None:
    """A tool's result counts through its parts, once."""
    assert request(part).estimate_tokens() == 100


def test_system_text_and_tools_count() -> None:
    assert request(system=(Text("x" * 40), Text("x" * 40))).estimate_tokens() == 20
    assert request(tools=(FunctionTool("f" * 20, "d" * 20),)).estimate_tokens() == 10
    assert request(tools=(CustomTool("f" * 20, "d" * 20),)).estimate_tokens() == 10
    assert request(tools=(HostedTool("openai", "f" * 40, {}),)).estimate_tokens() == 10
    schema = {"type": "object", "properties": {"x" * 100: {"type": "string"}}}
    assert request(tools=(FunctionTool("f", schema=schema),)).estimate_tokens() > 25


def test_an_estimate_is_never_zero() -> None:
    """Clients take a zero for an empty context."""
    assert request().estimate_tokens() == 1


def test_what_has_no_characters_costs_a_flat_figure_whatever_its_bytes() -> None:
    """Pitfall 120: a picture is never free, and its base64 is no text."""
    small, large = (request(Image(Data("image/png", "x" * size))).estimate_tokens() for size in (4, 4_000_000))
    assert small == large == 1500
    assert request(Document(Data("application/pdf", "x" * 4))).estimate_tokens() == 3000
    assert request(Document(Data("text/plain", "x"), text="x" * 40)).estimate_tokens() == 10


def test_text_beyond_ascii_has_more_tokens_than_a_quarter_of_its_characters() -> None:
    assert request(Text("潮" * 40)).estimate_tokens() == 30


def test_a_field_is_called_by_its_name_at_the_client() -> None:
    named = Request("m", (), names={"max_tokens": "max_completion_tokens"})
    assert named.name_of("max_tokens") == "max_completion_tokens"
    assert named.name_of("seed") == "seed"


def test_parts_are_those_of_all_turns_with_tool_results_opened() -> None:
    result = ToolResult("id", (Text("b"), Text("c")))
    turns = (Turn(Role.USER, (Text("a"), result)), Turn(Role.ASSISTANT, (Text("d"),)))
    assert list(Request("m", turns).parts()) == [Text("a"), result, Text("b"), Text("c"), Text("d")]


def test_where_a_part_came_from_is_no_part_of_its_value() -> None:
    """Two dialects that say the same are equal, though their wire paths differ."""
    assert Text("a", where="messages.0.content") == Text("a", where="input.0")
    assert Turn(Role.USER, (), where="x") == Turn(Role.USER, (), where="y")
    assert Request("m", (), names={"n": "x"}) == Request("m", ())


def test_unset_is_none_or_empty_never_a_default() -> None:
    """What a client did not say isn't said upstream."""
    plain = Request("m", ())
    assert [plain.max_tokens, plain.temperature, plain.n, plain.seed, plain.tool_choice] == [None] * 5
    assert [*plain.stop, *plain.tools, *plain.system] == []
    assert (plain.stream, plain.include_usage, plain.prefill) == (False, False, False)
