"""An OpenAI chat stream → pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from gateway.dialects import refusals
from gateway.dialects.base import Json
from gateway.dialects.openai.encoding import KEEP_ALIVE
from gateway.dialects.openai.failures import error_frame, raise_error_in
from gateway.dialects.openai.options import Options
from gateway.dialects.openai.profiles import profile_of
from gateway.dialects.openai.reasoning import FORMATS_READ, UNNAMED
from gateway.dialects.openai.think_tags import ThinkTags
from gateway.dialects.openai.usage import count, load_usage
from gateway.dialects.stream import StreamDecoder, json_object, text
from gateway.dialects.template import Place
from gateway.errors import GatewayError, Kind, Malformed, Truncated, upstream_error
from gateway.neutral import events as ev
from gateway.neutral import pieces as pc
from gateway.neutral.events import BlockKind, Reason
from gateway.neutral.request import OpaqueValue
from gateway.wire import sse

_DECODED_REASONS: Final[Mapping[str, Reason]] = {
    "stop": Reason.STOP,
    "length": Reason.LENGTH,
    "tool_calls": Reason.TOOL_CALLS,
    "function_call": Reason.TOOL_CALLS,
    "content_filter": Reason.CONTENT_FILTER,
    "stop_sequence": Reason.STOP_SEQUENCE,
    "max_tokens": Reason.LENGTH,
    "model_length": Reason.LENGTH,
}
"""All others are a stop, their own word kept (mapping.md §7.1)."""
_FAILED_REASONS: Final[Mapping[str, Kind]] = {
    "abort": Kind.UPSTREAM,
    "error": Kind.UPSTREAM,
    "insufficient_system_resource": Kind.OVERLOADED,
}
_REASONING_FIELDS: Final = ("reasoning_content", "reasoning")
_TEXTS: Final = ("content", "annotations")
_THOUGHTS: Final = (*_REASONING_FIELDS, "reasoning_details")
_CALLS: Final = ("tool_calls", "function_call")
_DELTA: Final = ("choices", 0, "delta")
_PLAIN: Final = frozenset({"role", "content"})


class Decoder(StreamDecoder):
    """Chat completion chunks → pieces, liberal with what servers send (mapping.md §11)."""

    empty_frame = KEEP_ALIVE
    idle = ("obfuscation", "created")

    def __init__(self, options: Options, max_event: int = sse.MAX_EVENT) -> None:
        super().__init__(max_event)
        self._origin = options.profile
        self._tags = ThinkTags() if profile_of(options).think_tags else None
        self._has_started = False
        self._early_usage: Json = {}
        self._has_text = False
        self._has_calls = False
        self._has_thoughts = False
        self._has_refusal = False
        self._is_finished = False
        self._has_blank_reason = False
        self._is_text = False

    def read(self, frame: sse.Frame) -> list[pc.Piece]:
        if frame.data.strip() == b"[DONE]":
            return list(self._done())
        chunk = json_object(frame.data)
        raise_error_in(chunk)
        if frame.event == b"error":
            raise upstream_error(Kind.UPSTREAM, refusals.from_json(chunk).message or "the upstream sent an error event")
        return list(self.chunk(chunk))

    def place(self, body: Json) -> Place | None:
        """A delta of one field only: text, reasoning, or the arguments of one call."""
        match body:
            case {"choices": [{"delta": dict(delta)}]}:
                names = [name for name, value in delta.items() if value and name != "role"]
            case _:
                return None
        match names, delta:
            case ["content"], _ if self._tags is None or self._tags.is_answering:
                return Place((*_DELTA, "content"))
            case ["reasoning_content" | "reasoning" as name], _:
                return Place((*_DELTA, name))
            case ["tool_calls"], {"tool_calls": [{"custom": {"input": str()}}]}:
                return Place((*_DELTA, "tool_calls", 0, "custom", "input"))
            case ["tool_calls"], {"tool_calls": [{"function": {"arguments": str()}}]}:
                return Place((*_DELTA, "tool_calls", 0, "function", "arguments"))
            case _:
                return None

    @property
    def _has_content(self) -> bool:
        return self._has_text or self._has_refusal or self._has_calls

    def chunk(self, chunk: Json) -> Iterator[pc.Piece]:
        """What one chunk, or one whole completion, means: content, then finish, then usage (pitfall 133)."""
        choice, usage = _first_choice(chunk.get("choices")), chunk.get("usage")
        if choice is not None:
            if not self._has_started:
                yield from self._start(chunk)
            yield from self._delta(choice.get("delta") or self._whole(choice))
            yield from self._finish(choice)
            usage = usage or choice.get("usage")  # Kimi counts in the choice
        if isinstance(usage, dict) and self._has_started:
            yield load_usage(usage)
        elif isinstance(usage, dict):
            self._early_usage = usage

    def _start(self, chunk: Json) -> Iterator[pc.Piece]:
        self._has_started = True
        id_, model = _str(chunk.get("id")), _str(chunk.get("model"))
        yield ev.Start(id_, model, count(chunk.get("created")), origin=self._origin)
        if self._early_usage:
            yield load_usage(self._early_usage)

    def _whole(self, choice: Json) -> Json:
        """A message where there should be a delta, but for what of it came in deltas."""
        told = {
            *(_TEXTS if self._has_text else ()),
            *(_THOUGHTS if self._has_thoughts else ()),
            *(_CALLS if self._has_calls else ()),
            *(("refusal",) if self._has_refusal else ()),
        }
        return {name: value for name, value in (choice.get("message") or {}).items() if name not in told}

    def _delta(self, delta: Json) -> Iterator[pc.Piece]:
        content = delta.get("content")
        if content and type(content) is str and self._tags is None and delta.keys() <= _PLAIN:
            self._has_text = self._is_text = True
            yield pc.ContentPiece(BlockKind.TEXT, content)  # nearly every token goes this way
            return
        yield from self._reasoning(delta)
        if content:
            yield from self._content(content)
        if refusal := delta.get("refusal"):
            self._has_refusal = True
            yield from self._held()
            yield pc.ContentPiece(BlockKind.REFUSAL, text(refusal))
        if notes := delta.get("annotations"):
            yield from self._citations(notes)
        if delta.get("tool_calls") or delta.get("function_call"):
            yield from self._calls(delta)

    def _reasoning(self, delta: Json) -> Iterator[pc.Piece]:
        """The first non-empty of the fields servers use, never two of them (pitfall 83); seals beside any.

        A text in one entry with its seal is told apart from others only there.
        """
        details = delta.get("reasoning_details") or ()
        is_apart = any(detail.get("text") and detail.get("signature") for detail in details)
        fields = () if is_apart else _REASONING_FIELDS
        plain = next((found for name in fields if (found := _str(delta.get(name)))), "")
        if plain:
            self._is_text, self._has_thoughts = False, True
            yield pc.ContentPiece(BlockKind.REASONING, plain)
        for detail in details:
            yield from self._detail(detail, has_text=bool(plain))

    def _detail(self, detail: Json, *, has_text: bool) -> Iterator[pc.Piece]:
        summary = text(detail.get("summary"))
        if (thought := text(detail.get("text")) or summary) and not has_text:
            self._is_text, self._has_thoughts = False, True
            yield pc.ContentPiece(BlockKind.REASONING, thought, is_summary=bool(summary))
        if signature := text(detail.get("signature")):
            yield pc.SignaturePiece(self._seal(signature, detail))
        if detail.get("type") == "reasoning.encrypted" and (data := text(detail.get("data"))):
            self._is_text = False
            yield pc.WholePiece(BlockKind.REDACTED, self._seal(data, detail))

    def _seal(self, data: str, detail: Json) -> OpaqueValue:
        form = text(detail.get("format"))
        return OpaqueValue(FORMATS_READ.get(form, form or UNNAMED), data, self._origin)

    def _content(self, content: Any) -> Iterator[pc.Piece]:
        """A text, or Mistral's parts of text and thinking."""
        if not isinstance(content, str):
            for part in content:
                if isinstance(part, dict) and part.get("type") == "thinking":
                    self._is_text = False
                    yield pc.ContentPiece(BlockKind.REASONING, _joined(part.get("thinking")))
                elif words := _joined([part]):
                    yield from self._content(words)
            return
        self._has_text = self._is_text = True
        if self._tags is None:
            yield pc.ContentPiece(BlockKind.TEXT, content)
        else:
            yield from self._tags.split(content)

    def _held(self) -> Iterator[pc.Piece]:
        """Other content, or an end, shows what text was that was held for a tag."""
        self._is_text = False
        if self._tags is not None:
            yield from self._tags.flush()

    def _citations(self, notes: Any) -> Iterator[pc.Piece]:
        """What the text before quotes; behind anything else it has no text to belong to."""
        for note in notes if self._is_text else ():
            inner = note.get("url_citation") or note
            yield pc.CitationPiece(note, "openai", url=text(inner.get("url")), title=text(inner.get("title")))

    def _calls(self, delta: Json) -> Iterator[pc.Piece]:
        self._has_calls = True
        yield from self._held()
        for position, call in enumerate(delta.get("tool_calls") or ()):
            yield _tool_piece(call, position)
        if call := delta.get("function_call"):
            yield pc.ToolPiece(0, name=text(call.get("name")), fragment=_fragment(call.get("arguments")))

    def _finish(self, choice: Json) -> Iterator[pc.Piece]:
        raw = choice.get("finish_reason")
        if not raw or self._is_finished:  # a blank reason comes with every chunk of some servers
            self._has_blank_reason = self._has_blank_reason or raw == ""
            return
        if raw in _FAILED_REASONS:
            raise upstream_error(_FAILED_REASONS[raw], f"the upstream gave up: finish_reason {raw}")
        self._is_finished = True
        yield from self._held()
        yield self._reason(text(raw), choice)

    def _reason(self, raw: str, choice: Json) -> ev.Finish:
        reason = _DECODED_REASONS.get(raw, Reason.STOP)
        matched = _str(choice.get("stop_reason")) or _str(choice.get("matched_stop"))
        if reason in (Reason.STOP, Reason.STOP_SEQUENCE) and matched:
            return ev.Finish(Reason.STOP_SEQUENCE, stop_sequence=matched, raw=raw)
        if reason is Reason.STOP_SEQUENCE:
            reason = Reason.STOP  # which one is unknown, and never guessed
        if reason is Reason.STOP and self._has_refusal:
            reason = Reason.REFUSAL
        return ev.Finish(reason, raw=raw)

    def _done(self) -> Iterator[pc.Piece]:
        """`[DONE]`: fine after a finish, inferred with content, a failure with nothing (mapping.md §9.1)."""
        if not self._is_finished and not self._has_content:
            raise Malformed("the upstream ended its stream without any content")
        if not self._is_finished:
            yield from self._held()
            yield ev.Finish(Reason.STOP, raw="" if self._has_blank_reason else None, is_inferred=True)
        yield ev.End()

    def whole(self, body: Json) -> Iterator[pc.Piece]:
        """What a whole completion means, whose reason may be blank."""
        yield from self.chunk(body)
        if self._has_blank_reason:
            yield ev.Finish(Reason.STOP, raw="")

    def tell(self, error: GatewayError) -> bytes:
        return error_frame(error)

    def end(self) -> list[pc.Piece]:
        if self._is_finished:
            return [ev.End()]
        return [ev.Failed(Truncated("the upstream closed the stream before the answer was finished"))]


