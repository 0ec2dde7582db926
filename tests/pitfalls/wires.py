"""What upstreams send and clients see, in as few words as a pitfall needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from gateway.dialects import DIALECTS
from gateway.errors import UpstreamError
from gateway.neutral.events import Event, Failed
from gateway.neutral.request import Request
from gateway.neutral.response import fold
from gateway.neutral.sequencer import Sequencer
from tests.dialects.cases import STAMP, asked
from tests.dialects.wire_grammar import check_anthropic, check_openai

Json = dict[str, Any]
HEAD: Final[Json] = {"id": "up_1", "object": "chat.completion.chunk", "created": 1, "model": "theirs"}
USAGE: Final[Json] = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


# -- what upstreams send ---------------------------------------------------------------------------------------------


def chunk(delta: Json | None = None, finish: str | None = None, **fields: Any) -> bytes:
    """One chunk of an OpenAI stream."""
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return frame({**HEAD, "choices": [choice], **fields})


def frame(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


DONE: Final = b"data: [DONE]\n\n"


def call(index: int | None, id_: str | None = None, name: str | None = None, arguments: Any = None) -> Json:
    """A delta with a fragment of one tool call; what is None isn't sent."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    found: Json = {"index": index, "id": id_, "type": "function" if id_ else None, "function": function}
    return {"tool_calls": [{key: value for key, value in found.items() if value is not None}]}


def chat(*deltas: Json, finish: str | None = "stop", usage: Json | None = None, done: bool = True) -> bytes:
    """A whole OpenAI stream: role, deltas, finish, usage, [DONE]."""
    frames = [chunk({"role": "assistant", "content": ""}), *(chunk(delta) for delta in deltas)]
    if finish is not None:
        frames.append(chunk({}, finish))
    if usage is not None:
        frames.append(frame({**HEAD, "choices": [], "usage": usage}))
    return b"".join([*frames, DONE if done else b""])


def event(kind: str, **fields: Any) -> bytes:
    """One event of an Anthropic stream."""
    return f"event: {kind}\n".encode() + frame({"type": kind, **fields})


def message_start(**usage: Any) -> bytes:
    message = {"id": "msg_up", "type": "message", "role": "assistant", "model": "theirs", "content": []}
    counts = {"input_tokens": 9, "output_tokens": 1} | usage
    return event("message_start", message={**message, "stop_reason": None, "stop_sequence": None, "usage": counts})


def block(index: int, start: Json, *deltas: Json) -> bytes:
    """A block from start to stop."""
    return b"".join(
        [
            event("content_block_start", index=index, content_block=start),
            *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
            event("content_block_stop", index=index),
        ]
    )


def text_block(index: int, *texts: str) -> bytes:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": text} for text in texts))


def use_block(index: int, id_: str, name: str, *fragments: str) -> bytes:
    start = {"type": "tool_use", "id": id_, "name": name, "input": {}}
    return block(index, start, *({"type": "input_json_delta", "partial_json": text} for text in fragments))


def message_end(reason: str = "end_turn", *, stop: bool = True, **usage: Any) -> bytes:
    counts = {"output_tokens": 3} | usage
    told = event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=counts)
    return told + (event("message_stop") if stop else b"")


def message(*blocks: bytes, reason: str = "end_turn") -> bytes:
    """A whole Anthropic stream."""
    return b"".join([message_start(), *blocks, message_end(reason)])


# -- what clients see ------------------------------------------------------------------------------------------------


def events(upstream: str, data: bytes, **options: Any) -> list[Event]:
    """What an upstream's stream means."""
    dialect = DIALECTS[upstream]
    decoder = dialect.decoder(dialect.options(**options))
    pieces = decoder.feed(data)
    return Sequencer("s").feed([*pieces, *decoder.eof(is_framed=True)[1]])


def streamed(upstream: str, client: str, data: bytes, request: Request | None = None, **options: Any) -> bytes:
    """What a client receives of an upstream's stream, one event at a time, checked against the client's grammar."""
    request = replace(request or asked(client), stream=True)
    encoder = DIALECTS[client].encoder(request, STAMP)
    sent = b"".join(encoder.encode([told]) for told in events(upstream, data, **options))
    if client == "openai":
        check_openai(sent, include_usage=request.include_usage)
    elif client == "anthropic":
        check_anthropic(sent)
    return sent


def whole(upstream: str, client: str, data: bytes, request: Request | None = None, **options: Any) -> Any:
    """What a client that does not stream receives of an upstream's stream. Raises the error it ends in."""
    return DIALECTS[client].dump(fold(events(upstream, data, **options)), request or asked(client), STAMP)


def failure(upstream: str, data: bytes, **options: Any) -> UpstreamError:
    """The error that an upstream's stream ends in."""
    last = events(upstream, data, **options)[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, UpstreamError)
    return last.error


def frames(data: bytes) -> list[Json]:
    """The JSON of every data line, `[DONE]` left out."""
    lines = (line for line in data.split(b"\n") if line.startswith(b"data: ") and line != b"data: [DONE]")
    return [orjson.loads(line[6:]) for line in lines]


@dataclass
class Seen:
    """An answer, put together as an SDK does it."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[Json] = field(default_factory=list)
    finish: str | None = None
    usage: Json | None = None
    error: Json | None = None
    frames: list[Json] = field(default_factory=list)


def seen_by_openai(data: bytes) -> Seen:
    """`calls` are `{"id", "name", "arguments"}`, at the index where the client puts them."""
    seen = Seen(frames=frames(data))
    for found in seen.frames:
        seen.error = found.get("error")
        seen.usage = found.get("usage") or seen.usage
        for choice in found.get("choices", ()):
            seen.finish = choice["finish_reason"] or seen.finish
            _add(seen, choice["delta"])
    return seen


def _add(seen: Seen, delta: Json) -> None:
    seen.text += delta.get("content") or ""
    seen.reasoning += delta.get("reasoning_content") or ""
    seen.refusal += delta.get("refusal") or ""
    for found in delta.get("tool_calls", ()):
        if "id" in found:
            assert found["index"] == len(seen.calls)
            seen.calls.append({"id": found["id"], "name": found["function"]["name"], "arguments": ""})
        seen.calls[found["index"]]["arguments"] += found["function"]["arguments"]


def seen_by_anthropic(data: bytes) -> list[Json]:
    """The blocks of a message, each with its deltas put together; `input` stays text."""
    blocks: list[Json] = []
    for found in frames(data):
        if found["type"] == "content_block_start":
            blocks.append({**found["content_block"]} | ({"input": ""} if "input" in found["content_block"] else {}))
        elif found["type"] == "content_block_delta":
            _grow(blocks[found["index"]], found["delta"])
    return blocks


_GROWS: Final = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("input", "partial_json"),
}


def _grow(found: Json, delta: Json) -> None:
    if delta["type"] in _GROWS:
        name, source = _GROWS[delta["type"]]
        found[name] += delta[source]
    else:
        found.setdefault("citations", []).append(delta["citation"])


def named(data: bytes, kind: str) -> list[Json]:
    """The frames of one type."""
    return [found for found in frames(data) if found.get("type") == kind]


def texts(blocks: Iterable[Json]) -> list[str]:
    """What each block says: text, thinking or input."""
    return [found.get("text") or found.get("thinking") or found.get("input") or "" for found in blocks]


def sequencer() -> Sequencer:
    """One that makes the same ids each time."""
    return Sequencer("s")
