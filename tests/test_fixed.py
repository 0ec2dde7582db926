"""Calls that a dialect declares absent, and methods: answered as declared, on real routes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
import requests

from gateway import app
from gateway.config import Server as Settings
from gateway.config import parse
from gateway.dialects import DIALECTS
from gateway.dialects.base import Absent
from gateway.server import Server

PATIENCE_S = 10.0
ROUTES = '{"upstreams": {"s": {"dialect": "openai", "url": "simulator://"}}, "routes": {"demo": "s"}}'
GONE = {"error": {"message": "Thing with id '{id}' not found.", "code": "thing_not_found"}}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A gateway whose dialects have one more: data is all it takes."""
    told = (
        Absent("/v1/things/{id}", 404, GONE, ("GET", "DELETE")),
        Absent("/v1/things/{id}/parts", 404, GONE),
        Absent("/v1/chat/completions", 426, {"error": "no sockets on {path}"}, ("GET",)),
    )
    dialects = {**DIALECTS, "openai": replace(DIALECTS["openai"], absent=told)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(app, "DIALECTS", MappingProxyType(dialects))
        built = app.build(parse(ROUTES, "test", {}))
    with Server(built, Settings(port=0), app.refuse).in_thread() as running:
        yield f"http://127.0.0.1:{running.port}"


def ask(url: str, method: str, path: str, **more: Any) -> requests.Response:
    return requests.request(method, url + path, timeout=PATIENCE_S, **more)


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/parts"), ("PUT", "/parts")])
def test_an_absent_call_is_answered_as_declared(url: str, method: str, path: str) -> None:
    answer = ask(url, method, f"/v1/things/abc{path}?include=x")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert answer.json() == {"error": {"message": "Thing with id 'abc' not found.", "code": "thing_not_found"}}


def test_what_a_path_says_is_repeated_as_text_and_never_as_json_or_at_length(url: str) -> None:
    answer = ask(url, "GET", '/v1/things/a"},{"b\\')
    assert answer.json()["error"]["message"] == "Thing with id 'a\"},{\"b\\' not found."
    assert len(ask(url, "GET", f"/v1/things/{'x' * 5000}").content) < 400


def test_another_method_on_such_a_path_is_405_and_says_which_there_are(url: str) -> None:
    answer = ask(url, "POST", "/v1/things/abc")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, DELETE")
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_a_method_may_be_absent_from_a_path_that_is_served(url: str) -> None:
    assert ask(url, "GET", "/v1/chat/completions").status_code == 426
    assert ask(url, "GET", "/v1/chat/completions").json() == {"error": "no sockets on /v1/chat/completions"}
    body = {"model": "demo", "messages": [{"role": "user", "content": "x"}]}
    assert ask(url, "POST", "/v1/chat/completions", json=body).status_code == 200
    assert ask(url, "PUT", "/v1/chat/completions").headers["allow"] == "POST"
