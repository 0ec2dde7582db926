"""Patterns of names: `*` stands for any text, also none."""

from __future__ import annotations


def matches(pattern: str, name: str) -> bool:
    """Whether the name is the pattern with some text, or none, for each `*`.

    Each piece between two stars is taken where it first occurs, so a hostile name costs one pass per piece.
    """
    head, *pieces = pattern.split("*")
    if not pieces:
        return name == pattern
    tail = pieces.pop()
    at, end = len(head), len(name) - len(tail)
    if at > end or not name.startswith(head) or not name.endswith(tail):
        return False
    for piece in pieces:
        found = name.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def overlap(one: str, other: str) -> bool:
    """Whether there is a name that both take. With a `*` in each, only how they begin and end can forbid it."""
    if "*" not in one or "*" not in other:
        return matches(one, other) if "*" in one else matches(other, one)
    heads = sorted((one.partition("*")[0], other.partition("*")[0]), key=len)
    tails = sorted((one.rpartition("*")[2], other.rpartition("*")[2]), key=len)
    return heads[1].startswith(heads[0]) and tails[1].endswith(tails[0])
