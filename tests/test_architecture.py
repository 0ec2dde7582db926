"""Imports point one way, and what must not happen in some place happens nowhere in it (STYLE.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_LINES = 450
MAX_FUNCTION_LINES = 50

ALLOWED: dict[str, tuple[str, ...]] = {
    "errors": (),
    "neutral": ("errors",),
    "wire": ("errors",),
    "dialects": ("errors", "neutral", "wire"),
    "config.settings_file": (),
    "config.complaints": ("config.settings_file",),
    "config.units": ("config.complaints",),
    "config.address": ("config.complaints",),
    "config.pattern": (),
    "config": ("errors", "dialects"),
    "access": ("errors", "config"),
    "rates": ("access",),
    "entering": ("access", "config", "dialects", "errors", "rates"),
    "routing": ("errors", "neutral", "config"),
    "terminal": (),
    "exit_codes": (),
    "topics": ("exit_codes", "simulator"),
    "telemetry": ("errors", "neutral"),
    "telemetry.stderr": ("telemetry", "terminal"),
    "upstreams": ("errors", "config"),
    "relay.machine": ("errors", "neutral"),
    "relay.splice": ("errors", "neutral"),
    "relay.carrier": ("errors", "neutral", "dialects.base", "relay.splice"),
    "relay.watchdog": ("errors",),
    "relay.sink": ("errors", "neutral", "wire"),
    "relay.client_watchdog": ("relay.sink", "wire"),
    "relay.pump": ("errors", "neutral", "dialects", "upstreams", "telemetry", "relay"),
    "relay": (),
    "simulator": ("errors", "neutral", "wire", "dialects"),
    "console": ("routing", "telemetry"),
    "flow": (),
    "head_first": (),
    "connection": ("errors", "flow", "head_first", "wire"),
    "server": ("connection", "exit_codes"),
    "aside": (),
    "judging": ("config", "errors", "routing", "telemetry"),
    "running": (),
    "rendering": ("config", "dialects", "neutral", "routing"),
    "departure": ("errors", "relay"),
    "slots": ("config", "errors", "routing"),
    "explain": ("config", "dialects", "errors", "rendering", "routing", "wire"),
    "picture": ("config", "explain"),
    "attempt": (
        "aside",
        "config",
        "departure",
        "dialects",
        "entering",
        "errors",
        "neutral",
        "relay",
        "rendering",
        "routing",
        "running",
        "slots",
        "telemetry",
        "upstreams",
        "wire",
    ),
    "calling": ("attempt", "errors", "judging", "relay", "routing", "telemetry"),
    "racing": ("attempt", "departure", "errors", "neutral", "relay", "telemetry"),
    "hedging": ("calling", "errors", "racing", "routing"),
    "continuing": ("attempt", "calling", "dialects", "neutral", "relay", "routing"),
    "trying": ("attempt", "calling", "continuing", "errors", "hedging", "racing", "routing", "telemetry"),
    "endpoint": (
        "attempt",
        "config",
        "departure",
        "dialects",
        "entering",
        "errors",
        "neutral",
        "relay",
        "rendering",
        "routing",
        "running",
        "telemetry",
        "trying",
        "wire",
    ),
    "counting": ("attempt", "dialects", "errors", "neutral", "upstreams"),
    "fixed": ("config", "dialects", "errors", "routing"),
    "gauges": ("aside", "attempt", "routing", "telemetry"),
    "app": (
        "aside",
        "attempt",
        "config",
        "counting",
        "dialects",
        "endpoint",
        "entering",
        "fixed",
        "gauges",
        "judging",
        "routing",
        "running",
        "simulator",
        "telemetry",
        "upstreams",
    ),
    "reload": ("config",),
    "keys": ("config", "dialects"),
    "bench": ("dialects", "errors", "exit_codes", "neutral", "terminal", "wire"),
    "workers": ("config", "exit_codes", "reload", "server"),
    "serving": ("app", "config", "exit_codes", "reload", "server", "telemetry", "workers"),
    "translation": ("dialects",),
    "welcome": ("config", "dialects", "terminal"),
    "cli": (
        "app",
        "bench",
        "config",
        "dialects",
        "errors",
        "exit_codes",
        "explain",
        "keys",
        "picture",
        "reload",
        "server",
        "serving",
        "simulator",
        "telemetry",
        "terminal",
        "topics",
        "translation",
        "welcome",
        "workers",
    ),
    "__main__": ("cli",),
    "": (),
}
"""What a part may import of the others; the longest name that fits decides. Everyone may import itself."""

SANS_IO = (
    "errors",
    "neutral",
    "wire",
    "dialects",
    "routing",
    "access",
    "relay.machine",
    "relay.carrier",
    "relay.splice",
    "telemetry.timeline",
    "simulator.script",
)
OUTSIDE = frozenset(
    "asyncio starlette httpx aiohttp anyio socket time datetime random os logging secrets uuid threading".split()  # noqa: SIM905
)

VENDORS = re.compile(
    r"openai|anthropic|truss|baseten|vllm|sglang|ollama|llama|deepseek|openrouter|claude|mistral|gemini|kimi|qwen|groq|"
    r"cohere|bedrock|azure",
    re.IGNORECASE,
)
NAMED_OUTSIDE: dict[str, tuple[set[str], str]] = {
    "config.server": (
        {"vllm", "anthropic", "truss"},
        "descriptions of settings, which are the documentation of the schema",
    ),
}
"""Who names a vendor outside of `dialects`, which ones, and why it is bearable."""


def modules() -> dict[str, ast.Module]:
    """Every module of the gateway by its name below it; a package has the name of its folder."""
    found = {}
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        parts = path.relative_to(ROOT / "gateway").with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(), str(path))
    return found


MODULES = modules()


def imported(module: str) -> Iterator[str]:
    """Full names of what a module imports, anywhere in it, type-only imports included."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("gateway.") in MODULES else str(node.module)


