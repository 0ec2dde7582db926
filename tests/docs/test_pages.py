"""What all pages of the documentation promise: links lead somewhere, and what they name exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.reference import ROOT, commands, headers
from tests.docs.reference.markdown import anchors

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|(?:src|href|srcset)=\"([^\"]+)\"")


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def links(text: str) -> Iterator[str]:
    """Where a page leads, code left out."""
    for found in LINK.finditer(CODE.sub("", text)):
        yield found[1] or found[2]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_to_a_page_and_a_heading_that_are_there(page: Path) -> None:
    lost = [link for link in links(page.read_text(encoding="utf-8")) if not leads_somewhere(page, link)]
    assert not lost


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether there is what a link within the repository points at; other hosts are not asked."""
    if re.match(r"[a-z]+:", link):
        return True
    path, _, heading = link.partition("#")
    file = (page.parent / unquote(path)).resolve() if path else page
    if not file.is_relative_to(ROOT) or not file.exists():
        return False
    return not heading or (file.suffix == ".md" and heading in anchors(file.read_text(encoding="utf-8")))


def test_a_link_that_leads_nowhere_is_found() -> None:
    readme = ROOT / "README.md"
    assert leads_somewhere(readme, "docs/how-it-works.md#the-commit-point")
    assert not leads_somewhere(readme, "docs/how-it-works.md#no-such-heading")
    assert not leads_somewhere(readme, "docs/no-such-page.md")
    assert list(links("[a](b.md) `[no](code)` ![p](p.svg)\n```\n[no](code)\n```\n")) == ["b.md", "p.svg"]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_header_of_ours_that_a_page_names_exists(page: Path) -> None:
    ours = {name for name in {*headers.READ, *headers.WRITTEN, *headers.SENT} if name.startswith("x-gateway-")}
    named = set(re.findall(r"(?<![\w-])x-gateway-[a-z][a-z-]*[a-z]", page.read_text(encoding="utf-8")))
    assert named <= ours


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_option_of_a_command_that_a_page_names_exists(page: Path) -> None:
    """In code that begins with `triglot` and a command: `triglot serve --open`."""
    known = {" ".join(names[1:]): command for names, command in commands.commands()}
    for name, rest in calls(page.read_text(encoding="utf-8")):
        assert name in known, f"triglot {name}"
        options = {option for param in known[name].params for option in (*param.opts, *param.secondary_opts)} | {
            "--help",
            "-h",
            "--version",
        }
        assert set(re.findall(r"(?<=\s)--[a-z][a-z-]*", rest)) <= options, f"triglot {name}{rest}"


def calls(text: str) -> Iterator[tuple[str, str]]:
    """Each command that a page calls in code, as `("serve", " --open")`."""
    names = {" ".join(path[1:]) for path, _ in commands.commands()}
    for code in (*re.findall(r"`([^`\n]+)`", text), *re.findall(r"^\$ (\S*triglot [^\n]*)", text, re.MULTILINE)):
        if found := re.match(r"(?:\S*/)?triglot((?: [a-z]+)*)(.*)", code):
            words = found[1].split()
            longest = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in names), None)
            name = longest or " ".join(words[:1])
            yield name, code.partition(name)[2] if name else found[2]


def test_the_index_leads_to_every_page_and_the_readme_to_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    led_to = {(index.parent / link.partition("#")[0]).resolve() for link in links(index.read_text(encoding="utf-8"))}
    assert set((ROOT / "docs").rglob("*.md")) - {index} - led_to == set()
    assert "docs/README.md" in links((ROOT / "README.md").read_text(encoding="utf-8"))
