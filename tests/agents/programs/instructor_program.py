"""instructor: objects, whole and streamed piece by piece, by tools and by a schema."""

import json
import sys
import traceback
from typing import Any

import instructor
from anthropic import Anthropic
from instructor import Mode
from instructor.core import InstructorError
from openai import OpenAI
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


def modes(client: str, url: str) -> dict[str, Any]:
    """way → a client that asks for objects that way."""
    if client == "anthropic":
        anthropic = Anthropic(base_url=url, api_key="key")
        return {"function_calling": instructor.from_anthropic(anthropic, mode=Mode.ANTHROPIC_TOOLS, max_tokens=4000)}
    openai = OpenAI(base_url=f"{url}/v1", api_key="key")
    if client == "responses":
        return {"function_calling": instructor.from_openai(openai, mode=Mode.RESPONSES_TOOLS)}
    ways = {"function_calling": Mode.TOOLS, "json_schema": Mode.JSON_SCHEMA}
    return {way: instructor.from_openai(openai, mode=mode) for way, mode in ways.items()}


def ask(asker: Any) -> Any:
    question = {"model": "demo?say=json", "messages": [{"role": "user", "content": "The weather?"}], "max_retries": 0}
    try:
        pieces = list(asker.chat.completions.create_partial(response_model=Weather, **question))
        whole = asker.chat.completions.create(response_model=Weather, **question)
    except InstructorError as error:
        return str(error)
    return {"whole": whole.model_dump(), "streamed": pieces[-1].model_dump(), "pieces": len(pieces)}


def play(client: str, url: str) -> dict[str, Any]:
    try:
        return {way: ask(asker) for way, asker in modes(client, url).items()}
    except Exception:  # told for this upstream; the others are still played
        return {"failure": traceback.format_exc()}


client, urls = json.loads(sys.argv[1])
sys.stdout.write(json.dumps({kind: play(client, url) for kind, url in urls}))
