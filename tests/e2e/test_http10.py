"""A client of HTTP/1.0 can't see a missing last chunk, so it gets its answer whole, with its length, or an error."""

from __future__ import annotations

import orjson
import pytest

from gateway.simulator.sayings import HAIKU
from tests.e2e.gateway_process import KINDS, World, route_name
from tests.e2e.scripts import PACED, PROMPT, faulty
from tests.sockets import Answer, connected

every_upstream = pytest.mark.parametrize("upstream", KINDS)


def predict(gw: World, model: str) -> Answer:
    """One raw-text call in HTTP/1.0; what comes back ends with the connection."""
    body = orjson.dumps({"prompt": PROMPT, "stream": True})
    head = f"POST /model-{model}/predict HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    with connected(gw.gateway) as client:
        client.send(head.encode() + body)
        answer = client.read_answer()
        assert client.read_to_end() == b""
    return answer


@every_upstream
def test_raw_text_comes_collected_with_its_length(gw: World, upstream: str) -> None:
    answer = predict(gw, route_name(upstream, PACED))
    assert (answer.status, answer.body.decode()) == (200, HAIKU)
    assert int(answer.headers["content-length"]) == len(HAIKU.encode())
    assert "transfer-encoding" not in answer.headers
    assert answer.headers["content-type"] == "application/octet-stream"


@every_upstream
def test_raw_text_that_breaks_in_the_middle_is_an_error_status(gw: World, upstream: str) -> None:
    answer = predict(gw, route_name(upstream, faulty("cut@3")))
    assert answer.status == 502
    assert list(orjson.loads(answer.body)) == ["error"]
