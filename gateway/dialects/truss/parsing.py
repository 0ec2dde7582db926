"""A Truss request → Request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gateway.dialects.base import Inbound, Json
from gateway.dialects.openai.parsing import read as read_chat
from gateway.dialects.sealing import Sealer
from gateway.errors import BadRequest
from gateway.neutral import request as rq
from gateway.wire.fields import Fields

DEFAULT_MODEL: Final = "default"
"""The route of a call that names no model at all (truss.md §2.1)."""
FORM_RAW, FORM_SSE = "raw", "sse"
# Names of Hugging Face and of Triton models → ours (truss.md §2.2).
_ALIASES: Final[Mapping[str, str]] = {"max_new_tokens": "max_tokens", "stop_words_list": "stop"}


def parse(inbound: Inbound) -> rq.Request:
    """A predict call. The path, then the body, then `default` name the model.

    Bodies are free-form: one that isn't a chat can still be forwarded to a Truss upstream, and only there.
    """
    if inbound.headers.get("content-type", "").startswith("application/octet-stream"):
        raise BadRequest("body: expected JSON; application/octet-stream (msgpack) is not read here", status=415)
    named = inbound.body.get("model")
    models = inbound.models(*((named,) if isinstance(named, str) and named else ()), DEFAULT_MODEL)
    try:
        request = _read_chat(inbound.body, models, inbound.sealer)
    except BadRequest as error:
        stream = inbound.body.get("stream") is True
        request = rq.Request(models[0], (), models[1:], stream=stream, own_dialect_only=error)
    request = replace(request, is_versioned=inbound.is_versioned)
    return _answered(request, inbound.headers, is_raw=inbound.body.get("messages") is None)


def _read_chat(inbound_body: Json, models: tuple[str, ...], sealer: Sealer) -> rq.Request:
    """The body by the table of truss.md §2.2: OpenAI's fields, or a `prompt` as one user message."""
    body = {name: value for name, value in inbound_body.items() if value is not None and name != "model"}
    if ("prompt" in body) == ("messages" in body):
        what = "both" if "prompt" in body else "neither"
        raise BadRequest(f"body: expected either prompt or messages, got {what}", param="prompt")
    names = _rename(body)
    if "prompt" in body:
        prompt = Fields({"prompt": body.pop("prompt")}).need_string("prompt")
        body["messages"] = [{"role": "user", "content": prompt}]
    request = read_chat(Fields(body), models, "truss", sealer)
    return replace(request, names={**request.names, **names})


def _answered(request: rq.Request, headers: Mapping[str, str], *, is_raw: bool) -> rq.Request:
    """The request with the form its answer takes (truss.md §2.3)."""
    accept, agent = headers.get("accept", ""), headers.get("user-agent", "").lower()
    if accept == "text/event-stream" and request.stream:
        is_raw = False
    # The real server collects the whole answer for exactly this header, unless an OpenAI client asks.
    is_collected = is_raw and accept == "application/json" and "openai" not in agent
    return replace(request, stream=request.stream and not is_collected, form=FORM_RAW if is_raw else FORM_SSE)


def _rename(body: Json) -> dict[str, str]:
    """Gives fields their OpenAI names, in place; returns neutral field → the client's name."""
    names = {}
    if body.get("max_length") is not None:
        raise BadRequest(
            "max_length: counts the prompt too, which can't be known here; use max_tokens", param="max_length"
        )
    for alias, name in _ALIASES.items():
        value = body.pop(alias, None)
        if value is None:
            continue
        if body.get(name) not in (None, value):
            raise BadRequest(f"{alias}: differs from {name}", param=alias)
        body[name], names[name] = value, alias
    if body.pop("do_sample", None) is False:
        body.setdefault("temperature", 0)
    return names
