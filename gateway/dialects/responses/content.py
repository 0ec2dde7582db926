"""Parts of the user's and of tool results → content of input items (`protocol/mapping.md` §4.3, §4.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.dialects.base import Json
from gateway.dialects.media import data_url, decoded_text, image_mime
from gateway.dialects.report import refuse_part
from gateway.neutral import request as rq

_FILE_NAMES: Final = {"application/pdf": "document.pdf"}
"""What a file is called that has no name, as this API demands one."""


def spell_content(part: rq.Part) -> Iterator[Json]:
    """The content that a part is. Raises Unsupported for what this API has no word for."""
    match part:
        case rq.Text(text=text) | rq.Refusal(text=text):
            if text:
                yield _text(text)
        case rq.Image():
            yield _image(part)
        case rq.Audio():
            audio = {"data": part.base64, "format": part.mime.removeprefix("audio/")}
            yield {"type": "input_audio", "input_audio": audio}
        case rq.Document():
            yield from _document(part)
        case rq.SearchResult():
            yield _text(f"{part.title} ({part.source})")
            yield from _inner(part.parts)
        case _:
            refuse_part(part, "this upstream")


def spell_result(result: rq.ToolResult) -> str | list[Json]:
    """What a tool gave: a text, or a list as soon as there is more. The error flag becomes text (pitfall 81)."""
    content = list(_inner(result.parts))
    if result.is_error:
        content = _as_error(content)
    if all(part["type"] == "input_text" for part in content):
        return "\n".join(part["text"] for part in content)
    return content


def _as_error(content: list[Json]) -> list[Json]:
    if content and content[0]["type"] == "input_text":
        text = content[0]["text"]
        return content if text.lower().startswith("error") else [_text(f"Error: {text}"), *content[1:]]
    return [_text("Error: "), *content]


def _inner(parts: tuple[rq.Part, ...]) -> Iterator[Json]:
    for part in parts:
        yield from spell_content(part)


def _text(text: str) -> Json:
    return {"type": "input_text", "text": text}


def _image(image: rq.Image) -> Json:
    source = image.source
    if isinstance(source, rq.FileRef):
        refuse_part(image, "this upstream")
    url = source.url if isinstance(source, rq.Url) else data_url(rq.Data(image_mime(source), source.base64))
    return {"type": "input_image", "image_url": url, "detail": image.detail or "auto"}


def _document(document: rq.Document) -> Iterator[Json]:
    """Text goes as text under its name, any other file as a file."""
    heading = document.title or document.name
    if document.parts:
        yield from [_text(heading)] if heading else []
        yield from _inner(document.parts)
        return
    source = document.source
    text = document.text
    if text is None and isinstance(source, rq.Data) and source.mime.startswith("text/"):
        text = decoded_text(source)
    if text is not None:
        yield _text(f"{heading}\n{text}" if heading else text)
    elif isinstance(source, rq.Url):
        yield {"type": "input_file", "file_url": source.url}
    elif isinstance(source, rq.Data):
        name = document.name or document.title or _FILE_NAMES.get(source.mime, "document")
        yield {"type": "input_file", "filename": name, "file_data": data_url(source)}
    else:
        refuse_part(document, "this upstream")
