"""What commands print, on the terminal of whoever types them or in the log of what starts them, holds no secret."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from gateway.cli import main
from tests.faults.harness import free_port, gateway_process
from tests.faults.hostile_upstream import until
from tests.secrets.calls import BREAKS, KINDS
from tests.secrets.conftest import environment, routes
from tests.secrets.planted import ALL, CLIENT_KEY, UPSTREAM_KEYS, Secret, found

KEY: Final = UPSTREAM_KEYS["openai"]
TYPED: Final = Secret("a key that somebody typed where it doesn't belong")
UPSTREAM: Final = "upstreams: {up: {dialect: openai, url: 'http://127.0.0.1:1/v1', %s}}\nroutes: {demo: up}\n"
MISPLACED: Final[Mapping[str, str]] = {
    "a list for a key": UPSTREAM % f"key: [{TYPED.text}]",
    "a mapping for a key": UPSTREAM % f"key: {{value: {TYPED.text}}}",
    "a key with a line end": UPSTREAM % f'key: "{TYPED.text}\\n"',
    "a key beyond ASCII": UPSTREAM % f'key: "{TYPED.text}ä"',
    "a key with a blank": UPSTREAM % f'key: "Bearer {TYPED.text}"',
    "a key that is never sent": UPSTREAM % f"key: {TYPED.text}, auth: none",
    "under another name": UPSTREAM % f"api_key: {TYPED.text}",
    "as the way to send it": UPSTREAM % f'auth: "Bearer {TYPED.text}"',
    "among the options": UPSTREAM % f"options: {{api_key: {TYPED.text}}}",
    "in a reference": UPSTREAM % f'key: "${{{TYPED.text}}}"',
    "as a default of nothing": UPSTREAM % f'key: "${{:-{TYPED.text}}}"',
    "with an escape": UPSTREAM % f'key: "{TYPED.text}\\q"',
    "as an alias": UPSTREAM % f"key: *{TYPED.text}",
    "as an anchor": UPSTREAM % f"key: &{TYPED.text} x",
    "as a tag": UPSTREAM % f"key: !{TYPED.text} x",
    "twice": UPSTREAM % f"key: {TYPED.text}, key: {TYPED.text}",
    "before a colon": UPSTREAM % f"key: {TYPED.text}: {TYPED.text}: x",
    "without an end": UPSTREAM % f'key: "{TYPED.text}',
    "in the address": UPSTREAM.replace("http://127", f"http://user:{TYPED.text}@127") % "",
    "in its query": UPSTREAM.replace("/v1", f"/v1?key={TYPED.text}") % "",
    "for an address": UPSTREAM.replace("http://127.0.0.1:1/v1", TYPED.text) % "",
    "for its scheme": UPSTREAM.replace("http://127.0.0.1:1/v1", f"{TYPED.text}://h") % "",
    "for its port": UPSTREAM.replace(":1/v1", f":{TYPED.text}/v1") % "",
    "a seal key that is a list": f"server: {{seal_key: [{TYPED.text}]}}\n" + UPSTREAM % "",
    "a seal key beyond ASCII": f'server: {{seal_key: "{TYPED.text}ä"}}\n' + UPSTREAM % "",
    "a key where its hash belongs": f"keys: {{team: {{sha256: {TYPED.text}}}}}\n" + UPSTREAM % "",
    "a key beside its hash": f"keys: {{team: {{key: {TYPED.text}}}}}\n" + UPSTREAM % "",
    "a key for all there is to say of it": f"keys: {{team: {TYPED.text}}}\n" + UPSTREAM % "",
    "a list of keys": f"keys: [{TYPED.text}]\n" + UPSTREAM % "",
}
"""Files in which a secret stands where it can't be read as one, or where something else is wrong with it."""
COMMANDS: Final = (("check",), ("explain", "--model", "demo"))
SOUND: Final = ("a key with a blank",)
"""What may well be a key."""


def run(*arguments: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """A command in this process: its exit code and all that it printed, to both outputs."""
    result = CliRunner(env=environ).invoke(main, arguments, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output.encode()


@pytest.fixture
def sound(tmp_path: Path) -> str:
    path = tmp_path / "routes.yaml"
    path.write_bytes(routes(1))
    return str(path)


KEYS: Final = {name: value for name, value in environment().items() if name.startswith(("KEY_", "SEAL_"))}


@pytest.mark.parametrize("arguments", [("check",), ("schema",), ("translation",)], ids=" ".join)
def test_no_secret_of_a_file_is_printed(sound: str, arguments: tuple[str, ...]) -> None:
    given = ("-c", sound) if arguments == ("check",) else ()
    code, printed = run(*arguments, *given, environ=KEYS)
    assert code == 0
    assert printed
    assert list(found(printed, *ALL)) == []


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["for people", "for scripts"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_explain_prints_nothing_of_a_request(sound: str, kind: Any, form: tuple[str, ...]) -> None:
    dialect = kind.name.removesuffix("-chat")
    for model in ("openai:fine", "anthropic:400", "truss:fine"):
        shown = ("-H", f"Authorization: Bearer {CLIENT_KEY.text}", "-H", f"x-api-key: {CLIENT_KEY.text}")
        asked = ("explain", "-c", sound, "--model", model, "--dialect", dialect, "--body", "-", *shown, *form)
        code, printed = run(*asked, stdin=kind.content(model), environ=KEYS)
        assert code == 0, printed
        assert list(found(printed, *ALL)) == []


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_explain_repeats_nothing_of_a_body_that_it_cant_read(tmp_path: Path, kind: Any, broken: str) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(UPSTREAM % f"key: {KEY.text}")
    body = BREAKS[broken](kind.content("openai:fine"))
    dialect = kind.name.removesuffix("-chat")
    asked = ("explain", "-c", str(path), "--model", "demo", "--dialect", dialect, "--body", "-")
    _, printed = run(*asked, stdin=body)
    assert printed
    assert list(found(printed, *ALL)) == []


def test_explain_repeats_nothing_of_a_header_that_it_cant_read(sound: str) -> None:
    code, printed = run("explain", "-c", sound, "--model", "openai:fine", "-H", f"Bearer {TYPED.text}", environ=KEYS)
    assert code == 2
    assert list(found(printed, TYPED)) == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("what", [what for what in MISPLACED if what not in SOUND])
def test_a_file_with_a_secret_in_a_wrong_place_is_refused_without_it(
    tmp_path: Path, what: str, command: tuple[str, ...]
) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(MISPLACED[what])
    code, printed = run(command[0], "-c", str(path), *command[1:])
    assert code == 1, printed
    assert b"routes.yaml" in printed
    assert list(found(printed, TYPED)) == []


def test_no_file_that_is_reloaded_is_repeated_in_the_log(tmp_path: Path) -> None:
    """Neither what it says nor what is wrong with it, which stays in a log for long."""
    with gateway_process(tmp_path, (UPSTREAM % f"key: {KEY.text}").encode(), free_port()) as process:
        for what, text in MISPLACED.items():
            before = process.log.stat().st_size
            (tmp_path / "routes.yaml").write_text(text)
            process.popen.send_signal(signal.SIGHUP)
            until(lambda: process.log.stat().st_size > before, what)  # noqa: B023  called within this turn
    told = process.log.read_bytes()
    assert told.count(b"was not reloaded") >= len(MISPLACED) - len(SOUND)
    assert list(found(told, TYPED, KEY)) == []
