"""The page about translation says what the code does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from click.testing import CliRunner

from gateway.cli import main
from gateway.dialects import DIALECTS
from gateway.dialects.report import ADAPTED

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "translation.md"


def test_the_page_in_the_docs_is_the_one_that_the_command_prints() -> None:
    """`make docs` writes it."""
    result = CliRunner().invoke(main, ["translation"])
    assert result.exit_code == 0
    assert PAGE.read_text(encoding="utf-8") == result.output


def test_every_dialect_says_what_it_can_not_carry() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, dialect in DIALECTS.items():
        assert f"\n## {name}\n" in page
        assert dialect.lossy
        for what, becomes in dialect.lossy:
            assert f"| {what} | {becomes} |" in page


def test_every_setting_of_every_profile_is_explained() -> None:
    explained = [dialect.profiles for dialect in DIALECTS.values() if dialect.profiles is not None]
    assert len(explained) == 2
    for profiles in explained:
        for row in profiles.rows.values():
            assert [field.name for field in fields(row)] == list(profiles.meanings)


def test_every_word_that_reports_a_change_is_explained_and_none_is_idle() -> None:
    """Words made of values are compared up to the value."""
    told = {word for path in (ROOT / "gateway").rglob("*.py") for word in words(ast.parse(path.read_text()))}
    known = {word for word in ADAPTED if "," not in word} - {"estimated"}
    assert told == known


def words(tree: ast.Module) -> Iterator[str]:
    """The second arguments of `adapt` and `repair`, what is put into them as `*`; bare values are left out."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("adapt", "repair")
        ):
            how = node.args[1]
            if isinstance(how, ast.Constant):
                word = str(how.value)
                yield next((known for known in ADAPTED if "*" in known and fits(known, word)), word)
            elif isinstance(how, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "*" for part in how.values)  # type: ignore[misc]


def fits(pattern: str, word: str) -> bool:
    return re.fullmatch(pattern.replace("*", ".+"), word) is not None
