"""Which try comes next, without a clock: every row is a course of tries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.config import Retries, Upstream
from gateway.errors import (
    BadRequest,
    Denied,
    GatewayError,
    InternalError,
    Kind,
    Malformed,
    NoRoom,
    TooLarge,
    TooSlow,
    Truncated,
    Unreachable,
    Unsupported,
    UpstreamError,
    upstream_error,
)
from gateway.routing.budget import Budget
from gateway.routing.course import MOVES, REMEDIES, Course, Move, Remedy, Try, remedy_of
from gateway.routing.target import Target

UPSTREAM = Upstream(dialect="openai", url="http://127.0.0.1:1")
A, B, C, D = (Target(name, UPSTREAM, "m") for name in "abcd")
FOREVER = 1e9

LOST = Unreachable("the upstream closed the connection before it answered")
CUT = Truncated("cut")
BUSY = upstream_error(Kind.OVERLOADED, "503")
BUSY_2 = upstream_error(Kind.OVERLOADED, "503", 2.0)
BUSY_99 = upstream_error(Kind.OVERLOADED, "503", 99.0)
LIMIT = upstream_error(Kind.RATE_LIMIT, "429")
LIMIT_1 = upstream_error(Kind.RATE_LIMIT, "429", 1.0)
LIMIT_2 = upstream_error(Kind.RATE_LIMIT, "429", 2.0)
LIMIT_3 = upstream_error(Kind.RATE_LIMIT, "429", 3.0)
BROKE = UpstreamError("500")
LATE = TooSlow("no first token within 30 s")
GARBLED = Malformed("a page")
UNKNOWN_MODEL = upstream_error(Kind.NOT_FOUND, "404")
NO_CREDIT = upstream_error(Kind.BILLING, "402")
OUR_KEY = Denied("the upstream refused the gateway's own credential")
FULL = NoRoom("all calls are under way", retry_after_s=1.0)
CANT = Unsupported("tools can't be carried")
BAD = upstream_error(Kind.INVALID_REQUEST, "400")
LONG = upstream_error(Kind.CONTEXT_LENGTH, "prompt is too long")

SAME_TOO = (LOST, CUT, BUSY, BROKE)
OTHERS_ONLY = (LATE, GARBLED, UNKNOWN_MODEL, NO_CREDIT, OUR_KEY, LIMIT, BUSY_99, CANT)
NOBODY = (BAD, *(upstream_error(kind, "4xx") for kind in (Kind.TOO_LARGE, Kind.CONFLICT, Kind.UNSUPPORTED)))


def always(target: Target, now: float) -> bool:
    return True


def never(target: Target, now: float) -> bool:
    return False


def course(
    *targets: Target, deadline: float = FOREVER, afford: Callable[[Target, float], bool] = always, **retries: Any
) -> Course:
    return Course(targets, Retries.model_validate(retries), deadline, afford)


def after_first(one: Course, error: GatewayError, now: float = 0.0, chance: float = 0.0) -> Try | None:
    return one.after(one.first().target, error, now, chance)


def run(course: Course, *failures: GatewayError, chance: float = 0.0) -> str:
    """The targets tried while these failures come in, as one word; `.` where the course ends before they do."""
    step: Try | None = course.first()
    now, tried = 0.0, ""
    for failure in failures:
        if step is None:
            return tried + "."
        now += step.delay_s
        tried += step.target.name
        step = course.after(step.target, failure, now, chance)
    return tried + ("." if step is None else step.target.name)


# -- what helps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", SAME_TOO, ids=repr)
def test_what_broke_is_tried_once_more_on_the_same_target_and_then_elsewhere(error: GatewayError) -> None:
    assert run(course(A, B), error, error, error) == "aab."
    assert run(course(A), error, error) == "aa."


@pytest.mark.parametrize("error", OTHERS_ONLY, ids=repr)
def test_what_the_same_target_would_only_do_again_is_tried_elsewhere_at_once(error: GatewayError) -> None:
    assert after_first(course(A, B), error, chance=0.9) == Try(B)
    assert run(course(A, B), error, error) == "ab."
    assert run(course(A), error) == "a."


@pytest.mark.parametrize("error", NOBODY, ids=repr)
def test_what_the_request_is_at_fault_for_is_tried_nowhere(error: GatewayError) -> None:
    one = course(A, B, C)
    assert run(one, error) == "a."
    assert one.told is error
    assert run(course(A, B, C), BROKE, error) == "ab.", "not at a later try either"


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GatewayError)]
)
def test_every_class_of_error_has_a_remedy(kind: type[GatewayError]) -> None:
    remedy = remedy_of(kind("x"))
    assert remedy in MOVES
    if issubclass(kind, UpstreamError):
        assert (remedy is not Remedy.NOTHING) is kind.is_retryable, "the tree says the same"


def test_the_tables_hold_no_row_for_nothing() -> None:
    assert {move for moves in MOVES.values() for move in moves} == set(Move)
    assert {*REMEDIES.values(), Remedy.LARGER} == set(Remedy)


def test_a_fault_of_ours_is_tried_nowhere() -> None:
    assert run(course(A, B), InternalError("x")) == "a."


# -- how many -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "retries", "expected"),
    [
        ((A,), {}, "aa."),
        ((A, B), {}, "aab."),
        ((A, B, C), {}, "abc."),
        ((A, B, C, D), {}, "abcd."),
        ((A,), {"attempts": 5}, "aa."),
        ((A,), {"attempts": 5, "same_target": 3}, "aaaa."),
        ((A, B), {"attempts": 4}, "aabb."),
        ((A, B, C), {"attempts": 4}, "aabc."),
        ((A, B, C), {"attempts": 2}, "ab."),
        ((A, B, C), {"attempts": 1}, "a."),
        ((A, B), {"same_target": 0}, "ab."),
        ((A, B, C, D), {"attempts": 6, "same_target": 2}, "aaabcd."),
    ],
)
def test_every_target_gets_its_chance_before_one_gets_a_second(
    targets: Sequence[Target], retries: dict[str, Any], expected: str
) -> None:
    assert run(course(*targets, **retries), *[BROKE] * 9) == expected


def test_a_target_that_was_never_called_costs_no_try() -> None:
    assert run(course(A, B, C, attempts=2), CANT, BROKE, BROKE) == "abc."
    assert run(course(A, B, C, attempts=2), CANT, CANT, BROKE) == "abcc"


def test_an_upstream_without_budget_is_not_tried_again_but_others_are() -> None:
    assert run(course(A, B, afford=never), BROKE, BROKE) == "ab."
    assert run(course(A, afford=never), LIMIT_1) == "a."


def test_a_failover_costs_no_budget() -> None:
    """An outage moves all of the traffic: that is what a fallback is for."""
    asked: list[Target] = []

    def counted(target: Target, now: float) -> bool:
        asked.append(target)
        return True

    assert run(course(A, B, C, attempts=4, afford=counted), BROKE, LATE, LATE) == "aabc"
    assert asked == [A]


# -- when -----------------------------------------------------------------------------------------------------------


def delays(failures: int, chance: float, **retries: Any) -> list[float]:
    one, found = course(A, attempts=99, same_target=10, **retries), []
    step: Try | None = one.first()
    for _ in range(failures):
        assert step is not None
        step = one.after(A, BROKE, 0.0, chance)
        assert step is not None
        found.append(step.delay_s)
    return found


def test_the_wait_doubles_up_to_a_cap_and_is_any_part_of_that() -> None:
    assert delays(6, 1.0, backoff=0.25, max_backoff=3.0) == [0.25, 0.5, 1.0, 2.0, 3.0, 3.0]
    assert delays(6, 0.5, backoff=0.25, max_backoff=3.0) == [0.125, 0.25, 0.5, 1.0, 1.5, 1.5]
    assert delays(3, 0.0) == [0.0, 0.0, 0.0]


def test_a_cap_below_the_first_wait_counts_from_the_first() -> None:
    assert delays(2, 1.0, max_backoff=0.1) == [0.1, 0.1]


def test_a_target_that_said_when_is_asked_then_if_there_is_no_other() -> None:
    spread = after_first(course(A, backoff=0.5), LIMIT_1, 5.0, 0.5)
    assert spread == Try(A, 1.25, is_again=True), "not sooner, and spread"
    assert run(course(A), LIMIT_1, LIMIT_1) == "aa."


def test_a_target_that_said_soon_is_waited_for_although_there_is_another() -> None:
    """Issue 4: `Retry-After` is honoured when it fits the budget, else the next target."""
    assert after_first(course(A, B, backoff=0.5), LIMIT_1, 5.0, 0.5) == Try(A, 1.25, is_again=True)
    assert after_first(course(A, B, short_retry_after=3), LIMIT_3) == Try(A, 3.0, is_again=True)
    assert run(course(A, B), LIMIT_1, LIMIT_1, LIMIT_1) == "aab.", "once"
    assert after_first(course(A, B, afford=never), LIMIT_1) == Try(B), "not without a budget"
    assert after_first(course(A, B, deadline=5.9), LIMIT_1, 5.0) == Try(B), "not beyond the deadline"
    assert after_first(course(A, B, C), LIMIT_1) == Try(B), "not at the cost of one that was not asked"
    assert after_first(course(A, B, short_retry_after=0), LIMIT_1) == Try(B)
    assert after_first(course(A, B, max_retry_after=0), LIMIT_1) == Try(B)


@pytest.mark.parametrize("error", [LIMIT_2, BUSY_2], ids=repr)
def test_another_target_answers_sooner_than_one_that_needs_a_rest(error: GatewayError) -> None:
    assert after_first(course(A, B), error, chance=0.9) == Try(B)


def test_the_one_that_is_ready_soonest_is_asked_when_none_is_left() -> None:
    assert run(course(A, B, attempts=9), LIMIT_3, LIMIT_2, LATE, LATE) == "abba."
    assert run(course(A, B, attempts=9), LIMIT_2, LIMIT_3, LATE, LATE) == "abab."
    assert run(course(A, B), LIMIT_3, LIMIT_2, LIMIT_2) == "abb.", "three tries"
    assert run(course(A, B, attempts=9), LIMIT_2, LATE, BROKE) == "aba."


def test_time_that_passed_meanwhile_counts_as_waited() -> None:
    for now, delay_s in ((12.0, 1.0), (99.0, 0.0)):
        one = course(A, B)
        assert after_first(one, LIMIT_3, 10.0) == Try(B)
        assert one.after(B, LATE, now, 0.0) == Try(A, delay_s, is_again=True)


@pytest.mark.parametrize("error", [*SAME_TOO, LIMIT_1], ids=repr)
def test_an_upstream_that_says_not_to_come_back_is_not_asked_again(error: GatewayError) -> None:
    final = type(error)("x", kind=error.kind, retry_after_s=error.retry_after_s, headers={"x-should-retry": "false"})
    assert run(course(A, B), final, LATE) == "ab."
    assert run(course(A), final) == "a."
    open_ = type(error)("x", kind=error.kind, retry_after_s=error.retry_after_s, headers={"x-should-retry": "true"})
    assert run(course(A), open_) == "aa"


def test_a_rest_that_is_too_long_is_not_waited_for() -> None:
    assert run(course(A), LIMIT_3) == "aa"
    assert run(course(A, max_retry_after=2.9), LIMIT_3) == "a."
    assert run(course(A, max_retry_after=0), LIMIT_1) == "a."


@pytest.mark.parametrize(
    ("error", "now", "chance", "following"),
    [
        (BROKE, 9.0, 0.9, None),
        (BROKE, 9.0, 0.1, Try(A, 0.2, is_again=True)),
        (LIMIT_1, 9.0, 0.0, None),
        (LIMIT_1, 8.9, 0.0, Try(A, 1.0, is_again=True)),
        (BROKE, 10.0, 0.0, None),
    ],
)
def test_no_wait_reaches_beyond_the_deadline(
    error: GatewayError, now: float, chance: float, following: Try | None
) -> None:
    one = course(A, deadline=10.0, backoff=2.0)
    assert after_first(one, error, now, chance) == following
    assert one.told is error


def test_after_the_deadline_no_target_is_tried() -> None:
    assert after_first(course(A, B, deadline=10.0), LATE, 10.0) is None
    assert after_first(course(A, B, deadline=10.0), LATE, 9.9) == Try(B)


def test_a_wait_that_does_not_fit_is_spent_on_the_next_target() -> None:
    assert after_first(course(A, B, deadline=10.0, backoff=2.0), BROKE, 9.0, 0.9) == Try(B)


def test_where_there_is_no_room_another_target_is_asked_at_once_and_else_the_client_told() -> None:
    """However soon a slot may be free: who is waited for is the queue's business."""
    assert after_first(course(A, B), FULL, chance=0.9) == Try(B)
    one = course(A, B, C, D, attempts=1)
    assert run(one, FULL, FULL, FULL, FULL) == "abcd.", "nothing was sent, so it is no try"
    assert one.told is FULL
    assert run(course(A, B), FULL, LATE) == "ab.", "nor is it asked again later"


