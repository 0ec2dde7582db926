"""The pictures are what the code draws, GitHub shows them, and each stands where it belongs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from gateway.dialects import DIALECTS
from tests.docs.pictures import FOLDER, PICTURES, cut, events
from tests.docs.reference import ROOT

SHOWN = {"svg", "title", "defs", "marker", "path", "rect", "line", "text"}
"""What GitHub leaves in an SVG, and every browser draws."""
PAGE = ROOT / "docs" / "how-it-works.md"


def read(name: str) -> str:
    return (FOLDER / f"{name}.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_the_one_that_the_code_draws(name: str) -> None:
    assert read(name) == PICTURES[name](), "run `make docs`, look at the picture, and commit it with what you changed"


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_shown_by_github_and_says_what_it_shows(name: str) -> None:
    picture = ET.fromstring(read(name))
    parts = {element.tag.rpartition("}")[2] for element in picture.iter()}
    assert parts <= SHOWN
    assert "http" not in read(name).replace("http://www.w3.org/2000/svg", "")
    assert picture.findtext("{http://www.w3.org/2000/svg}title")
    assert f"](pictures/{name}.svg)" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PICTURES)
def test_no_line_of_text_runs_out_of_its_picture(name: str) -> None:
    picture = ET.fromstring(read(name))
    width = float(picture.attrib["width"])
    for text in picture.iter("{http://www.w3.org/2000/svg}text"):
        letter = 0.6 if "monospace" in text.attrib["font-family"] else 0.56  # of the size, on average
        length = len(text.text or "") * float(text.attrib["font-size"]) * letter
        x = float(text.attrib["x"]) - {"start": 0.0, "middle": 0.5, "end": 1.0}[text.attrib["text-anchor"]] * length
        assert x >= 0, text.text
        assert x + length <= width, text.text


def test_there_are_no_pictures_that_nothing_draws() -> None:
    assert {Path(path).stem for path in FOLDER.iterdir()} == set(PICTURES)


def test_the_picture_of_events_tells_a_whole_answer() -> None:
    told = list(events.rows())
    assert [name for _, names, _ in told for name in names if name != "Usage"] == [
        *("Start", "BlockStart", "TextDelta", "TextDelta", "BlockStop", "Finish", "End")
    ]
    assert told[-1][2].endswith("[DONE]")


def test_the_picture_of_a_cut_shows_every_dialect_and_no_end() -> None:
    for name, dialect in DIALECTS.items():
        text, end = cut.ends(dialect)
        assert "Grey waves" in text
        assert "[DONE]" not in end
        assert "message_stop" not in end
        assert bool(end) is (name != "truss")
