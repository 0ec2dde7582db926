"""Callers of Truss models, with requests: `messages`, answered as OpenAI does, and a `prompt`, answered with text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import Choice

from tests.conformance.chat_client import hear_chunk, hear_message, message_of, results_of, tools_of, usage_of
from tests.conformance.conversation import MAX_TOKENS, Call, Heard, Place, Talk, Turn, converse, require
from tests.e2e.clients import PATIENCE_S, events_of, predict_url, raise_for_status


def perform_messages(url: str, talk: Talk) -> list[Heard]:
    return converse(_Predict(url, talk), talk)


def perform_prompt(url: str, talk: Talk) -> list[Heard]:
    return converse(_Prompt(url, talk), talk)


@contextmanager
def _called(url: str, talk: Talk, body: dict[str, Any]) -> Iterator[requests.Response]:
    body |= {"stream": talk.stream, "max_tokens": MAX_TOKENS}
    with requests.post(predict_url(url, talk.model), json=body, stream=talk.stream, timeout=PATIENCE_S) as answer:
        raise_for_status(answer)
        yield answer


class _Prompt:
    """Raw text, or a JSON string."""

    def __init__(self, url: str, talk: Talk) -> None:
        self._url, self._talk = url, talk

    def ask(self, turn: Turn, heard: Heard) -> None:
        body: dict[str, Any] = {"prompt": turn.text}
        if self._talk.tools:
            body["tools"] = tools_of(self._talk)
        with _called(self._url, self._talk, body) as answer:
            if not self._talk.stream:
                heard.text = answer.json()
                require(isinstance(heard.text, str), "the answer is no string")
                return
            for piece in answer.iter_content(chunk_size=None):
                heard.hear(piece.decode())
                if self._talk.leave_after and heard.pieces == self._talk.leave_after:
                    return


class _Predict:
    """OpenAI's objects, read by OpenAI's types; the chunks are put together here, as strictly as can be."""

    def __init__(self, url: str, talk: Talk) -> None:
        self._url, self._talk = url, talk
        self._messages: list[dict[str, Any]] = []
        self._calls: list[Call] = []

    def ask(self, turn: Turn, heard: Heard) -> None:
        self._messages += [message_of(turn)] if turn.text else results_of(self._calls, self._talk)
        with _called(self._url, self._talk, self._body()) as answer:
            completion = self._streamed(answer, heard) if self._talk.stream else answer.json()
        if completion is None:
            return
        completion = ChatCompletion.model_validate(completion)
        message = completion.choices[0].message
        hear_message(heard, message)
        heard.finish, heard.usage = completion.choices[0].finish_reason, usage_of(completion.usage)
        if self._talk.wants_object:
            heard.value = Place.model_validate_json(heard.text, strict=True).model_dump()
        self._calls = heard.calls
        self._messages.append(message.model_dump(exclude_unset=True))

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"messages": self._messages}
        if self._talk.stream:
            body["stream_options"] = {"include_usage": True}
        if self._talk.tools:
            body["tools"] = tools_of(self._talk)
        if self._talk.reasoning:
            body["reasoning_effort"] = "medium"
        if self._talk.wants_object:
            schema = Place.model_json_schema() | {"additionalProperties": False}
            form = {"name": "Place", "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def _streamed(self, answer: requests.Response, heard: Heard) -> ChatCompletion | None:
        """None if the client left."""
        folded = _Folded()
        for event in events_of(answer):
            chunk = ChatCompletionChunk.model_validate(event)
            hear_chunk(heard, chunk)
            folded.take(chunk)
            if self._talk.leave_after and heard.pieces == self._talk.leave_after:
                return None
        return folded.completion()


class _Folded:
    """The completion that chunks make, one head a call, in order."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {"role": "assistant", "content": None}
        self._chunk: ChatCompletionChunk | None = None
        self._rest: dict[str, Any] = {"finish_reason": None, "usage": None}

    def take(self, chunk: ChatCompletionChunk) -> None:
        self._chunk = chunk
        if chunk.usage:
            self._rest["usage"] = chunk.usage.model_dump()
        for choice in chunk.choices:
            self._take_choice(choice)
            self._rest["finish_reason"] = choice.finish_reason or self._rest["finish_reason"]

    def _take_choice(self, choice: Choice) -> None:
        extra = choice.delta.model_extra or {}
        for name, text in (("content", choice.delta.content), ("reasoning_content", extra.get("reasoning_content"))):
            if text:
                self._message[name] = (self._message.get(name) or "") + text
        if details := extra.get("reasoning_details"):
            self._message.setdefault("reasoning_details", []).extend(details)
        for call in choice.delta.tool_calls or []:
            self._take_call(call)

    def _take_call(self, call: Any) -> None:
        calls = self._message.setdefault("tool_calls", [])
        if call.id:
            require(call.index == len(calls), "a head out of order")
            calls.append({"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": ""}})
        require(call.index == len(calls) - 1, "calls that do not come one after the other")
        calls[call.index]["function"]["arguments"] += call.function.arguments or ""

    def completion(self) -> ChatCompletion:
        require(self._chunk is not None, "a stream without a chunk")
        assert self._chunk is not None
        choice = {"index": 0, "message": self._message, "finish_reason": self._rest["finish_reason"], "logprobs": None}
        return ChatCompletion.model_validate(
            {
                "id": self._chunk.id,
                "object": "chat.completion",
                "created": self._chunk.created,
                "model": self._chunk.model,
                "choices": [choice],
                "usage": self._rest["usage"],
            }
        )
