"""The clients that people use, each as its documentation shows it, told only another base URL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import anthropic
import openai
import orjson
import requests
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

PATIENCE_S: Final = 15.0
MAX_TOKENS: Final = 500


@dataclass
class Heard:
    """What a client was told. `arrivals`: seconds since the call, one for each piece of text as it came."""

    text: str = ""
    finish: str | None = None
    usage: tuple[int, int] | None = None
    calls: dict[str, Any] = field(default_factory=dict)
    arrivals: list[float] = field(default_factory=list)

    def hear(self, text: str, now: float) -> None:
        self.text += text
        self.arrivals.append(now)


@dataclass(frozen=True)
class Spread:
    """How pieces arrived: how many at distinct times, the first, from the first to the last, in seconds."""

    distinct: int
    first_s: float
    over_s: float


def spread(arrivals: list[float]) -> Spread:
    """Pieces closer than 10 ms count as having come together."""
    distinct = [later for earlier, later in zip([-1.0, *arrivals], arrivals, strict=False) if later - earlier > 0.01]
    return Spread(len(distinct), arrivals[0], arrivals[-1] - arrivals[0])


class Client(Protocol):
    """One kind of client."""

    def stream(self, url: str, model: str, prompt: str, heard: Heard | None = None) -> Heard:
        """`heard`: where to write what was heard before an exception."""
        ...

    def whole(self, url: str, model: str, prompt: str) -> Heard: ...


def stopwatch() -> Callable[[], float]:
    begun = time.perf_counter()
    return lambda: time.perf_counter() - begun


# -- the OpenAI SDK --------------------------------------------------------------------------------------------------


@contextmanager
def openai_sdk(url: str, max_retries: int = 0) -> Iterator[openai.OpenAI]:
    """The SDK in strict mode, which refuses whatever its types do not allow."""
    with openai.OpenAI(
        base_url=f"{url}/v1",
        api_key="unused",
        max_retries=max_retries,
        timeout=PATIENCE_S,
        _strict_response_validation=True,
    ) as client:
        yield client


class OpenAIClient:
    """Asks for usage unless told not to."""

    def __init__(self, *, include_usage: bool = True) -> None:
        self._extra: Any = {"stream_options": {"include_usage": True}} if include_usage else {}

    def stream(self, url: str, model: str, prompt: str, heard: Heard | None = None) -> Heard:
        heard, now = heard or Heard(), stopwatch()
        with openai_sdk(url) as client:
            answer = client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": prompt}], stream=True, **self._extra
            )
            for chunk in answer:
                hear_chunk(heard, chunk, now())
        return heard

    def whole(self, url: str, model: str, prompt: str) -> Heard:
        with openai_sdk(url) as client:
            answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}])
        return heard_completion(answer)


def hear_chunk(heard: Heard, chunk: ChatCompletionChunk, now: float) -> None:
    """One chunk of an OpenAI stream. Says usage only in a chunk of its own, the last (pitfall 27)."""
    assert heard.usage is None, "a chunk after the usage chunk"
    if chunk.usage is not None:
        assert chunk.choices == []
        heard.usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
    for choice in chunk.choices:
        if choice.delta.content:
            heard.hear(choice.delta.content, now)
        if choice.finish_reason:
            assert heard.finish is None, "a second finish reason"
            heard.finish = choice.finish_reason


def heard_completion(answer: ChatCompletion) -> Heard:
    usage = (answer.usage.prompt_tokens, answer.usage.completion_tokens) if answer.usage else None
    return Heard(answer.choices[0].message.content or "", answer.choices[0].finish_reason, usage)


class FailedResponse(Exception):
    """A response that ended in `failed`: the SDK hands the event out and raises nothing."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ResponsesClient:
    """The same SDK's newer API; streamed through its helper, which takes the events in one order only."""

    def stream(self, url: str, model: str, prompt: str, heard: Heard | None = None) -> Heard:
        heard, now = heard or Heard(), stopwatch()
        with (
            openai_sdk(url) as client,
            client.responses.stream(model=model, input=prompt, max_output_tokens=MAX_TOKENS) as answer,
        ):
            for event in answer:
                if event.type == "response.output_text.delta":
                    heard.hear(event.delta, now())
                elif event.type == "response.failed":
                    assert event.response.error is not None
                    raise FailedResponse(event.response.error.code, event.response.error.message)
            final = answer.get_final_response()
        assert final.output_text == heard.text
        heard.finish, heard.usage = final.status, response_usage(final)
        return heard

    def whole(self, url: str, model: str, prompt: str) -> Heard:
        with openai_sdk(url) as client:
            answer = client.responses.create(model=model, input=prompt, max_output_tokens=MAX_TOKENS)
        return Heard(answer.output_text, answer.status, response_usage(answer))


def response_usage(response: Response) -> tuple[int, int] | None:
    return (response.usage.input_tokens, response.usage.output_tokens) if response.usage else None


