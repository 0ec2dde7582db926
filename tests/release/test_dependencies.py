"""Every dependency is declared where it is used and stands in the documents with its reason; nothing else does."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.release.project import EXTRAS, REQUIRED, ROOT

PAGE = (ROOT / "docs" / "dependencies.md").read_text()
RUNTIME, _, OTHERS = PAGE.partition("\n## ")
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
BY_NAME = {"httptools", "uvloop"}
"""Chosen by name in what is told to uvicorn, and imported by it."""
COMES_WITH = {"pydantic-core": "pydantic", "typing-extensions": "pydantic", "httpx2": "openai"}
"""Imported beside a package that requires it and speaks of it in its own documents."""
ELSEWHERE = ("agents/programs", "truss/server", "fuzz/target.py")
"""What of the tests runs in environments of its own, which the tests make."""


def rows(text: str) -> dict[str, tuple[str, str]]:
    """The table of a part of the page: by canonical name, the other two columns."""
    found = ROW.findall(text.partition("| --- |")[2])
    return {canonicalize_name(name.strip("` ")): (second.strip(), third.strip()) for name, second, third in found}


def imported(folder: Path) -> Iterator[str]:
    """The top-level names that a folder's modules import, anywhere in them."""
    besides = [folder / name for name in ELSEWHERE]
    for path in folder.rglob("*.py"):
        if any(path.is_relative_to(other) for other in besides):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            yield from (name.partition(".")[0] for name in names)


def third_party(folder: str) -> set[str]:
    """The packages that a folder's modules import, by the canonical names under which they are installed."""
    known = packages_distributions()
    names = set(imported(ROOT / folder)) - sys.stdlib_module_names - {"gateway", "tests"}
    return {canonicalize_name(known.get(name, [name])[0]) for name in names}


def test_the_page_names_what_the_gateway_requires_and_nothing_else() -> None:
    assert rows(RUNTIME).keys() == REQUIRED.keys()


def test_the_page_names_what_tests_and_development_require_and_by_which_extra() -> None:
    told = {(name, extra) for name, (extra, _) in rows(OTHERS).items()}
    assert told == {(name, extra) for extra, names in EXTRAS.items() for name in names}


@pytest.mark.parametrize("name", sorted([*REQUIRED, *{name for names in EXTRAS.values() for name in names}]))
def test_each_has_a_reason(name: str) -> None:
    field, reason = (rows(RUNTIME) | rows(OTHERS))[name]
    assert field
    assert reason


def test_what_the_gateway_imports_is_required_and_what_is_required_is_imported() -> None:
    """What comes along with another package may go with its next release."""
    assert third_party("gateway") - COMES_WITH.keys() | BY_NAME == REQUIRED.keys()


def test_what_tests_import_is_required_by_an_extra() -> None:
    declared = {name for names in EXTRAS.values() for name in names} | REQUIRED.keys()
    assert third_party("tests") - COMES_WITH.keys() <= declared


@pytest.mark.parametrize("name", COMES_WITH)
def test_what_comes_with_another_package_does(name: str) -> None:
    brought = {canonicalize_name(Requirement(each).name) for each in requires(COMES_WITH[name]) or ()}
    assert name in brought


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_each_has_a_least_version(name: str) -> None:
    """The oldest that is known to do; without it pip keeps whatever a machine has."""
    assert any(each.operator in (">=", "==", "~=") for each in REQUIRED[name].specifier)
