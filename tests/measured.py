"""What a run measured and noticed beside passing or failing; printed at its end, whichever of its processes did it."""

from __future__ import annotations

figures: dict[str, list[float]] = {}
"""What was measured, by what it is."""
notes: list[str] = []
"""What a person should know of a run that passed."""


def measure(what: str, value: float) -> None:
    """Adds a value, to be shown beside all others of the same."""
    figures.setdefault(what, []).append(value)
