"""What debuggers, assertions and careless log lines show of our values holds neither credentials nor prompts."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterator

import orjson
import pytest

from gateway import app
from gateway.attempt import Call
from gateway.config import Config, parse, summary, warnings
from gateway.dialects import DIALECTS
from gateway.dialects.base import Inbound, Outbound, Stamp
from gateway.dialects.sealing import Sealer
from gateway.errors import GatewayError
from gateway.neutral.request import Request
from gateway.rendering import Rendering
from gateway.routing.table import Table
from gateway.routing.target import Target
from gateway.telemetry.log import Record
from gateway.upstreams.client import scrub
from gateway.wire.json_body import decode
from tests.secrets.calls import BREAKS, KINDS, Kind
from tests.secrets.conftest import environment, routes
from tests.secrets.planted import ALL, CLIENT_KEY, OWN_KEY, SEAL_KEY, UPSTREAM_KEYS, found


@pytest.fixture(scope="module")
def config() -> Config:
    return parse(routes(1), "routes.yaml", environment())


def shown(*values: object) -> bytes:
    """All that Python shows of values."""
    return "\n".join(f"{value!r}\n{value!s}\n{value:}\n{[value]}" for value in values).encode()


def inbound(kind: Kind, *, stream: bool = True) -> Inbound:
    body = orjson.loads(kind.content("openai:fine", stream=stream))
    headers = {"authorization": f"Bearer {CLIENT_KEY.text}", "x-api-key": OWN_KEY.text}
    return Inbound(body, {"model": "openai:fine"}, headers, Sealer(SEAL_KEY.text.encode()))


def request_of(kind: Kind) -> Request:
    dialect = kind.name.removesuffix("-chat")
    return DIALECTS[dialect].parse(inbound(kind))


def test_no_credential_is_shown_of_a_configuration(config: Config) -> None:
    parts = [config.server, *config.upstreams.values(), *config.routes.values(), *config.keys.values()]
    gateway = app.build(config)
    values = (config, *parts, summary(config), list(warnings(config)), gateway, Table(config))
    assert list(found(shown(*values), *ALL)) == []
    digest = hashlib.sha256(CLIENT_KEY.text.encode()).hexdigest().encode()
    assert digest not in shown(*values)


def test_no_credential_is_in_what_pydantic_dumps(config: Config) -> None:
    assert list(found(config.model_dump_json().encode(), *ALL)) == []
    assert list(found(repr(config.model_dump()).encode(), *ALL)) == []


def test_what_seals_shows_nothing(config: Config) -> None:
    sealer = Sealer(config.server.sealing)
    assert list(found(shown(sealer, Stamp("t", 1, sealer)), *ALL)) == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_nothing_is_shown_of_a_request(kind: Kind) -> None:
    request = request_of(kind)
    values = (inbound(kind), request, *request.turns, *request.parts(), *request.system, *request.tools)
    assert list(found(shown(*values), *ALL)) == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_nothing_is_shown_of_a_call_and_of_what_upstreams_get(kind: Kind, config: Config) -> None:
    dialect = DIALECTS[kind.name.removesuffix("-chat")]
    request, body = request_of(kind), inbound(kind).body
    values: list[object] = [Call(dialect, request, body, 1, Stamp("t", 1), own=OWN_KEY.text)]
    for name in UPSTREAM_KEYS:
        target = Target(f"{name}-fine", config.upstreams[f"{name}-fine"], "m")
        values += [target, outbound(dialect.name, request, body, target)]
    assert list(found(shown(*values), *ALL)) == []


def outbound(dialect: str, request: Request, body: object, target: Target) -> Outbound:
    return Rendering(DIALECTS[dialect], request, body, target).outbound()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_nothing_is_shown_of_an_error_and_its_trace(kind: Kind) -> None:
    """Of every body that is refused."""
    seen = list(errors(kind))
    assert seen
    for error in seen:
        trace = "".join(traceback.format_exception(error)).encode()
        assert list(found(shown(error) + trace, *ALL)) == []
        assert list(found(shown(DIALECTS["openai"].dump_error(error, "req_1")), *ALL)) == []


def errors(kind: Kind) -> Iterator[GatewayError]:
    for broken in BREAKS.values():
        try:
            body = decode(bytearray(broken(kind.content("openai:fine"))))
            DIALECTS[kind.name.removesuffix("-chat")].parse(Inbound(body, {"model": "openai:fine"}))
        except GatewayError as error:
            yield error


def test_an_upstreams_words_are_shown_without_its_credential(config: Config) -> None:
    upstream, key = config.upstreams["openai-fine"], UPSTREAM_KEYS["openai"].text
    error = DIALECTS["openai"].load_error(400, f'{{"error": {{"message": "no {key}"}}}}'.encode(), {})
    assert list(found(shown(scrub(upstream, error)), *ALL)) == []


def test_the_record_of_a_request_has_no_place_for_any() -> None:
    """Its fields are words of ours, names out of the configuration and numbers."""
    texts = {name for name, kind in Record.__annotations__.items() if "str" in kind}
    assert texts <= {
        *("request_id", "client_dialect", "route", "upstream", "upstream_dialect", "hedge", "cut_by", "continued"),
        *("finish_reason", "end", "error", "grammar_fault", "key_id", "trace_id"),
    }
