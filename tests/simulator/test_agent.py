"""The model that acts: its steps, the tools it takes for them, and what it finds intact in a history."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.neutral.events import BlockKind, Reason
from gateway.neutral.request import (
    ChoiceMode,
    CustomTool,
    FunctionTool,
    Image,
    JsonSchemaFormat,
    OpaqueValue,
    Reasoning,
    ReasoningRequest,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    Url,
)
from gateway.simulator import thoughts
from gateway.simulator.agent import told
from tests.simulator.conversation import answer, ask, brought_back, continued, converse, ran

BASH = FunctionTool("Bash", schema={"properties": {"command": {"type": "string"}}})
READ = FunctionTool("Read", schema={"properties": {"file_path": {"type": "string"}}})
WEATHER = FunctionTool("get_weather", schema={"properties": {"city": {"type": "string"}}})
THINKING = ReasoningRequest("on")
TASK = "Do this:\nstep run echo a\nstep run echo b\nwith read /tmp/c\n"


def acts(text: str, *tools: Tool) -> list[list[tuple[str, Any]]]:
    return [[(act.tool, act.text) for act in step] for step in told(ask(text, tools=tools))]


def arguments(text: str, *tools: Tool) -> tuple[str, Any]:
    ((name, found),) = acts(text, *tools)[0]
    return name, orjson.loads(found)


@pytest.mark.parametrize(
    ("step", "tool", "expected"),
    [
        ("step run ls", BASH, {"command": "ls", "description": "A step"}),
        ("step run ls", FunctionTool("exec_command"), {"cmd": "ls"}),
        ("step run ls", FunctionTool("shell"), {"command": ["bash", "-lc", "ls"]}),
        ("step read /a b", FunctionTool("exec_command"), {"cmd": "cat '/a b'"}),
        ("step write /a one two", FunctionTool("Write"), {"file_path": "/a", "content": "one two\n"}),
        ("step write /a it's", FunctionTool("exec_command"), {"cmd": "printf %s 'it'\"'\"'s\n' > /a"}),
        ('step call get_weather {"city": "Oslo"}', WEATHER, {"city": "Oslo"}),
        ('step call close {"target": "x"}', FunctionTool("agents__close"), {"target": "x"}),
        ('step call close {"target": "x"}', FunctionTool("close", namespace="agents"), {"target": "x"}),
    ],
)
def test_a_step_becomes_a_call_of_the_tool_that_was_declared(step: str, tool: FunctionTool, expected: Any) -> None:
    assert arguments(step, tool) == (tool.name, expected)


def test_a_patch_is_free_text_or_one_input() -> None:
    patch = "*** Begin Patch\n*** Add File: a.txt\n+one\n*** End Patch\n"
    assert acts("step patch a.txt one", CustomTool("apply_patch")) == [[("apply_patch", patch)]]
    assert arguments("step patch a.txt one", FunctionTool("apply_patch")) == ("apply_patch", {"input": patch})


def test_a_tool_of_a_namespace_is_called_in_it() -> None:
    tool = FunctionTool("close", namespace="agents")
    answers = converse("agent", ask("step call close {}", tools=(tool,)))
    assert [block.namespace for block in answers[0].blocks if block.kind is BlockKind.TOOL] == ["agents"]
    assert "1 of 1 calls" in answers[-1].text()


def test_with_joins_a_call_to_the_step_above() -> None:
    assert [[name for name, _ in step] for step in acts(TASK, BASH, READ)] == [["Bash"], ["Bash", "Read"]]


def test_a_step_without_a_tool_is_left_out() -> None:
    assert acts("step run ls\nstep read /a\nwith run ls", READ) == [[], [("Read", '{"file_path":"/a"}')]]
    first, last = converse("agent", ask("step run ls\nstep read /a", tools=(READ,)))
    assert first.text() == "Step 2 of 2."
    assert "1 of 1 calls, 1 of 1 results, 1 of 1 texts" in last.text()
    assert answer("agent", ask("step run ls", tools=(READ,))).blocks[0].name == "Read"


def test_a_tool_may_be_declared_once_another_one_found_it() -> None:
    """Claude Code's ToolSearch does that."""
    text, search, found = "step call search {}\nstep call found {}", FunctionTool("search"), FunctionTool("found")
    request = ask(text, tools=(search,))
    request = replace(continued(request, answer("agent", request)), tools=(search, found))
    second = answer("agent", request)
    assert second.text() == "Step 2 of 2."
    assert "2 of 2 calls, 2 of 2 results, 2 of 2 texts" in answer("agent", continued(request, second)).text()


SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}, "report": {"type": "string"}}}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"output": JsonSchemaFormat(SCHEMA), "tools": (READ,)}, BlockKind.TEXT),
        (
            {"tool_choice": ToolChoice(ChoiceMode.REQUIRED), "tools": (READ, FunctionTool("answer", schema=SCHEMA))},
            BlockKind.TOOL,
        ),
    ],
)
def test_its_last_words_are_the_object_that_was_asked_for(fields: dict[str, Any], kind: BlockKind) -> None:
    request = ask("step read /a", **fields)
    (last,) = answer("agent", continued(request, answer("agent", request))).blocks
    assert last.kind is kind
    told = orjson.loads(last.text)
    assert told["ok"] is True
    assert "1 of 1 calls, 1 of 1 results" in told["report"]


def test_an_object_without_room_for_words_is_left_as_it_is() -> None:
    request = ask("step read /a", tools=(READ,), output=JsonSchemaFormat({"type": "integer"}))
    assert answer("agent", continued(request, answer("agent", request))).text() == "3"


def test_it_tells_what_its_tools_let_it_see() -> None:
    request = ask("step read /a.png", tools=(READ,))
    image = Image(Url("https://example.com/a.png"))
    seen = continued(request, answer("agent", request), lambda call: ToolResult(call.id, (image,)))
    assert "Read said: \nI see an image, at https://example.com/a.png.\nCame back" in answer("agent", seen).text()


def test_it_works_through_its_steps_and_quotes_the_results() -> None:
    answers = converse("agent", ask(TASK, tools=(BASH, READ)))
    calls = [[block.name for block in one.blocks if block.kind is BlockKind.TOOL] for one in answers]
    assert calls == [["Bash"], ["Bash", "Read"], []]
    assert [one.finish.reason for one in answers] == [Reason.TOOL_CALLS, Reason.TOOL_CALLS, Reason.STOP]
    assert answers[-1].text().splitlines() == [
        "All 2 steps are done.",
        'Bash said: Bash {"command":"echo a","description":"A step"}',
        'Bash said: Bash {"command":"echo b","description":"A step"}',
        'Read said: Read {"file_path":"/tmp/c"}',
        "Came back: 3 of 3 calls, 3 of 3 results, 2 of 2 texts, 0 of 0 thoughts, 0 of 0 seals.",
    ]


def test_every_call_has_an_id_of_its_own() -> None:
    answers = converse("agent", ask(TASK, tools=(BASH, READ)))
    ids = [block.id for one in answers for block in one.blocks if block.kind is BlockKind.TOOL]
    assert len(set(ids)) == 3


def test_it_thinks_before_each_step_if_asked_to() -> None:
    answers = converse("agent", ask(TASK, tools=(BASH, READ), reasoning=THINKING), "anthropic")
    assert [one.blocks[0].kind for one in answers] == [BlockKind.REASONING] * 3
    assert answers[-1].text().endswith("2 of 2 thoughts, 2 of 2 seals.")


@pytest.mark.parametrize("reasoning", [None, ReasoningRequest("off"), ReasoningRequest(effort="none")])
def test_it_does_not_think_unasked(reasoning: ReasoningRequest | None) -> None:
    assert BlockKind.REASONING not in {
        block.kind for block in answer("agent", ask(TASK, tools=(BASH,), reasoning=reasoning)).blocks
    }


