"""Two turns of a conversation: an upstream thinks and answers, the client returns that as its SDK does, and asks on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import orjson

from gateway.dialects import DIALECTS
from gateway.dialects.base import Inbound, Outbound, Stamp
from gateway.dialects.sealing import Sealer
from gateway.neutral.request import Request
from gateway.neutral.response import fold
from gateway.neutral.restoring import Restoration, restored
from gateway.neutral.sequencer import Sequencer
from tests.pitfalls.wires import frames, seen_by_anthropic

Json = dict[str, Any]

QUESTION: Final[Json] = {"role": "user", "content": "q"}
MORE: Final[Json] = {"role": "user", "content": "more"}
BODIES: Final[dict[str, Json]] = {
    "openai": {"model": "m", "messages": [QUESTION]},
    "anthropic": {"model": "m", "max_tokens": 9000, "messages": [QUESTION]},
    "responses": {"model": "m", "input": [QUESTION], "include": ["reasoning.encrypted_content"]},
    "truss": {"model": "m", "messages": [QUESTION]},
}


def parse(client: str, body: Json, sealer: Sealer) -> Request:
    return DIALECTS[client].parse(Inbound(body, {"model": "m"} if client == "truss" else {}, {}, sealer))


def answered(
    client: str, upstream: str, data: bytes, *, stream: bool, sealer: Sealer, hides: bool, **options: Any
) -> Any:
    """The messages, or items, in which a client's SDK holds this answer of an upstream."""
    request = replace(parse(client, BODIES[client], sealer), stream=stream, hides_reasoning=hides)
    stamp = Stamp("000000000000000000000001", 1700000000, sealer)
    decoder = DIALECTS[upstream].decoder(DIALECTS[upstream].options(**options))
    pieces = [*decoder.feed(data), *decoder.eof(is_framed=True)[1]]
    hiding = Restoration(hides_reasoning=not request.shows_reasoning)
    events = restored(Sequencer("s", client=client), hiding).feed(pieces)
    if stream:
        return _held(client, DIALECTS[client].encoder(request, stamp).encode(events))
    return _held_whole(client, orjson.loads(orjson.dumps(DIALECTS[client].dump(fold(events), request, stamp))))


def _held(client: str, sent: bytes) -> Any:
    if client == "anthropic":
        return [{"role": "assistant", "content": seen_by_anthropic(sent)}]
    if client == "responses":
        return frames(sent)[-1]["response"]["output"]
    message: Json = {}
    for found in frames(sent):
        for choice in found["choices"]:
            _merge(message, choice["delta"])
    return [message]


def _held_whole(client: str, body: Json) -> Any:
    if client == "anthropic":
        return [{"role": "assistant", "content": body["content"]}]
    return body["output"] if client == "responses" else [body["choices"][0]["message"]]


def _merge(held: Json, delta: Json) -> None:
    """As the SDK's own accumulation: texts are joined, entries of lists found by their `index`."""
    for name, value in delta.items():
        if isinstance(value, list):
            entries = held.setdefault(name, [])
            for entry in value:
                if entry["index"] == len(entries):
                    entries.append({})
                _merge(entries[entry["index"]], entry)
        elif isinstance(value, dict):
            _merge(held.setdefault(name, {}), value)
        elif isinstance(value, str) and name != "type":
            held[name] = (held.get(name) or "") + value
        else:
            held[name] = value


def returned(
    client: str, held: Any, upstream: str, *, sealer: Sealer, strict: bool = False, **options: Any
) -> Outbound:
    """What an upstream is asked in the second turn."""
    place = "input" if client == "responses" else "messages"
    body = {**BODIES[client], place: [QUESTION, *held, MORE]}
    request = replace(parse(client, body, sealer), is_strict=strict)
    return DIALECTS[upstream].render(request, "theirs", DIALECTS[upstream].options(**options))


def thoughts(outbound: Outbound) -> list[Json]:
    """Everything in an upstream's body that is reasoning, in any dialect."""
    found = [item for item in outbound.body.get("input", ()) if item.get("type") == "reasoning"]
    for message in outbound.body.get("messages", ()):
        content = message["content"] if isinstance(message.get("content"), list) else []
        found += [block for block in content if block["type"] in ("thinking", "redacted_thinking")]
        found += [{name: message[name]} for name in ("reasoning_content", "reasoning") if name in message]
        found += message.get("reasoning_details", ())
    return found
