"""Options of the test run."""

from __future__ import annotations

import pytest
from hypothesis import settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate", action="store_true", help="write the expected files of the transcripts anew; review them by eye"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Properties try the same examples each time, so that a run says something of the code and not of chance.

    `--hypothesis-profile=default` tries others.
    """
    settings.register_profile("repeatable", derandomize=True)
    if not config.getoption("--hypothesis-profile", None):
        settings.load_profile("repeatable")