def test_a_user_may_add_steps() -> None:
    request = ask("step run echo a", tools=(BASH,))
    for _ in range(2):
        request = continued(request, answer("agent", request))
    more = replace(request, turns=(*request.turns, Turn(Role.USER, (Text("step run echo b"),))))
    (call,) = [block for block in answer("agent", more).blocks if block.kind is BlockKind.TOOL]
    assert orjson.loads(call.text)["command"] == "echo b"


def spoiled(part: Any) -> Any:
    match part:
        case ToolCall():
            return replace(part, arguments='{"command":"echo other"}')
        case Reasoning():
            assert part.signature is not None
            return replace(part, signature=OpaqueValue("anthropic", part.signature.data[:-8] + "AAAAAAA="))
        case Text(text):
            return Text(text.replace("Step", "Stop"))


@pytest.mark.parametrize(
    ("kind", "told_of"),
    [(ToolCall, "0 of 1 calls"), (Reasoning, "0 of 1 seals"), (Text, "0 of 1 texts")],
)
def test_it_notices_what_was_changed_on_the_way(kind: type, told_of: str) -> None:
    request = ask("step run echo a", tools=(BASH,), reasoning=THINKING)
    turn = brought_back(answer("agent", request, "anthropic"))
    parts = tuple(spoiled(part) if isinstance(part, kind) else part for part in turn.parts)
    results = Turn(Role.USER, tuple(ran(part) for part in parts if isinstance(part, ToolCall)))
    history = replace(request, turns=(*request.turns, Turn(Role.ASSISTANT, parts), results))
    assert told_of in answer("agent", history, "anthropic").text()
    untouched = continued(request, answer("agent", request, "anthropic"))
    assert told_of not in answer("agent", untouched, "anthropic").text()


def test_it_tells_failures_and_missing_results() -> None:
    request = ask("step run a\nwith run b", tools=(BASH,))
    turn = brought_back(answer("agent", request))
    call = next(part for part in turn.parts if isinstance(part, ToolCall))
    failed = Turn(Role.USER, (ToolResult(call.id, (Text("no such file"),), is_error=True),))
    text = answer("agent", replace(request, turns=(*request.turns, turn, failed))).text()
    assert "Bash failed: no such file" in text
    assert "Bash never answered" in text
    assert "1 of 2 results" in text


def test_without_steps_it_is_as_auto() -> None:
    assert answer("agent", ask("good morning")).text() == "You said: good morning"


def test_a_loop_calls_in_three_turns() -> None:
    answers = converse("loop", ask(tools=(WEATHER,)))
    cities = [orjson.loads(block.text)["city"] for one in answers for block in one.blocks if block.name]
    assert cities == ["Oslo", "Rome", "Lima"]
    assert "3 of 3 calls, 3 of 3 results, 3 of 3 texts" in answers[-1].text()


def test_parallel_calls_come_in_one_turn() -> None:
    first, last = converse("parallel", ask(tools=(WEATHER,)))
    cities = [orjson.loads(block.text)["city"] for block in first.blocks if block.kind is BlockKind.TOOL]
    assert cities == ["Oslo", "Rome"]
    assert 'get_weather said: get_weather {"city":"Rome"}' in last.text()


def test_a_seal_proves_its_text() -> None:
    value = thoughts.seal(thoughts.thought(1))
    assert thoughts.unseal(value) == thoughts.thought(1)
    assert [thoughts.unseal(value[:at] + "#" + value[at + 1 :]) for at in range(len(value))] == [None] * len(value)
    assert thoughts.unseal(value[:4] + ("A" if value[4] != "A" else "B") + value[5:]) is None


def test_a_thought_hidden_in_its_seal_counts_as_returned() -> None:
    """A client that asked for no visible reasoning gets the seal alone."""
    hidden = Reasoning("", OpaqueValue("anthropic", thoughts.seal(thoughts.thought(1))))
    assert thoughts.returned(replace(ask(), turns=(Turn(Role.ASSISTANT, (hidden,)),)), [1]) == (1, 1)
