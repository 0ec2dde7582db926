"""Each of the 135 pitfalls has its test, whose docstring begins with its number."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COUNT = 135


def numbers() -> list[int]:
    """The pitfalls that tests of this folder are about; one that can't apply is a test that says why."""
    found: list[int] = []
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                begins = re.match(r"Pitfall (\d+)[.:, ]", (ast.get_docstring(node) or "") + " ")
                found += [int(begins[1])] if begins else []
    return found


def test_every_number_has_exactly_one_test() -> None:
    assert Counter(numbers()) == Counter(range(1, COUNT + 1))


@pytest.mark.parametrize("path", sorted(HERE.glob("test_[a-h]_*.py")), ids=lambda path: path.stem)
def test_every_test_here_is_about_a_pitfall(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert tests
    assert [node.name for node in tests if not (ast.get_docstring(node) or "").startswith("Pitfall ")] == []
