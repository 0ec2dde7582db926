"""What an operator may set for a Truss upstream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gateway.dialects.openai.options import OWN_MEANINGS
from gateway.dialects.openai.options import Options as ChatOptions
from gateway.dialects.openai.profiles import MEANINGS as CHAT_MEANINGS
from gateway.dialects.prompts import Template

StreamFormat = Literal["auto", "raw", "openai_sse", "anthropic_sse", "jsonl"]

MEANINGS: Final[Mapping[str, str]] = {
    **OWN_MEANINGS,
    **CHAT_MEANINGS,
    "profile": "the kind of engine in the model, where `input` is messages; every setting of that kind may be set "
    "on its own",
    "input": "what the model reads: `messages`, or a `prompt`",
    "template": "how a conversation becomes a prompt",
    "params": 'renames, as `{max_tokens: max_new_tokens}`; a name renamed to "" is never sent',
    "accepts": "further sampling fields the model reads",
    "extra_body": "fields added to every translated call",
    "stream_format": "what it streams; `auto` finds out",
    "text_path": "where the text is in a JSON answer, as `data.0.text`; empty: found out",
    "include_usage": "whether a streaming engine is asked for usage with `stream_options`",
    "jsonl_done": "the field that is true in the last line of `jsonl`",
    "raw_eof": "`refuse` collects raw text upstream, where a failure shows as a status, and streams it in one piece",
}
"""What each option says, for editors and the docs."""


@dataclass(frozen=True, slots=True)
class Options(ChatOptions):
    """What an operator may set for a Truss upstream (truss.md §2.4); `MEANINGS` says what each is for.

    `profile` and its settings say what the engine in the model reads, where `input` is messages.
    """

    input: Literal["messages", "prompt"] = "messages"
    template: Template = "plain"
    params: Mapping[str, str] = field(default_factory=dict)
    accepts: tuple[str, ...] = ()
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    stream_format: StreamFormat = "auto"
    text_path: str = ""
    include_usage: bool = False
    jsonl_done: str = "done"
    raw_eof: Literal["trust", "refuse"] = "trust"
