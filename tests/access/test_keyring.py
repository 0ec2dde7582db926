"""Client keys, looked up by digest."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.keyring import HOW_TO_SEND, Holder, Keyring, credentials
from gateway.config import ClientKey
from gateway.errors import BadKey

NOW: Final = 1_800_000_000.0
KEY: Final = b"tg-canary-0123456789"
OTHER: Final = b"sk-of-an-upstream-0123456789"


def client_key(key: bytes = KEY, **settings: Any) -> ClientKey:
    return ClientKey.model_validate({"sha256": sha256(key).hexdigest(), **settings})


RING: Final = Keyring({"checkout": client_key(), "second": client_key(b"tg-second-0123456789")})


def find(*given: bytes, ring: Keyring = RING) -> tuple[Holder, bytes]:
    return ring.find(given, NOW)


@pytest.mark.parametrize(
    "field",
    [
        (b"authorization", b"Bearer " + KEY),
        (b"authorization", b"bearer  " + KEY + b" "),
        (b"authorization", b"Api-Key " + KEY),
        (b"authorization", b"API-KEY " + KEY),
        (b"x-api-key", KEY),
        (b"x-api-key", b" " + KEY),
    ],
)
def test_a_key_is_found_in_each_place_that_clients_send_it(field: tuple[bytes, bytes]) -> None:
    assert find(*credentials([(b"host", b"gw"), field]))[0].id == "checkout"


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ([], "no key was sent"),
        ([(b"cookie", KEY), (b"proxy-authorization", b"Bearer " + KEY), (b"api-key", KEY)], "no key was sent"),
        ([(b"authorization", KEY)], "can't be read"),
        ([(b"authorization", b"Basic " + KEY)], "can't be read"),
        ([(b"authorization", b"Bearer")], "can't be read"),
        ([(b"authorization", b"Bearer ")], "can't be read"),
        ([(b"authorization", b"Bearer two words")], "can't be read"),
        ([(b"x-api-key", b"")], "can't be read"),
        ([(b"x-api-key", b"x" * 513)], "can't be read"),
        ([(b"x-api-key", b"x" * 1_000_000)], "can't be read"),
        ([(b"x-api-key", "schlüssel".encode())], "can't be read"),
        ([(b"x-api-key", b"a\nb")], "can't be read"),
        ([(b"x-api-key", b'"' + KEY + b'"')], "not known"),
        ([(b"x-api-key", KEY[:-1])], "not known"),
        ([(b"x-api-key", KEY.upper())], "not known"),
        ([(b"x-api-key", sha256(KEY).hexdigest().encode())], "not known"),
    ],
)
def test_what_is_no_key_is_refused_and_never_repeated(headers: list[tuple[bytes, bytes]], says: str) -> None:
    with pytest.raises(BadKey) as told:
        find(*credentials(headers))
    assert says in told.value.message
    assert HOW_TO_SEND in told.value.message
    assert KEY.decode()[3:] not in told.value.message
    assert len(told.value.message) < 300


@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key"]), st.binary(max_size=80)), max_size=8))
def test_no_garbage_opens_anything_or_breaks_it(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(BadKey):
        find(*credentials(headers))


def test_the_credential_beside_the_key_is_told_apart_from_it_in_either_order() -> None:
    assert find(KEY, OTHER)[1] == OTHER
    assert find(OTHER, KEY)[1] == OTHER
    assert find(OTHER, KEY)[0].id == "checkout"


def test_a_key_of_ours_is_never_taken_for_one_of_an_upstream() -> None:
    assert find(KEY, b"tg-second-0123456789") == (find(KEY)[0], b"")


def test_a_key_among_many_others_is_not_looked_for_without_end() -> None:
    many = [b"wrong-%d" % number for number in range(100)]
    with pytest.raises(BadKey):
        find(*many, KEY)


def test_a_key_works_until_it_expires_and_says_so_then() -> None:
    ring = Keyring({"old": client_key(expires="2027-01-15T08:00:00Z")})  # NOW
    assert ring.find([KEY], NOW - 1)[0].id == "old"
    with pytest.raises(BadKey, match='the key "old" has expired'):
        ring.find([KEY], NOW)


@pytest.mark.parametrize(
    ("patterns", "name", "may"),
    [
        (["*"], "anything", True),
        (["demo"], "demo", True),
        (["demo"], "demo2", False),
        (["demo"], "Demo", False),
        (["claude-*", "gpt-4*-mini"], "gpt-4o-mini", True),
        (["claude-*", "gpt-4*-mini"], "gpt-4o", False),
    ],
)
def test_a_key_is_for_the_names_that_its_patterns_take(patterns: list[str], name: str, may: bool) -> None:
    assert find(KEY, ring=Keyring({"k": client_key(routes=patterns)}))[0].may_use(name) is may


def test_nothing_of_a_key_shows() -> None:
    assert sha256(KEY).hexdigest() not in repr(find(KEY)[0]) + repr(client_key())
