"""What the simulator says, step by step; no clock."""

from __future__ import annotations

import pytest

from gateway.errors import BadRequest
from gateway.neutral.events import ArgsDelta, BlockStart, End, Event, Failed, Finish, Reason, TextDelta, Usage
from gateway.neutral.grammar import Grammar
from gateway.neutral.request import FunctionTool, Request, Role, Text, ToolResult, Turn
from gateway.simulator.sayings import HAIKU
from gateway.simulator.script import FAULTS, Cut, Hang, Pause, Raw, Say, Script, Step, for_request, play, read, tokens


def ask(text: str = "hello", **fields: object) -> Request:
    return Request("sim", (Turn(Role.USER, (Text(text),)),), **fields)  # type: ignore[arg-type]


def said(steps: list[Step]) -> list[Event]:
    return [event for step in steps if isinstance(step, Say) for event in step.events]


def text_of(steps: list[Step]) -> str:
    return "".join(event.text for event in said(steps) if isinstance(event, TextDelta))


def test_a_script_reads_like_a_query_string() -> None:
    assert read("ttft=1.5s&tps=50&say=echo&fault=cut@3") == Script("echo", 1.5, 50, "cut", 3)
    assert read("ttft=250ms").ttft_s == 0.25


def test_a_script_builds_on_another() -> None:
    assert read("tps=5", Script(fault="cut", at=2)) == Script(tps=5, fault="cut", at=2)


@pytest.mark.parametrize(
    "query", ["fault=explode", "fault=cut@x", "tps=-1", "ttft=3", "say=nothing", "colour=red", "x"]
)
def test_an_unknown_setting_is_refused_by_name(query: str) -> None:
    with pytest.raises(BadRequest, match=query.partition("=")[0]):
        read(query)


def test_it_echoes_and_knows_one_haiku() -> None:
    assert text_of(list(play(Script(), ask("good morning")))) == "You said: good morning"
    assert text_of(list(play(Script(), ask("Write a haiku.")))) == HAIKU
    assert text_of(list(play(Script(say="haiku"), ask("good morning")))) == HAIKU


def test_tokens_are_words_and_lose_nothing() -> None:
    assert tokens("a  b\nc ") == ["a  ", "b\n", "c "]
    assert "".join(tokens(HAIKU)) == HAIKU


def test_it_waits_before_the_first_token_and_between_tokens() -> None:
    steps = list(play(Script(ttft_s=2, tps=10), ask("a b c")))
    assert [step.seconds for step in steps if isinstance(step, Pause)] == [2, 0.1, 0.1, 0.1, 0.1]


def test_it_stops_at_max_tokens_and_says_so() -> None:
    events = said(list(play(Script(), ask("a b c d", max_tokens=2))))
    assert Finish(Reason.LENGTH) in events
    assert sum(isinstance(event, TextDelta) for event in events) == 2


def test_it_counts_its_tokens() -> None:
    usages = [event for event in said(list(play(Script(), ask("a b")))) if isinstance(event, Usage)]
    assert usages[-1].output == 4


def test_it_calls_every_tool_once_then_speaks_of_the_results() -> None:
    tools = (FunctionTool("weather", schema={"properties": {"city": {"type": "string"}}}), FunctionTool("now"))
    events = said(list(play(Script(), ask(tools=tools))))
    assert [event.name for event in events if isinstance(event, BlockStart)] == ["weather", "now"]
    fragments = "".join(event.fragment for event in events if isinstance(event, ArgsDelta))
    assert fragments == '{"city":"Oslo"}{}'
    assert Finish(Reason.TOOL_CALLS) in events

    results = Turn(Role.USER, (ToolResult("a", (Text("12 degrees"),)), ToolResult("b", (Text("noon"),))))
    answered = Request("sim", (*ask().turns, results), tools=tools)
    assert text_of(list(play(Script(), answered))) == "The tools said: 12 degrees; noon"


@pytest.mark.parametrize(
    ("fault", "last"),
    [("cut@2", Cut()), ("stall@2", Hang()), ("bad_json@2", Hang()), ("close@2", None), ("error@2", None)],
)
def test_a_fault_comes_after_its_token(fault: str, last: Step | None) -> None:
    steps = list(play(read(f"fault={fault}"), ask("a b c d")))
    assert sum(isinstance(event, TextDelta) for event in said(steps)) == 2
    assert not any(isinstance(event, Finish | End) for event in said(steps))
    if last is not None:
        assert steps[-1] == last


def test_an_error_is_an_event_and_a_bad_frame_is_bytes() -> None:
    assert isinstance(said(list(play(read("fault=error@1"), ask("a b"))))[-1], Failed)
    assert any(isinstance(step, Raw) for step in play(read("fault=bad_json@1"), ask("a b")))


def test_no_done_ends_without_the_end() -> None:
    events = said(list(play(read("fault=no_done"), ask())))
    assert any(isinstance(event, Finish) for event in events)
    assert End() not in events


@pytest.mark.parametrize("fault", ["", *(name for name in FAULTS if name not in ("endless", "endless_line"))])
def test_what_it_says_obeys_the_grammar(fault: str) -> None:
    grammar = Grammar()
    for event in said(list(play(Script(fault=fault, at=1), ask("a b c")))):
        grammar.check(event)


def test_a_fault_of_streams_alone_spares_whole_answers() -> None:
    script = read("fault=error@1&when=stream")
    assert for_request(script, ask(stream=True)).fault == "error"
    assert for_request(script, ask()).fault == ""
    assert for_request(read("fault=error@1"), ask()).fault == "error"
