"""When is what sent to the client: batches in, actions out."""

from __future__ import annotations

import pytest

from gateway.errors import Overloaded, Truncated
from gateway.neutral.events import (
    CONTENT,
    ArgsDelta,
    BlockKind,
    BlockStart,
    BlockStop,
    End,
    Event,
    Failed,
    Finish,
    Ping,
    Reason,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    Usage,
)
from gateway.relay.machine import (
    MAX_HELD,
    TRANSITIONS,
    Abort,
    Action,
    Close,
    Commit,
    GiveUp,
    Input,
    Relay,
    Send,
    State,
    amounts_to,
)

START = Start("upstream-id")
TEXT: list[Event] = [BlockStart(0, BlockKind.TEXT), TextDelta(0, "a")]
FINISH: list[Event] = [BlockStop(0), Finish(Reason.STOP), Usage(output=1), End()]
CUT = Truncated("cut")
FAILED: list[Event] = [Failed(CUT)]


def streaming() -> Relay:
    """A relay past its commit point, with nothing held."""
    relay = Relay()
    relay.take([START, *TEXT], b"")
    return relay


def test_the_table_is_total() -> None:
    """Every state has a row; those that aren't over know every input."""
    assert set(TRANSITIONS) == set(State)
    assert all(set(TRANSITIONS[state]) == set(Input) for state in (State.WAITING, State.STREAMING, State.RESUMED))
    assert set(TRANSITIONS[State.CUT]) == {Input.FAILURE}
    assert [state for state in State if not TRANSITIONS[state]] == [State.DONE, State.REFUSED, State.BROKEN]


ROWS: list[tuple[State, Input, State, list[Action]]] = [
    (State.WAITING, Input.LIFECYCLE, State.WAITING, []),
    (State.WAITING, Input.CONTENT, State.STREAMING, [Commit(START), Send(b"x")]),
    (State.WAITING, Input.END, State.DONE, [Commit(START), Send(b"x"), Close()]),
    (State.WAITING, Input.FAILURE, State.REFUSED, [GiveUp(CUT)]),
    (State.STREAMING, Input.LIFECYCLE, State.STREAMING, [Send(b"x")]),
    (State.STREAMING, Input.CONTENT, State.STREAMING, [Send(b"x")]),
    (State.STREAMING, Input.END, State.DONE, [Send(b"x"), Close()]),
    (State.STREAMING, Input.FAILURE, State.BROKEN, [Send(b"x"), Close()]),
    (State.WAITING, Input.CUT, State.REFUSED, [GiveUp(CUT)]),
    (State.STREAMING, Input.CUT, State.CUT, [Send(b"x")]),
    (State.RESUMED, Input.LIFECYCLE, State.RESUMED, []),
    (State.RESUMED, Input.CONTENT, State.STREAMING, [Send(b"x")]),
    (State.RESUMED, Input.END, State.DONE, [Send(b"x"), Close()]),
    (State.RESUMED, Input.FAILURE, State.BROKEN, [Send(b"x"), Close()]),
    (State.RESUMED, Input.CUT, State.CUT, [Send(b"x")]),
    (State.CUT, Input.FAILURE, State.BROKEN, [Send(b"x"), Close()]),
]
BATCHES: dict[Input, list[Event]] = {
    Input.LIFECYCLE: [START, Usage(input=1), Ping()],
    Input.CONTENT: [START, *TEXT],
    Input.END: [START, *TEXT, *FINISH],
    Input.FAILURE: [START, *TEXT, *FAILED],
}


@pytest.mark.parametrize(("state", "what", "following", "actions"), ROWS, ids=[f"{row[0]}-{row[1]}" for row in ROWS])
def test_every_row_of_the_table(state: State, what: Input, following: State, actions: list[Action]) -> None:
    relay = streaming() if state in (State.STREAMING, State.CUT) else Relay(state)
    if state is State.CUT:
        relay.cut(CUT, b"")
    assert relay.state is state
    done = relay.cut(CUT, b"x") if what is Input.CUT else relay.take(BATCHES[what], b"x")
    assert (done, relay.state) == (actions, following)
    assert relay.is_over is (following in (State.CUT, State.DONE, State.REFUSED, State.BROKEN))


def test_the_rows_are_all_there() -> None:
    assert {(row[0], row[1]) for row in ROWS} == {(state, what) for state in TRANSITIONS for what in TRANSITIONS[state]}


@pytest.mark.parametrize(
    "event", [*TEXT, RefusalDelta(0, "a"), ReasoningDelta(0, "a"), ArgsDelta(0, "a")], ids=lambda e: type(e).__name__
)
def test_content_is_what_a_user_would_see(event: Event) -> None:
    """The commit point waits for it, and for nothing less."""
    assert amounts_to([event]) is Input.CONTENT
    assert type(event) in CONTENT