# -- context --------------------------------------------------------------------------------------------------------


def sized(name: str, context: int | None) -> Target:
    return Target(name, UPSTREAM, "m", context=context)


@pytest.mark.parametrize(
    ("contexts", "expected"),
    [
        ((None, None, None), "a."),
        ((8, None, None), "a."),
        ((8, None, 16), "ac."),
        ((8, 8, 4), "a."),
        ((8, 16, 32), "abc."),
        ((8, 32, 16), "ab."),
        ((None, 16, None), "ab."),
        ((None, 16, 8), "ab."),
    ],
)
def test_a_prompt_that_is_too_long_goes_to_what_is_known_to_be_larger(
    contexts: tuple[int | None, ...], expected: str
) -> None:
    targets = [sized(name, context) for name, context in zip("abc", contexts, strict=True)]
    one = course(*targets)
    assert run(one, LONG, LONG, LONG) == expected
    assert one.told is LONG


def test_a_larger_target_is_tried_as_any_other_and_smaller_ones_are_out() -> None:
    small, tiny, large = sized("a", 8), sized("b", 4), sized("c", 16)
    assert run(course(small, tiny, large), LONG, BROKE, BROKE) == "acc."
    assert run(course(tiny, small, large), LIMIT_1, LONG, LATE) == "bac."
    assert run(course(small, large), BROKE, LONG) == "aac"


