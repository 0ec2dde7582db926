"""The fault catalogue, played: every row of `tests/faults/*.yaml`, by clients of every dialect (issue 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import yaml
from pydantic import ValidationError

from tests.faults.acts import ACTS, SAYINGS
from tests.faults.catalogue import Page, Row, rows
from tests.faults.harness import Gateway, gateway_in_thread
from tests.faults.hostile_upstream import HostileUpstream, hostile_upstream
from tests.faults.stage import Director, Scene, configuration, play, scenes_of
from tests.measured import measure

ROWS = rows()
NAMES = [f"{row.fault}, {row.at[0] if len(row.at) == 1 else 'anywhere'}" for row in ROWS]
AT_ONCE = 16
"""Scenes that are played at the same time."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A gateway that knows all scenes, and their upstream."""

    gateway: Gateway
    upstream: HostileUpstream
    scenes: dict[int, list[Scene]]


@contextmanager
def staged(numbers: Iterable[int], *, all_pairs: bool = False) -> Iterator[Stage]:
    """A stage for these rows. The whole catalogue in all pairs would be a larger file of settings than we take."""
    scenes = {number: list(scenes_of(ROWS[number], number, all_pairs=all_pairs)) for number in numbers}
    everything = [scene for some in scenes.values() for scene in some]
    with hostile_upstream() as upstream, gateway_in_thread(configuration(upstream.port, everything)) as gateway:
        upstream.direct(Director(everything))
        yield Stage(gateway, upstream, scenes)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged(range(len(ROWS))) as stage:
        yield stage
        measure("scenes of the fault catalogue", sum(map(len, stage.scenes.values())))


async def perform(stage: Stage, number: int) -> None:
    """All scenes of a row. Fails with what was expected and what was seen, of each that went wrong."""
    scenes, room = stage.scenes[number], asyncio.Semaphore(AT_ONCE)

    async def one(scene: Scene) -> None:
        async with room:
            await play(scene, stage.gateway, stage.upstream)

    async with asyncio.TaskGroup() as group:
        for scene in scenes:
            group.create_task(one(scene))
    slips = [slip for scene in scenes for slip in scene.slips]
    assert scenes, "nobody can play this row"
    assert not slips, f"{ROWS[number].fault} ({ROWS[number].why})\n" + "\n".join(slips)
    assert not stage.gateway.failures


@pytest.mark.parametrize("number", range(len(ROWS)), ids=NAMES)
async def test_a_fault_has_the_consequences_that_the_catalogue_says(stage: Stage, number: int) -> None:
    await perform(stage, number)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(ROWS)), ids=NAMES)
async def test_a_fault_has_them_in_every_pair_of_dialects(number: int) -> None:
    with staged([number], all_pairs=True) as stage:
        await perform(stage, number)


# -- the catalogue itself ----------------------------------------------------------------------------------------------


def test_every_row_has_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_every_word_of_the_catalogue_is_known_and_used() -> None:
    acts = [act for row in ROWS for act in (*row.first, *row.second)]
    assert {act.does for act in acts} == set(ACTS)
    assert {act.saying for act in acts} == set(SAYINGS)


GOOD = {"fault": "f", "why": "w", "first": "answers", "sees": "whole", "calls": {"first": ["now"]}}


def test_a_row_takes_little() -> None:
    assert Row.model_validate(GOOD).first[0].does == "answers"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sees": "fine"}, "a client sees one of"),
        ({"calls": {"first": ["soon"]}}, "a window is"),
        ({"calls": {}}, "calls: says of first"),
        ({"second": "answers"}, "calls: says of first, second"),
        ({"att": "before the head"}, "Extra inputs"),
        ({"at": "later"}, "Input should be"),
        ({"first": [{"does": "refuses", "state": 3}]}, "Extra inputs"),
        ({"first": []}, "at least 1 item"),
    ],
)
def test_a_slip_in_a_row_is_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Page.model_validate(
            yaml.safe_load(yaml.safe_dump({"order": 1, "title": "t", "about": "a", "rows": [{**GOOD, **change}]}))
        )
