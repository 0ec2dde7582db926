"""Blocks of Anthropic messages → parts of a Request (`anthropic-messages.md` §3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import orjson

from gateway.dialects.base import Json
from gateway.dialects.sealing import Sealer
from gateway.errors import BadRequest
from gateway.neutral import request as rq
from gateway.wire.fields import Fields, fields_of, reject

NAME: Final = "anthropic"
"""This dialect, in `Opaque`, `HostedTool` and `extras`, and the format of its signatures."""


class Contents:
    """Reads blocks. `sealer` opens the signatures that the gateway itself gave to this client earlier."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def read(self, fields: Fields, name: str) -> tuple[rq.Part, ...]:
        """A string, or an array of blocks."""
        content, where = fields.take(name), fields.at(name)
        if content is None:
            return ()
        if isinstance(content, str):
            return (rq.Text(content, where=where),)
        if not isinstance(content, list):
            reject(where, "a string or an array of blocks", content)
        return tuple(self._block(fields_of(block, f"{where}.{i}")) for i, block in enumerate(content))

    def texts(self, fields: Fields, name: str) -> tuple[rq.Text, ...]:
        """As `read`, of text blocks only."""
        parts = self.read(fields, name)
        for part in parts:
            if not isinstance(part, rq.Text):
                raise BadRequest(f"{part.where}: expected a text block", param=part.where)
        return tuple(part for part in parts if isinstance(part, rq.Text))

    def _block(self, block: Fields) -> rq.Part:
        kind = block.need_string("type")
        reader = self._READERS.get(kind)
        if reader is None:
            return rq.Opaque(NAME, kind[:64], {"type": kind, **block.rest()}, where=block.path)
        cache = block.mapping("cache_control")
        part = reader(self, block)
        unread = block.unread()
        return replace(part, cache=cache, unread=unread) if cache is not None or unread else part

    def _text(self, block: Fields) -> rq.Part:
        citations = tuple(fields_of(citation, block.at("citations")).rest() for citation in _listed(block, "citations"))
        return rq.Text(block.need_string("text"), citations, where=block.path)

    def _image(self, block: Fields) -> rq.Part:
        source = block.need_object("source")
        kind = source.need_choice("type", tuple(_SOURCES))
        return rq.Image(_SOURCES[kind](source), where=block.path)

    def _document(self, block: Fields) -> rq.Part:
        """Its content is data, an address, plain text, or blocks of its own (mapping.md §4.4)."""
        title, context = block.string("title"), block.string("context")
        about = rq.Document(
            title=title,
            context=context,
            is_cited=_is_cited(block),
            where=block.path,
        )
        source = block.need_object("source")
        kind = source.need_choice("type", (*_SOURCES, "text", "content"))
        if kind == "text":
            mime = source.string("media_type") or "text/plain"
            return replace(about, text=source.need_string("data"), mime=mime)
        if kind == "content":
            return replace(about, parts=self.read(source, "content"), mime="text/plain")
        found = _SOURCES[kind](source)
        return replace(about, source=found, mime=found.mime if isinstance(found, rq.Data) else "")

    def _search_result(self, block: Fields) -> rq.Part:
        source, title = block.need_string("source"), block.need_string("title")
        return rq.SearchResult(source, title, self.texts(block, "content"), _is_cited(block), where=block.path)

    def _thinking(self, block: Fields) -> rq.Part:
        value = self._opened(block.string("signature") or "")
        return rq.Reasoning(block.string("thinking") or "", value, where=block.path)

    def _redacted(self, block: Fields) -> rq.Part:
        data = block.need_string("data")
        return rq.RedactedReasoning(self._opened(data) or rq.OpaqueValue(NAME, data), where=block.path)

    def _opened(self, sealed: str) -> rq.OpaqueValue | None:
        """A token of ours holds what another server sealed; anything else is Anthropic's own (mapping.md §6.3)."""
        return (self._sealer.open(sealed) or rq.OpaqueValue(NAME, sealed)) if sealed else None

    def _tool_use(self, block: Fields) -> rq.Part:
        if block.rest().get("caller") == _DIRECT:
            block.take("caller")
        arguments = orjson.dumps(block.mapping("input") or {}).decode()
        return rq.ToolCall(block.need_string("id"), block.need_string("name"), arguments, where=block.path)

    def _tool_result(self, block: Fields) -> rq.Part:
        call_id, is_error = block.need_string("tool_use_id"), block.boolean("is_error") or False
        return rq.ToolResult(call_id, self.read(block, "content"), is_error, where=block.path)

    _READERS: Final[Mapping[str, Callable[[Contents, Fields], rq.Part]]] = {
        "text": _text,
        "image": _image,
        "document": _document,
        "search_result": _search_result,
        "thinking": _thinking,
        "redacted_thinking": _redacted,
        "tool_use": _tool_use,
        "tool_result": _tool_result,
    }


def _is_cited(block: Fields) -> bool:
    cited = block.object("citations")
    return bool(cited and cited.boolean("enabled"))


_DIRECT: Final = {"type": "direct"}
"""Who made a call, if it was the model itself."""


def _listed(block: Fields, name: str) -> list[Json]:
    return block.array(name) or []


def _data(source: Fields) -> rq.Data:
    return rq.Data(source.need_string("media_type"), source.need_string("data"))


def _url(source: Fields) -> rq.Url:
    return rq.Url(source.need_string("url"))


def _file(source: Fields) -> rq.FileRef:
    return rq.FileRef(source.need_string("file_id"))


_SOURCES: Final[Mapping[str, Callable[[Fields], rq.Source]]] = {"base64": _data, "url": _url, "file": _file}