def load(body: Any, options: Options) -> list[pc.Piece]:
    """A whole completion as the pieces of its stream. Raises UpstreamError for what isn't one."""
    if not isinstance(body, dict):
        raise Malformed("expected a chat completion object")
    raise_error_in(body)
    decoder = Decoder(options)
    try:
        pieces = list(decoder.whole(body))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise Malformed(f"not a chat completion: {type(error).__name__}") from error
    if not any(isinstance(piece, ev.Finish) for piece in pieces):
        raise Malformed("not a chat completion: no choice with a finish_reason")
    return [*pieces, ev.End()]


def _first_choice(choices: Any) -> Json | None:
    for choice in choices or ():
        if not choice.get("index"):
            return choice  # type: ignore[no-any-return]
    return None


def _joined(parts: Any) -> str:
    """The text of parts, or of one that is a text already."""
    if isinstance(parts, str):
        return parts
    return "".join(part if isinstance(part, str) else text(part.get("text")) for part in parts or ())


def _tool_piece(call: Json, position: int) -> pc.ToolPiece:
    function = call.get("function") or {}
    custom = call.get("custom")
    if custom:
        fragment, name, kind = text(custom.get("input")), text(custom.get("name")), "custom"
    else:
        fragment, name, kind = _fragment(function.get("arguments")), text(function.get("name")), "function"
    return pc.ToolPiece(count(call.get("index")), text(call.get("id")), name, fragment, kind, position)


def _fragment(arguments: Any) -> str:
    """Some servers send arguments as an object (pitfall 14)."""
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()


def _str(value: Any) -> str | None:
    return value if isinstance(value, str) else None
