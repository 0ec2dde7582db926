"""A gateway with client keys, called by the official SDKs over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final

import anthropic
import openai
import orjson
import pytest
import requests

from gateway import app
from gateway.config import Config, parse
from gateway.server import Server
from tests.sockets import RawClient, connected

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
            "simulator": {"dialect": "openai", "url": "simulator://?ttft=0ms&tps=1000"},
            "endless": {"dialect": "openai", "url": "simulator://?ttft=0ms&tps=2"},
        },
        "routes": {
            "demo": "simulator",
            "endless": "endless",
            "secret-project": "simulator",
            "demo?*": "simulator",
            "default": "simulator",
        },
        **({"keys": keys} if keys else {}),
    }
    return parse(orjson.dumps(document), "test", {})


@contextmanager
def gateway(keys: dict[str, dict[str, Any]]) -> Iterator[str]:
    """In a thread of this process; its base URL."""
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


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/responses",
        "/v1/responses/input_tokens",
        "/predict",
        "/model-demo/production/predict",
        "/model-demo/production/sync/v1/chat/completions",
    ],
)
def test_every_client_path_asks_for_a_key(url: str, path: str) -> None:
    """Also where the body is wrong: who has no key is told nothing else."""
    assert requests.post(url + path, data=b"{", timeout=10).status_code == 401
    for headers in ({"authorization": f"Api-Key {CHECKOUT}"}, {"x-api-key": CHECKOUT}):
        assert requests.post(url + path, data=b"{", headers=headers, timeout=10).status_code == 400


def test_a_truss_client_gets_its_errors_as_that_server_spells_them(url: str) -> None:
    def ask(key: str) -> requests.Response:
        headers = {"authorization": f"Api-Key {key}"}
        return requests.post(f"{url}/model-secret-project/predict", json={"prompt": "Hi"}, headers=headers, timeout=10)

    assert ask(CHECKOUT).status_code == 200
    unknown, forbidden = ask("tg-unknown"), ask(NARROW)
    assert (unknown.status_code, list(unknown.json())) == (401, ["error"])
    assert (forbidden.status_code, list(forbidden.json())) == (403, ["error"])
    assert "secret-project" in forbidden.json()["error"]


@pytest.mark.parametrize("where", ["?key={key}", "?api_key={key}", "?x-api-key={key}", "?access_token={key}"])
def test_a_key_in_the_url_is_none(url: str, where: str) -> None:
    answer = requests.post(f"{url}/v1/chat/completions{where.format(key=CHECKOUT)}", json={}, timeout=10)
    assert answer.status_code == 401


def test_a_refusal_does_not_wait_for_the_body(url: str) -> None:
    """A stranger can't make the gateway hold 30 MB."""
    with connected(port(url)) as client:
        client.send(b"POST /v1/messages HTTP/1.1\r\nHost: gw\r\nContent-Length: 30000000\r\n\r\n{")
        assert client.read_answer().status == 401


def test_a_key_of_a_megabyte_is_refused_with_the_head(url: str) -> None:
    with connected(port(url)) as client:
        client.send(b"POST /v1/messages HTTP/1.1\r\nHost: gw\r\nx-api-key: " + b"x" * 70_000)
        assert client.read_answer().status == 431


def test_a_line_end_inside_a_key_makes_no_key_of_it(url: str) -> None:
    key = CHECKOUT.encode()
    for end in (b"\n", b"\r", b"\r\n", b"\x00"):
        with connected(port(url)) as client:
            client.send(b"POST /v1/messages HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\nx-api-key: ")
            client.send(key[:5] + end + key[5:] + b"\r\n\r\n")
            assert client.read_answer().status in (400, 401)


def test_models_lists_what_a_key_may_use_and_nothing_else(url: str) -> None:
    with openai_client(url, NARROW) as client:
        assert [model.id for model in client.models.list()] == ["demo"]
        assert client.models.retrieve("demo").id == "demo"
        with pytest.raises(openai.PermissionDeniedError, match="secret-project"):
            client.models.retrieve("secret-project")
    with anthropic_client(url, NARROW) as other:
        assert [model.id for model in other.models.list()] == ["demo"]
    with anthropic_client(url, "tg-unknown") as stranger, pytest.raises(anthropic.AuthenticationError):
        stranger.models.list()
    with openai_client(url, CHECKOUT) as client:
        assert "secret-project" in [model.id for model in client.models.list()]


def test_a_typo_is_not_answered_with_names_that_a_key_may_not_know(url: str) -> None:
    with pytest.raises(openai.NotFoundError) as told:
        ask_openai(url, NARROW, "secret-projekt")
    assert "secret-project" not in str(told.value)


def test_who_asks_too_often_is_told_by_both_sdks_when_to_come_back(url: str) -> None:
    ask_openai(url, SLOW)
    ask_anthropic(url, SLOW)
    with pytest.raises(openai.RateLimitError) as told:
        ask_openai(url, SLOW)
    headers = told.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 61
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("2", "0")
    assert headers["x-ratelimit-reset-requests"]
    with pytest.raises(anthropic.RateLimitError) as told_too:
        ask_anthropic(url, SLOW)
    headers = told_too.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 61
    assert headers["anthropic-ratelimit-requests-limit"] == "2"
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert ask_openai(url, CHECKOUT)


