"""How an overflow of the context is told to Anthropic clients: agents compact by how it begins and what it counts."""

from __future__ import annotations

import pytest

from gateway.dialects import DIALECTS
from gateway.errors import GatewayError, Kind

COUNTED = "prompt is too long: 9000 tokens > 8192 maximum"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens "
            "(8000 in the messages, 1000 in the completion). Please reduce the length of the messages.",
            COUNTED,
        ),
        ("This model's maximum context length is 8,192 tokens, but your messages resulted in 9,000 tokens.", COUNTED),
        ("max_tokens=100 is fine, but the context window of 8192 can't hold 9000 input tokens", COUNTED),
        ("Input is too long: 9000 tokens exceed the limit of 8192", COUNTED),
        ("input is too long: 9000 tokens > 8192", COUNTED),
        ("prompt is too long: 210000 tokens > 200000 maximum", "prompt is too long: 210000 tokens > 200000 maximum"),
        (
            "the request exceeds the available context size (4096 tokens)",
            "prompt is too long: the request exceeds the available context size (4096 tokens)",
        ),
        ("context length exceeded", "prompt is too long: context length exceeded"),
        ("maximum 8192, got 10 tokens", "prompt is too long: maximum 8192, got 10 tokens"),
    ],
)
def test_an_overflow_begins_as_anthropics_does_and_counts_where_it_can(message: str, told: str) -> None:
    """Pitfall 56, mapping.md §9.2."""
    error = GatewayError(message, kind=Kind.CONTEXT_LENGTH)
    assert DIALECTS["anthropic"].dump_error(error, "")[1]["error"]["message"] == told


@pytest.mark.parametrize("message", ["context length " + "x" * 5000, ">" * 5000, "1," * 2500, "9 tokens " * 500])
def test_no_message_takes_long_to_read(message: str) -> None:
    """The patterns look a bounded way ahead."""
    told = DIALECTS["anthropic"].dump_error(GatewayError(message, kind=Kind.CONTEXT_LENGTH), "")[1]
    assert told["error"]["message"] == f"prompt is too long: {message}"
