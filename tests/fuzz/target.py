"""One decoder under coverage-guided fuzzing; run by `test_decoders.py` with the fuzzer's own Python.

    python -m tests.fuzz.target DIALECT CORPUS [libFuzzer options]

An input is one byte of choices, then the bytes of a stream. Whatever they are: no exception, events that obey the
grammar, exactly one end, encoders that can tell it, and memory that stays within the limits.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

import atheris

from tests.fuzz.mutator import mutate

with atheris.instrument_imports(include=["gateway"]):
    from gateway.dialects import DIALECTS
    from gateway.dialects.base import Decoder, Stamp
    from gateway.errors import UpstreamError
    from gateway.neutral.events import End, Event, Failed
    from gateway.neutral.grammar import Grammar
    from gateway.neutral.request import Request, Role, Text, Turn
    from gateway.neutral.sequencer import Sequencer

MAX_EVENT: Final = 4096
MAX_WAITING: Final = 4096
MAX_RETAINED: Final = 16 * 1024
"""Bytes and characters that a decoder and a Sequencer may hold on to, given those two limits."""
MAX_INPUT: Final = 64 * 1024
STAMP: Final = Stamp("f" * 24, 1)
REQUEST: Final = Request("demo", (Turn(Role.USER, (Text("Hi"),)),), stream=True, include_usage=True)


def decoders(name: str, choices: int) -> Decoder:
    """A decoder of this dialect, with the options that the choices pick."""
    dialect = DIALECTS[name]
    variants = OPTIONS.get(name, ({},))
    return dialect.decoder(dialect.options(**variants[choices % len(variants)]), MAX_EVENT)


OPTIONS: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "truss": ({}, {"stream_format": "jsonl"}, {"stream_format": "raw"}, {"stream_format": "openai_sse"}),
    "openai": ({}, {"profile": "deepseek"}, {"profile": "vllm"}),
}


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    """Whole, or in pieces of a few bytes."""
    step = len(data) or 1 if size == 0 else size
    return (data[at : at + step] for at in range(0, len(data), step))


def run(name: str, data: bytes) -> None:
    """One input. Raises AssertionError, or whatever a bug raises."""
    choices, stream = (data[0], data[1:]) if data else (0, b"")
    decoder, sequencer, grammar = decoders(name, choices & 7), Sequencer("s", MAX_WAITING), Grammar()
    told: list[Event] = []
    for chunk in chunks(stream, choices >> 5):
        told += sequencer.feed(decoder.feed(chunk))
    assert retained([decoder, sequencer]) <= MAX_RETAINED, "an unbounded buffer"
    told += sequencer.feed(decoder.eof(is_framed=bool(choices & 8))[1])
    for event in told:
        grammar.check(event)
    assert [type(event) for event in told if isinstance(event, End | Failed)] == [type(told[-1])]
    for client in DIALECTS.values():
        encoder = client.encoder(REQUEST, STAMP)
        try:
            encoder.encode(told)
        except UpstreamError:
            continue


def retained(roots: list[Any]) -> int:
    """Bytes and characters reachable from these objects, classes, modules and functions left out."""
    seen, size, todo = set[int](), 0, list(roots)
    while todo:
        value = todo.pop()
        if id(value) in seen or isinstance(value, type | ModuleType) or callable(value):
            continue
        seen.add(id(value))
        if isinstance(value, bytes | bytearray | str):
            size += len(value)
        elif isinstance(value, dict):
            todo += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            todo += value
        else:
            todo += _attributes(value)
    return size


def _attributes(value: Any) -> list[Any]:
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    held = [getattr(value, name) for name in slots if hasattr(value, name)]
    return held + list(getattr(value, "__dict__", {}).values())


def changed(data: bytes, max_size: int, seed: int) -> bytes:
    """A change of structure most times, of bytes otherwise."""
    other = mutate(data, max_size, seed) if seed % 4 else None
    return atheris.Mutate(data, max_size) if other is None else other


if __name__ == "__main__":
    dialect = sys.argv.pop(1)
    options = [f"-max_len={MAX_INPUT}", "-len_control=0"]
    atheris.Setup([*sys.argv, *options], lambda data: run(dialect, data), custom_mutator=changed)
    atheris.Fuzz()
