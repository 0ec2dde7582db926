"""A credential is taken out of what an upstream says, in each form it may be repeated in."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

import orjson
import pytest

from gateway.upstreams.redaction import redacted, tells

KEY = 'sk-live-"quoted"/and+more-0123456789'
FORMS = {
    "as it is": KEY,
    "in JSON": orjson.dumps(KEY).decode()[1:-1],
    "in a URL": quote(KEY, safe=""),
    "in base64": b64encode(KEY.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_form_of_it_is_left(form: str) -> None:
    text = f"bad key {form}, and again {form}."
    assert tells(text, KEY)
    left = redacted(text, KEY)
    assert left.count("[key]") == 2
    assert "0123456789" not in left
    assert not tells(left, KEY)
    assert left.startswith("bad key [key]")


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("size", [8, 12, 30])
def test_what_a_cut_has_left_of_it_is_taken_out(form: str, size: int) -> None:
    assert redacted(f"bad key {form[:size]}", KEY) == "bad key [key]"


@pytest.mark.parametrize("text", ["", "fine", "sk-live", "ends with sk-live", "5", KEY[:-1] + " is another"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert redacted(text, KEY) == text
    assert not tells(text, KEY)


def test_without_a_credential_nothing_is_taken_out() -> None:
    assert redacted("anything", "") == "anything"
    assert not tells("anything", "")