# -- what the client hears --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        ((CANT, BAD), BAD),
        ((LATE, CANT), LATE),
        ((CANT, TooLarge("x")), CANT),
        ((LIMIT, GARBLED), GARBLED),
        ((FULL, CANT), FULL),
        ((CANT, FULL), FULL),
        ((FULL, BROKE), BROKE),
        ((LATE, FULL), LATE),
    ],
)
def test_what_an_upstream_says_comes_before_what_a_target_cannot_carry(
    failures: Sequence[GatewayError], told: GatewayError
) -> None:
    one = course(A, B)
    run(one, *failures)
    assert one.told is told


# -- whatever happens -------------------------------------------------------------------------------------------------

FAILURES = st.sampled_from([*SAME_TOO, *OTHERS_ONLY, *NOBODY, BUSY_2, LIMIT_1, LIMIT_3, LONG, BadRequest("x")])
CONTEXTS = st.lists(st.sampled_from([None, 4, 8, 16]), min_size=1, max_size=6)


@given(
    contexts=CONTEXTS,
    attempts=st.none() | st.integers(1, 8),
    same_target=st.integers(0, 3),
    total=st.floats(0.1, 20),
    ratio=st.sampled_from([0.0, 1.0]),
    failures=st.lists(
        st.tuples(FAILURES, st.floats(0, 5), st.floats(0, 1, exclude_max=True)), min_size=60, max_size=60
    ),
)
def test_a_course_ends_within_its_bounds(
    contexts: list[int | None],
    attempts: int | None,
    same_target: int,
    total: float,
    ratio: float,
    failures: list[tuple[GatewayError, float, float]],
) -> None:
    """Never more calls than allowed, nor of one target, none after a refusal, none begun after the deadline."""
    targets = [sized("abcdef"[index], context) for index, context in enumerate(contexts)]
    budget = Budget(ratio, minimum=4)
    retries = Retries(attempts=attempts, same_target=same_target if attempts != 1 else 0)
    one = Course(targets, retries, total, lambda target, now: budget.spend(now))
    step: Try | None = one.first()
    tried: list[Target] = []
    now, calls = 0.0, 0
    for error, takes, chance in failures:
        assert step is not None
        now += step.delay_s
        assert not tried or now < total
        assert step.is_again is (step.target in tried)
        tried.append(step.target)
        calls += not isinstance(error, errors.ClientError)
        now += takes
        step = one.after(step.target, error, now, chance)
        if error in NOBODY:
            assert step is None
        if step is None:
            break
    assert step is None, "a course ends"
    assert one.told in [error for error, _, _ in failures]
    assert calls <= (attempts or max(3, len(targets)))
    assert all(tried.count(target) <= same_target + 1 for target in targets)
    assert len(tried) - len(set(tried)) == budget.spent


