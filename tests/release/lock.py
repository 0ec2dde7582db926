"""Reads the lock file: which releases an image installs, with which hashes, and who brings each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.release.project import NAME, ROOT

LOCK: Final = ROOT / "deploy" / "requirements.lock"
_VIA: Final = re.compile(r"^ +# +(?:via +)?(\S+)", re.MULTILINE)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})(?= |$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Locked:
    """One release. `via`: the packages that require it, the project itself by its name."""

    requirement: Requirement
    version: str
    hashes: frozenset[str]
    via: tuple[str, ...]


def read(path: Path = LOCK) -> Mapping[str, Locked]:
    """What the file locks, by canonical name. Raises ValueError at a line that locks nothing."""
    entries = re.split(r"^(?=[^\s#])", path.read_text(), flags=re.MULTILINE)[1:]
    locked = [_entry(text) for text in entries]
    return {canonicalize_name(each.requirement.name): each for each in locked}


def _entry(text: str) -> Locked:
    requirement = Requirement(text.partition("\\\n")[0].strip())
    pin = re.fullmatch(r"==([^*,]+)", str(requirement.specifier))
    if pin is None:
        raise ValueError(f"{requirement} is no single release")
    via = tuple(name for name in _VIA.findall(text) if name != "via")
    return Locked(requirement, pin[1], frozenset(_HASH.findall(text)), via)


def is_direct(locked: Locked) -> bool:
    """Whether the project itself requires it."""
    return NAME in locked.via
