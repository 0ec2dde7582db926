"""What the simulator says by name."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import orjson
import pytest

from gateway.neutral.events import BlockKind, Event, ReasoningDelta, Usage
from gateway.neutral.request import (
    Audio,
    ChoiceMode,
    Data,
    Document,
    FileRef,
    FunctionTool,
    Image,
    JsonObjectFormat,
    JsonSchemaFormat,
    Part,
    Role,
    Text,
    ToolChoice,
    ToolResult,
    Turn,
    Url,
)
from gateway.simulator.sayings import SAYS
from gateway.simulator.script import Say, Script, play, read
from tests.simulator.conversation import answer, ask, brought_back

PNG = b"\x89PNG\r\n\x1a\n"
PNG_64 = base64.b64encode(PNG).decode()
DIGEST = hashlib.sha256(PNG).hexdigest()[:16]
CITY = FunctionTool("answer", schema={"properties": {"city": {"type": "string"}}, "required": ["city"]})
NOW = FunctionTool("now")


def events(script: Script, text: str = "a b") -> list[Event]:
    return [event for step in play(script, ask(text)) if isinstance(step, Say) for event in step.events]


@pytest.mark.parametrize("say", SAYS)
def test_everything_it_says_obeys_the_grammar_and_can_be_asked_for(say: str) -> None:
    assert read(f"say={say}").say == say
    assert answer(say, ask("hello", tools=(CITY,)), "anthropic").blocks


def test_reasoning_comes_before_the_answer_and_is_known_again() -> None:
    first = answer("reasoning", ask("hello"), "anthropic")
    assert [block.kind for block in first.blocks] == [BlockKind.REASONING, BlockKind.TEXT]
    assert first.blocks[0].signature is not None
    assert first.text() == "You said: hello\nCame back: 0 of 0 thoughts, 0 of 0 seals."
    request = ask("hello")
    turns = (*request.turns, brought_back(first), Turn(Role.USER, (Text("go on"),)))
    second = answer("reasoning", replace(request, turns=turns), "anthropic")
    assert second.text() == "You said: go on\nCame back: 1 of 1 thoughts, 1 of 1 seals."


def test_reasoning_has_no_seal_where_the_api_makes_none() -> None:
    assert answer("reasoning", ask("hello")).blocks[0].signature is None


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (Image(Data("image/png", PNG_64)), f"an image, image/png of 8 bytes, sha256 {DIGEST}"),
        (Image(Url("https://example.com/a.png")), "an image, at https://example.com/a.png"),
        (Image(FileRef("file_1")), "an image, file file_1"),
        (Image(Data("image/png", "x")), "an image, image/png, which is no base64"),
        (Document(Data("application/pdf", PNG_64)), f"a document, application/pdf of 8 bytes, sha256 {DIGEST}"),
        (Document(text="plain words"), "a document, plain words"),
        (Audio("audio/wav", PNG_64), f"audio, audio/wav of 8 bytes, sha256 {DIGEST}"),
        (ToolResult("call", (Image(Data("image/png", PNG_64)),)), f"an image, image/png of 8 bytes, sha256 {DIGEST}"),
    ],
)
def test_it_tells_what_it_sees(part: Part, told: str) -> None:
    request = replace(ask(), turns=(Turn(Role.USER, (Text("look"), part)),))
    assert answer("image", request).text() == f"I see {told}."


def test_it_sees_nothing_where_there_is_nothing() -> None:
    assert answer("image", ask()).text() == "I see nothing."


def test_json_matches_the_schema() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "degrees": {"type": "number"}}}
    text = answer("json", ask(output=JsonSchemaFormat(schema))).text()
    assert orjson.loads(text) == {"city": "Oslo", "degrees": 1.5}
    assert answer("auto", ask(output=JsonSchemaFormat(schema))).text() == text
    assert orjson.loads(answer("json", ask(output=JsonObjectFormat())).text()) == {"answer": "You said: hello"}


def test_a_schema_may_be_told_in_words() -> None:
    told = (
        Text("Answer with JSON. Its schema:"),
        Text('{no schema\n{"properties":{"city":{"type":"string"}}}\nThanks.'),
    )
    assert orjson.loads(answer("json", ask(output=JsonObjectFormat(), system=told)).text()) == {"city": "Oslo"}
    assert orjson.loads(answer("json", ask(system=(Text("{no schema"),))).text()) == {"answer": "You said: hello"}


def test_only_a_tool_of_the_choice_is_called() -> None:
    named = ToolChoice(ChoiceMode.NAMED, ("answer",))
    for output in (None, JsonObjectFormat()):
        (block,) = answer("json", ask(tools=(NOW, CITY), tool_choice=named, output=output)).blocks
        assert (block.name, block.text) == ("answer", '{"city":"Oslo"}')
    none = ToolChoice(ChoiceMode.NONE)
    assert answer("tools", ask(tools=(NOW,), tool_choice=none)).text() == "You said: hello"


def test_reasoning_and_cached_tokens_are_counted() -> None:
    said = events(read("say=reasoning&cache_read=1000&cache_write=100"))
    usage = [event for event in said if isinstance(event, Usage)][-1]
    assert (usage.input, usage.cache_read, usage.cache_write) == (1102, 1000, 100)
    assert usage.reasoning == sum(isinstance(event, ReasoningDelta) for event in said)
    assert usage.output is not None
    assert usage.output > usage.reasoning > 0


def test_counts_that_nobody_asked_for_are_unknown() -> None:
    usage = [event for event in events(Script()) if isinstance(event, Usage)][-1]
    assert (usage.cache_read, usage.cache_write, usage.reasoning) == (None, None, None)
