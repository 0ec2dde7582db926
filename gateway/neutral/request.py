"""What a client may ask, in no dialect (`protocol/mapping.md` §1).

Unset is `None` or empty, never a default: what a client did not say isn't said upstream. `Part.where` and
`Request.names` remember the client's own wire paths, so that a later refusal can name things in the client's words.
What clients wrote, and what they attached, is left out of every `repr`: it must not come into a log by accident.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from gateway.errors import ClientError
from gateway.neutral.quick_value import quick_value

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OpaqueValue:
    """A vendor's sealed value (a signature, encrypted reasoning): only ever sent to upstreams that know its format.

    `origin` is the kind of server that made it, where known. Format `none` seals nothing: it only says where reasoning
    without a signature came from.
    """

    format: str
    data: str
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Url:
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Data:
    mime: str
    base64: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FileRef:
    id: str


Source = Url | Data | FileRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of a message. `where` is its path in the client's body, for errors.

    `unread`: names of fields in it that nobody knows.
    `cache`: the client wants the prompt up to here cached, `{"type": "ephemeral", "ttl": "5m" | "1h"}`.
    """

    where: str = field(default="", compare=False)
    cache: Json | None = None
    unread: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Text(Part):
    text: str = field(repr=False)
    citations: tuple[Json, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Image(Part):
    source: Source
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Audio(Part):
    mime: str
    base64: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Document(Part):
    """A file. Its content is in `source`, or it is plain `text`, or it was given as `parts`; exactly one of them.

    `name` is a file name, `title` and `context` are for the model to read.
    """

    source: Source | None = None
    mime: str = ""
    name: str | None = field(default=None, repr=False)
    title: str | None = field(default=None, repr=False)
    context: str | None = field(default=None, repr=False)
    text: str | None = field(default=None, repr=False)
    parts: tuple[Part, ...] = ()
    is_cited: bool = False


@dataclass(frozen=True, slots=True)
class SearchResult(Part):
    """A passage that a search found, to be quoted; `source` is its address or name."""

    source: str = field(repr=False)
    title: str = field(repr=False)
    parts: tuple[Part, ...] = ()
    is_cited: bool = False


@dataclass(frozen=True, slots=True)
class Reasoning(Part):
    text: str = field(repr=False)
    signature: OpaqueValue | None = None
    is_summary: bool = False


@dataclass(frozen=True, slots=True)
class RedactedReasoning(Part):
    value: OpaqueValue


@dataclass(frozen=True, slots=True)
class ToolCall(Part):
    """`arguments` is text everywhere, JSON by promise only; `kind` is `function` or `custom` (free text)."""

    id: str
    name: str
    arguments: str = field(repr=False)
    kind: str = "function"
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult(Part):
    call_id: str
    parts: tuple[Part, ...] = ()
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Refusal(Part):
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opaque(Part):
    """A part only its own dialect understands; `name` says what it is in an error."""

    dialect: str
    name: str
    json: Json = field(repr=False)


class Role(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    """Instructions in mid-conversation; leading ones are `Request.system`."""


@quick_value
class Turn:
    """One message. Tool results are parts of user turns."""

    role: Role
    parts: tuple[Part, ...]
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A tool called with a JSON object. `extras`: what only the client's dialect says of a tool, never crosses it."""

    name: str
    description: str | None = field(default=None, repr=False)
    schema: Json | None = field(default=None, repr=False)
    is_strict: bool | None = None
    namespace: str | None = None
    cache: Json | None = None
    extras: Json = field(default_factory=dict, repr=False)
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class CustomTool:
    """A tool called with free text, maybe in a grammar: `format` is `{"type": "grammar", "syntax", "definition"}`."""

    name: str
    description: str | None = field(default=None, repr=False)
    format: Json | None = field(default=None, repr=False)
    namespace: str | None = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class HostedTool:
    """A tool that runs at the vendor of `dialect`."""

    dialect: str
    name: str
    json: Json = field(repr=False)
    where: str = field(default="", compare=False)


Tool = FunctionTool | CustomTool | HostedTool


class ChoiceMode(StrEnum):
    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    NAMED = "named"
    ALLOWED = "allowed"


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`names` holds the one tool of `NAMED` or the list of `ALLOWED`, of which one `is_required` or may be called."""

    mode: ChoiceMode
    names: tuple[str, ...] = ()
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class JsonObjectFormat:
    """Any JSON object."""


@dataclass(frozen=True, slots=True)
class JsonSchemaFormat:
    schema: Json = field(repr=False)
    name: str | None = None
    description: str | None = field(default=None, repr=False)
    is_strict: bool | None = None


@quick_value
class ReasoningRequest:
    """mode: off, on, auto · effort: none … max · budget: tokens · visible: full, summary, omit."""

    mode: str | None = None
    effort: str | None = None
    budget: int | None = None
    visible: str | None = None


@quick_value
class Wording:
    """How the operator wants translated answers worded, where the client's API leaves a choice."""

    estimates_usage: bool = True
    """Tokens that no upstream counted are estimated where the API has to name a number (mapping.md §7.2)."""
    tells_full_context: bool = True
    """A full context window is told apart from an answer that became too long, where the API can (§7.1)."""
    aliases_reasoning: bool = False
    """Reasoning goes under the other name that the API's clients know for it (§6.2)."""


WORDING: Final = Wording()


@quick_value
class Request:
    """One request, whole. See the module's docstring for what unset means."""

    model: str
    turns: tuple[Turn, ...]
    aliases: tuple[str, ...] = ()
    """Names to try when no route is called `model`, in order (a Truss path names several)."""
    is_versioned: bool = False
    """Whether an `@` in these names was put there for a version that a path names."""
    system: tuple[Text, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    stop: tuple[str, ...] = field(default=(), repr=False)
    seed: int | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: Json | None = field(default=None, repr=False)
    output: JsonObjectFormat | JsonSchemaFormat | None = None
    verbosity: str | None = None
    reasoning: ReasoningRequest | None = None
    modalities: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    user_id: str | None = field(default=None, repr=False)
    cache_key: str | None = field(default=None, repr=False)
    cache: Json | None = None
    """The client wants all of the prompt cached, as far as that goes; as `Part.cache`."""
    service_tier: str | None = None
    metadata: Mapping[str, str] | None = field(default=None, repr=False)
    prefill: bool = False
    """The last turn is the beginning of the answer."""
    is_strict: bool = False
    """Nothing may be dropped: what the upstream can't carry is refused (mapping.md §3)."""
    hides_reasoning: bool = False
    """The client gets no reasoning text, only its token count (mapping.md §6.2)."""
    wording: Wording = WORDING
    echo: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the client's own dialect repeats in its answer; known to that dialect only."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the client's own dialect says in headers, for upstreams of the same dialect only."""
    form: str = ""
    """How the client wants the answer spelled; known to its own dialect only (Truss: raw, sse, json, object)."""
    extras: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """dialect → field → value: what only that dialect knows. Never crosses dialects."""
    goes_on: bool = False
    """Should its answer break, another upstream may go on with it: so it is spelled anew, whoever answers."""
    is_kept: bool = False
    """What answering it does outlives the answer: something is stored at the vendor, or a program runs there."""
    own_dialect_only: ClientError | None = None
    """Why this request can't be translated, where it can still be forwarded to an upstream of its own dialect."""
    names: Mapping[str, str] = field(default_factory=dict, compare=False)
    """field of this class → the client's wire name for it."""

    @property
    def may_be_asked_twice(self) -> bool:
        """Whether two servers may answer it at once: nothing happens by it but an answer, wherever it is answered."""
        has_hosted = any(isinstance(tool, HostedTool) for tool in self.tools)
        return not (self.is_kept or has_hosted or self.own_dialect_only is not None)

    @property
    def shows_reasoning(self) -> bool:
        """Whether the client gets to see what the model thought."""
        return not self.hides_reasoning and not (self.reasoning and self.reasoning.visible == "omit")

    def name_of(self, neutral: str) -> str:
        """The client's own name for a field of this class."""
        return self.names.get(neutral, neutral)

    def parts(self) -> Iterator[Part]:
        """Every part of every turn; tool results, documents and search results opened."""
        for turn in self.turns:
            for part in turn.parts:
                yield part
                if isinstance(part, ToolResult | Document | SearchResult):
                    yield from part.parts

    def estimate_tokens(self) -> int:
        """A rough count of the prompt's tokens, a quarter of its characters, at least 1 (mapping.md §7.2).

        System, messages and tools count, an image or a document with a flat figure.
        """
        characters = sum(_size(text.text) for text in self.system)
        characters += sum(_length(part) for part in self.parts())
        characters += sum(_tool_length(tool) for tool in self.tools)
        return max(1, characters // 4)


def _length(part: Part) -> int:
    match part:
        case Text(text=text) | Reasoning(text=text) | Refusal(text=text):
            return _size(text)
        case ToolCall():
            return _size(part.name) + _size(part.arguments)
        case Image() | Audio():
            return _IMAGE
        case Document():
            return _size(part.text or "") if part.text or part.parts else _DOCUMENT
        case SearchResult():
            return _size(part.source) + _size(part.title)
        case _:
            return 0


def _tool_length(tool: Tool) -> int:
    match tool:
        case FunctionTool(name, description, schema):
            return _size(name) + _size(description or "") + (len(repr(schema)) if schema else 0)
        case CustomTool(name, description):
            return _size(name) + _size(description or "")
        case HostedTool(name=name):
            return _size(name)


def _size(text: str) -> int:
    """Characters, as far as four make a token; beyond ASCII it is nearer to one each, which bytes tell better."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


_IMAGE: Final = 4 * 1500
"""What an image or a recording costs depends on its size, which isn't known here: about a large image, as characters.
"""
_DOCUMENT: Final = 4 * 3000
"""As an image: about two pages of a PDF."""
