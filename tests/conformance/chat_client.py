"""OpenAI's Python SDK, chat.completions, in strict mode and through its stream helper."""

from __future__ import annotations

from typing import Any

from openai import OpenAI
from openai.types.chat import ChatCompletionChunk

from tests.conformance.conversation import (
    MAX_TOKENS,
    Call,
    Heard,
    Place,
    Talk,
    Turn,
    arguments_of,
    converse,
    require,
)
from tests.e2e.clients import openai_sdk


def perform(url: str, talk: Talk) -> list[Heard]:
    with openai_sdk(url) as sdk:
        return converse(_Chat(sdk, talk), talk)


def message_of(turn: Turn) -> dict[str, Any]:
    """A user's message in the dialect of chat.completions."""
    if not turn.image:
        return {"role": "user", "content": turn.text}
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{turn.image}"}}
    return {"role": "user", "content": [{"type": "text", "text": turn.text}, image]}


def results_of(calls: list[Call], talk: Talk) -> list[dict[str, Any]]:
    """The answers to calls, a message each."""
    return [{"role": "tool", "tool_call_id": call.id, "content": talk.result(call)} for call in calls]


def tools_of(talk: Talk) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.schema,
                "strict": True,
            },
        }
        for tool in talk.tools
    ]


def usage_of(usage: Any) -> dict[str, int | None] | None:
    """Usage as the SDK's types have it."""
    if usage is None:
        return None
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    require(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, "total_tokens is no sum")
    return {
        "input": usage.prompt_tokens,
        "cached": prompt and prompt.cached_tokens,
        "written": prompt and getattr(prompt, "cache_write_tokens", None),
        "output": usage.completion_tokens,
        "reasoning": completion and completion.reasoning_tokens,
    }


def hear_message(heard: Heard, message: Any) -> None:
    """A whole message: its calls, its reasoning, its object. Text only where none was heard before."""
    extra = message.model_extra or {}
    heard.text = heard.text or message.content or ""
    heard.reasoning = extra.get("reasoning_content") or ""
    heard.seal = "".join(detail.get("signature") or detail.get("data") or "" for detail in _details(extra))
    heard.calls = [
        Call(call.id, call.function.name, arguments_of(call.function.arguments)) for call in message.tool_calls or ()
    ]
    parsed = getattr(message, "parsed", None)
    heard.value = parsed.model_dump() if parsed else None


def _details(extra: dict[str, Any]) -> list[dict[str, Any]]:
    return extra.get("reasoning_details") or []


class _Chat:
    def __init__(self, sdk: OpenAI, talk: Talk) -> None:
        self._sdk, self._talk = sdk, talk
        self._messages: list[Any] = []
        self._calls: list[Call] = []

    def ask(self, turn: Turn, heard: Heard) -> None:
        self._messages += [message_of(turn)] if turn.text else results_of(self._calls, self._talk)
        answer = self._streamed(heard) if self._talk.stream else self._whole()
        if answer is None:
            return
        hear_message(heard, answer.choices[0].message)
        heard.finish, heard.usage = answer.choices[0].finish_reason, usage_of(answer.usage)
        self._calls = heard.calls
        self._messages.append(answer.choices[0].message)

    def _request(self) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self._talk.model, "messages": self._messages}
        request |= {"max_completion_tokens": MAX_TOKENS}
        if self._talk.tools:
            request["tools"] = tools_of(self._talk)
        if self._talk.reasoning:
            request["reasoning_effort"] = "medium"
        if self._talk.wants_object:
            request["response_format"] = Place
        return request

    def _whole(self) -> Any:
        completions = self._sdk.chat.completions
        return (completions.parse if self._talk.wants_object else completions.create)(**self._request())

    def _streamed(self, heard: Heard) -> Any:
        """None if the client left."""
        request = self._request() | {"stream_options": {"include_usage": True}}
        with self._sdk.chat.completions.stream(**request) as stream:
            for event in stream:
                if event.type == "chunk":
                    hear_chunk(heard, event.chunk)
                if self._talk.leave_after and heard.pieces == self._talk.leave_after:
                    return None
            final = stream.get_final_completion()
        require((final.choices[0].message.content or "") == heard.text, "the final text is not the sum of its deltas")
        return final


def hear_chunk(heard: Heard, chunk: ChatCompletionChunk) -> None:
    """One chunk; usage comes last, in a chunk of its own (pitfall 27), and a finish reason once (pitfall 39)."""
    require(heard.usage is None, "a chunk after the usage chunk")
    if chunk.usage is not None:
        require(chunk.choices == [], "usage in a chunk with choices")
        heard.usage = {}
    for choice in chunk.choices:
        if choice.delta.content:
            heard.hear(choice.delta.content)
        if choice.finish_reason:
            require(heard.finish is None, "a second finish reason")
            heard.finish = choice.finish_reason