@given(contexts=CONTEXTS, errors_=st.lists(FAILURES, min_size=30, max_size=30))
def test_a_context_that_was_too_small_is_never_followed_by_one_that_is_not_larger(
    contexts: list[int | None], errors_: list[GatewayError]
) -> None:
    targets = [sized("abcdef"[index], context) for index, context in enumerate(contexts)]
    one = course(*targets)
    step: Try | None = one.first()
    too_small: int | None = None
    for error in errors_:
        if step is None:
            return
        if too_small is not None:
            assert (step.target.context or 0) > too_small
        if error is LONG:
            too_small = max(too_small or 0, step.target.context or 0)
        step = one.after(step.target, error, 0.0, 0.0)
    assert step is None


# -- targets that are left alone ---------------------------------------------------------------------------------------


def guarded(*targets: Target, open_until: dict[str, float], **retries: Any) -> Course:
    """A course on which some targets may not be called until a moment, if there is any other."""

    def admit(some: Sequence[Target], moment: float) -> Sequence[Target]:
        return [target for target in some if moment >= open_until.get(target.name, 0.0)] or some

    return Course(targets, Retries.model_validate(retries), FOREVER, always, admit)


def test_the_next_target_is_one_that_may_be_called() -> None:
    found = after_first(guarded(A, B, C, open_until={"b": 9.0}), LATE)
    assert found is not None
    assert found.target == C


