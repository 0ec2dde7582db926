"""What is sent to upstreams of a client's credentials: nothing, unless an upstream has `key: client`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final

import openai
import orjson
import pytest
import requests

from gateway.config import parse
from tests.faults.harness import Gateway, gateway_in_thread
from tests.faults.hostile_upstream import HostileUpstream, Seen, hostile_upstream
from tests.faults.voices import OPENAI, answers, says, sized

OURS: Final = "tg-checkout-canary-0123456789abcdef"
OTHER_OF_OURS: Final = "tg-second-canary-0123456789abcdef"
OWN: Final = "sk-canary-of-the-clients-own-vendor"
ASKED: Final[Any] = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def upstream() -> Iterator[HostileUpstream]:
    with hostile_upstream() as hostile:
        hostile.perform(answers(OPENAI))
        yield hostile


@contextmanager
def gateway(
    upstream: HostileUpstream, *, has_keys: bool, key: str | None = "client", **settings: Any
) -> Iterator[Gateway]:
    at = {"dialect": "openai", "url": f"http://127.0.0.1:{upstream.port}/v1", **settings}
    digests = {"checkout": OURS, "second": OTHER_OF_OURS}
    keys = {name: {"sha256": sha256(plain.encode()).hexdigest()} for name, plain in digests.items()}
    document = {
        "upstreams": {"vendor": at | ({"key": key} if key else {})},
        "routes": {"demo": "vendor"},
        **({"keys": keys} if has_keys else {}),
    }
    with gateway_in_thread(parse(orjson.dumps(document), "test", {})) as running:
        yield running


def ask(running: Gateway, **headers: str) -> requests.Response:
    url = f"http://127.0.0.1:{running.port}/v1/chat/completions"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(url, json={"model": "demo", "messages": ASKED}, headers=named, timeout=10)


def credentials(seen: Seen) -> list[str]:
    return [value for name in ("authorization", "x-api-key", "api-key", "cookie") for value in seen.values(name)]


@pytest.mark.parametrize("key", [None, "sk-of-the-operator"])
@pytest.mark.parametrize("has_keys", [True, False])
def test_a_client_key_is_never_forwarded(upstream: HostileUpstream, key: str | None, has_keys: bool) -> None:
    with gateway(upstream, has_keys=has_keys, key=key) as running:
        assert ask(running, authorization=f"Bearer {OURS}", x_api_key=OWN).status_code == 200
    (seen,) = upstream.requests
    assert credentials(seen) == ([f"Bearer {key}"] if key else [])
    assert OURS not in repr(seen)
    assert OWN not in repr(seen)


@pytest.mark.parametrize(
    "headers", [{"authorization": f"Bearer {OWN}"}, {"authorization": f"Api-Key {OWN}"}, {"x_api_key": OWN}]
)
@pytest.mark.parametrize(
    ("auth", "sent"), [("bearer", f"Bearer {OWN}"), ("api-key", f"Api-Key {OWN}"), ("x-api-key", OWN)]
)
def test_without_keys_the_clients_own_is_passed_on_as_the_upstream_takes_it(
    upstream: HostileUpstream, headers: dict[str, str], auth: str, sent: str
) -> None:
    with gateway(upstream, has_keys=False, auth=auth) as running:
        assert ask(running, **headers).status_code == 200
    assert credentials(upstream.requests[0]) == [sent]


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {OWN}", "x_api_key": OURS}, {"authorization": f"Bearer {OURS}", "x_api_key": OWN}],
)
def test_beside_a_key_of_the_gateway_the_other_credential_is_passed_on(
    upstream: HostileUpstream, headers: dict[str, str]
) -> None:
    with gateway(upstream, has_keys=True) as running:
        assert ask(running, **headers).status_code == 200
    assert credentials(upstream.requests[0]) == [f"Bearer {OWN}"]


@pytest.mark.parametrize(
    "headers", [{"authorization": f"Bearer {OURS}"}, {"authorization": f"Bearer {OURS}", "x_api_key": OTHER_OF_OURS}]
)
def test_a_key_of_the_gateway_is_not_passed_on_where_the_clients_own_is_missing(
    upstream: HostileUpstream, headers: dict[str, str]
) -> None:
    with gateway(upstream, has_keys=True) as running:
        told = ask(running, **headers)
    assert told.status_code == 401
    assert "client's own credential" in told.json()["error"]["message"]
    assert not upstream.requests


def test_without_any_credential_the_client_is_told_how_to_send_one(upstream: HostileUpstream) -> None:
    with gateway(upstream, has_keys=False) as running:
        told = ask(running)
    assert told.status_code == 401
    assert "Authorization: Bearer KEY" in told.json()["error"]["message"]


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (429, openai.RateLimitError),
    ],
)
def test_what_becomes_of_a_clients_own_credential_is_its_own_business(
    upstream: HostileUpstream, status: int, raised: type[openai.APIStatusError]
) -> None:
    """It hears of it, without the credential; and no other client loses the upstream by it."""
    refusal = orjson.dumps({"error": {"message": f"about {OWN}", "type": "x", "code": None}})
    with gateway(upstream, has_keys=False, breaker={"min_requests": 1}) as running:
        upstream.perform(says(sized(refusal, status=status)))
        url = f"http://127.0.0.1:{running.port}/v1"
        with openai.OpenAI(base_url=url, api_key=OWN, max_retries=0) as client:
            for _ in range(3):
                with pytest.raises(raised) as told:
                    client.chat.completions.create(model="demo", messages=ASKED)
                assert OWN not in str(told.value)
        assert not running.news
        assert OWN not in repr(running.lines)
