"""A routes file is put in force whole or not at all, and a watched one whenever it has changed, however it was."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from gateway import app, reload
from gateway.config import Config, load, parse
from gateway.reload import Reloader, RoutesFile, mark

ROUTES = """
server: {{port: 0, drain: {drain}}}
upstreams: {{one: {{dialect: openai, url: "http://127.0.0.1:1/v1", key: sk-canary}}}}
routes: {{{name}: one}}
"""
PATIENCE_S = 10.0


def routes(name: str, drain: str = "30s") -> str:
    return ROUTES.format(name=name, drain=drain)


@dataclass
class Gateway:
    """Takes configurations."""

    path: Path
    taken: list[Config] = field(default_factory=list)

    async def take(self, config: Config) -> None:
        self.taken.append(config)

    @property
    def names(self) -> list[str]:
        """The route of each configuration that was taken."""
        return [next(iter(config.routes)) for config in self.taken]

    def reloader(self) -> Reloader:
        read = partial(load, self.path, {})
        return Reloader(RoutesFile(self.path, read, read()), self.take)


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    path = tmp_path / "routes.yaml"
    path.write_text(routes("first"))
    return Gateway(path)


@pytest.fixture
async def reloader(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Reloader]:
    """One that runs and watches, with quick looks."""
    caplog.set_level(logging.INFO, "triglot")
    monkeypatch.setattr(reload, "LOOK_EVERY_S", 0.03)
    made = gateway.reloader()
    running = [asyncio.ensure_future(made.run()), asyncio.ensure_future(made.watch())]
    yield made
    for task in running:
        task.cancel()
    await asyncio.wait(running)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  what is waited for happens in a thread
            await asyncio.sleep(0.01)


async def test_what_was_asked_for_is_read_and_logged(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    """Also when it was asked before it ran."""
    caplog.set_level(logging.INFO, "triglot")
    made = gateway.reloader()
    made.ask()
    gateway.path.write_text(routes("second"))
    running = asyncio.ensure_future(made.run())
    await until(lambda: gateway.names == ["second"])
    assert f"reloaded {gateway.path}: 1 route, 1 upstream (gone routes.first, new routes.second)" in caplog.messages
    gateway.path.write_text(routes("third"))
    made.ask()
    await until(lambda: gateway.names == ["second", "third"])
    running.cancel()


async def test_a_file_that_says_the_same_changes_nothing(
    gateway: Gateway, reloader: Reloader, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.path.write_text("# a comment\n" + routes("first"))
    await until(lambda: f"reloaded {gateway.path}: nothing has changed" in caplog.messages)
    assert gateway.taken == []


async def test_asked_often_meanwhile_it_reads_once_more(gateway: Gateway) -> None:
    """The last state of the file is the one in force."""
    reads, may_end = [], threading.Event()

    def slowly() -> Config:
        reads.append(gateway.path.read_text())
        may_end.wait(PATIENCE_S)
        return load(gateway.path, {})

    made = Reloader(RoutesFile(gateway.path, slowly, load(gateway.path, {})), gateway.take)
    running = asyncio.ensure_future(made.run())
    made.ask()
    await until(lambda: len(reads) == 1)
    for number in range(5):
        gateway.path.write_text(routes(f"number-{number}"))
        made.ask()
    may_end.set()
    await until(lambda: len(reads) == 2)
    await until(lambda: gateway.names[-1:] == ["number-4"])
    running.cancel()
    assert len(reads) == 2


async def test_nothing_of_an_earlier_configuration_is_kept() -> None:
    """Once nobody uses it: a gateway may be reloaded a thousand times."""
    first, second = (parse(routes(name), "test", {}) for name in ("first", "second"))
    gateway = app.build(first)
    earlier = weakref.ref(gateway._in_force.services.table)
    assert earlier() is not None
    await gateway.take(second)
    gc.collect()
    assert earlier() is None


async def test_what_is_known_of_an_upstream_outlives_a_reload_unless_it_became_another_server() -> None:
    text = routes("first")
    gateway = app.build(parse(text, "test", {}))
    known = gateway._in_force.services.states.upstream("one")
    await gateway.take(parse(text.replace("first", "second"), "test", {}))
    assert gateway._in_force.services.states.upstream("one") is known
    earlier = gateway._in_force.services.states
    await gateway.take(parse(text.replace("sk-canary", "sk-other"), "test", {}))
    assert gateway._in_force.services.states.upstream("one") is not known
    assert earlier.upstream("one") is known, "who began before goes on to count with the server before"


async def test_of_many_changes_the_first_ten_are_named(
    gateway: Gateway, reloader: Reloader, caplog: pytest.LogCaptureFixture
) -> None:
    many = ", ".join(f"r{number}: one" for number in range(30))
    gateway.path.write_text(routes("first").replace("first: one", f"first: one, {many}"))
    await until(lambda: gateway.taken)
    assert f"{gateway.path}: 31 routes, 1 upstream (new routes.r0, " in caplog.text
    assert "new routes.r9, and 20 more)" in caplog.text


async def test_a_bad_file_is_refused_with_all_its_complaints(
    gateway: Gateway, reloader: Reloader, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.path.write_text(routes("first").replace("dialect: openai", "dialect: opneai").replace("}}\n", "}, x: 1}\n"))
    await until(lambda: any("was not reloaded" in message for message in caplog.messages))
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert 'did you mean "openai"?' in caplog.text
    assert len(told) >= 2
    assert told[-1] == f"{gateway.path} was not reloaded: {len(told) - 1} problems; what was in force stays"
    assert "sk-canary" not in caplog.text
    gateway.path.write_text(routes("mended"))
    await until(lambda: gateway.names == ["mended"])


async def test_what_is_bound_stays_and_is_named(
    gateway: Gateway, reloader: Reloader, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.path.write_text(routes("second", drain="5s").replace("port: 0", "port: 9000"))
    await until(lambda: gateway.names == ["second"])
    assert "server.port: 9000 takes effect after a restart; until then it is 0" in caplog.messages
    assert gateway.taken[0].server.port == 0
    assert gateway.taken[0].server.drain == 5


# -- watching ------------------------------------------------------------------------------------------------------


async def test_an_edit_in_place_is_noticed(gateway: Gateway, reloader: Reloader) -> None:
    gateway.path.write_text(routes("edited"))
    await until(lambda: gateway.names == ["edited"])


async def test_an_edit_that_keeps_size_and_time_is_noticed(gateway: Gateway, reloader: Reloader) -> None:
    before = gateway.path.stat()
    gateway.path.write_text(routes("fifth"))
    os.utime(gateway.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert gateway.path.stat().st_size == before.st_size
    await until(lambda: gateway.names == ["fifth"])


async def test_a_file_renamed_over_it_is_noticed(gateway: Gateway, reloader: Reloader) -> None:
    """As editors save, and `mv`."""
    for name in ("second", "third"):
        new = gateway.path.with_suffix(".new")
        new.write_text(routes(name))
        new.rename(gateway.path)
        await until(lambda name=name: gateway.names[-1:] == [name])  # type: ignore[misc]


async def test_a_link_swapped_on_the_way_to_it_is_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kubernetes mounts a ConfigMap: routes.yaml → ..data/routes.yaml, and ..data is a link that is renamed over."""
    monkeypatch.setattr(reload, "LOOK_EVERY_S", 0.03)
    for name in ("first", "second"):
        (tmp_path / f"..{name}").mkdir()
        (tmp_path / f"..{name}" / "routes.yaml").write_text(routes(name))
    (tmp_path / "..data").symlink_to("..first")
    (tmp_path / "routes.yaml").symlink_to("..data/routes.yaml")
    gateway = Gateway(tmp_path / "routes.yaml")
    made = gateway.reloader()
    running = [asyncio.ensure_future(made.run()), asyncio.ensure_future(made.watch())]
    (tmp_path / "..tmp").symlink_to("..second")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    await until(lambda: gateway.names == ["second"])
    for task in running:
        task.cancel()
    await asyncio.wait(running)


async def test_a_file_that_is_gone_changes_nothing_until_it_is_back(
    gateway: Gateway, reloader: Reloader, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.path.unlink()
    await until(lambda: f"{gateway.path} is gone; what it said stays in force" in caplog.messages)
    assert gateway.taken == []
    gateway.path.write_text(routes("back"))
    await until(lambda: gateway.names == ["back"])


async def test_a_file_is_not_read_while_it_is_written(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file may well be valid, and lack half the routes: it must have been left alone for one look."""
    looks: list[reload.Mark] = [(1,), (2,), (3,), (3,), (3,)]
    asked: list[int] = []
    made = gateway.reloader()
    monkeypatch.setattr(reload, "LOOK_EVERY_S", 0)
    monkeypatch.setattr(reload, "mark", lambda path: looks.pop(0))
    monkeypatch.setattr(made, "ask", lambda: asked.append(len(looks)))
    with pytest.raises(IndexError):
        await made.watch()
    assert asked == [1]


def test_a_mark_tells_files_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("same")
    other.write_text("same")
    assert mark(one) == mark(one)
    assert mark(one) != mark(other)
    assert mark(tmp_path / "none") is None
