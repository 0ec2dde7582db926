"""Secrets appear nowhere: not in the log at its most talkative, in answers, in metrics, or at a wrong upstream.

A gateway in a process of its own is sent every kind of request, with a secret wherever one can be, and meets every kind
of upstream, most of which repeat what they were sent. Then all that it said is searched.
"""

from __future__ import annotations

import re

import pytest

from tests.secrets.calls import SHOWN
from tests.secrets.conftest import Evidence
from tests.secrets.endings import ENDINGS, OWN, VOICES
from tests.secrets.planted import (
    ALL,
    ANSWER,
    CREDENTIALS,
    OURS,
    OWN_KEY,
    PROMPTS,
    SYSTEM,
    TOOL,
    UPSTREAM_KEYS,
    USER,
    Secret,
    found,
)

QUIET = ("fine", "fields", "media-type", "cut", "reset", "silence", "401", "403", "page", "packed", "moved", "reason")
"""Endings by which an upstream says nothing of what it was asked, or nothing that is passed on."""
REPEATED = (SYSTEM, TOOL, USER)
"""What the Responses API has every answer repeat."""
RAW_TEXT = ("truss:error-in-stream", "truss:words-in-stream", "truss:gibberish")
"""In plain text nothing is an error: whatever comes is the answer."""


def test_nothing_is_in_the_log(evidence: Evidence) -> None:
    assert list(found(evidence.log, *ALL)) == []


def test_no_credential_is_in_an_answer(evidence: Evidence) -> None:
    leaks = [
        f"{name}: {leak}"
        for name, reply in evidence.replies.items()
        if not any(ending in name for ending in RAW_TEXT)
        for leak in found(reply, *CREDENTIALS, *OURS)
    ]
    assert leaks == []


def test_no_prompt_is_in_an_answer_unless_its_upstream_said_it(evidence: Evidence) -> None:
    leaks = [
        f"{name}: {leak}"
        for name, reply in evidence.replies.items()
        for leak in found(reply, *(set(PROMPTS) - set(REPEATED)))
        if not was_told(name)
    ]
    assert leaks == []


def was_told(name: str) -> bool:
    """Whether the upstream that was asked repeats the prompt in its words, which the client may hear."""
    ending = re.search(r"(?:openai|anthropic|responses|truss|own):([\w-]+)", name)
    return "spare" in name or (ending is not None and ending[1] not in QUIET)


def test_only_answers_of_an_api_that_repeats_requests_do(evidence: Evidence) -> None:
    leaks = [
        f"{name}: {leak}"
        for name, reply in evidence.replies.items()
        for leak in found(reply, *REPEATED)
        if not (name.startswith("responses") and reply.startswith(b"HTTP/1.1 200"))
    ]
    assert leaks == []


def test_nothing_is_in_metrics_and_on_other_pages(evidence: Evidence) -> None:
    assert [f"{name}: {leak}" for name, page in evidence.pages.items() for leak in found(page, *ALL)] == []


def test_no_upstream_gets_a_clients_credential_or_that_of_another(evidence: Evidence) -> None:
    """But for the one that is called with the client's own, which gets that and no other."""
    leaks = set()
    for seen in evidence.seen:
        upstream = seen.target.split("/")[1]
        its_own = OWN_KEY if upstream == OWN else UPSTREAM_KEYS[upstream]
        sent = f"{seen.method} {seen.target} {seen.headers}".encode() + seen.body
        leaks |= {f"{upstream}: {leak}" for leak in found(sent, *({*CREDENTIALS, *OURS} - {its_own}))}
    assert leaks == set()


# -- that the tests above have looked at something -----------------------------------------------------------------


def test_every_kind_of_answer_was_given(evidence: Evidence) -> None:
    assert {200, 400, 401, 404, 405, 413, 415, 429, 431, 500, 502, 503, 504} <= evidence.statuses.keys()
    assert all(evidence.pages.values())


def test_every_upstream_was_called_in_every_way(evidence: Evidence) -> None:
    called = {tuple(seen.target.split("/")[1:3]) for seen in evidence.seen}
    assert called == {(upstream, ending) for upstream in VOICES for ending in ENDINGS}


@pytest.mark.parametrize("secret", [*UPSTREAM_KEYS.values(), OWN_KEY, *PROMPTS], ids=lambda secret: secret.name)
def test_upstreams_got_what_is_for_them(evidence: Evidence, secret: Secret) -> None:
    sent = b"".join(f"{seen.headers}".encode() + seen.body for seen in evidence.seen)
    assert list(found(sent, secret))


def test_clients_got_their_answers(evidence: Evidence) -> None:
    for name, reply in evidence.replies.items():
        if "fine, stream" in name:
            assert list(found(reply, ANSWER)), name


def test_the_log_says_much(evidence: Evidence) -> None:
    assert evidence.log.count(b'"request_id"') > len(ENDINGS) * len(VOICES) * len(SHOWN) / 10
    assert evidence.log.count(b"failed inside the gateway") >= 3
    assert b"RuntimeError" in evidence.log
    assert b"KeyError" in evidence.log
    assert b"ValueError" in evidence.log
    assert b"refused a request" in evidence.log
