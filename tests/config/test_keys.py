"""Client keys in a routes file: what is taken, and what is said of what isn't."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import pytest

from gateway.config import Config, ConfigError, differences, parse
from gateway.config.pattern import matches, overlap

DIGEST: Final = sha256(b"tg-canary").hexdigest()
OTHER: Final = sha256(b"tg-other").hexdigest()
PLAIN: Final = "tg-plain-canary-9876543210"
HEAD: Final = """\
upstreams: {simulator: {dialect: openai, url: "simulator://"}}
routes: {demo: simulator, "claude-*": simulator}
"""


def read(keys: str, head: str = HEAD) -> Config:
    return parse(f"{head}keys:\n{keys}", "routes.yaml", {"FROM_OUTSIDE": PLAIN, "DIGEST": DIGEST})


def problems(keys: str, head: str = HEAD) -> str:
    with pytest.raises(ConfigError) as told:
        read(keys, head)
    return str(told.value)


def test_a_key_is_read_with_all_its_settings() -> None:
    key = read(
        f"  checkout: {{sha256: {DIGEST.upper()}, routes: [demo, 'claude-*'], max_in_flight: 8,\n"
        "             requests_per_minute: 600, expires: 2027-01-31, admin: true}\n"
    ).keys["checkout"]
    assert key.sha256 == DIGEST
    assert key.routes == ("demo", "claude-*")
    assert (key.max_in_flight, key.requests_per_minute, key.admin) == (8, 600, True)
    assert key.expires == datetime(2027, 1, 31, tzinfo=UTC)


def test_a_hash_is_all_that_a_key_needs() -> None:
    key = read("  checkout: {sha256: '${DIGEST}'}\n").keys["checkout"]
    assert (key.sha256, key.routes, key.max_in_flight, key.expires, key.admin) == (DIGEST, ("*",), None, None, False)


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("2027-01-31T12:00:00Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31T12:00+02:00", datetime(2027, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_key_may_expire_at_a_time_of_day(written: str, means: datetime) -> None:
    assert read(f"  k: {{sha256: {DIGEST}, expires: '{written}'}}\n").keys["k"].expires == means


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (f"  k: {{sha256: {PLAIN}}}\n", ("routes.yaml:4: keys.k.sha256", "`triglot keys hash`")),
        ("  k: {sha256: '${FROM_OUTSIDE}'}\n", ("keys.k.sha256", "`triglot keys hash`")),
        (f"  k: {PLAIN}\n", ("keys.k: expected a mapping, not this value",)),
        (f"  - {PLAIN}\n", ("keys: expected a mapping, not a list",)),
        (f"  k: {{key: {PLAIN}}}\n", ("keys.k.key: keys don't belong here", "`triglot keys hash`")),
        (f"  k: {{sha256: {DIGEST[:-1]}}}\n", ("64 hex digits",)),
        (f"  k: {{sha256: {sha256(b'').hexdigest()}}}\n", ("the hash of an empty line",)),
        (f"  k: {{sha256: {sha256(bytes([10])).hexdigest()}}}\n", ("the hash of an empty line",)),
        ("  k: {routes: [demo]}\n", ("keys.k.sha256: required",)),
        ("  k:\n", ("keys.k: expected a mapping, not nothing",)),
        (
            f"  k: {{sha256: {DIGEST}}}\n  k: {{sha256: {OTHER}}}\n",
            ("routes.yaml:5: keys.k: given twice, first on line 4",),
        ),
        (
            f"  k: {{sha256: {DIGEST}}}\n  j: {{sha256: {DIGEST.upper()}}}\n",
            ("routes.yaml:5: keys.j.sha256: the same key as keys.k", "`triglot keys new --id j`"),
        ),
        (f"  k: {{sha256: {DIGEST}, routes: [dmo]}}\n", ('keys.k.routes[0]: no route is called "dmo"', '"demo"?')),
        (f"  k: {{sha256: {DIGEST}, routes: ['gpt-*']}}\n", ('no route is called "gpt-*"',)),
        (f"  k: {{sha256: {DIGEST}, routes: []}}\n", ("keys.k.routes: a key without routes that isn't admin",)),
        (f"  k: {{sha256: {DIGEST}, routes: }}\n", ("keys.k.routes: expected a list, not nothing",)),
        (f"  k: {{sha256: {DIGEST}, routes: demo}}\n", ('keys.k.routes: expected a list, not "demo"',)),
        (f"  k: {{sha256: {DIGEST}, max_in_flight: 0}}\n", ("must be at least 1",)),
        (f"  k: {{sha256: {DIGEST}, requests_per_minute: many}}\n", ("expected a whole number",)),
        (f"  k: {{sha256: {DIGEST}, expires: soon}}\n", ("not a date; write it like 2027-01-31",)),
        (f"  k: {{sha256: {DIGEST}, expires: 2027-02-30}}\n", ("there is no such date",)),
        (f"  k: {{sha256: {DIGEST}, expires: '2027-01-31T12:00'}}\n", ("not a date",)),
        (f"  k: {{sha256: {DIGEST}, admn: true}}\n", ("keys.k.admn: unknown setting", '"admin"?')),
        (f"  'a b': {{sha256: {DIGEST}}}\n", ("the id of a key is 1 to 64 letters",)),
        (f'  "a\\nb": {{sha256: {DIGEST}}}\n', ("the id of a key is 1 to 64 letters",)),
        ("", ("keys: at least one is needed",)),
    ],
)
def test_each_mistake_is_named_and_a_key_never_shown(keys: str, says: tuple[str, ...]) -> None:
    told = problems(keys)
    assert all(part in told for part in says), told
    assert "canary" not in told


def test_routes_that_are_all_commented_out_do_not_open_everything() -> None:
    assert "expected a list" in problems(f"  k:\n    sha256: {DIGEST}\n    routes:\n      # - demo\n")


def test_a_key_for_operators_needs_no_routes() -> None:
    assert read(f"  ops: {{sha256: {DIGEST}, routes: [], admin: true}}\n").keys["ops"].routes == ()


def test_nothing_of_a_key_shows_in_what_is_printed_of_a_configuration() -> None:
    config = read(f"  k: {{sha256: {DIGEST}}}\n")
    assert DIGEST not in repr(config) + str(config)


def test_several_workers_share_out_the_limits_of_a_key() -> None:
    config = read(
        f"  k: {{sha256: {DIGEST}, max_in_flight: 8, requests_per_minute: 601}}\n  j: {{sha256: {OTHER}}}\n",
        "server: {workers: 3}\n" + HEAD,
    )
    shares = [config.shared(number).keys["k"] for number in (1, 2, 3)]
    assert [share.max_in_flight for share in shares] == [3, 3, 2]
    assert [share.requests_per_minute for share in shares] == [201, 200, 200]
    assert config.shared(1).keys["j"] == config.keys["j"]


@pytest.mark.parametrize("limit", ["max_in_flight", "requests_per_minute"])
def test_a_limit_that_leaves_a_worker_nothing_is_refused(limit: str) -> None:
    told = problems(f"  k: {{sha256: {DIGEST}, {limit}: 2}}\n", "server: {workers: 3}\n" + HEAD)
    assert f"keys.k.{limit}: each of 3 workers needs one of them at least" in told


def test_what_has_changed_about_keys_is_told_by_their_ids() -> None:
    before = read(f"  k: {{sha256: {DIGEST}}}\n  j: {{sha256: {OTHER}}}\n")
    after = read(f"  k: {{sha256: {DIGEST}, admin: true}}\n  new: {{sha256: {OTHER}}}\n")
    assert differences(before, after) == ("changed keys.k", "gone keys.j", "new keys.new")


@pytest.mark.parametrize(
    ("host", "keys", "is_exposed"),
    [
        ("127.0.0.1", "", False),
        ("0.0.0.0", "", True),
        ("0.0.0.0", f"keys: {{k: {{sha256: {DIGEST}}}}}\n", False),
    ],
)
def test_a_gateway_is_exposed_beyond_loopback_without_keys(host: str, keys: str, is_exposed: bool) -> None:
    assert parse(f'server: {{host: "{host}"}}\n{HEAD}{keys}', "", {}).is_exposed is is_exposed


@pytest.mark.parametrize(
    ("one", "other", "do"),
    [
        ("demo", "demo", True),
        ("demo", "dem", False),
        ("de*", "demo", True),
        ("demo", "*mo", True),
        ("gpt-4*", "gpt-*", True),
        ("gpt-*", "claude-*", False),
        ("*-mini", "gpt-*", True),
        ("a*x", "a*y", False),
        ("a*b*c", "*c", True),
        ("*", "*", True),
    ],
)
def test_patterns_overlap_where_a_name_fits_both(one: str, other: str, do: bool) -> None:
    assert overlap(one, other) is overlap(other, one) is do


def test_overlapping_agrees_with_trying_all_short_names() -> None:
    letters = ("", "a", "b", "*")
    patterns = {f"{x}{y}{z}" for x in letters for y in letters for z in letters} - {""}
    names = ["".join(name) for size in range(7) for name in _words(size)]
    for one in patterns:
        for other in patterns:
            assert overlap(one, other) is any(matches(one, name) and matches(other, name) for name in names)


def _words(size: int) -> list[str]:
    return [""] if not size else [word + letter for word in _words(size - 1) for letter in "ab"]
