"""Every licence of what an image installs is known, lets anybody use and pass it on, and stands in the documents."""

from __future__ import annotations

import re
from email.message import Message
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

import pytest

from tests.release import lock
from tests.release.licences import licence, page
from tests.release.project import ROOT

PERMITTED = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "PSF-2.0"}
"""Licences that ask for their text to come along, and of changed files at most to be shown."""
SHOWN = (ROOT / "docs" / "licences.md").read_text()
ROWS = dict(re.findall(r"^\| (\S+) \| ([^|]+) \|", SHOWN.partition("| --- |")[2], re.MULTILINE))


def is_installed(name: str) -> bool:
    try:
        metadata(name)
    except PackageNotFoundError:
        return False
    return True


def test_the_page_names_what_is_locked_and_nothing_else() -> None:
    assert ROWS.keys() == lock.read().keys()


def test_the_page_is_the_one_that_make_docs_prints() -> None:
    """Another Python may need fewer packages; then their rows alone can't be compared."""
    if missing := [name for name in lock.read() if not is_installed(name)]:
        told = {name: licence(metadata(name)) for name in ROWS if name not in missing}
        assert told.items() <= {name: text.strip() for name, text in ROWS.items()}.items()
    else:
        assert page() == SHOWN


@pytest.mark.parametrize("name", sorted(ROWS))
def test_everybody_may_use_it_and_pass_it_on(name: str) -> None:
    assert set(re.findall(r"[^\s()]+", ROWS[name])) - {"AND", "OR", "WITH"} <= PERMITTED


def told(**fields: Any) -> Any:
    """A package's metadata with these fields."""
    message = Message()
    message["Name"] = "some"
    for name, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"License_Expression": "mit AND (apache-2.0 OR bsd-2-clause)"}, "MIT AND (Apache-2.0 OR BSD-2-Clause)"),
        ({"License": "BSD-3-Clause", "Classifier": ["License :: OSI Approved :: BSD License"]}, "BSD-3-Clause"),
        (
            {
                "License": "MIT License",
                "Classifier": [
                    "License :: OSI Approved :: MIT License",
                    "License :: OSI Approved :: Apache Software License",
                    "Programming Language :: Python",
                ],
            },
            "Apache-2.0 OR MIT",
        ),
    ],
)
def test_a_licence_is_read_from_wherever_a_package_tells_it(fields: dict[str, Any], expected: str) -> None:
    assert licence(told(**fields)) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"License": "ask us"},
        {"Classifier": ["License :: OSI Approved :: BSD License"]},
        {"License": "no such licence"},
    ],
)
def test_a_licence_that_nobody_can_tell_is_refused_by_the_package_name(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="some: "):
        licence(told(**fields))
