"""Parts of a message's content, both ways (`openai-chat.md` §2, mapping.md §4.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from gateway.dialects.base import Json
from gateway.dialects.media import (
    clean_base64,
    data_url,
    decoded_text,
    image_mime,
    named_mime,
    plain_mime,
    read_data_url,
)
from gateway.dialects.openai.profiles import Profile
from gateway.dialects.report import Report, refuse_part
from gateway.errors import BadRequest, Unsupported
from gateway.neutral import request as rq
from gateway.wire.fields import Fields, fields_of

_UPSTREAM: Final = "this upstream"
_PDF: Final = "application/pdf"
_TEXTS: Final = ("text", "input_text", "output_text")


# -- reading ---------------------------------------------------------------------------------------------------------


def read_content(message: Fields) -> Iterator[rq.Part]:
    """The content of a message: a string is one text part."""
    where = message.at("content")
    content = message.take("content")
    if content is None:
        return
    if isinstance(content, str):
        yield rq.Text(content, where=where)
        return
    if not isinstance(content, list):
        raise BadRequest(f"{where}: expected a string or an array of parts", param=where)
    for i, part in enumerate(content):
        if isinstance(part, str):
            yield rq.Text(part, where=f"{where}.{i}")
        else:
            yield _read_part(fields_of(part, f"{where}.{i}"))


def _read_part(part: Fields) -> rq.Part:
    kind = part.need_string("type")
    cache = read_cache(part)
    if kind in _TEXTS:
        return rq.Text(part.need_string("text"), cache=cache, unread=part.unread(), where=part.path)
    reader = _READERS.get(kind)
    if reader is None:
        return rq.Opaque("openai", kind[:64], part.rest(), where=part.path)
    read = reader(part, cache)
    return replace(read, unread=unread) if (unread := part.unread()) else read


def read_cache(fields: Fields) -> Json | None:
    """A wish to cache the prompt up to here, in either spelling that servers have for it (mapping.md §3.1)."""
    wish = fields.mapping("cache_control")
    mark = fields.mapping("prompt_cache_breakpoint")
    if wish is None and mark is not None:
        wish = {"type": "ephemeral", **({"ttl": "1h"} if mark.get("ttl") in ("30m", "12h") else {})}
    return wish


def _read_refusal(part: Fields, cache: Json | None) -> rq.Part:
    return rq.Refusal(part.need_string("refusal"), cache=cache, where=part.path)


def _read_thinking(part: Fields, cache: Json | None) -> rq.Part:
    """Mistral's: the text, or parts of text."""
    inner = part.take("thinking")
    texts = [inner] if isinstance(inner, str) else [_text_in(item, part) for item in inner or ()]
    return rq.Reasoning("".join(texts), where=part.path)


def _text_in(item: Any, part: Fields) -> str:
    return fields_of(item, part.at("thinking")).need_string("text")


def _read_image(part: Fields, cache: Json | None) -> rq.Part:
    fields = part.union("image_url", "url")  # Ollama and the Responses API have the address alone
    source = _read_url(fields.need_string("url"), fields.at("url"))
    detail = fields.string("detail") or part.string("detail")
    return rq.Image(source, detail, cache=cache, where=part.path)


def _read_url(url: str, where: str) -> rq.Source:
    return read_data_url(url, where) if url.startswith("data:") else rq.Url(url)


def _read_audio(part: Fields, cache: Json | None) -> rq.Part:
    audio = part.need_object("input_audio")
    mime = f"audio/{audio.need_string('format')}"
    data = audio.need_string("data")
    source = read_data_url(data, audio.at("data")).base64 if data.startswith("data:") else data
    return rq.Audio(mime, clean_base64(source, audio.at("data")), cache=cache, where=part.path)


def _read_file(part: Fields, cache: Json | None) -> rq.Part:
    """A file by its data, a data URL or bare base64, or by the id it has at the vendor's."""
    file = part.need_object("file")
    name, id_, data = file.string("filename"), file.string("file_id"), file.string("file_data")
    if id_ is not None:
        return rq.Document(source=rq.FileRef(id_), name=name, cache=cache, where=part.path)
    if data is None:
        raise BadRequest(f"{file.path}: expected file_data or file_id, got neither", param=file.path)
    where = file.at("file_data")
    if data.startswith("data:"):
        source = read_data_url(data, where)
    else:
        source = rq.Data(named_mime(name), clean_base64(data, where))
    if source.mime.startswith("text/") and (text := decoded_text(source)) is not None:
        return rq.Document(text=text, mime=source.mime, name=name, cache=cache, where=part.path)
    return rq.Document(source=source, mime=source.mime, name=name, cache=cache, where=part.path)


