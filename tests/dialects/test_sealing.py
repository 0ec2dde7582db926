"""Our own signature tokens: readable by us, useless to others, and never mistaken for a vendor's."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.sealing import FOREIGN, PREFIX, Sealer
from gateway.neutral.request import OpaqueValue


@pytest.mark.parametrize("key", [b"", b"secret"])
def test_a_token_gives_back_what_was_sealed(key: bytes) -> None:
    """mapping.md §6.3."""
    sealer = Sealer(key)
    assert sealer.open(sealer.seal("deepseek")) == OpaqueValue("none", "", "deepseek")
    value = OpaqueValue("openai-encrypted", "blob+/=ü")
    assert sealer.open(sealer.seal("openai", value)) == OpaqueValue("openai-encrypted", "blob+/=ü", "openai")


def test_what_is_not_ours_is_not_opened() -> None:
    assert Sealer().open("EqQBCg…vendor") is None
    assert Sealer(b"k").open("") is None


def test_with_a_key_nobody_else_makes_tokens() -> None:
    forged = Sealer().seal("deepseek")
    assert Sealer(b"k").open(forged) == FOREIGN
    assert Sealer(b"k").open(Sealer(b"other").seal("deepseek")) == FOREIGN
    token = Sealer(b"k").seal("deepseek")
    assert Sealer(b"k").open(token[:-1] + ("A" if token[-1] != "A" else "B")) == FOREIGN


@given(st.binary(max_size=60))
def test_garbage_is_foreign(data: bytes) -> None:
    token = PREFIX + base64.urlsafe_b64encode(data).decode().rstrip("=")
    opened = Sealer().open(token)
    assert opened == FOREIGN or isinstance(opened, OpaqueValue)


@given(st.text(max_size=60))
def test_any_text_behind_the_prefix_is_opened_without_an_exception(text: str) -> None:
    assert Sealer().open(PREFIX + text) is not None
