"""What the simulator sees of images, documents and recordings: enough to tell whether every byte arrived."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator

from gateway.neutral.request import Audio, Data, Document, FileRef, Image, Part, Request, Source, Url


def told(request: Request) -> Iterator[str]:
    """A line for each thing in the request that is more than text, in results of tools too."""
    return (f"I see {seen}." for part in request.parts() if (seen := _described(part)))


def _described(part: Part) -> str:
    match part:
        case Image(source=source):
            return f"an image, {_source(source)}"
        case Document(source=source, mime=mime, text=text):
            return f"a document, {_source(source, mime) if source else text or 'in parts'}"
        case Audio(mime=mime, base64=data):
            return f"audio, {_source(Data(mime, data))}"
        case _:
            return ""


def _source(source: Source, mime: str = "") -> str:
    match source:
        case Url(url):
            return f"at {url}"
        case FileRef(id_):
            return f"file {id_}"
        case Data(kind, text):
            try:
                data = base64.b64decode(text)
            except binascii.Error:
                return f"{kind or mime}, which is no base64"
            return f"{kind or mime} of {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:16]}"
