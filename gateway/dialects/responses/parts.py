"""Content parts of input items → parts (`openai-responses.md` §2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from gateway.dialects.media import clean_base64, named_mime, plain_mime, read_data_url
from gateway.errors import BadRequest
from gateway.neutral import request as rq
from gateway.wire.fields import Fields, fields_of


def read_content(fields: Fields, name: str) -> Iterator[rq.Part]:
    """A string, or an array of parts; nothing if absent."""
    where = fields.at(name)
    content = fields.take(name)
    if content is None:
        return
    if isinstance(content, str):
        yield rq.Text(content, where=where)
        return
    if not isinstance(content, list):
        raise BadRequest(f"{where}: expected a string or an array of parts", param=where)
    for i, part in enumerate(content):
        yield _part(fields_of(part, f"{where}.{i}"))


def _part(part: Fields) -> rq.Part:
    kind = part.need_string("type")
    reader = _READERS.get(kind)
    if reader is None:
        return rq.Opaque("responses", kind[:64], part.rest(), where=part.path)
    read = reader(part)
    return replace(read, unread=unread) if (unread := part.unread()) else read


def _read_text(part: Fields) -> rq.Part:
    annotations = tuple(part.array("annotations") or ())
    part.take("logprobs")  # said of an answer, no part of the question
    return rq.Text(part.need_string("text"), annotations, cache=_cache(part), where=part.path)


def _read_refusal(part: Fields) -> rq.Part:
    return rq.Refusal(part.need_string("refusal"), where=part.path)


def _read_image(part: Fields) -> rq.Part:
    """`image_url` is a text here; chat's object with a `url` is understood too."""
    detail, cache = part.string("detail"), _cache(part)
    if file_id := part.string("file_id"):
        return rq.Image(rq.FileRef(file_id), detail, cache=cache, where=part.path)
    where = part.at("image_url")
    url = part.take("image_url")
    if isinstance(url, dict):
        image = Fields(url, where)
        url, where, detail = image.need_string("url"), image.at("url"), detail or image.string("detail")
    if not isinstance(url, str):
        raise BadRequest(f"{where}: expected a URL, a data URL, or file_id beside it", param=where)
    return rq.Image(_source(url, where), detail, cache=cache, where=part.path)


def _source(url: str, where: str) -> rq.Url | rq.Data:
    return read_data_url(url, where) if url.startswith("data:") else rq.Url(url)


def _read_file(part: Fields) -> rq.Part:
    """One of `file_data`, `file_id` and `file_url`; chat has them one level down."""
    cache = _cache(part)
    inner = part.object("file") or part
    name = inner.string("filename")
    file_id, url, data = inner.string("file_id"), inner.string("file_url"), inner.string("file_data")
    if file_id:
        return rq.Document(rq.FileRef(file_id), name=name, cache=cache, where=part.path)
    if url:
        return rq.Document(rq.Url(url), name=name, cache=cache, where=part.path)
    if data is None:
        inner.refuse("file_data", "expected a data URL, or one of file_id and file_url beside it")
    where = inner.at("file_data")
    if data.startswith("data:"):
        source = read_data_url(data, where)
    else:
        source = rq.Data(named_mime(name), clean_base64(data, where))
    return rq.Document(source, plain_mime(source.mime), name, cache=cache, where=part.path)


def _read_audio(part: Fields) -> rq.Part:
    audio = part.need_object("input_audio")
    mime = f"audio/{audio.need_string('format')}"
    return rq.Audio(mime, audio.need_string("data"), cache=_cache(part), where=part.path)


def _cache(part: Fields) -> rq.Json | None:
    """A breakpoint of the prompt's cache; both of OpenAI's lifetimes are nearest to an hour (mapping.md §3.1)."""
    point = part.object("prompt_cache_breakpoint")
    if point is None:
        return None
    point.take("mode")  # there is only `explicit`
    lifetime = {"ttl": "1h"} if point.string("ttl") else {}
    return {"type": "ephemeral", **lifetime}


_READERS: Final[Mapping[str, Callable[[Fields], rq.Part]]] = {
    "input_text": _read_text,
    "output_text": _read_text,
    "text": _read_text,
    "refusal": _read_refusal,
    "input_image": _read_image,
    "image_url": _read_image,
    "input_file": _read_file,
    "file": _read_file,
    "input_audio": _read_audio,
}
