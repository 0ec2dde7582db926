"""Every code block of the README and of docs does what its page says.

Vendors' hosts are answered by the simulator, the Truss page also by the real Truss server.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import pytest
from starlette.types import Receive, Scope, Send

from gateway import app
from gateway.config import Server as Settings
from gateway.server import Server
from gateway.simulator.app import SimulatorApp
from tests import measured
from tests.agents.installed import node_program, python_program
from tests.conformance import node_clients
from tests.docs.blocks import MARKERS, ROOT, Unclear, Way, blocks_of, pages
from tests.docs.workshop import Tools, missing_tools, workshop
from tests.e2e.gateway_process import free_port, served
from tests.truss.real_server import truss_server

REAL_TRUSS: Final[Mapping[str, str]] = {"docs/upstreams/truss.md": "haiku"}
"""page → the model of the real server that it is run on too."""
CALLED: Final[Mapping[str, tuple[str, str, str | None]]] = {
    "docs/upstreams/openai.md": ("/v1/responses", "authorization", "Bearer sk-proj-your-key"),
    "docs/upstreams/anthropic.md": ("/v1/messages", "x-api-key", "sk-ant-your-key"),
    "docs/upstreams/baseten-model-apis.md": ("/v1/chat/completions", "authorization", "Bearer your-key"),
    "docs/upstreams/truss.md": ("/production/predict", "authorization", "Bearer your-key"),
    "docs/upstreams/bis-llm.md": (
        "/environments/production/sync/v1/chat/completions",
        "authorization",
        "Bearer your-key",
    ),
    "docs/upstreams/vllm.md": ("/v1/chat/completions", "authorization", None),
    "docs/upstreams/sglang.md": ("/v1/chat/completions", "authorization", None),
    "docs/upstreams/llama-cpp.md": ("/v1/chat/completions", "authorization", None),
    "docs/upstreams/ollama.md": ("/v1/chat/completions", "authorization", None),
}
"""page → the path at which its upstream is called, and the header with the key it exports, if any."""
_HOST: Final = r"https?://[^/\s\"',}]+"
_MODEL: Final = r"https://model-\w+\.api\.baseten\.co/[^\s\"',}]+"
_FENCE: Final = re.compile(r"^ *(```+|~~~+)", re.MULTILINE)


def _params() -> Iterator[Any]:
    """Each page, once for each marker that blocks of it need."""
    for page in pages():
        needs = _needs(page) | ({"truss"} if page in REAL_TRUSS else set())
        for need in sorted(needs, key=MARKERS.index):
            marks = [getattr(pytest.mark, need)] if need else []
            yield pytest.param(page, need, marks=marks, id=f"{page}-{need}" if need else page)


def _needs(page: str) -> set[str]:
    try:
        return {block.needs for block in blocks_of(page)}
    except Unclear:
        return {""}  # so the page fails, and nothing else


@pytest.mark.parametrize(("page", "need"), list(_params()))
def test_blocks_do_what_their_page_says(page: str, need: str, shared: int, simulator: Anybody, tmp_path: Path) -> None:
    blocks = [block for block in blocks_of(page) if block.needs in ("", need)]
    simulator.calls.clear()
    port = free_port() if any(block.way is Way.SERVER for block in blocks) else shared
    with (
        _hosts(page, need, simulator.url, tmp_path) as hosts,
        workshop(tmp_path / "shop", port, hosts, _TOOLS[need]()) as shop,
    ):
        for block in blocks:
            shop.perform(block)
    if need == "" and page.startswith("docs/upstreams/"):
        path, header, key = CALLED[page]
        assert [(called, headers.get(header)) for called, headers in simulator.calls[:1]] == [(path, key)]


def test_no_block_is_overlooked() -> None:
    """Every fence of every page is a block with something to do, or with the reason why there is nothing to do."""
    ways: Counter[str] = Counter()
    for page in pages():
        blocks = blocks_of(page)
        assert len(_FENCE.findall((ROOT / page).read_text())) == 2 * len(blocks), page
        assert all(block.detail for block in blocks if block.way is Way.SHOWN)
        ways.update(f"{block.way}, with {block.needs}" if block.needs else block.way for block in blocks)
    assert {Way.SHELL, Way.PYTHON, Way.SERVER, Way.CHECK, Way.OUTPUT} <= ways.keys()
    told = "; ".join(f"{number} {way}" for way, number in sorted(ways.items()))
    measured.notes.append(f"code blocks of {len(pages())} pages: {told}")


# -- what stands in, and what is there ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a gateway as `make serve` starts it, for pages that start none of their own."""
    if missing := missing_tools():
        pytest.skip(f"not installed: {', '.join(missing)}")
    with served(tmp_path_factory.mktemp("served") / "log.txt") as url:
        port = urlsplit(url).port
        assert port is not None
        yield port


class Anybody:
    """The simulator, as any vendor's server: it says it is well, and speaks every dialect.

    `calls`: the path and the headers of each.
    """

    def __init__(self) -> None:
        self._simulator = SimulatorApp()
        self.url = ""
        self.calls: list[tuple[str, dict[str, str]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            self.calls.append((scope["path"], headers))
        await self._simulator(scope, receive, send)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Anybody]:
    anybody = Anybody()
    with Server(anybody, Settings(port=0), app.refuse).in_thread() as running:
        anybody.url = f"http://127.0.0.1:{running.port}"
        yield anybody


@contextmanager
def _hosts(page: str, need: str, simulated: str, folder: Path) -> Iterator[Mapping[str, str]]:
    if need == "truss":
        with truss_server(REAL_TRUSS[page], folder) as predict:
            yield {_MODEL: predict}
    else:
        yield {_HOST: simulated}


def _node() -> Tools:
    try:
        node_clients.install()
    except node_clients.Unavailable as missing:
        pytest.skip(str(missing))
    return Tools(
        path=_node_path(), node_modules=node_clients.FOLDER / "node_modules", packages=tuple(node_clients.versions())
    )


def _node_path() -> tuple[Path, ...]:
    return tuple(map(Path, node_clients.environment()["PATH"].split(":")[:1]))


def _agents() -> Tools:
    claude, python = node_program("claude"), python_program()
    packages = orjson.loads((ROOT / "tests/agents/node/package.json").read_bytes())["dependencies"]
    return Tools(python=python, path=(claude.parent, python.parent, *_node_path()), packages=tuple(packages))


_TOOLS: Final[Mapping[str, Callable[[], Tools]]] = {
    "": Tools,
    "slow": Tools,
    "truss": Tools,
    "conformance": _node,
    "agents": _agents,
}
