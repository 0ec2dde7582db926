"""A gateway with client keys, called by the official SDKs over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final

import anthropic
import openai
import orjson
import pytest

from gateway import app
from gateway.config import Config, parse
from gateway.server import Server

CHECKOUT: Final = "tg-checkout-canary-0123456789abcdef"
NARROW: Final = "tg-narrow-canary-0123456789abcdef"
OPERATOR: Final = "tg-operator-canary-0123456789abcdef"
EXPIRED: Final = "tg-expired-canary-0123456789abcdef"
SLOW: Final = "tg-slow-canary-0123456789abcdef"
TWO: Final = "tg-two-canary-0123456789abcdef"
ASKED: Final[Any] = [{"role": "user", "content": "Write a haiku about the ocean."}]


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


KEYS: Final[dict[str, dict[str, Any]]] = {
    "checkout": {"sha256": digest(CHECKOUT)},
    "narrow": {"sha256": digest(NARROW), "routes": ["demo", "demo?say=*"]},
    "operator": {"sha256": digest(OPERATOR), "routes": [], "admin": True},
    "expired": {"sha256": digest(EXPIRED), "expires": "2020-01-01"},
    "slow": {"sha256": digest(SLOW), "requests_per_minute": 2},
    "two": {"sha256": digest(TWO), "max_in_flight": 2},
}


def config_with(keys: dict[str, dict[str, Any]], **server: Any) -> Config:
    document = {
        "server": {"port": 0, **server},
        "upstreams": {
            "simulator": {"dialect": "openai", "url": "simulator://"},
        },
        "routes": {"demo": "simulator", "secret-project": "simulator", "demo?*": "simulator", "default": "simulator"},
        **({"keys": keys} if keys else {}),
    }
    return parse(orjson.dumps(document), "test", {})


@contextmanager
def gateway(keys: dict[str, dict[str, Any]]) -> Iterator[str]:
    config = config_with(keys)
    with Server(app.build(config), config.server, app.refuse).in_thread() as running:
        yield f"http://127.0.0.1:{running.port}"


@pytest.fixture
def url() -> Iterator[str]:
    """A gateway of its own for each test: what one test asks for is not counted against another."""
    with gateway(KEYS) as at:
        yield at


def openai_client(url: str, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def anthropic_client(url: str, key: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)


def ask_openai(url: str, key: str, model: str = "demo") -> str:
    with openai_client(url, key) as client:
        return client.chat.completions.create(model=model, messages=ASKED).choices[0].message.content or ""


def ask_anthropic(url: str, key: str, model: str = "demo") -> str:
    with anthropic_client(url, key) as client:
        answer = client.messages.create(model=model, max_tokens=100, messages=ASKED)
        return "".join(block.text for block in answer.content if block.type == "text")


def test_a_key_opens_the_gateway_to_both_sdks(url: str) -> None:
    assert ask_openai(url, CHECKOUT)
    assert ask_anthropic(url, CHECKOUT)


@pytest.mark.parametrize("key", ["tg-unknown", EXPIRED, 'tg-"quoted"', "x" * 600])
def test_the_sdks_raise_their_authentication_error_for_a_key_that_is_not_known(url: str, key: str) -> None:
    with pytest.raises(openai.AuthenticationError) as told:
        ask_openai(url, key)
    with pytest.raises(anthropic.AuthenticationError) as told_too:
        ask_anthropic(url, key)
    for message in (str(told.value), str(told_too.value)):
        assert "Authorization: Bearer KEY" in message
        assert "x-api-key: KEY" in message
        assert key not in message
    assert told.value.response.headers["www-authenticate"] == "Bearer"


def test_the_sdks_raise_their_permission_error_where_a_route_is_not_allowed(url: str) -> None:
    assert ask_openai(url, NARROW)
    with pytest.raises(openai.PermissionDeniedError, match="secret-project"):
        ask_openai(url, NARROW, "secret-project")
    with pytest.raises(anthropic.PermissionDeniedError, match="secret-project"):
        ask_anthropic(url, NARROW, "secret-project")