_READERS: Final[Mapping[str, Callable[[Fields, Json | None], rq.Part]]] = {
    "refusal": _read_refusal,
    "thinking": _read_thinking,
    "image_url": _read_image,
    "input_audio": _read_audio,
    "file": _read_file,
}


# -- spelling --------------------------------------------------------------------------------------------------------


def spell_content(parts: list[rq.Part], profile: Profile, report: Report) -> str | list[Json]:
    """Content of a user's message: nothing but text is one string, which every server reads (pitfall 74)."""
    spelled = [found for part in parts for found in spell_part(part, profile, report) if found.get("text") != ""]
    if all(part["type"] == "text" for part in spelled):
        return "\n\n".join(part["text"] for part in spelled)
    return spelled


def spell_part(part: rq.Part, profile: Profile, report: Report) -> Iterator[Json]:
    """One part as parts of this dialect. Raises Unsupported for what it has no word for."""
    match part:
        case rq.Text() | rq.Refusal():
            yield {"type": "text", "text": part.text}
        case rq.Image():
            yield {"type": "image_url", "image_url": _spell_image(part)}
        case rq.Audio():
            yield {"type": "input_audio", "input_audio": _spell_audio(part)}
        case rq.Document():
            yield from _spell_document(part, profile, report)
        case rq.SearchResult():
            yield {"type": "text", "text": found_text(part)}
        case rq.Opaque(dialect="openai", name=name, json=json):  # from a client that sends chats in an envelope
            yield {"type": name, **json}
        case _:
            refuse_part(part, _UPSTREAM)


def _spell_image(image: rq.Image) -> Json:
    match image.source:
        case rq.Url(url):
            found: Json = {"url": url}
        case rq.Data() as data:
            found = {"url": data_url(_clean(data, image.where, image_mime(data)))}
        case rq.FileRef():
            raise _elsewhere(image)
    return found | ({"detail": image.detail} if image.detail else {})


def _clean(data: rq.Data, where: str, mime: str) -> rq.Data:
    """As a data URL may hold it: other dialects' clients may break lines."""
    return rq.Data(mime, clean_base64(data.base64, where))


def _elsewhere(part: rq.Part) -> Unsupported:
    why = "a file that lies at another vendor can't be read by this upstream; send its data"
    return Unsupported(f"{part.where}: {why}", param=part.where or None)


def _spell_audio(audio: rq.Audio) -> Json:
    return {"data": audio.base64, "format": _AUDIO.get(audio.mime, audio.mime.removeprefix("audio/"))}


_AUDIO: Final = {"audio/mpeg": "mp3", "audio/x-wav": "wav", "audio/wave": "wav"}


def _spell_document(document: rq.Document, profile: Profile, report: Report) -> Iterator[Json]:
    """mapping.md §4.4: text as text under its name, parts as parts, a file as a file where the server reads files."""
    if document.text is not None:
        yield {"type": "text", "text": document_text(document, document.text)}
    elif document.source is None:
        if heading := heading_of(document):
            yield {"type": "text", "text": heading}
        for part in document.parts:
            yield from spell_part(part, profile, report)
    elif not isinstance(document.source, rq.Data):
        if isinstance(document.source, rq.FileRef):
            raise _elsewhere(document)
        refuse_part(document, _UPSTREAM)
    elif text := _plain_text(document.source):
        yield {"type": "text", "text": document_text(document, text)}
    elif not profile.files:
        refuse_part(document, _UPSTREAM)
    else:
        yield from _spell_file(document, document.source)


def _plain_text(data: rq.Data) -> str | None:
    return decoded_text(data) if plain_mime(data.mime).startswith("text/") else None


def _spell_file(document: rq.Document, data: rq.Data) -> Iterator[Json]:
    """A file part; servers that take files want a name for it. What was said about it stands in front."""
    if document.context:
        yield {"type": "text", "text": document.context}
    name = document.name or document.title or f"document{'.pdf' if data.mime == _PDF else ''}"
    yield {"type": "file", "file": {"filename": name, "file_data": data_url(_clean(data, document.where, data.mime))}}


def document_text(document: rq.Document, text: str) -> str:
    """A document's text under its title or name."""
    heading = heading_of(document)
    return f"{heading}\n\n{text}" if heading else text


def heading_of(document: rq.Document) -> str:
    """What a document is called, and what was said about it."""
    return "\n".join(line for line in (document.title or document.name, document.context) if line)


def found_text(result: rq.SearchResult) -> str:
    """mapping.md §4.4: `title (source)`, then the passage."""
    texts = "\n".join(part.text for part in result.parts if isinstance(part, rq.Text))
    return f"{result.title} ({result.source})\n{texts}"
