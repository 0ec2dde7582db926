"""What the simulators of these tests are told to do."""

from __future__ import annotations

from typing import Final

from gateway.simulator.sayings import HAIKU
from gateway.simulator.script import tokens

QUICK: Final = "ttft=0ms&tps=0"
PACED: Final = "ttft=100ms&tps=40"
FAULTS: Final = (
    *("status@400", "status@429", "status@503"),
    *("busy", "refused", "cut@0", "cut@3", "close@3", "error@3", "bad_json@3", "no_done", "split_utf8"),
)

PROMPT: Final = "Write a haiku about the ocean."
TOKENS: Final = tokens(HAIKU)
PROMPT_TOKENS: Final = len(tokens(PROMPT))
"""What the simulator says of the prompt: its words."""


def faulty(fault: str) -> str:
    """A script with a fault. Tokens before it are 50 ms apart: read together with them, it would come before the
    commit point, and be an error status.
    """
    return f"ttft=0ms&tps=20&fault={fault}" if fault.endswith("@3") else f"{QUICK}&fault={fault}"
