"""The search finds a secret in every form it may take, so that finding nothing says something."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote

import orjson
import pytest

from tests.secrets.planted import ALL, Secret, found


@pytest.mark.parametrize(
    "form",
    [
        str.encode,
        lambda text: text.upper().encode(),
        lambda text: repr(text).encode(),
        lambda text: repr(text.encode()).encode(),
        lambda text: orjson.dumps({"key": [text]}),
        lambda text: orjson.dumps(orjson.dumps(text).decode()),
        lambda text: quote(text).encode(),
        lambda text: text.encode().hex().encode(),
        lambda text: b64encode(f"user:{text}".encode()),
        lambda text: b64encode(text.encode()),
        lambda text: urlsafe_b64encode(f"x{text}".encode()),
        lambda text: b64encode(f"xy{text}".encode()),
        lambda text: text[:12].encode(),
        lambda text: text[-12:].encode(),
        lambda text: text[8:25].encode(),
    ],
)
@pytest.mark.parametrize("secret", ALL, ids=lambda secret: secret.name)
def test_it_is_found_in_every_form_whole_or_in_part(secret: Secret, form: Callable[[str], bytes]) -> None:
    assert list(found(b"before " + form(secret.text) + b" after", secret))


def test_no_secret_is_taken_for_another() -> None:
    for secret in ALL:
        others = [other for other in ALL if other is not secret]
        assert list(found(secret.text.encode() + b64encode(secret.text.encode()), *others)) == []
