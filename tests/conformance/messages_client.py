"""Anthropic's Python SDK, in strict mode and through its stream helper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from anthropic import Anthropic

from tests.conformance.conversation import MAX_TOKENS, Call, Heard, Place, Talk, Turn, converse, require
from tests.e2e.clients import anthropic_sdk


def perform(url: str, talk: Talk) -> list[Heard]:
    with anthropic_sdk(url) as sdk:
        return converse(_Messages(sdk, talk), talk)


class _Messages:
    def __init__(self, sdk: Anthropic, talk: Talk) -> None:
        self._sdk, self._talk = sdk, talk
        self._messages: list[Any] = []
        self._calls: list[Call] = []

    def ask(self, turn: Turn, heard: Heard) -> None:
        self._messages.append({"role": "user", "content": _parts(turn) if turn.text else self._results()})
        answer = self._streamed(heard) if self._talk.stream else self._whole()
        if answer is None:
            return
        hear_answer(heard, answer)
        self._calls = heard.calls
        self._messages.append({"role": "assistant", "content": answer.content})

    def _results(self) -> list[dict[str, Any]]:
        return [
            {"type": "tool_result", "tool_use_id": call.id, "content": self._talk.result(call)} for call in self._calls
        ]

    def _request(self) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self._talk.model, "max_tokens": MAX_TOKENS, "messages": self._messages}
        if self._talk.tools:
            request["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.schema}
                for tool in self._talk.tools
            ]
        if self._talk.reasoning:
            request["thinking"] = _THINKING[self._talk.reasoning]
        if self._talk.wants_object:
            request["output_format"] = Place
        return request

    def _whole(self) -> Any:
        messages = self._sdk.messages
        return (messages.parse if self._talk.wants_object else messages.create)(**self._request())

    def _streamed(self, heard: Heard) -> Any:
        """None if the client left."""
        with self._sdk.messages.stream(**self._request()) as stream:
            for event in stream:
                if event.type == "text":
                    heard.hear(event.text)
                if self._talk.leave_after and heard.pieces == self._talk.leave_after:
                    return None
            final = stream.get_final_message()
        texts = [block.text for block in final.content if block.type == "text"]
        require("".join(texts) == heard.text, "the final text is not the sum of its deltas")
        return final


_THINKING: Final[Mapping[str, Any]] = {
    "on": {"type": "enabled", "budget_tokens": 4096},
    "auto": {"type": "adaptive", "display": "summarized"},
}


def _parts(turn: Turn) -> Any:
    if not turn.image:
        return turn.text
    source = {"type": "base64", "media_type": "image/png", "data": turn.image}
    return [{"type": "image", "source": source}, {"type": "text", "text": turn.text}]


def hear_answer(heard: Heard, message: Any) -> None:
    """A whole message. Text only where none was heard before."""
    heard.text = heard.text or "".join(block.text for block in message.content if block.type == "text")
    for block in message.content:
        if block.type == "tool_use":
            heard.calls.append(Call(block.id, block.name, block.input))
        elif block.type == "thinking":
            heard.reasoning += block.thinking
            heard.seal += block.signature
    heard.finish, heard.usage = message.stop_reason, _usage(message.usage)
    parsed = getattr(message, "parsed_output", None)
    heard.value = parsed.model_dump() if parsed else None


def _usage(usage: Any) -> dict[str, int | None]:
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    details = usage.output_tokens_details
    return {
        "input": usage.input_tokens + read + written,
        "cached": read,
        "written": written,
        "output": usage.output_tokens,
        "reasoning": details and details.thinking_tokens,
    }
