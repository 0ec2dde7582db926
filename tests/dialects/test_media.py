"""Data URLs as clients write them, and what images really are."""

from __future__ import annotations

import base64

import pytest

from gateway.dialects.media import clean_base64, data_url, decoded_text, image_mime, read_data_url
from gateway.errors import BadRequest
from gateway.neutral.request import Data

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 20).decode()


@pytest.mark.parametrize(
    ("url", "data"),
    [
        (f"data:image/png;base64,{PNG}", Data("image/png", PNG)),
        (f"data:image/jpg;base64,{PNG}", Data("image/jpeg", PNG)),
        ("data:image/png;base64,QUJD\nREVG\r\n ", Data("image/png", "QUJDREVG")),
        ("data:IMAGE/PNG;charset=x;BASE64,QUI", Data("image/png", "QUI=")),
        ("data:image/png;base64,QUI%3D", Data("image/png", "QUI=")),
        ("data:image/png;base64,-_-_", Data("image/png", "+/+/")),
        ("data:text/plain,a%20b", Data("text/plain", "YSBi")),
        (f"data:image/png,{PNG}", Data("image/png", PNG)),
        ("data:,x", Data("text/plain", "eA==")),
    ],
)
def test_data_urls(url: str, data: Data) -> None:
    """Pitfall 68."""
    assert read_data_url(url, "x") == data


@pytest.mark.parametrize("url", ["data:image/png;base64", "data:image/png;base64,@@@", "data:image/png;base64,AAAAA"])
def test_broken_data_urls_are_refused_by_their_path(url: str) -> None:
    with pytest.raises(BadRequest) as raised:
        read_data_url(url, "messages.0.content.1")
    assert raised.value.param == "messages.0.content.1"
    assert "@@@" not in raised.value.message


def test_large_base64_is_cleaned_at_once() -> None:
    data = "QUJD" * 1_000_000
    assert clean_base64(data, "x") == data
    assert data_url(Data("image/png", "QUJD")) == "data:image/png;base64,QUJD"


@pytest.mark.parametrize(
    ("begin", "mime"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", "image/x"),
        (b"hello", "image/x"),
    ],
)
def test_the_first_bytes_decide_what_an_image_is(begin: bytes, mime: str) -> None:
    """mapping.md §4.4."""
    assert image_mime(Data("image/x", base64.b64encode(begin + b"\0" * 30).decode())) == mime


def test_text_files_are_read() -> None:
    assert decoded_text(Data("text/plain", base64.b64encode("ü".encode()).decode())) == "ü"
    assert decoded_text(Data("text/plain", base64.b64encode(b"\xff").decode())) is None


@pytest.mark.parametrize("data", ["\x80", "ü" * 40, "A", "=", ""])
def test_data_that_is_no_base64_is_no_known_image_and_no_text(data: str) -> None:
    """Also what isn't even ASCII: the declared type stands, and nothing breaks."""
    assert image_mime(Data("image/png", data)) == "image/png"
    assert decoded_text(Data("text/plain", data)) in (None, "")
