"""What the log tells of an exception: where, and of what kind, and nothing that it says."""

from __future__ import annotations

import pytest

from gateway.telemetry.traces import trace_of


def fail() -> None:
    raise KeyError("secret-a")


def fail_by_a_cause() -> None:
    try:
        fail()
    except KeyError as error:
        raise ValueError("secret-b") from error


def fail_on_the_way() -> None:
    try:
        fail_by_a_cause()
    except ValueError:
        raise ExceptionGroup("secret-c", [OSError("secret-d")])  # noqa: B904  a context, and no cause, is what is shown


def test_it_tells_where_it_happened_and_the_classes_in_their_order() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        fail_on_the_way()
    told = trace_of(caught.value)
    marks = ["in fail\n", "KeyError", "direct cause", "ValueError", "During handling", "ExceptionGroup", "OSError"]
    places = [told.index(mark) for mark in marks]
    assert places == sorted(places)
    assert "test_traces.py" in told
    assert "raise KeyError(" in told


def test_it_tells_nothing_that_they_say() -> None:
    with pytest.raises(ValueError, match="secret") as caught:
        fail_with("-".join(("secret", "e")))
    assert "secret-e" not in trace_of(caught.value)


def fail_with(text: str) -> None:
    raise ValueError(text)


def test_causes_that_go_round_in_a_circle_end() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert trace_of(first).count("Traceback") == 2