def test_the_same_target_is_not_tried_again_when_it_is_to_be_left_alone() -> None:
    found = after_first(guarded(A, B, open_until={"a": 9.0}), LOST)
    assert found is not None
    assert found.target == B


def test_the_same_target_is_tried_again_where_all_others_are_to_be_left_alone() -> None:
    found = after_first(guarded(A, B, open_until={"b": 9.0}), LOST)
    assert found is not None
    assert found.target == A


@pytest.mark.parametrize("error", [CANT, LATE, BUSY_99], ids=lambda error: str(error.kind))
def test_a_target_that_is_to_be_left_alone_is_tried_when_it_is_the_last_hope(error: GatewayError) -> None:
    """What the other can't carry, or has failed in, must not fail for want of somebody to ask."""
    found = after_first(guarded(A, B, open_until={"b": 9.0}), error)
    assert found is not None
    assert found.target == B


def test_the_only_target_is_tried_again_although_it_is_to_be_left_alone() -> None:
    found = after_first(guarded(A, open_until={"a": 9.0}), LOST)
    assert found is not None
    assert found.target == A


def test_one_that_was_taken_out_of_use_during_a_wait_may_not_be_called_any_more() -> None:
    open_until = {"a": 0.0}
    one = guarded(A, B, open_until=open_until)
    one.first()
    assert one.may(A, 1.0)
    open_until["a"] = 9.0
    assert not one.may(A, 1.0)


# -- two tries at once -----------------------------------------------------------------------------------------------


def test_beside_a_late_try_the_next_target_is_asked() -> None:
    """Both count as tried: when both have failed, the third is next."""
    way = course(A, B, C)
    way.first()
    assert way.beside(A, 1.0, lambda: True) == Try(B)
    way.failed(B, BUSY_99, 2.0)
    assert way.after(A, LATE, 3.0, 0.5) == Try(C)


def test_nobody_is_asked_beside_where_there_is_no_target_no_budget_no_try_or_no_time() -> None:
    asked: list[str] = []

    def afford() -> bool:
        asked.append("budget")
        return False

    alone = course(A)
    alone.first()
    assert alone.beside(A, 1.0, afford) is None
    over = course(A, B, deadline=1.0)
    over.first()
    assert over.beside(A, 1.0, afford) is None
    used_up = course(A, B, attempts=1)
    used_up.first()
    assert used_up.beside(A, 0.5, afford) is None
    assert asked == []
    poor = course(A, B)
    poor.first()
    assert poor.beside(A, 1.0, afford) is None
    assert asked == ["budget"]
    assert poor.after(A, LATE, 1.0, 0.5) == Try(B)


def test_a_target_that_is_left_alone_is_not_asked_beside() -> None:
    """Unlike after a failure, the client still has somebody who may answer."""
    way = Course([A, B, C], Retries(), FOREVER, always, lambda targets, now: [t for t in targets if t != B] or targets)
    way.first()
    assert way.beside(A, 1.0, lambda: True) == Try(C)
    assert way.beside(A, 1.0, lambda: True) is None