# -- the Anthropic SDK -----------------------------------------------------------------------------------------------


@contextmanager
def anthropic_sdk(url: str, max_retries: int = 0) -> Iterator[anthropic.Anthropic]:
    """The SDK in strict mode, which refuses whatever its types do not allow."""
    with anthropic.Anthropic(
        base_url=url, api_key="unused", max_retries=max_retries, timeout=PATIENCE_S, _strict_response_validation=True
    ) as client:
        yield client


class AnthropicClient:
    def stream(self, url: str, model: str, prompt: str, heard: Heard | None = None) -> Heard:
        heard, now = heard or Heard(), stopwatch()
        with (
            anthropic_sdk(url) as client,
            client.messages.stream(
                model=model, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": prompt}]
            ) as answer,
        ):
            for text in answer.text_stream:
                heard.hear(text, now())
            message = answer.get_final_message()
        heard.finish = message.stop_reason
        heard.usage = (message.usage.input_tokens, message.usage.output_tokens)
        return heard

    def whole(self, url: str, model: str, prompt: str) -> Heard:
        with anthropic_sdk(url) as client:
            message = client.messages.create(
                model=model, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": prompt}]
            )
        text = "".join(block.text for block in message.content if block.type == "text")
        return Heard(text, message.stop_reason, (message.usage.input_tokens, message.usage.output_tokens))


# -- requests, as callers of Truss models use it ---------------------------------------------------------------------


def predict_url(url: str, model: str) -> str:
    return f"{url}/model-{model}/production/predict"


class TrussClient:
    """A `prompt`, answered with raw text or a JSON string."""

    def stream(self, url: str, model: str, prompt: str, heard: Heard | None = None) -> Heard:
        heard, now = heard or Heard(), stopwatch()
        body = {"prompt": prompt, "stream": True, "max_tokens": MAX_TOKENS}
        with requests.post(predict_url(url, model), json=body, stream=True, timeout=PATIENCE_S) as answer:
            raise_for_status(answer)
            for piece in answer.iter_content(chunk_size=None):
                heard.hear(piece.decode(), now())  # a piece never ends in half a character
        return heard

    def whole(self, url: str, model: str, prompt: str) -> Heard:
        body = {"prompt": prompt, "max_tokens": MAX_TOKENS}
        with requests.post(predict_url(url, model), json=body, timeout=PATIENCE_S) as answer:
            raise_for_status(answer)
            return Heard(answer.json())


class TrussChatClient:
    """`messages` to predict, answered with OpenAI's events or its whole object; read by OpenAI's own types."""

    def stream(self, url: str, model: str, prompt: str, heard: Heard | None = None) -> Heard:
        heard, now = heard or Heard(), stopwatch()
        with self.call(url, model, {**self.body(prompt), "stream": True}) as answer:
            for event in events_of(answer):
                hear_chunk(heard, ChatCompletionChunk.model_validate(event), now())
        return heard

    def whole(self, url: str, model: str, prompt: str) -> Heard:
        with self.call(url, model, self.body(prompt)) as answer:
            return heard_completion(ChatCompletion.model_validate(answer.json()))

    def body(self, prompt: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": prompt}], "max_tokens": MAX_TOKENS}

    @contextmanager
    def call(self, url: str, model: str, body: dict[str, Any]) -> Iterator[requests.Response]:
        stream = bool(body.get("stream"))
        with requests.post(predict_url(url, model), json=body, stream=stream, timeout=PATIENCE_S) as answer:
            raise_for_status(answer)
            yield answer


class TrussError(Exception):
    """What a caller of a Truss model makes of a status of 400 or more: the status, and the text."""

    def __init__(self, status: int, message: str, headers: Any) -> None:
        super().__init__(status, message)
        self.status, self.message, self.headers = status, message, headers


class BrokenEvents(Exception):
    """An error among OpenAI's events, or an end without `[DONE]`."""


def raise_for_status(answer: requests.Response) -> None:
    """Raises the error of an answer; its body has to be `{"error": text}` and nothing else."""
    if answer.status_code >= 400:
        body = answer.json()
        assert list(body) == ["error"], body
        raise TrussError(answer.status_code, body["error"], answer.headers)


def events_of(answer: requests.Response) -> Iterator[dict[str, Any]]:
    """The JSON of each `data:` line up to `[DONE]`."""
    for line in answer.iter_lines():
        data = line.removeprefix(b"data: ")
        if data == b"[DONE]":
            return
        if line.startswith(b"data: "):
            event: dict[str, Any] = orjson.loads(data)
            if event.get("error"):
                raise BrokenEvents(event["error"])
            yield event
    raise BrokenEvents("no [DONE]")


CLIENTS: Final[dict[str, Client]] = {
    "openai": OpenAIClient(),
    "anthropic": AnthropicClient(),
    "responses": ResponsesClient(),
    "truss": TrussClient(),
    "truss-chat": TrussChatClient(),
}
