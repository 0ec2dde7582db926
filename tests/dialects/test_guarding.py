"""The guards at the exit: every pair of their tables, and the same verdict as the independent readers of the wire."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from itertools import count, pairwise
from typing import Any, Final

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects import DIALECTS
from gateway.dialects.anthropic import guarding as messages
from gateway.dialects.base import Fault, Guard
from gateway.dialects.openai import guarding as chat
from gateway.dialects.responses import guarding as responses
from gateway.dialects.truss.parsing import FORM_RAW
from gateway.neutral.request import WORDING, Request, Wording
from tests.dialects.cases import CASES, STAMP, Case, asked
from tests.dialects.wire_grammar import check_anthropic, check_openai, check_responses

GUARDED: Final = ("openai", "anthropic", "responses")
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def guard_of(client: str, *, include_usage: bool = True, wording: Wording = WORDING) -> Guard:
    guard = DIALECTS[client].guard(Request("demo", (), stream=True, include_usage=include_usage, wording=wording))
    assert guard is not None
    return guard


# -- streams as they are ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", GUARDED)
@every_case
def test_what_encoders_write_passes(case: Case, client: str) -> None:
    """Frame by frame and in one write: the guard never stands in the way of a right answer."""
    at_once, one_by_one = guard_of(client), guard_of(client)
    output = case.output(client)
    assert at_once.check(output) is None
    assert at_once.end() is None
    assert [one_by_one.check(frame) for frame in frames_of(output)] == [None] * output.count(b"\n\n")
    assert one_by_one.end() is None


@every_case
def test_streams_without_usage_pass_and_need_none(case: Case) -> None:
    """Pitfall 29: a usage chunk, or the key, where the client did not ask for it is a fault."""
    dialect, request = DIALECTS["openai"], Request("demo", (), stream=True)
    encoder = dialect.encoder(request, STAMP)
    output = encoder.encode(case.events)
    guard = guard_of("openai", include_usage=False)
    assert (guard.check(output), guard.end()) == (None, None)
    if case.is_success:
        assert guard_of("openai").check(output) is not None


def test_a_truss_client_is_guarded_where_its_wire_has_a_grammar() -> None:
    truss = DIALECTS["truss"]
    assert truss.guard(Request("demo", (), form=FORM_RAW)) is None
    guard = truss.guard(Request("demo", (), form="messages"))
    assert guard is not None
    assert guard.check(b"data: [DONE]\n\n") == Fault("new", "terminator")


def test_every_framed_stream_is_guarded() -> None:
    """A dialect that has frames can tell a failure, and has a grammar."""
    for name, dialect in DIALECTS.items():
        request = asked(name)
        assert (dialect.guard(request) is not None) is dialect.encoder(request, STAMP).tells_failure, name


def frames_of(data: bytes) -> list[bytes]:
    return [frame + b"\n\n" for frame in data.removesuffix(b"\n\n").split(b"\n\n")]


# -- streams with one thing changed ----------------------------------------------------------------------------------

INDEX: Final = re.compile(rb'"(?:(?:output_|content_|summary_)?index|sequence_number)":(\d+)')
STREAMS: Final = {client: [frames_of(case.output(client)) for case in CASES] for client in GUARDED}


def drop(frames: list[bytes], i: int, j: int) -> list[bytes]:
    return [*frames[:i], *frames[i + 1 :]]


def duplicate(frames: list[bytes], i: int, j: int) -> list[bytes]:
    """Once more, somewhere."""
    return [*frames[:j], frames[i], *frames[j:]]


def swap(frames: list[bytes], i: int, j: int) -> list[bytes]:
    frames = list(frames)
    frames[i], frames[j] = frames[j], frames[i]
    return frames


def renumber(frames: list[bytes], i: int, j: int) -> list[bytes]:
    """One of the indexes of a frame, made another one."""
    found = list(INDEX.finditer(frames[i]))
    if not found:
        return frames
    place = found[j % len(found)]
    changed = frames[i][: place.start(1)] + b"%d" % ((int(place[1]) + 1 + j) % 4) + frames[i][place.end(1) :]
    return [*frames[:i], changed, *frames[i + 1 :]]


MUTATIONS: Final[tuple[Callable[[list[bytes], int, int], list[bytes]], ...]] = (drop, duplicate, swap, renumber)


@st.composite
def mutated(draw: st.DrawFn, client: str) -> list[bytes]:
    frames = draw(st.sampled_from(STREAMS[client]))
    for mutate in draw(st.lists(st.sampled_from(MUTATIONS), min_size=1, max_size=2)):
        if frames:
            frames = mutate(frames, draw(st.integers(0, len(frames) - 1)), draw(st.integers(0, len(frames) - 1)))
    return frames


READERS: Final[Mapping[str, Callable[[bytes], str]]] = {
    "openai": lambda data: check_openai(data, include_usage=True),
    "anthropic": check_anthropic,
    "responses": check_responses,
}


def is_legal(client: str, data: bytes) -> bool:
    """What an independent reader of the wire says."""
    try:
        READERS[client](data)
    except (AssertionError, KeyError, ValueError):
        return False
    return True


def verdict(client: str, writes: Iterable[bytes]) -> Fault | None:
    guard = guard_of(client)
    return next((fault for write in writes if (fault := guard.check(write)) is not None), None) or guard.end()


@pytest.mark.parametrize("client", GUARDED)
@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_the_guard_agrees_with_an_independent_reader_about_mutations(client: str, data: st.DataObject) -> None:
    """Pitfalls 1, 2, 4, 9, 10, 18, 21, 26, 27, 39, 44, 89: frames dropped, doubled, swapped, renumbered."""
    frames = data.draw(mutated(client))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(frames)), max_size=4)))
    writes = [b"".join(frames[begin:end]) for begin, end in pairwise([0, *cuts, len(frames)])]
    legal = is_legal(client, b"".join(frames)) if frames else False
    assert (verdict(client, writes) is None) is legal
    assert verdict(client, frames) == verdict(client, writes), "how frames are written together changes nothing"


NUMBER: Final = re.compile(rb'"sequence_number":\d+}\n\n$')


@settings(max_examples=600, deadline=None)
@given(frames=mutated("responses"))
def test_order_is_checked_also_where_the_numbers_are_right(frames: list[bytes]) -> None:
    """Pitfalls 48, 117. The reader also compares what is told twice, so it refuses more than the guard, never less."""
    numbers = count()
    counted = [NUMBER.sub(lambda _: b'"sequence_number":%d}\n\n' % next(numbers), frame) for frame in frames]
    fault = verdict("responses", counted)
    assert fault is None or not is_legal("responses", b"".join(counted))
    assert fault is None or fault.frame != "misnumbered"


# -- every pair of the tables ----------------------------------------------------------------------------------------


class Wire:
    """Writes frames of any kind, numbered as the stream so far demands."""

    client: str
    wording = WORDING
    transitions: Mapping[Any, Mapping[Any, Any]]
    begin: Enum
    nowhere: frozenset[Enum]
    """Kinds that no state takes."""
    elsewhere: frozenset[Enum] = frozenset()
    """Kinds of streams that were asked for in another way: the same frames mean something else here."""

    def frame(self, kind: Enum) -> bytes:
        raise NotImplementedError


class Chat(Wire):
    client = "openai"
    transitions = chat.TRANSITIONS
    begin = chat.State.NEW
    nowhere = frozenset({chat.Kind.STRAY, chat.Kind.FOREIGN, chat.Kind.UNKNOWN})
    elsewhere: frozenset[Enum] = frozenset({chat.Kind.FINISH, chat.Kind.FINISH_BEFORE_ANY_USAGE})

    def __init__(self) -> None:
        self.calls = 0

    def frame(self, kind: Enum) -> bytes:
        match kind:
            case chat.Kind.KEEP_ALIVE:
                return b": keep-alive\n\n"
            case chat.Kind.TERMINATOR:
                return b"data: [DONE]\n\n"
            case chat.Kind.ERROR:
                return b'data: {"error":{"message":"m","type":"server_error","param":null,"code":null}}\n\n'
            case chat.Kind.USAGE:
                return self.chunk([], {"total_tokens": 0})
            case chat.Kind.FINISH_BEFORE_USAGE | chat.Kind.FINISH_BEFORE_ANY_USAGE:
                return self.delta({}, "stop")
            case chat.Kind.FOREIGN:
                return self.delta({"content": "x"}).replace(b'"chat.completion.chunk"', b'"text_completion"')
            case chat.Kind.UNKNOWN:
                return self.delta({"audio": {}})
            case _:
                return self.delta(self.content(kind))

    def content(self, kind: Enum) -> dict[str, Any]:
        match kind:
            case chat.Kind.ROLE:
                return {"role": "assistant", "content": ""}
            case chat.Kind.TOOL_HEAD:
                self.calls += 1
                function = {"name": "f", "arguments": ""}
                return call({"index": self.calls - 1, "id": f"c{self.calls}", "type": "function", "function": function})
            case chat.Kind.TOOL_ARGUMENTS:
                return call({"index": self.calls - 1, "function": {"arguments": "{"}})
            case chat.Kind.STRAY:
                return call({"index": self.calls, "function": {"arguments": "{"}})
            case chat.Kind.REASONING_DETAILS:
                return {"reasoning_details": [{"type": "reasoning.text", "index": 0}]}
            case chat.Kind.ANNOTATIONS:
                return {"annotations": [{"type": "url_citation"}]}
            case chat.Kind.REASONING:
                return {"reasoning" if self.wording.aliases_reasoning else "reasoning_content": "x"}
            case _:
                return {kind.name.lower(): "x"}

    def delta(self, delta: Any, finish: str | None = None, index: int = 0) -> bytes:
        return self.chunk([{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}], None)

    def chunk(self, choices: list[Any], usage: Any) -> bytes:
        head = {"id": "c", "object": "chat.completion.chunk", "created": 7, "model": 'a "model"'}
        return b"data: %b\n\n" % orjson.dumps({**head, "choices": choices, "usage": usage})


class Uncounted(Chat):
    """Usage was asked for and may stay away; and reasoning has its other name."""

    wording = Wording(estimates_usage=False, aliases_reasoning=True)
    elsewhere = frozenset({chat.Kind.FINISH, chat.Kind.FINISH_BEFORE_USAGE})


def call(value: dict[str, Any]) -> dict[str, Any]:
    return {"tool_calls": [value]}


class Messages(Wire):
    client = "anthropic"
    transitions = messages.TRANSITIONS
    begin = messages.State.NEW
    nowhere = frozenset({messages.Kind.STRAY, messages.Kind.UNKNOWN})
    starts: Final = {
        messages.Kind.TEXT_START: "text",
        messages.Kind.THINKING_START: "thinking",
        messages.Kind.TOOL_START: "tool_use",
        messages.Kind.WHOLE_START: "redacted_thinking",
    }
    deltas: Final = {
        messages.Kind.TEXT_DELTA: "text_delta",
        messages.Kind.CITATIONS_DELTA: "citations_delta",
        messages.Kind.THINKING_DELTA: "thinking_delta",
        messages.Kind.SIGNATURE_DELTA: "signature_delta",
        messages.Kind.INPUT_DELTA: "input_json_delta",
    }

    def __init__(self) -> None:
        self.blocks = 0

    def frame(self, kind: Enum) -> bytes:
        if kind in self.starts:
            self.blocks += 1
            return self.event("content_block_start", index=self.blocks - 1, content_block={"type": self.starts[kind]})
        if kind in self.deltas:
            return self.event("content_block_delta", index=self.blocks - 1, delta={"type": self.deltas[kind], "x": ""})
        match kind:
            case messages.Kind.BLOCK_STOP:
                return self.event("content_block_stop", index=self.blocks - 1)
            case messages.Kind.STRAY:
                return self.event("content_block_delta", index=self.blocks, delta={"type": "text_delta", "text": "x"})
            case messages.Kind.UNKNOWN:
                return self.event("completion")
            case _:
                return self.event(kind.name.lower())

    def event(self, name: str, **fields: Any) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **fields}))


class Responses(Wire):
    client = "responses"
    transitions = responses.TRANSITIONS
    begin = responses.State.NEW
    nowhere = frozenset({responses.Kind.STRAY, responses.Kind.UNKNOWN})
    items: Final = {
        responses.Kind.MESSAGE: "message",
        responses.Kind.REASONING: "reasoning",
        responses.Kind.FUNCTION: "function_call",
        responses.Kind.CUSTOM: "custom_tool_call",
    }
    parts: Final = {
        responses.Kind.TEXT_PART: ("content_part.added", "output_text"),
        responses.Kind.REFUSAL_PART: ("content_part.added", "refusal"),
        responses.Kind.THOUGHT_PART: ("content_part.added", "reasoning_text"),
        responses.Kind.SUMMARY_PART: ("reasoning_summary_part.added", "summary_text"),
        responses.Kind.PART_DONE: ("content_part.done", "output_text"),
        responses.Kind.SUMMARY_PART_DONE: ("reasoning_summary_part.done", "summary_text"),
    }
    contents: Final = {
        responses.Kind.TEXT_DELTA: "output_text.delta",
        responses.Kind.ANNOTATION: "output_text.annotation.added",
        responses.Kind.REFUSAL_DELTA: "refusal.delta",
        responses.Kind.THOUGHT_DELTA: "reasoning_text.delta",
        responses.Kind.SUMMARY_DELTA: "reasoning_summary_text.delta",
        responses.Kind.ARGUMENTS_DELTA: "function_call_arguments.delta",
        responses.Kind.INPUT_DELTA: "custom_tool_call_input.delta",
        responses.Kind.TEXT_DONE: "output_text.done",
        responses.Kind.REFUSAL_DONE: "refusal.done",
        responses.Kind.THOUGHT_DONE: "reasoning_text.done",
        responses.Kind.SUMMARY_DONE: "reasoning_summary_text.done",
        responses.Kind.ARGUMENTS_DONE: "function_call_arguments.done",
        responses.Kind.INPUT_DONE: "custom_tool_call_input.done",
        responses.Kind.UNKNOWN: "audio.delta",
    }

    def __init__(self) -> None:
        self.added = 0
        self.number = 0

    def frame(self, kind: Enum) -> bytes:
        if kind in self.items:
            self.added += 1
            return self.item("added", {"id": f"item_{self.added - 1}", "type": self.items[kind]})
        if kind in self.parts:
            name, part = self.parts[kind]
            return self.content(name, {"part": {"type": part}})
        if kind in self.contents:
            return self.content(self.contents[kind], {"delta": "x"})
        match kind:
            case responses.Kind.KEEP_ALIVE:
                return b": keep-alive\n\n"
            case responses.Kind.ITEM_DONE:
                return self.item("done", {"id": self.last, "type": "message"})
            case responses.Kind.STRAY:
                return self.event("output_text.delta", item_id="item_9", output_index=9, content_index=0, delta="x")
            case _:
                return self.event(kind.name.lower(), response={"id": "resp_1"})

    @property
    def last(self) -> str:
        return f"item_{self.added - 1}" if self.added else ""

    def item(self, what: str, item: dict[str, Any]) -> bytes:
        return self.event(f"output_item.{what}", output_index=self.added - 1, item=item)

    def content(self, name: str, fields: dict[str, Any]) -> bytes:
        place = {"item_id": self.last, "output_index": self.added - 1}
        if not name.startswith(("function_call", "custom_tool")):
            place["summary_index" if name.startswith("reasoning_summary") else "content_index"] = 0
        return self.event(name, **place, **fields)

    def event(self, name: str, **fields: Any) -> bytes:
        body = {"type": f"response.{name}", **fields, "sequence_number": self.number}
        self.number += 1
        return b"event: response.%b\ndata: %b\n\n" % (name.encode(), orjson.dumps(body))


def ways(wire: type[Wire]) -> dict[Any, list[Any]]:
    """The kinds of frames that lead to each state, found in the table."""
    found: dict[Any, list[Any]] = {wire.begin: []}
    for known in (queue := [wire.begin]):
        for kind, following in wire.transitions[known].items():
            if following not in found and kind not in wire.elsewhere:
                found[following] = [*found[known], kind]
                queue.append(following)
    return found


WIRES: Final[Mapping[str, type[Wire]]] = {"openai": Chat, "anthropic": Messages, "responses": Responses}
ALL_WIRES: Final[tuple[type[Wire], ...]] = (*WIRES.values(), Uncounted)
PAIRS: Final = [
    pytest.param(wire, state, kind, id=f"{wire.__name__}-{state.name}-{kind.name}".lower())
    for wire in ALL_WIRES
    for state in ways(wire)
    for kind in type(next(iter(wire.nowhere)))
    if kind not in wire.elsewhere
]


@pytest.mark.parametrize(("kind_of_wire", "state", "kind"), PAIRS)
def test_every_pair_is_taken_or_refused_as_the_table_says(kind_of_wire: type[Wire], state: Enum, kind: Enum) -> None:
    """A refused frame is named with its state and changes nothing; twice, as the second of a kind takes a short cut."""
    wire = kind_of_wire()
    guard = guard_of(wire.client, wording=wire.wording)
    for step in ways(kind_of_wire)[state]:
        assert guard.check(wire.frame(step)) is None
    for _ in range(2):
        before = state
        state = wire.transitions[state].get(kind, state)
        is_taken = kind in wire.transitions[before]
        assert guard.check(wire.frame(kind)) == (None if is_taken else Fault(before.name.lower(), kind.name.lower()))
        assert guard.end() == (None if not wire.transitions[state] else Fault(state.name.lower(), "end"))
        if not is_taken:
            break


@pytest.mark.parametrize("wire", ALL_WIRES)
def test_a_table_is_total(wire: type[Wire]) -> None:
    """Every state has a row and a way to it, and every kind a state that takes it, or none on purpose."""
    assert set(wire.transitions) == set(type(wire.begin))
    assert set(wire.transitions) == {state for like in ALL_WIRES if like.client == wire.client for state in ways(like)}
    taken = {kind for row in wire.transitions.values() for kind in row}
    assert taken == set(type(next(iter(wire.nowhere)))) - wire.nowhere


def test_a_finish_leaves_the_usage_owed_only_to_who_asked() -> None:
    """Pitfalls 27, 29."""
    unasked = guard_of("openai", include_usage=False)
    wire = Chat()
    bare = [wire.frame(kind).replace(b',"usage":null', b"") for kind in (chat.Kind.ROLE, chat.Kind.FINISH_BEFORE_USAGE)]
    assert unasked.check(b"".join(bare)) is None
    assert unasked.check(wire.frame(chat.Kind.USAGE)) == Fault("closing", "usage")
    assert unasked.check(wire.frame(chat.Kind.TERMINATOR)) is None
    assert unasked.end() is None


# -- what is wrong in itself -----------------------------------------------------------------------------------------

OPENED: Final[Mapping[str, tuple[Enum, ...]]] = {
    "openai": (chat.Kind.ROLE, chat.Kind.CONTENT, chat.Kind.CONTENT),
    "anthropic": (
        messages.Kind.MESSAGE_START,
        messages.Kind.TEXT_START,
        messages.Kind.TEXT_DELTA,
        messages.Kind.TEXT_DELTA,
    ),
    "responses": (
        *(responses.Kind.CREATED, responses.Kind.IN_PROGRESS, responses.Kind.MESSAGE, responses.Kind.TEXT_PART),
        *(responses.Kind.TEXT_DELTA, responses.Kind.TEXT_DELTA),
    ),
}
"""The second delta takes the short cut."""


@pytest.mark.parametrize("client", GUARDED)
def test_a_frame_without_its_blank_line_is_a_fault(client: str) -> None:
    """Pitfall 42: wherever the frame is cut, and whatever was sent before."""
    wire = WIRES[client]()
    *before, last = [wire.frame(kind) for kind in OPENED[client]]
    for cut in range(1, len(last)):
        guard = guard_of(client)
        assert guard.check(b"".join(before)) is None
        fault = guard.check(last[:cut])
        assert fault is not None
        assert fault.frame == "part of a frame"


@pytest.mark.parametrize("client", GUARDED)
def test_a_line_too_many_in_a_frame_is_a_fault(client: str) -> None:
    """Pitfalls 115, 116: the short cut ends at the first line end."""
    wire = WIRES[client]()
    *before, last = [wire.frame(kind) for kind in OPENED[client]]
    for place in range(1, len(last) - 2):
        guard = guard_of(client)
        assert guard.check(b"".join(before)) is None
        fault = guard.check(last[:place] + b"\n" + last[place:])
        assert fault is not None, place
        assert guard.check(last) is None, "what was refused changed nothing"


def numbered(number: int, name: str, **fields: Any) -> bytes:
    """An event of a response with this number."""
    wire = Responses()
    wire.number = number
    return wire.event(name, **fields)


BAD_FRAMES: Final[Mapping[str, tuple[bytes, ...]]] = {
    "openai": (
        b"\n\n",
        b"\n\n\n\n",
        b"data: {}\n\n",
        b"data: null\n\n",
        b"data: [DONE] \n\n",
        b"event: error\ndata: {}\n\n",
        Chat().delta({"content": "x"}, index=1),
        Chat().delta({"content": "x"}, "stop"),
        Chat().delta({}),
        Chat().delta(None),
        Chat().delta({"content": "x"}).replace(b'"id":"c"', b'"id":"d"'),
        Chat().delta({"content": "x"}).replace(b'"created":7', b'"created":8'),
        Chat().delta({"content": "x"}).replace(b'a \\"model', b'a \\"modem'),
        Chat().delta({"content": "x"}).replace(b',"usage":null', b""),
        Chat().chunk([], None),
        Chat().chunk([], {"total_tokens": 1}),
    ),
    "anthropic": (
        b"\n\n",
        b"\n\n\n\n",
        b'data: {"type":"ping"}\n\n',
        b"data: [DONE]\n\n",
        b'event: ping\ndata: {"type":"error"}\n\n',
        b'event: message_stop\ndata: {"type":"message_stop"}\nid: 7\n\n',
        Messages().event("content_block_delta", index=0, delta={"text": "x", "type": "text_delta"}),
        Messages().event("content_block_delta", index=0, delta={"type": "unheard_of_delta"}),
        Messages().event("content_block_delta", index=10, delta={"type": "text_delta", "text": "x"}),
        Messages().event("content_block_delta", index=-1, delta={"type": "text_delta", "text": "x"}),
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta\n\n',
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta}}\n\n',
        Messages().event("content_block_stop", index=1),
    ),
    "responses": (
        b"\n\n",
        b"data: [DONE]\n\n",
        b'event: response.failed\ndata: {"type":"response.completed","sequence_number":6}\n\n',
        b'data: {"type":"response.failed","response":{"id":"resp_1"},"sequence_number":6}\n\n',
        numbered(6, "failed", response={"id": "resp_2"}),
        numbered(6, "failed", response=None),
        numbered(7, "failed", response={"id": "resp_1"}),
        numbered(5, "output_text.delta", item_id="item_0", output_index=0, content_index=0, delta="x"),
        numbered(6, "output_text.delta", item_id="item_0", output_index=0, content_index=1, delta="x"),
        numbered(6, "output_text.delta", item_id="item_0", output_index=1, content_index=0, delta="x"),
        numbered(6, "output_text.delta", item_id="item_1", output_index=0, content_index=0, delta="x"),
        numbered(6, "output_item.added", output_index=1, item={"id": "item_1", "type": "message"}),
        numbered(6, "output_item.done", output_index=0, item={"id": "item_1", "type": "message"}),
    ),
}


@pytest.mark.parametrize(("client", "bad"), [(client, bad) for client in GUARDED for bad in BAD_FRAMES[client]])
def test_what_no_grammar_knows_is_a_fault(client: str, bad: bytes) -> None:
    wire = WIRES[client]()
    guard = guard_of(client)
    assert guard.check(b"".join(wire.frame(kind) for kind in OPENED[client])) is None
    assert guard.check(bad) is not None


@pytest.mark.parametrize("client", GUARDED)
def test_a_write_is_taken_as_a_whole_or_not_at_all(client: str) -> None:
    """The end that stood in front of a bad frame was not sent: an error may still follow."""
    wire = WIRES[client]()
    ends: Mapping[str, tuple[Enum, ...]] = {
        "openai": (chat.Kind.FINISH_BEFORE_USAGE, chat.Kind.USAGE, chat.Kind.TERMINATOR, chat.Kind.KEEP_ALIVE),
        "anthropic": (
            messages.Kind.BLOCK_STOP,
            messages.Kind.MESSAGE_DELTA,
            messages.Kind.MESSAGE_STOP,
            messages.Kind.PING,
        ),
        "responses": (
            *(responses.Kind.TEXT_DONE, responses.Kind.PART_DONE, responses.Kind.ITEM_DONE),
            *(responses.Kind.COMPLETED, responses.Kind.KEEP_ALIVE),
        ),
    }
    errors: Mapping[str, Enum] = {
        "openai": chat.Kind.ERROR,
        "anthropic": messages.Kind.ERROR,
        "responses": responses.Kind.FAILED,
    }
    guard = guard_of(client)
    assert guard.check(b"".join(wire.frame(kind) for kind in OPENED[client])) is None
    fault = guard.check(b"".join(wire.frame(kind) for kind in ends[client]))
    assert fault == Fault("done", ends[client][-1].name.lower())
    assert guard.end() is not None
    if isinstance(wire, Responses):
        wire.number = len(OPENED[client])  # what was not sent does not count
    assert (guard.check(wire.frame(errors[client])), guard.end()) == (None, None)


@pytest.mark.parametrize("aliases", [True, False])
def test_reasoning_has_the_one_name_that_the_operator_chose(aliases: bool) -> None:
    guard, wire = guard_of("openai", wording=Wording(aliases_reasoning=aliases)), Chat()
    assert guard.check(wire.frame(chat.Kind.ROLE)) is None
    right, wrong = [wire.delta({name: "x"}) for name in ("reasoning", "reasoning_content")][:: 1 if aliases else -1]
    assert guard.check(right) is None
    assert guard.check(wrong) == Fault("open", "unknown")
