"""Which upstreams are checked, from a change of the configuration to the next."""

from __future__ import annotations

import asyncio

import pytest

from gateway.config import HealthCheck, Upstream
from gateway.upstreams.client import Upstreams
from gateway.upstreams.health import HealthChecks

CHECK = HealthCheck(path="/health", every=0.01, timeout=0.01)
PLAIN = Upstream(dialect="openai", url="http://a")
CHECKED = Upstream(dialect="openai", url="http://a", health_check=CHECK)
PATIENCE_S = 5.0


class Answering(Upstreams):
    """A client that answers everything, after some time."""

    def __init__(self, status: int | None = 200, pause_s: float = 0.0) -> None:
        self.status = status
        self.pause_s = pause_s
        self.cancelled = 0

    async def ask(self, upstream: Upstream, path: str, timeout_s: float) -> int | None:
        try:
            await asyncio.sleep(self.pause_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.status


class Book:
    """What was found, by upstream."""

    def __init__(self) -> None:
        self.found: list[tuple[str, bool]] = []
        self._news = asyncio.Event()

    def __call__(self, name: str, settings: HealthCheck, is_fine: bool) -> None:
        self.found.append((name, is_fine))
        self._news.set()

    async def more(self, name: str, count: int = 3) -> None:
        """Until some more checks of one upstream were made."""
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(count):
                begun = self._of(name)
                while self._of(name) == begun:
                    self._news.clear()
                    await self._news.wait()

    def _of(self, name: str) -> int:
        return sum(found == name for found, _ in self.found)


def tasks() -> int:
    return len(asyncio.all_tasks())


@pytest.mark.parametrize(
    ("status", "is_fine"),
    [(200, True), (204, True), (199, False), (302, False), (404, False), (503, False), (None, False)],
)
async def test_only_success_is_fine(status: int | None, is_fine: bool) -> None:
    book = Book()
    checks = HealthChecks(Answering(status), book)
    await checks.watch({"a": CHECKED})
    await book.more("a", 1)
    await checks.aclose()
    assert book.found[0] == ("a", is_fine)


async def test_only_upstreams_with_a_check_are_checked() -> None:
    book, before = Book(), tasks()
    checks = HealthChecks(Answering(), book)
    await checks.watch({"a": CHECKED, "b": PLAIN})
    assert tasks() == before + 1
    await book.more("a")
    await checks.aclose()
    assert tasks() == before
    assert {name for name, _ in book.found} == {"a"}


async def test_a_reload_ends_some_checks_begins_others_and_leaves_the_rest_alone() -> None:
    book = Book()
    checks = HealthChecks(Answering(), book)
    await checks.watch({"kept": CHECKED, "gone": CHECKED, "off": CHECKED})
    kept = checks._running["kept"]
    await checks.watch({"kept": CHECKED, "new": CHECKED, "off": PLAIN})
    assert checks._running["kept"] is kept
    assert set(checks._running) == {"kept", "new"}
    book.found.clear()
    await book.more("new")
    assert {name for name, _ in book.found} == {"kept", "new"}
    await checks.aclose()


async def test_another_address_is_checked_instead_of_the_old_one() -> None:
    checks = HealthChecks(Answering(), Book())
    await checks.watch({"a": CHECKED})
    before = checks._running["a"]
    await checks.watch({"a": CHECKED.model_copy(update={"url": "http://b"})})
    assert before[1].cancelled()
    assert checks._running["a"][0].url == "http://b"
    await checks.aclose()


async def test_closing_ends_a_check_that_is_under_way() -> None:
    client, before = Answering(pause_s=60.0), tasks()
    checks = HealthChecks(client, Book())
    await checks.watch({"a": CHECKED})
    await asyncio.sleep(0.01)  # a check begins within a tenth of `every`
    await checks.aclose()
    assert client.cancelled == 1
    assert tasks() == before
