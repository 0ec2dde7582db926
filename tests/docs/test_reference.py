"""The reference says what the code does: all of it, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from pydantic import BaseModel

from gateway.cli import main
from gateway.config import Config
from gateway.config.section import Section
from gateway.dialects import DIALECTS
from gateway.errors import GatewayError, Kind
from gateway.telemetry.log import Record, Tried
from gateway.telemetry.metrics import LABELS, METRICS
from tests.docs.reference import FOLDER, PAGES, ROOT, commands, errors, file_of, log
from tests.docs.reference.markdown import cells

NAMING = sorted(
    path
    for part in ("docs", "deploy")
    for path in (ROOT / part).rglob("*")
    if path.suffix in (".md", ".yml", ".yaml", ".json", ".rules")
)
HOW = "run `make docs`, read the difference, and commit it with what you changed"


def read(name: str) -> str:
    return file_of(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_each_page_is_the_one_that_the_code_prints(name: str) -> None:
    assert read(name) == PAGES[name](), f"docs/reference/{name}.md is not what the code says any more: {HOW}"


def test_there_are_no_pages_that_nothing_prints() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(PAGES)


# -- settings ------------------------------------------------------------------------------------------------------


def in_code(section: type[BaseModel] = Config, path: str = "") -> Iterator[str]:
    """Every setting, read off the sections themselves, where the page is read off their JSON Schema."""
    for name, field in section.model_fields.items():
        yield f"{path}.{name}".lstrip(".")
        for inner, ending in within(field.annotation):
            yield from in_code(inner, f"{path}.{name}{ending}".lstrip("."))


def within(annotation: Any, ending: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """The sections in a type, each with what the path to it is longer by."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation, ending
    origin = getattr(annotation, "__origin__", None)
    longer = ".NAME" if origin is Mapping else "[]" if origin is tuple else ""
    for inner in get_args(annotation):
        yield from within(inner, ending + longer)


def on_page() -> Iterator[str]:
    """Every setting that the page has, options of dialects left out."""
    path = ""
    for line in read("settings").splitlines():
        if heading := re.fullmatch(r"## (?:`(.+)`|(.+))", line):
            path = heading[1] or ""
            if heading[2] and heading[2] != "The file":
                return
        elif row := re.match(r"\| `([^`]+)` ", line):
            yield f"{path}.{row[1]}".lstrip(".")


def test_every_setting_stands_on_the_page_and_nothing_else() -> None:
    assert sorted(on_page()) == sorted(in_code()), HOW


@pytest.mark.parametrize("name", DIALECTS)
def test_every_option_of_a_dialect_stands_on_the_page_with_what_it_means_and_nothing_else(name: str) -> None:
    dialect = DIALECTS[name]
    options = [field.name for field in fields(dialect.options)]
    part = read("settings").split(f"\n## Options of {name} upstreams\n")[1].split("\n## ")[0]
    assert [cell.strip("`") for cell in cells(part)] == options, HOW
    assert set(dialect.meanings) == set(options)
    assert list(cells(part, 3)) == [dialect.meanings[option].replace("|", "\\|") for option in options]


# -- commands ------------------------------------------------------------------------------------------------------


def test_every_command_stands_on_the_page_and_nothing_else() -> None:
    headings = re.findall(r"^## `(.+)`$", read("commands"), re.MULTILINE)
    assert headings == [" ".join(names) for names, _ in commands.commands()], HOW
    assert len(headings) > len(main.commands)


def test_every_option_of_a_command_is_shown() -> None:
    for names, command in commands.commands():
        part = read("commands").split(f"\n## `{' '.join(names)}`\n")[1].split("\n## ")[0]
        shown = [param for param in command.params if not getattr(param, "hidden", False)]
        for option in (name for param in shown if isinstance(param, click.Option) for name in param.opts):
            assert re.search(rf"(^|[\s,]){re.escape(option)}\b", part, re.MULTILINE), f"{names}: {option}; {HOW}"


# -- metrics -------------------------------------------------------------------------------------------------------


def test_every_metric_stands_on_the_page_with_its_labels_and_nothing_else() -> None:
    told, labels, buckets = read("metrics").split("\n## ")[1:]
    assert list(cells(told)) == [f"`{metric.name}`" for metric in METRICS], HOW
    assert list(cells(told, 2)) == [", ".join(f"`{label}`" for label in metric.labels) for metric in METRICS]
    assert {cell.strip("`") for cell in cells(labels)} == {label for metric in METRICS for label in metric.labels}
    assert list(cells(buckets)) == [f"`{metric.name}`" for metric in METRICS if metric.buckets]


@pytest.mark.parametrize("page", NAMING, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_metric_that_a_file_names_exists(page: Path) -> None:
    known = {metric.name for metric in METRICS}
    histograms = {
        f"{metric.name}{end}" for metric in METRICS if metric.buckets for end in ("_bucket", "_sum", "_count")
    }
    labels = set(LABELS) | {"gen_ai_server", "gen_ai_client"}
    named = re.findall(r"\b(?:triglot|gen_ai)_[a-z_]*[a-z]\b", page.read_text(encoding="utf-8"))
    assert set(named) <= known | histograms | labels


# -- the log -------------------------------------------------------------------------------------------------------


def test_every_field_of_the_log_stands_on_the_page_with_what_it_says_and_nothing_else() -> None:
    line, tries = read("log").split("\n## ")
    for part, record, meanings in ((line, Record, log.MEANINGS), (tries, Tried, log.TRIES)):
        assert list(cells(part)) == [f"`{name}`" for name in log.names(record)], HOW
        assert all(cells(part, 1)), f"a field without a word on it in tests/docs/reference/log.py; {HOW}"
        assert set(log.names(record)) <= set(meanings)


# -- errors --------------------------------------------------------------------------------------------------------


def test_every_kind_of_error_stands_on_the_page_and_nothing_else() -> None:
    parts = read("errors").split("\n## ")
    kinds = [f"`{kind}`" for kind in Kind]
    assert list(cells(parts[1])) == kinds, HOW
    assert set(errors.MEANINGS) == set(Kind)
    bodies = parts[2].split("\n### ")[1:]
    assert [body.split("\n")[0] for body in bodies] == list(DIALECTS)
    assert all(list(cells(body)) == kinds for body in bodies)


def test_every_class_of_error_stands_on_the_page_and_nothing_else() -> None:
    told = [cell.strip("`") for cell in cells(read("errors").split("\n## ")[3])]
    assert told == [each.__name__ for each in errors.classes()], HOW
    assert {each.__name__ for each in descendants(GatewayError)} == set(told)


def descendants(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from descendants(inner)


def test_an_end_that_is_cut_is_shown_for_each_dialect_or_said_to_be_none() -> None:
    ends = {name: errors.broken_end(dialect).decode() for name, dialect in DIALECTS.items()}
    assert {name for name, end in ends.items() if not end} == {"truss"}
    for name, end in ends.items():
        part = read("errors").split(f"\n### {name}\n")[1].split("\n##")[0]
        assert (end.strip() in part) if end else ("without its last chunk" in part)


# -- what is lost --------------------------------------------------------------------------------------------------


def test_every_lossy_field_stands_in_the_docs_and_nothing_else() -> None:
    page = (ROOT / "docs" / "translation.md").read_text(encoding="utf-8")
    for name, dialect in DIALECTS.items():
        part = page.split(f"\n### What {name} can't carry\n")[1].split("\n##")[0]
        told = list(zip(cells(part), cells(part, 1), strict=True))
        assert told == [tuple(text.replace("|", "\\|") for text in row) for row in dialect.lossy], HOW
