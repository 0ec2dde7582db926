"""pydantic-ai: an agent with a tool over several turns, streamed, with an object as its answer by both of its ways."""

import asyncio
import json
import sys
import traceback
from collections.abc import AsyncIterable
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, RunContext
from pydantic_ai.messages import (
    AgentStreamEvent,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
)
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city} has 12 degrees"


def chat_model(client: str, url: str, model: str) -> Any:
    if client == "anthropic":
        name = model.replace("demo", "claude-sonnet-4-5")  # it asks for a schema only of models whose names it knows
        return AnthropicModel(name, provider=AnthropicProvider(base_url=url, api_key="key"))
    provider = OpenAIProvider(base_url=f"{url}/v1", api_key="key")
    return (OpenAIResponsesModel if client == "responses" else OpenAIChatModel)(model, provider=provider)


async def act(client: str, url: str, task: str) -> dict[str, Any]:
    pieces: list[str] = []

    async def listen(_: RunContext[None], events: AsyncIterable[AgentStreamEvent]) -> None:
        async for event in events:
            if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                pieces.append(event.part.content)
            elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                pieces.append(event.delta.content_delta)

    agent = Agent(chat_model(client, url, "demo"), tools=[get_weather])
    run = await agent.run(task, event_stream_handler=listen)
    responses = [message for message in run.all_messages() if isinstance(message, ModelResponse)]
    calls = [[part for part in response.parts if isinstance(part, ToolCallPart)] for response in responses]
    return {
        "streamed": "".join(pieces),
        "text": run.output,
        "pieces": len(pieces),
        "calls": [[call.args_as_dict()["city"] for call in one] for one in calls],
        "is_counted": all(one.usage.input_tokens and one.usage.output_tokens for one in responses),
    }


async def objects(client: str, url: str) -> dict[str, Any]:
    called = Agent(chat_model(client, url, "demo"), tools=[get_weather], output_type=Weather)
    steps = 'step call get_weather {"city": "Oslo"}\nstep call final_result {"city": "Oslo", "degrees": 3}'
    native = Agent(chat_model(client, url, "demo?say=json"), output_type=NativeOutput(Weather))
    found: dict[str, Any] = {}
    for way, agent, task in (("function_calling", called, steps), ("json_schema", native, "The weather?")):
        try:
            found[way] = (await agent.run(task)).output.model_dump()
        except ModelHTTPError as error:
            found[way] = str(error)
    return found


async def play(client: str, url: str, task: str) -> dict[str, Any]:
    try:
        return await act(client, url, task) | {"objects": await objects(client, url)}
    except Exception:  # told for this upstream; the others are still played
        return {"failure": traceback.format_exc()}


async def main() -> None:
    client, task, urls = json.loads(sys.argv[1])
    sys.stdout.write(json.dumps({kind: await play(client, url, task) for kind, url in urls}))


asyncio.run(main())
