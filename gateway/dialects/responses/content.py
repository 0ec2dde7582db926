"""Parts of the user's and of tool results → content of input items (`protocol/mapping.md` §4.3, §4.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson

from gateway.dialects.base import Json
from gateway.dialects.media import clean_base64, data_url, decoded_text, image_mime
from gateway.dialects.report import Report, refuse_part
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


def spell_result(result: rq.ToolResult, report: Report) -> str | list[Json]:
    """What a tool gave: a text, or a list as soon as there is more. The error flag becomes text (pitfall 81)."""
    content = [spelled for part in result.parts for spelled in _given(part, report)]
    if result.is_error:
        content = _as_error(content)
    if all(part["type"] == "input_text" for part in content):
        return "\n".join(part["text"] for part in content)
    return content


def _given(part: rq.Part, report: Report) -> Iterator[Json]:
    """Part of a result; what only its vendor knows is JSON here (mapping.md §4.3)."""
    if isinstance(part, rq.Opaque):
        report.adapt(f"messages.{part.name}", "as_text")
        yield _text(orjson.dumps(part.json).decode())
    else:
        yield from spell_content(part)


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
    url = source.url if isinstance(source, rq.Url) else _clean_url(image, source, image_mime(source))
    return {"type": "input_image", "image_url": url, "detail": image.detail or "auto"}


def _clean_url(part: rq.Part, data: rq.Data, mime: str) -> str:
    """A data URL; other dialects' clients may break their base64 into lines."""
    return data_url(rq.Data(mime, clean_base64(data.base64, part.where)))


def _document(document: rq.Document) -> Iterator[Json]:
    """Text goes as text under its name, any other file as a file."""
    heading = "\n".join(words for words in (document.title or document.name, document.context) if words)
    if document.parts:
        yield from [_text(heading)] if heading else []
        yield from _inner(document.parts)
        return
    source = document.source
    text = document.text
    if text is None and isinstance(source, rq.Data) and source.mime.startswith("text/"):
        text = decoded_text(source)
    if text is not None:
        if about := "\n".join(words for words in (heading, text) if words):
            yield _text(about)
        return
    if document.context:
        yield _text(document.context)
    if isinstance(source, rq.Url):
        yield {"type": "input_file", "file_url": source.url}
    elif isinstance(source, rq.Data):
        name = document.name or document.title or _FILE_NAMES.get(source.mime, "document")
        yield {"type": "input_file", "filename": name, "file_data": _clean_url(document, source, source.mime)}
    else:
        refuse_part(document, "this upstream")
