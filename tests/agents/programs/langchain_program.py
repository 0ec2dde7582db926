"""LangChain: an agent with a tool over several turns, streamed, then objects by both of its methods."""

import json
import sys
import traceback
from typing import Any

from anthropic import AnthropicError
from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import OpenAIError
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city} has 12 degrees"


def chat_model(client: str, url: str, model: str) -> Any:
    if client == "anthropic":
        return ChatAnthropic(base_url=url, api_key="key", model=model, max_tokens=4000)
    is_responses = client == "responses"
    return ChatOpenAI(
        base_url=f"{url}/v1", api_key="key", model=model, use_responses_api=is_responses, stream_usage=True
    )


def act(client: str, url: str, task: str) -> dict[str, Any]:
    agent = create_agent(chat_model(client, url, "demo"), tools=[get_weather])
    streamed, messages = [], []
    for mode, item in agent.stream({"messages": [("user", task)]}, stream_mode=["messages", "values"]):
        if mode == "values":
            messages = item["messages"]
        elif isinstance(item[0], AIMessageChunk) and item[0].text:
            streamed.append(item[0].text)
    answers = [message for message in messages if isinstance(message, AIMessage)]
    usages = [answer.usage_metadata or {} for answer in answers]
    return {
        "streamed": "".join(streamed),
        "text": messages[-1].text,
        "pieces": len(streamed),
        "calls": [[call["args"]["city"] for call in answer.tool_calls] for answer in answers],
        "is_counted": all(usage.get("input_tokens") and usage.get("output_tokens") for usage in usages),
    }


def objects(client: str, url: str) -> dict[str, Any]:
    model = chat_model(client, url, "demo?say=json")
    found: dict[str, Any] = {}
    for way in ("json_schema", "function_calling"):
        try:
            found[way] = model.with_structured_output(Weather, method=way).invoke("The weather?").model_dump()
        except (OpenAIError, AnthropicError) as error:
            found[way] = str(error)
    return found


def play(client: str, url: str, task: str) -> dict[str, Any]:
    try:
        return act(client, url, task) | {"objects": objects(client, url)}
    except Exception:  # told for this upstream; the others are still played
        return {"failure": traceback.format_exc()}


client, task, urls = json.loads(sys.argv[1])
sys.stdout.write(json.dumps({kind: play(client, url, task) for kind, url in urls}))