def ours(module: str) -> set[str]:
    """What it imports of the gateway, by names below it."""
    return {name.removeprefix("gateway").removeprefix(".") for name in imported(module) if is_below(name, "gateway")}


def is_below(name: str, part: str) -> bool:
    return name == part or name.startswith(part + ".")


def part_of(module: str) -> str:
    """The row of the table that speaks of a module."""
    return max((part for part in ALLOWED if is_below(module, part) or not part), key=len)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    """The table of STYLE.md, adapted to what exists."""
    part = part_of(module)
    wrong = [
        name
        for name in ours(module)
        if not is_below(name, part) and not any(is_below(name, allowed) for allowed in ALLOWED[part])
    ]
    assert not wrong, f"gateway.{module} may import {ALLOWED[part]}, not {wrong}"


def test_every_module_has_a_row() -> None:
    """A new module says first what it is allowed to know. (`""` is the empty package itself.)"""
    assert [module for module in MODULES if module and not part_of(module)] == []
    assert ours("") == set()


def test_the_table_itself_has_no_cycle() -> None:
    order = TopologicalSorter({part: [name for name in rows if name != "relay"] for part, rows in ALLOWED.items()})
    assert list(order.static_order())


def test_no_module_imports_itself_in_a_circle() -> None:
    """Type-only imports count: a circle of types is a circle of ideas."""
    graph = {module: ours(module) - {module} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' → '.join(error.args[1])}")


@pytest.mark.parametrize("module", [name for name in MODULES if name and any(is_below(name, part) for part in SANS_IO)])
def test_plain_values_know_nothing_of_the_world(module: str) -> None:
    """No loop, clock, chance, environment, socket or log: what they need arrives as an argument."""
    assert not {name.partition(".")[0] for name in imported(module)} & OUTSIDE


def test_there_are_modules_to_check() -> None:
    """So that the tests above can't pass by finding nothing."""
    for part in SANS_IO:
        assert any(is_below(module, part) for module in MODULES), part
    assert {"neutral.events", "relay.pump", "dialects", "endpoint"} <= set(MODULES)
    assert "neutral.request" in ours("neutral.events")
    assert "dialects" in ours("config.upstream")


@pytest.mark.parametrize("module", MODULES)
def test_middleware_is_pure(module: str) -> None:
    """BaseHTTPMiddleware turns an abort into a clean end and hides disconnects."""
    assert "BaseHTTPMiddleware" not in ast.dump(MODULES[module])


def test_one_broad_except_exists_at_the_edge() -> None:
    """Wherever else, the error that is meant is named; but for one that is handed on whole to whom it belongs."""
    broad = []
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler) and is_broad(node.type):
                broad.append(module)
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
                broad += [module for argument in node.args if is_broad(argument)]
    assert broad == ["endpoint", "upstreams.body"]


def is_broad(caught: ast.expr | None) -> bool:
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(name is None or ast.unparse(name) in ("Exception", "BaseException") for name in names)


def vendors_in(tree: ast.Module) -> set[str]:
    """Vendors in names and strings; docstrings and comments are documentation."""
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    found: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in documentation:
                found += VENDORS.findall(text)
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text) | ast.alias(name=text):
                found += VENDORS.findall(text)
            case ast.FunctionDef(name=text) | ast.AsyncFunctionDef(name=text) | ast.ClassDef(name=text):
                found += VENDORS.findall(text)
    return {vendor.lower() for vendor in found}


@pytest.mark.parametrize("module", [module for module in MODULES if not is_below(module, "dialects")])
def test_a_vendor_is_named_in_its_dialect_only(module: str) -> None:
    """Nothing outside asks which dialect it has before it; the exceptions are listed, and all still needed."""
    vendors, _ = NAMED_OUTSIDE.get(module, (set(), ""))
    assert vendors_in(MODULES[module]) == vendors


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_functions_are_short(module: str) -> None:
    """A screen or so for a function, an evening's reading for a module."""
    tree = MODULES[module]
    last = max((getattr(node, "end_lineno", 0) or 0 for node in tree.body), default=0)
    assert last <= MAX_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is_for(module: str) -> None:
    """The first line of a module is a sentence; empty packages have nothing to say."""
    assert not MODULES[module].body or ast.get_docstring(MODULES[module])
