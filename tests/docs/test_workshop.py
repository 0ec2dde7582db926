"""A page whose blocks don't do what it says fails, and so does one that leaves open what is to be done with a block."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Unclear, Way, read
from tests.docs.stand_in import elsewhere
from tests.docs.workshop import BlockFailed, Tools, Workshop, commands, is_printed, missing_tools, workshop
from tests.e2e.gateway_process import free_port

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path / "shop", free_port(), {}, Tools()) as made:
        yield made


def perform(shop: Workshop, text: str) -> str:
    for block in read("page.md", text):
        shop.perform(block)
    return shop.printed


def fence(language: str, text: str, comment: str = "") -> str:
    return f"{comment}\n```{language}\n{text}\n```\n\n"


def output(text: str) -> str:
    return fence("text", text, "<!-- output -->")


ROUTES = 'upstreams: {a: {dialect: openai, url: "https://a/v1", key: "${A_KEY}"}}\nroutes: {b: a}'
GOOD = {
    "an output as it is printed": fence("bash", "seq 3") + output("1\n…\n3"),
    "a session at a prompt": fence("console", "$ echo 'a\nb' \\\n    c\na\nb c\n$ echo d") + output("b c\nd"),
    "a variable of the block above": fence("bash", "export A=sea")
    + fence("python", "import os\nprint(os.environ['A'])")
    + output("sea"),
    "a file": fence("nginx", "sea", "<!-- file: ~/.x/y.txt -->") + fence("bash", "cat ~/.x/y.txt") + output("sea"),
    "routes with a key": fence("yaml", ROUTES),
    "a package that is there": fence("bash", "pip install requests"),
    "nothing to run": fence("", "a ─▶ b") + fence("bash", "sleep 3600", "<!-- shown: takes an hour -->"),
}
BAD = {
    "a status": fence("bash", "false"),
    "an earlier status": fence("bash", "false | cat\necho sea"),
    "an exception": fence("python", "raise SystemExit(1)"),
    "another output": fence("bash", "echo sea") + output("ocean"),
    "an output in another order": fence("bash", "seq 3") + output("3\n…\n1"),
    "nobody there": fence("bash", "curl http://127.0.0.1:8080/livez"),
    "wrong routes": fence("yaml", "upstreams: {}\nroutes: {a: b}"),
    "no routes": fence("yaml", "a: b"),
    "a package that isn't there": fence("bash", "pip install triglot-has-no-such-dependency"),
    "a package of npm's that isn't there": fence("bash", "npm install left-pad"),
    "a server that doesn't start": fence("yaml", "a: b", "<!-- file: routes.yaml -->")
    + fence("bash", "triglot serve", "<!-- server -->"),
    "JSON that is none": fence("json", '{"a": …}'),
    "TOML that is none": fence("toml", "a = …"),
}
UNCLEAR = {
    "a language nobody runs": fence("nginx", "server {}"),
    "a comment nobody knows": fence("text", "a", "<!-- outputs -->"),
    "two ways": fence("text", "a", "<!-- output -->\n<!-- server -->"),
    "no reason": fence("bash", "a", "<!-- shown -->"),
    "no name": fence("bash", "a", "<!-- file -->"),
    "a marker nobody knows": fence("bash", "a", "<!-- needs: luck -->"),
    "a command in a drawing": fence("", "$ triglot serve"),
    "an indented block": "    triglot serve\n",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_a_page_that_says_what_is_so_passes(shop: Workshop, text: str) -> None:
    perform(shop, text)


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_page_that_says_what_is_not_so_fails(shop: Workshop, text: str) -> None:
    with pytest.raises(BlockFailed, match=r"page\.md:\d+: "):
        perform(shop, text)


@pytest.mark.parametrize("text", UNCLEAR.values(), ids=UNCLEAR)
def test_a_block_has_to_say_what_is_to_be_done_with_it(text: str) -> None:
    with pytest.raises(Unclear, match=r"page\.md:\d+: "):
        list(read("page.md", text))


def test_an_error_status_is_a_failure(shop: Workshop) -> None:
    serve = fence("bash", "make serve", "<!-- server -->")
    assert '"demo"' in perform(shop, serve + fence("bash", "curl http://127.0.0.1:8080/v1/models"))
    with pytest.raises(BlockFailed, match="404"):
        perform(shop, fence("bash", "curl http://127.0.0.1:8080/v1/nothing"))


def ended(process: int) -> bool:
    """Within some seconds: one that was killed is listed, as a zombie, until whoever adopted it has looked."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        listed = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], stdout=subprocess.PIPE, text=True).stdout
        if not listed.strip() or listed.startswith("Z"):
            return True
        time.sleep(0.05)
    return False


def test_a_block_that_never_ends_fails_and_is_ended(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.docs.workshop._RUN_S", 1.0)
    with pytest.raises(BlockFailed, match="status none within 1 s"):
        perform(shop, fence("bash", "sleep 1000 & echo $!\nwait"))
    assert ended(int(shop.printed))


def test_no_block_changes_the_repository(shop: Workshop) -> None:
    perform(shop, fence("make", "a:", "<!-- file: Makefile -->"))
    assert (shop.clone / "Makefile").read_text() == "a:\n" != (ROOT / "Makefile").read_text()
    with pytest.raises(BlockFailed, match="is a file of the repository"):
        perform(shop, fence("python", "", "<!-- file: gateway/written.py -->"))


def test_blocks_in_lists_and_with_tildes_are_found() -> None:
    found = list(read("page.md", "1. first\n\n   <!-- needs: slow -->\n   ~~~bash\n   true\n   ~~~\n"))
    assert [(block.way, block.line, block.text, block.needs) for block in found] == [(Way.SHELL, 4, "true\n", "slow")]


def test_upstreams_are_answered_elsewhere() -> None:
    text = 'a: {url: "https://api.openai.com/v1"}\nb: {url: http://gpu-1:8000/v1}\nc: {url: "simulator://"}\n'
    expected = 'a: {url: "http://here/v1"}\nb: {url: http://here/v1}\nc: {url: "simulator://"}\n'
    assert elsewhere(text, {r"https?://[^/\s\"',}]+": "http://here"}) == expected


def test_outputs_may_leave_out_what_changes() -> None:
    assert is_printed('{"id":"…","a":1}', 'x\n{"id":"req_7","a":1}\n')
    assert not is_printed('{"id":"…","a":1}', 'x\n{"id":"req_7","a":2}\n')


def test_commands_are_told_from_what_they_print() -> None:
    assert commands("$ a 'b\nc'\nd\n$ e\n") == "a 'b\nc'\ne"
