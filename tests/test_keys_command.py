"""`triglot keys`: what it prints is what the routes file takes."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.config import parse

HEAD = 'upstreams: {s: {dialect: openai, url: "simulator://"}}\nroutes: {demo: s, "gpt-${HOME}": s}\n'
KEY = re.compile(r"^tg-[A-Za-z0-9_-]{43}$", re.MULTILINE)
CANARY = "tg-canary-0123456789abcdef"


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(main, ("keys", *arguments), given)


def yaml_of(printed: str) -> str:
    return printed[printed.index("keys:\n") :]


def test_a_new_key_is_printed_once_with_the_yaml_that_knows_it() -> None:
    told = run("new", "--id", "checkout")
    (key,) = KEY.findall(told.stdout)
    config = parse(HEAD + yaml_of(told.stdout), "routes.yaml", {})
    assert config.keys["checkout"].sha256 == sha256(key.encode()).hexdigest()
    assert config.keys["checkout"].routes == ("*",)


def test_each_new_key_is_another() -> None:
    assert len({KEY.findall(run("new", "--id", "k").stdout)[0] for _ in range(20)}) == 20


def test_all_settings_of_a_new_key_can_be_said() -> None:
    told = run(
        *("new", "--id", "ops", "--route", "demo", "--route", "dem*", "--max-in-flight", "3"),
        *("--requests-per-minute", "60", "--expires", "2027-01-31", "--admin"),
    )
    key = parse(HEAD + yaml_of(told.stdout), "routes.yaml", {}).keys["ops"]
    assert key.routes == ("demo", "dem*")
    assert (key.max_in_flight, key.requests_per_minute, key.admin) == (3, 60, True)
    assert key.expires is not None
    assert key.expires.isoformat() == "2027-01-31T00:00:00+00:00"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--id", "che ckout"), "1 to 64 letters"),
        (("--id", 'a"b\nc'), "1 to 64 letters"),
        (("--id", "a: {b"), ""),
        (("--id", "k", "--expires", "soon"), "write it like 2027-01-31"),
        (("--id", "k", "--expires", "2027-01-31\n    admin: true"), ""),
        (("--id", "k", "--route", "a b"), "without spaces"),
        ((), "--id"),
    ],
)
def test_what_the_file_would_not_take_is_refused_at_once(options: tuple[str, ...], says: str) -> None:
    told = run("new", *options)
    assert told.exit_code == 2
    assert says in told.stderr.replace("\n", " ")
    assert not KEY.search(told.output)


def test_a_dollar_in_a_route_is_no_reference() -> None:
    told = run("new", "--id", "k", "--route", "gpt-${HOME}*")
    assert parse(HEAD + yaml_of(told.stdout), "", {}).keys["k"].routes == ("gpt-${HOME}*",)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_hash_of_a_key_is_made_from_what_is_piped_in(end: str) -> None:
    told = run("hash", given=CANARY + end)
    assert told.stdout == f"sha256: {sha256(CANARY.encode()).hexdigest()}\n"


@pytest.mark.parametrize(
    "given", ["", "\n", "short", f"{CANARY}\n{CANARY}", f"{CANARY} {CANARY}", "ü" * 20, "x" * 5000]
)
def test_what_is_no_key_gets_no_hash_and_is_not_repeated(given: str) -> None:
    told = run("hash", given=given)
    assert told.exit_code == 2
    assert "16 to 512 printable ASCII characters" in told.stderr.replace("\n", " ")
    assert CANARY not in told.output
    assert "sha256:" not in told.output


def test_check_tells_what_each_key_opens(tmp_path: Path) -> None:
    digest = sha256(CANARY.encode()).hexdigest()
    entry = f"{{sha256: {digest}, routes: [demo], max_in_flight: 3, requests_per_minute: 60, expires: 2030-01-31}}"
    (tmp_path / "routes.yaml").write_text(
        f"{HEAD}keys: {{checkout: {entry}, ops: {{sha256: {'0' * 64}, admin: true}}}}"
    )
    told = CliRunner().invoke(main, ("check", "-c", str(tmp_path / "routes.yaml"))).stdout
    assert "key checkout: demo; 3 at a time; 60 a minute; until 2030-01-31 00:00 UTC\n" in told
    assert "key ops: *; admin\n" in told
    assert digest not in told


def test_serve_says_how_to_make_a_key_where_one_is_needed(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(HEAD)
    told = CliRunner().invoke(main, ("serve", "-c", str(tmp_path / "routes.yaml"), "--host", "0.0.0.0"))
    assert told.exit_code == 2
    assert "triglot keys new --id ID" in told.stderr.replace("\n", " ")