@pytest.mark.parametrize("event", [START, Usage(output=1), Ping(), BlockStop(0), Finish(Reason.STOP)], ids=repr)
def test_lifecycle_does_not_commit(event: Event) -> None:
    """A server that says hello and then fails must not cost the client its other target."""
    assert amounts_to([event]) is Input.LIFECYCLE
    assert amounts_to([]) is Input.LIFECYCLE
    relay = Relay()
    assert relay.take([event], b"x") == []
    assert relay.state is State.WAITING


def test_a_failure_outweighs_the_end_and_the_end_outweighs_content() -> None:
    assert amounts_to([*TEXT, *FINISH]) is Input.END
    assert amounts_to([*TEXT, *FINISH, *FAILED]) is Input.FAILURE


def test_what_was_held_is_sent_first_and_once() -> None:
    """The head, then everything since the beginning, in order."""
    relay = Relay()
    assert relay.take([START], b"start ") == []
    assert relay.take([Ping()], b"ping ") == []
    assert relay.take(TEXT, b"text") == [Commit(START), Send(b"start ping text")]
    assert relay.take(TEXT, b"more") == [Send(b"more")]


def test_the_head_is_made_with_the_first_start() -> None:
    relay = Relay()
    relay.take([START, Start("second")], b"")
    assert relay.take(TEXT, b"x")[0] == Commit(START)


def test_a_failure_before_the_commit_point_sends_nothing() -> None:
    """Not even what was held: the next target, or an error with its status, takes the client's whole response."""
    relay, error = Relay(), Overloaded("busy")
    relay.take([START], b"start")
    assert relay.take([Failed(error)], b"error frame") == [GiveUp(error)]
    assert relay.error is error


def test_content_and_a_failure_in_one_read_still_give_up() -> None:
    """Nothing was sent, so nothing has to be told."""
    assert Relay().take([START, *TEXT, *FAILED], b"x") == [GiveUp(CUT)]


def test_a_failure_after_the_commit_point_is_told_in_the_body() -> None:
    relay = streaming()
    assert relay.take(FAILED, b"error frame", is_told=True) == [Send(b"error frame"), Close()]
    assert relay.error is CUT


def test_a_failure_the_wire_has_no_word_for_cuts_the_connection() -> None:
    """Raw text: what came still arrives, the last chunk doesn't."""
    assert streaming().take([*TEXT, *FAILED], b"text", is_told=False) == [Send(b"text"), Abort()]
    assert streaming().take(FAILED, b"", is_told=False) == [Abort()]


def test_what_is_held_has_a_bound() -> None:
    """A preamble without end is relayed instead of kept."""
    relay, frame = Relay(), b"data: {}\n\n" * 1000
    actions: list[Action] = []
    fed = 0
    while not actions:
        actions = relay.take([START], frame)
        fed += len(frame)
    assert MAX_HELD < fed <= MAX_HELD + len(frame)
    assert actions == [Commit(START), Send(frame * (fed // len(frame)))]
    assert relay.state is State.STREAMING


@pytest.mark.parametrize("events", [[], [Ping()], [Ping(), Ping()]])
def test_signs_of_life_commit_to_nothing_however_many_there_are(events: list[Event]) -> None:
    """Those beyond the bound are thrown away; another target may still answer."""
    relay, ping = Relay(), b": ping\n\n" * 1000
    for _ in range(2 * MAX_HELD // len(ping)):
        assert relay.take(events, ping) == []
    assert relay.state is State.WAITING
    commit, send = relay.take([START, *TEXT], b"text")
    assert commit == Commit(START)
    assert isinstance(send, Send)
    assert MAX_HELD - len(ping) <= len(send.data) <= MAX_HELD + len(b"text")
    failing = Relay()
    for _ in range(2 * MAX_HELD // len(ping)):
        failing.take(events, ping)
    assert failing.take(FAILED, b"") == [GiveUp(CUT)]


def test_an_end_without_content_is_a_whole_answer() -> None:
    """mapping.md §9.1: usage only, no content, finish stop: success with zero blocks."""
    relay = Relay()
    assert relay.take([START], b"start ") == []
    assert relay.take([Finish(Reason.STOP), End()], b"end") == [Commit(START), Send(b"start end"), Close()]


def test_nothing_is_sent_for_events_without_bytes() -> None:
    """Usage, or a tool call's name that has to wait: no empty chunk, which HTTP takes for the last one."""
    assert Relay().take([START, *TEXT], b"") == [Commit(START)]
    assert streaming().take([Usage(output=1)], b"") == []
    assert streaming().take([], b"") == []
    assert streaming().take(FINISH, b"") == [Close()]


@pytest.mark.parametrize("last", [FINISH, FAILED], ids=["done", "broken"])
def test_nothing_follows_the_end(last: list[Event]) -> None:
    """A pair that isn't in the table does not exist."""
    relay = streaming()
    relay.take(last, b"x")
    with pytest.raises(KeyError):
        relay.take(TEXT, b"y")
