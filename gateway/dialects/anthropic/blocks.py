"""Parts of a Request → blocks of Anthropic messages (mapping.md §4.2 to §4.4, §5.5, §6.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn

from gateway.dialects.anthropic.caching import mark
from gateway.dialects.anthropic.contents import NAME
from gateway.dialects.anthropic.options import Options
from gateway.dialects.base import Json
from gateway.dialects.media import clean_base64, decoded_text, image_mime, plain_mime
from gateway.dialects.report import Report, refuse_part
from gateway.dialects.tools import ToolNames, arguments_object, spell_id
from gateway.errors import Unsupported
from gateway.neutral import request as rq
from gateway.neutral.restoring import CUSTOM_FIELD

_IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PDF: Final = "application/pdf"
_CALL_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def is_native(value: rq.OpaqueValue | None, profile: str) -> bool:
    """Whether an upstream of this profile may have sealed it: an invented signature is refused (pitfall 87)."""
    return value is not None and value.format == NAME and value.origin in ("", profile)


class Speller:
    """Spells the parts of one request. `has_lost_thinking`: the assistant's turn spelled last lost some."""

    def __init__(self, names: ToolNames, options: Options, report: Report) -> None:
        self._names = names
        self._profile = options.profile
        self._takes_image_urls = options.features.image_urls
        self._report = report
        self.has_lost_thinking = False

    def turn(self, turn: rq.Turn) -> list[Json]:
        """The blocks of a turn; empty text makes none."""
        if turn.role is rq.Role.ASSISTANT:
            self.has_lost_thinking = False
            return [block for part in turn.parts for block in self._said(part)]
        return [block for part in turn.parts for block in self._blocks(part)]

    def _said(self, part: rq.Part) -> Iterator[Json]:
        """Of an assistant's turn, what another vendor's server did on its own is dropped, and named."""
        if isinstance(part, rq.Opaque) and part.dialect != NAME:
            self._report.drop_name(f"messages.{part.name}", part.where)
        else:
            yield from self._blocks(part)

    def _blocks(self, part: rq.Part) -> Iterator[Json]:
        spell = self._SPELLERS.get(type(part))
        if spell is None:
            refuse_part(part, "this upstream")
        block = spell(self, part)
        if block is not None:
            yield mark(block, part.cache)

    def _text(self, part: rq.Text | rq.Refusal) -> Json | None:
        return {"type": "text", "text": part.text} if part.text.strip() else None

    def _thinking(self, part: rq.Reasoning) -> Json | None:
        if part.signature is None or not is_native(part.signature, self._profile):
            self._lose_thinking(part)
            return None
        return {"type": "thinking", "thinking": part.text, "signature": part.signature.data}

    def _redacted(self, part: rq.RedactedReasoning) -> Json | None:
        if not is_native(part.value, self._profile):
            self._lose_thinking(part)
            return None
        return {"type": "redacted_thinking", "data": part.value.data}

    def _lose_thinking(self, part: rq.Part) -> None:
        self._report.repair("messages.thinking", "foreign", part.where)
        self.has_lost_thinking = True

    def _call(self, part: rq.ToolCall) -> Json:
        if part.kind == "custom":
            arguments, is_repaired = {CUSTOM_FIELD: part.arguments}, False
        else:
            arguments, is_repaired = arguments_object(part.arguments, closes_cut=True)
        if is_repaired:
            self._report.adapt("tool_calls.arguments", "repaired")
        name = self._names.spell(part.name, part.namespace)
        return {"type": "tool_use", "id": _spell_call_id(part.id), "name": name, "input": arguments}

    def _result(self, part: rq.ToolResult) -> Json:
        block: Json = {"type": "tool_result", "tool_use_id": _spell_call_id(part.call_id)}
        if content := [block for inner in part.parts for block in self._blocks(inner)]:
            block["content"] = content
        if part.is_error:
            block["is_error"] = True
        return block

    def _image(self, part: rq.Image) -> Json:
        if part.detail not in (None, "auto"):
            self._report.drop_name("detail", part.where)
        match part.source:
            case rq.Url(url=url):
                return {"type": "image", "source": self._address(part, url)}
            case rq.Data() as data:
                mime = image_mime(data)
                if mime not in _IMAGES:
                    _refuse(part, f"an image of {mime[:64]!r}; expected one of {', '.join(_IMAGES)}")
                source = {"type": "base64", "media_type": mime, "data": clean_base64(data.base64, part.where)}
                return {"type": "image", "source": source}
            case rq.FileRef():
                _refuse(part, "an image in a file that another vendor keeps")

    def _address(self, part: rq.Part, url: str) -> Json:
        if not url.lower().startswith("https://"):
            _refuse(part, "an address that does not begin with https://")
        if isinstance(part, rq.Image) and not self._takes_image_urls:
            _refuse(part, "an image by its address; this upstream takes only the data itself")
        return {"type": "url", "url": url}

    def _document(self, part: rq.Document) -> Json:
        block: Json = {"type": "document", "source": self._document_source(part)}
        if title := part.title or part.name:
            block["title"] = title
        if part.context:
            block["context"] = part.context
        if part.is_cited:
            block["citations"] = {"enabled": True}
        return block

    def _document_source(self, part: rq.Document) -> Json:
        match part.source:
            case rq.Data() as data:
                return _file(part, data)
            case rq.Url(url=url):
                return self._address(part, url)
            case rq.FileRef():
                _refuse(part, "a file that another vendor keeps")
        if part.text is not None:
            return _plain(part.text)
        return {"type": "content", "content": [block for inner in part.parts for block in self._blocks(inner)]}

    def _search_result(self, part: rq.SearchResult) -> Json:
        content = [block for inner in part.parts for block in self._blocks(inner)]
        block: Json = {"type": "search_result", "source": part.source, "title": part.title, "content": content}
        return block | ({"citations": {"enabled": True}} if part.is_cited else {})

    def _opaque(self, part: rq.Opaque) -> Json:
        if part.dialect != NAME:
            refuse_part(part, "this upstream")
        return dict(part.json)

    _SPELLERS: Final[Mapping[type[rq.Part], Callable[[Speller, Any], Json | None]]] = {
        rq.Text: _text,
        rq.Refusal: _text,
        rq.Reasoning: _thinking,
        rq.RedactedReasoning: _redacted,
        rq.ToolCall: _call,
        rq.ToolResult: _result,
        rq.Image: _image,
        rq.Document: _document,
        rq.SearchResult: _search_result,
        rq.Opaque: _opaque,
    }


def _spell_call_id(id_: str) -> str:
    return spell_id(id_, _CALL_ID, "toolu_")


def _file(part: rq.Document, data: rq.Data) -> Json:
    """PDF as it is, text as text; a type that was not declared shows in the first bytes (mapping.md §4.4)."""
    mime = image_mime(data)
    if mime == _PDF:
        return {"type": "base64", "media_type": mime, "data": clean_base64(data.base64, part.where)}
    declared = plain_mime(part.mime or data.mime)
    text = decoded_text(data) if declared.startswith("text/") else None
    if text is None:
        _refuse(part, f"a file of {declared[:64]!r}; expected {_PDF} or text")
    return _plain(text)


def _plain(text: str) -> Json:
    return {"type": "text", "media_type": "text/plain", "data": text}


def _refuse(part: rq.Part, what: str) -> NoReturn:
    """Raises Unsupported: media are never dropped in silence (pitfall 67)."""
    raise Unsupported(f"{part.where}: {what} can't be carried to this upstream", param=part.where or None)