def test_answers_say_how_much_of_the_limit_is_left(url: str) -> None:
    with openai_client(url, SLOW) as client:
        answer = client.chat.completions.with_raw_response.create(model="demo", messages=ASKED)
    assert answer.headers["x-ratelimit-limit-requests"] == "2"
    assert answer.headers["x-ratelimit-remaining-requests"] == "1"


# -- streams at once -------------------------------------------------------------------------------------------------


def port(url: str) -> int:
    return int(url.rpartition(":")[2])


def stream(client: RawClient, key: str, version: str = "1.1", model: str = "endless") -> None:
    """Begins a stream, without waiting for its answer."""
    body = orjson.dumps({"model": model, "stream": True, "messages": ASKED})
    head = f"POST /v1/chat/completions HTTP/{version}\r\nHost: gw\r\nx-api-key: {key}\r\nContent-Length: {len(body)}"
    client.send(f"{head}\r\n\r\n".encode() + body)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # asked again until it holds or the deadline is over


def is_served(url: str, key: str) -> bool:
    try:
        return bool(ask_openai(url, key))
    except openai.RateLimitError:
        return False


def test_streams_at_once_are_limited_and_freed_when_their_clients_leave(url: str) -> None:
    with connected(port(url)) as one, connected(port(url)) as other:
        for client in (one, other):
            stream(client, TWO)
            client.read_until(b"data: ")
        with pytest.raises(openai.RateLimitError, match="2 requests under way") as told:
            ask_openai(url, TWO)
        with pytest.raises(anthropic.RateLimitError) as told_too:
            ask_anthropic(url, TWO)
        assert told.value.response.headers["retry-after"] == "1"
        assert told.value.response.headers["x-ratelimit-limit-requests"] == "2"
        assert told_too.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert ask_openai(url, CHECKOUT)
        one.socket.close()
        until(lambda: is_served(url, TWO))


@pytest.mark.parametrize("model", ["demo", "demo?fault=cut@3", "demo?fault=status@429", "nobody"])
def test_a_slot_is_given_back_however_a_request_ends(url: str, model: str) -> None:
    body = {"model": model, "stream": True, "messages": ASKED}
    for _ in range(4):
        with requests.post(f"{url}/v1/chat/completions", json=body, headers={"x-api-key": TWO}, timeout=10) as answer:
            assert b"requests under way" not in next(answer.iter_content(None), b"")
    until(lambda: is_served(url, TWO))


@pytest.mark.parametrize(("key", "status"), [("tg-unknown", 401), (CHECKOUT, 200)])
def test_a_client_of_http_1_0_is_asked_too(url: str, key: str, status: int) -> None:
    body = b'{"prompt": "Hi", "stream": true}'
    head = f"POST /predict HTTP/1.0\r\nAuthorization: Api-Key {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    with connected(port(url)) as client:
        client.send(head.encode() + body)
        assert client.read_answer().status == status
        assert client.read_to_end() == b""


# -- operators -------------------------------------------------------------------------------------------------------

ELSEWHERE: Final = {"x-forwarded-for": "192.0.2.1"}
"""A proxy on this machine speaks for others."""


@pytest.mark.parametrize(
    ("key", "status"), [(None, 401), ("tg-unknown", 401), (CHECKOUT, 403), (EXPIRED, 401), (OPERATOR, 200)]
)
def test_metrics_from_elsewhere_take_a_key_for_operators(url: str, key: str | None, status: int) -> None:
    headers = ELSEWHERE | ({"authorization": f"Bearer {key}"} if key else {})
    assert requests.get(f"{url}/metrics", headers=headers, timeout=10).status_code == status


def test_metrics_are_open_to_this_machine_and_health_to_everybody(url: str) -> None:
    assert requests.get(f"{url}/metrics", timeout=10).status_code == 200
    assert requests.get(f"{url}/livez", headers=ELSEWHERE, timeout=10).status_code == 200
    assert requests.get(f"{url}/readyz", headers=ELSEWHERE, timeout=10).status_code == 200


def test_without_keys_metrics_are_for_this_machine_only() -> None:
    with gateway({}) as open_url:
        assert requests.get(f"{open_url}/metrics", timeout=10).status_code == 200
        assert requests.get(f"{open_url}/metrics", headers=ELSEWHERE, timeout=10).status_code == 403


def test_a_key_for_operators_without_routes_spends_nothing(url: str) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        ask_openai(url, OPERATOR)


# -- other keys, while it runs ---------------------------------------------------------------------------------------


async def test_a_reload_keeps_the_counts_of_keys_that_stay_and_forgets_the_others() -> None:
    config = config_with(KEYS)
    built = app.build(config)
    new = "tg-new-canary-0123456789abcdef"
    with Server(built, config.server, app.refuse).in_thread() as running:
        url = f"http://127.0.0.1:{running.port}"
        for _ in range(2):
            await asyncio.to_thread(ask_openai, url, SLOW)
        changed = {name: key for name, key in KEYS.items() if name != "checkout"} | {"new": {"sha256": digest(new)}}
        changed["slow"] = {**KEYS["slow"], "requests_per_minute": 3}
        await built.take(config_with(changed))
        assert await asyncio.to_thread(ask_openai, url, SLOW)
        with pytest.raises(openai.RateLimitError):
            await asyncio.to_thread(ask_openai, url, SLOW)
        with pytest.raises(openai.AuthenticationError):
            await asyncio.to_thread(ask_openai, url, CHECKOUT)
        assert await asyncio.to_thread(ask_openai, url, new)
