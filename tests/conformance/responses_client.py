"""OpenAI's Python SDK, responses, in strict mode and through its stream helper."""

from __future__ import annotations

from typing import Any

from openai import OpenAI

from tests.conformance.conversation import (
    MAX_TOKENS,
    Call,
    Heard,
    Place,
    Talk,
    Trouble,
    Turn,
    arguments_of,
    converse,
    require,
)
from tests.e2e.clients import openai_sdk


def perform(url: str, talk: Talk) -> list[Heard]:
    with openai_sdk(url) as sdk:
        return converse(_Responses(sdk, talk), talk)


class _Responses:
    """Stateless: the whole output goes back as input, `store` is false."""

    def __init__(self, sdk: OpenAI, talk: Talk) -> None:
        self._sdk, self._talk = sdk, talk
        self._input: list[Any] = []
        self._calls: list[Call] = []

    def ask(self, turn: Turn, heard: Heard) -> None:
        self._input += [_message(turn)] if turn.text else self._results()
        answer = self._streamed(heard) if self._talk.stream else self._whole()
        if answer is None:
            return
        hear_response(heard, answer)
        self._calls = heard.calls
        self._input += answer.output

    def _results(self) -> list[dict[str, Any]]:
        return [
            {"type": "function_call_output", "call_id": call.id, "output": self._talk.result(call)}
            for call in self._calls
        ]

    def _request(self) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self._talk.model, "input": self._input, "store": False}
        request |= {"max_output_tokens": MAX_TOKENS}
        if self._talk.tools:
            request["tools"] = [_tool(tool) for tool in self._talk.tools]
        if self._talk.reasoning:
            request["reasoning"] = {"effort": "medium", "summary": "auto"}
            request["include"] = ["reasoning.encrypted_content"]
        if self._talk.wants_object:
            request["text_format"] = Place
        return request

    def _whole(self) -> Any:
        responses = self._sdk.responses
        return (responses.parse if self._talk.wants_object else responses.create)(**self._request())

    def _streamed(self, heard: Heard) -> Any:
        """None if the client left, or was told of a failure."""
        expected = 0
        with self._sdk.responses.stream(**self._request()) as stream:
            for event in stream:
                require(event.sequence_number == expected, "a gap in sequence_number")
                expected += 1
                _hear_event(heard, event)
                if heard.trouble or (self._talk.leave_after and heard.pieces == self._talk.leave_after):
                    return None
            final = stream.get_final_response()
        require(final.output_text == heard.text, "the final text is not the sum of its deltas")
        return final


def _message(turn: Turn) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "input_text", "text": turn.text}]
    if turn.image:
        parts.append(
            {"type": "input_image", "image_url": f"data:image/png;base64,{turn.image}", "detail": "auto"},
        )
    return {"role": "user", "content": parts}


def _tool(tool: Any) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.schema,
        "strict": True,
    }


def _hear_event(heard: Heard, event: Any) -> None:
    if event.type == "response.output_text.delta":
        heard.hear(event.delta)
    elif event.type == "response.failed":
        heard.trouble = Trouble(event.response.error.code, None, event.response.error.message)


def hear_response(heard: Heard, answer: Any) -> None:
    """A whole response. Text only where none was heard before."""
    heard.text = heard.text or answer.output_text
    for item in answer.output:
        if item.type == "function_call":
            heard.calls.append(Call(item.call_id, item.name, arguments_of(item.arguments)))
        if item.type == "reasoning":
            heard.reasoning += "".join(part.text for part in [*item.summary, *(item.content or ())])
            heard.seal += item.encrypted_content or ""
    heard.finish, heard.usage = answer.status, _usage(answer.usage)
    parsed = getattr(answer, "output_parsed", None)
    heard.value = parsed.model_dump() if parsed else None


def _usage(usage: Any) -> dict[str, int | None] | None:
    if usage is None:
        return None
    require(usage.total_tokens == usage.input_tokens + usage.output_tokens, "total_tokens is no sum")
    return {
        "input": usage.input_tokens,
        "cached": usage.input_tokens_details.cached_tokens,
        "written": usage.input_tokens_details.cache_write_tokens,
        "output": usage.output_tokens,
        "reasoning": usage.output_tokens_details.reasoning_tokens,
    }
