"""W3C Trace Context: what is valid goes on, and nothing else does."""

from __future__ import annotations

import pytest

from gateway.wire.trace_context import trace_id, trace_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize("flags", ["00", "01", "03", "ff"])
def test_a_valid_parent_goes_on_as_it_is(flags: str) -> None:
    parent = f"00-{TRACE}-{SPAN}-{flags}"
    assert trace_of(parent, "") == {"traceparent": parent}


def test_white_space_around_it_is_no_part_of_it() -> None:
    assert trace_of(f" {PARENT}\t", "") == {"traceparent": PARENT}


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "x",
        TRACE,
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00_{TRACE}_{SPAN}_01",
        f"{PARENT},{PARENT}",
        f"{PARENT}\r\nx-evil: 1",
        f"{PARENT}\n",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
        "00-" + "a" * 100_000,
    ],
)
def test_a_parent_that_is_not_valid_begins_no_trace(parent: str) -> None:
    """And its state goes with it."""
    assert trace_of(parent, "a=1") == {}


@pytest.mark.parametrize(("flags", "known"), [("01", "01"), ("ff", "01"), ("fe", "00")])
@pytest.mark.parametrize("more", ["", "-what-is-new"])
def test_of_a_later_version_goes_on_what_this_one_knows(flags: str, known: str, more: str) -> None:
    assert trace_of(f"cc-{TRACE}-{SPAN}-{flags}{more}", "") == {"traceparent": f"00-{TRACE}-{SPAN}-{known}"}


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("a=1", "a=1"),
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("a=1 ,\tb=2", "a=1,b=2"),
        ("a=1,,b=2,", "a=1,b=2"),
        ("fw529a3039@dt=FfwA:1;2 x", "fw529a3039@dt=FfwA:1;2 x"),
        ("a_-*/z=!~", "a_-*/z=!~"),
        (",".join(f"k{i}=v" for i in range(32)), ",".join(f"k{i}=v" for i in range(32))),
        ("a=" + "x" * 256, "a=" + "x" * 256),
        ("a" * 256 + "=1", "a" * 256 + "=1"),
    ],
)
def test_a_valid_state_goes_on(state: str, told: str) -> None:
    assert trace_of(PARENT, state) == {"traceparent": PARENT, "tracestate": told}


@pytest.mark.parametrize(
    "state",
    [
        "",
        " , ",
        "a",
        "a=",
        "=1",
        "A=1",
        "a=1,a=2",
        "a=1=2",
        "a=1\r\nb: 2",
        "a=\x7f",
        "a=é",
        "a b=1",
        "a@1=x",
        "a=" + "x" * 257,
        "a" * 257 + "=1",
        "good=1,B@D=2",
        ",".join(f"k{i}=v" for i in range(33)),
        ",".join(f"k{i}={'v' * 256}" for i in range(32)) + "," * 8000,
    ],
)
def test_a_state_that_is_not_valid_goes_alone(state: str) -> None:
    assert trace_of(PARENT, state) == {"traceparent": PARENT}


def test_a_trace_has_an_id_by_which_it_is_found() -> None:
    assert trace_id(trace_of(PARENT, "")) == TRACE
    assert trace_id({}) is None
