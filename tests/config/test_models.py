"""routes.yaml: what it means, and what is said when it is wrong."""

from __future__ import annotations

import math
import pickle
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from gateway.config import Config, ConfigError, NoFile, Timeouts, load, parse, schema, summary, warnings
from gateway.config import told as told_module
from gateway.config import upstream as upstream_module
from gateway.dialects import DIALECTS

ROOT = Path(__file__).parent.parent.parent
SECRET = "sk-canary-5f2d"
ENVIRON = {"KEY": SECRET}


@dataclass(frozen=True, slots=True)
class Plain:
    profile: Literal["vllm", "generic"] = "generic"
    retries: int = 0
    share: float = 1.0
    is_picky: bool = False
    fields: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wrapped:
    input: Literal["auto", "prompt", "messages"] = "auto"

    def __post_init__(self) -> None:
        if self.input == "messages":
            raise ValueError("no messages today")


@pytest.fixture(autouse=True)
def dialects(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options of our own, so that these promises don't move with the dialects'."""
    if "real" not in request.node.name:
        stand_ins = {
            "openai": SimpleNamespace(options=Plain, auth="bearer", meanings={}),
            "anthropic": SimpleNamespace(options=Plain, auth="x-api-key", meanings={}),
            "truss": SimpleNamespace(options=Wrapped, auth="api-key", meanings={}),
        }
        for module in (upstream_module, told_module):
            monkeypatch.setattr(module, "DIALECTS", stand_ins)


def config(text: str, **environ: str) -> Config:
    return parse(text, "routes.yaml", {**ENVIRON, **environ})


def refusal(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(text, **environ)
    return caught.value.messages


def with_server(settings: str) -> str:
    return f"server: {settings}\n" + SMALL


def with_upstream(settings: str) -> str:
    return f"routes: {{demo: vllm}}\nupstreams:\n  vllm: {settings}\n"


def with_route(settings: str) -> str:
    simulator = "{dialect: openai, url: 'simulator://'}"
    return f"upstreams:\n  a: {simulator}\n  vllm: {simulator}\nroutes:\n  demo: {settings}\n"


SMALL = """
upstreams: {simulator: {dialect: openai, url: "simulator://"}}
routes: {demo: simulator}
"""

WHOLE = """
server: {host: 0.0.0.0, port: "${PORT:-9000}", max_body: 8MB, drain: 0s, model_hosts: [.API.example.com]}
upstreams:
  simulator: {dialect: openai, url: "simulator://?ttft=50ms"}
  baseten:   {dialect: anthropic, url: "https://inference.baseten.co/", key: "${KEY}", auth: bearer}
  haiku:     {dialect: truss, url: "https://m.example.com/production/predict", key: "${KEY}", options: {input: prompt}}
  vllm:
    dialect: openai
    url: http://vllm:8000/v1
    options: {profile: vllm, retries: 3, share: 0.5, is_picky: true, fields: [a, b], extra: {x: 4.10}}
routes:
  demo: simulator
  deepseek:
    targets:
      - {upstream: baseten, model: deepseek-ai/DeepSeek-V4-Pro, weight: 9}
      - {upstream: vllm, model: 4.10}
    fallback: [{upstream: haiku}]
    timeouts: {connect: 250ms, first_token: 30s, total: 1h}
  "claude-*": {targets: [{upstream: baseten}]}
"""


# --- what it means ---


def test_a_small_file_has_all_the_defaults() -> None:
    server = config(SMALL).server
    assert (server.host, server.port, server.model_hosts) == ("127.0.0.1", 8080, ())
    assert (server.max_body, server.max_head, server.max_fields) == (32 * 1024**2, 64 * 1024, 100)
    assert (server.head_timeout, server.body_timeout, server.idle_timeout) == (10, 15, 75)
    assert (server.max_event, server.max_answer) == (8 * 1024**2, 32 * 1024**2)
    assert (server.drain, server.first_byte_hold, server.keep_alive) == (30, 10, 15)
    assert config(SMALL).routes["demo"].slow_client.stall == 60
    assert config(SMALL).routes["demo"].timeouts == Timeouts(
        connect=5, headers=None, first_token=60, idle=60, total=600
    )


def test_sections_may_be_left_empty() -> None:
    assert config("server:\n" + SMALL) == config(SMALL)


def test_server_settings_are_read() -> None:
    server = config(WHOLE).server
    assert (server.host, server.port, server.max_body, server.drain) == ("0.0.0.0", 9000, 8_000_000, 0)
    assert server.model_hosts == ("api.example.com",)
    assert config(WHOLE, PORT="7").server.port == 7


def test_the_short_form_of_a_route_is_one_target_with_the_same_name() -> None:
    route = config(WHOLE).routes["demo"]
    assert [target.model_dump() for target in route.targets] == [
        {"upstream": "simulator", "model": None, "context": None, "weight": 1}
    ]
    assert route.fallback == ()


def test_a_route_has_weighted_targets_a_fallback_and_timeouts() -> None:
    route = config(WHOLE).routes["deepseek"]
    assert [(target.upstream, target.model, target.weight) for target in route.targets] == [
        ("baseten", "deepseek-ai/DeepSeek-V4-Pro", 9),
        ("vllm", "4.10", 1),
    ]
    assert [(target.upstream, target.model) for target in route.fallback] == [("haiku", None)]
    assert route.timeouts == Timeouts(connect=0.25, first_token=30, idle=60, total=3600)


def test_an_upstream_has_its_address_credential_and_options() -> None:
    upstreams = config(WHOLE).upstreams
    assert upstreams["simulator"].url == "simulator://?ttft=50ms"
    assert upstreams["baseten"].url == "https://inference.baseten.co"
    key = upstreams["baseten"].key
    assert key is not None
    assert key.get_secret_value() == SECRET
    assert upstreams["vllm"].options == Plain("vllm", 3, 0.5, True, ("a", "b"), {"x": "4.10"})
    assert upstreams["haiku"].options == Wrapped("prompt")


def test_the_credential_is_sent_as_its_dialect_does_unless_told_otherwise() -> None:
    auth = {name: upstream.auth for name, upstream in config(WHOLE).upstreams.items()}
    assert auth == {"simulator": "bearer", "baseten": "bearer", "haiku": "api-key", "vllm": "bearer"}


def test_options_that_take_anything_keep_numbers_and_flags() -> None:
    options = (
        config(
            with_upstream(
                "{dialect: openai, url: 'http://x', options: {body: {a: 0.5, b: [true, '1'], c: x}, extra: {a: 1}}}"
            )
        )
        .upstreams["vllm"]
        .options
    )
    assert options.body == {"a": 0.5, "b": [True, "1"], "c": "x"}
    assert options.extra == {"a": "1"}
    assert type(options.body["c"]) is str


def test_options_left_empty_are_the_dialect_s_defaults() -> None:
    assert config(with_upstream("{dialect: truss, url: 'http://x', options: }")).upstreams["vllm"].options == Wrapped()


def test_an_empty_key_is_no_key() -> None:
    assert config(with_upstream("{dialect: truss, url: 'http://x', key: '${ABSENT:-}'}")).upstreams["vllm"].key is None


def test_a_configuration_can_not_be_changed() -> None:
    with pytest.raises(ValidationError):
        config(SMALL).server.port = 1


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("250ms", 0.25), ("10m", 600), ("1h", 3600), ("1.5s", 1.5), ("0.1ms", 0.0001)]
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert config(with_server(f"{{head_timeout: {text}}}")).server.head_timeout == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64KiB", 65536), ("32MiB", 33554432), ("9MB", 9000000), ("1GiB", 1 << 30), ("7B", 7), ("7KB", 7000)],
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert config(with_server(f"{{max_body: {text}}}")).server.max_body == size


# --- what is said when it is wrong ---

_LIKE_TIME = "like 60s, 250ms or 10m"
_LIKE_SIZE = "like 64KiB, 32MiB or 8MB"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{idle_timeout: 60}", f"server.idle_timeout: 60: a duration needs a unit, {_LIKE_TIME}"),
        ("{idle_timeout: 1.5}", f"server.idle_timeout: 1.5: a duration needs a unit, {_LIKE_TIME}"),
        ("{idle_timeout: 5 s}", f'server.idle_timeout: "5 s": not a duration; write it {_LIKE_TIME}'),
        ("{idle_timeout: -5s}", f'server.idle_timeout: "-5s": not a duration; write it {_LIKE_TIME}'),
        ("{idle_timeout: infs}", f'server.idle_timeout: "infs": not a duration; write it {_LIKE_TIME}'),
        ("{idle_timeout: 5\u0665s}", f'server.idle_timeout: "5\u0665s": not a duration; write it {_LIKE_TIME}'),
        ("{idle_timeout: 0s}", "server.idle_timeout: must be above 0"),
        ("{idle_timeout: [5s]}", "server.idle_timeout: expected a number, not a list"),
        ("{max_body: 33554432}", f"server.max_body: 33554432: a size needs a unit, {_LIKE_SIZE}"),
        ("{max_body: 32mb}", f'server.max_body: "32mb": not a size; write it {_LIKE_SIZE}'),
        ("{max_body: 0B}", "server.max_body: must be above 0"),
        ("{max_body: }", "server.max_body: expected a whole number, not nothing"),
        ("{port: http}", 'server.port: expected a whole number, not "http"'),
        ("{port: true}", 'server.port: expected a whole number, not "true"'),
        ("{port: 65536}", "server.port: must be at most 65535, not 65536"),
        ("{port: -1}", "server.port: must be at least 0, not -1"),
        ("{prot: 80}", 'server.prot: unknown setting; did you mean "port"?'),
        ("{max_event: 64MiB}", "server.max_event: an event may not be larger than max_answer"),
        (
            "{keep_alive: 0s, first_byte_hold: 5s}",
            "server.first_byte_hold: keep_alive is 0s, so the head always waits for content",
        ),
        ("{keep_alive: never}", 'server.keep_alive: "never": not a duration; write it like 60s, 250ms or 10m'),
        ("{model_hosts: a.b}", 'server.model_hosts: expected a list, not "a.b"'),
        (
            "{model_hosts: [a.b, a/b]}",
            'server.model_hosts[1]: "a/b": not the end of a host name; write it like api.example.com',
        ),
        ("{host: 'a b'}", "server.host: a name is 1 to 256 printable ASCII characters without spaces"),
        ("[]", "server: expected a mapping, not a list"),
    ],
)
def test_a_wrong_server_setting_is_named(settings: str, message: str) -> None:
    assert refusal(with_server(settings)) == [f"routes.yaml:1: {message}"]


_NEEDS_SCHEME = "an address starts with its scheme, like https://host/v1 or http://localhost:8000/v1"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("vllm:8000/v1", _NEEDS_SCHEME),
        ("vllm", _NEEDS_SCHEME),
        ("", _NEEDS_SCHEME),
        ("ftp://vllm/v1", "the scheme of an address is one of http, https, simulator"),
        ("file:///etc/passwd", "the scheme of an address is one of http, https, simulator"),
        (f"https://user:{SECRET}@vllm/v1", "credentials don't belong in an address; give them as key"),
        (f"https://{SECRET}@vllm/v1", "credentials don't belong in an address; give them as key"),
        (f"https://vllm/v1?key={SECRET}", "an address takes no query string"),
        ("https://vllm/v1?", "an address takes no query string"),
        ("https://vllm/v1#top", "an address takes no fragment"),
        ("https:///v1", "the address has no host"),
        ("https://vllm:http/v1", "the host or port of this address can't be read"),
        ("https://vllm:99999/v1", "the host or port of this address can't be read"),
        ("https://[::1/v1", "the host or port of this address can't be read"),
        ("https://vl lm/v1", "an address is ASCII without spaces; percent-encode the rest"),
        ("https://vllm/v1\\r\\nx: y", "an address is ASCII without spaces; percent-encode the rest"),
        ("https://m\u00fcnchen/v1", "an address is ASCII without spaces; percent-encode the rest"),
    ],
)
def test_a_wrong_address_is_explained_and_not_repeated(url: str, message: str) -> None:
    assert refusal(with_upstream(f'{{dialect: openai, url: "{url}"}}')) == [
        f"routes.yaml:3: upstreams.vllm.url: {message}"
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{dialect: opnai, url: 'http://x'}", '.dialect: no dialect "opnai"; did you mean "openai"?'),
        (
            "{dialect: x, url: 'http://x', options: {any: thing}}",
            '.dialect: no dialect "x"; known: openai, anthropic, truss',
        ),
        ("{dialect: openai}", ".url: required, but not given"),
        ("{url: 'http://x'}", ".dialect: required, but not given"),
        ("{dialect: openai, url: 'http://x', kye: a}", '.kye: unknown setting; did you mean "key"?'),
        (
            "{dialect: openai, url: 'http://x', auth: baerer}",
            '.auth: expected "bearer", "api-key", "x-api-key" or "none", not "baerer"',
        ),
        (
            "{dialect: openai, url: 'http://x', key: a, auth: none}",
            ".auth: a key is given, but auth none would never send it",
        ),
        (
            "{dialect: truss, url: 'http://x', options: {inptu: a}}",
            '.options.inptu: unknown setting; did you mean "input"?',
        ),
        (
            "{dialect: truss, url: 'http://x', options: {input: a}}",
            '.options.input: expected "auto", "prompt" or "messages", not "a"',
        ),
        ("{dialect: truss, url: 'http://x', options: {input: messages}}", ".options: no messages today"),
        ("{dialect: truss, url: 'http://x', options: a}", '.options: expected a mapping, not "a"'),
        ("{dialect: openai, url: 'http://x', options: {share: a}}", '.options.share: expected a number, not "a"'),
        (
            "{dialect: openai, url: 'http://x', options: {is_picky: a}}",
            '.options.is_picky: expected true or false, not "a"',
        ),
        ("{dialect: openai, url: 'http://x', options: {fields: a}}", '.options.fields: expected a list, not "a"'),
        (
            "{dialect: openai, url: 'http://x', options: {fields: [a, {}]}}",
            ".options.fields[1]: expected text, not a mapping",
        ),
        ("5", ": expected a mapping, not 5"),
        (
            "{dialect: openai, url: 'http://x', queue: {size: 5}}",
            ".queue: without max_in_flight nothing ever waits",
        ),
        (
            "{dialect: openai, url: 'http://x', max_in_flight: 1, queue: {size: 0, timeout: 5s}}",
            ".queue.timeout: size is 0, so nobody ever waits",
        ),
        ("{dialect: openai, url: 'http://x', max_in_flight: 0}", ".max_in_flight: must be at least 1, not 0"),
    ],
)
def test_a_wrong_upstream_setting_is_named(settings: str, message: str) -> None:
    assert refusal(with_upstream(settings)) == [f"routes.yaml:3: upstreams.vllm{message}"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("vlm", ': no upstream "vlm"; did you mean "vllm"?'),
        ("", ": a route needs targets, or the name of an upstream"),
        ("[a]", ": expected a mapping, not a list"),
        ("{}", ".targets: required, but not given"),
        ("{targets: []}", ".targets: at least one is needed"),
        ("{targets: a}", '.targets: expected a list, not "a"'),
        ("{targets: [a]}", '.targets[0]: expected a mapping, not "a"'),
        ("{targets: [{model: x}]}", ".targets[0].upstream: required, but not given"),
        (
            "{targets: [{upstream: vllm}, {upstream: vlm}]}",
            '.targets[1].upstream: no upstream "vlm"; did you mean "vllm"?',
        ),
        ("{targets: [{upstream: zzz}]}", '.targets[0].upstream: no upstream "zzz"; configured: a, vllm'),
        ("{targets: [{upstream: a, weight: -1}]}", ".targets[0].weight: must be at least 0, not -1"),
        ("{targets: [{upstream: a, weight: 1.5}]}", ".targets[0].weight: expected a whole number, not 1.5"),
        (
            "{targets: [{upstream: a, weight: 0}, {upstream: vllm, weight: 0}]}",
            ".targets: all weights are 0; at least one target needs a weight above 0",
        ),
        (
            "{targets: [{upstream: a, model: x}, {upstream: a, model: x}]}",
            ".targets[1]: the same upstream and model as targets[0]",
        ),
        (
            "{targets: [{upstream: a}], fallback: [{upstream: a}]}",
            ".fallback[0]: the same upstream and model as targets[0]",
        ),
        (
            "{targets: [{upstream: a}, {upstream: a, model: demo}]}",
            ".targets[1]: the same upstream and model as targets[0]",
        ),
        (
            "{targets: [{upstream: a}], fallback: [{upstream: vllm, weight: 2}]}",
            ".fallback[0].weight: unknown setting; known here: upstream, model, context",
        ),
        ("{targets: [{upstream: a}], fallbacks: []}", '.fallbacks: unknown setting; did you mean "fallback"?'),
        (
            "{targets: [{upstream: a}], timeouts: {connect: 5}}",
            f".timeouts.connect: 5: a duration needs a unit, {_LIKE_TIME}",
        ),
        (
            "{targets: [{upstream: a}], timeouts: {first_token: 20m}}",
            ".timeouts.first_token: longer than total (600s), so it would never be reached",
        ),
        (
            "{targets: [{upstream: a}], timeouts: {headers: 90s}}",
            ".timeouts.headers: longer than first_token (60s), so it would never be reached",
        ),
        (
            "{targets: [{upstream: a}], timeouts: {headers: 20s, first_token: 10s}}",
            ".timeouts.headers: longer than first_token (10s), so it would never be reached",
        ),
        (
            "{targets: [{upstream: a}], timeouts: {headers: 20s, total: 10s}}",
            ".timeouts.headers: longer than total (10s), so it would never be reached",
        ),
        (
            "{targets: [{upstream: a}], timeouts: {connect: 3s, headers: 2s}}",
            ".timeouts.connect: longer than headers (2s), so it would never be reached",
        ),
        (
            "{targets: [{upstream: a}], timeouts: {connect: 3s, first_token: 2s}}",
            ".timeouts.connect: longer than first_token (2s), so it would never be reached",
        ),
        (
            "{targets: [{upstream: a}], timeouts: {idle: 5s, total: 2s}}",
            ".timeouts.idle: longer than total (2s), so it would never be reached",
        ),
        (
            "{targets: [{upstream: a}], on_disconnect: stay}",
            '.on_disconnect: "stay": expected cancel, finish, or a time to drain, like drain: 10s',
        ),
        ("{targets: [{upstream: a}], on_disconnect: {}}", ".on_disconnect.drain: required, but not given"),
        (
            "{targets: [{upstream: a}], on_disconnect: {drain: 5}}",
            f".on_disconnect.drain: 5: a duration needs a unit, {_LIKE_TIME}",
        ),
        (
            "{targets: [{upstream: a}], on_disconnect: {drain: 11m}}",
            ".on_disconnect.drain: longer than timeouts.total (600s), so it would never be reached; write finish",
        ),
    ],
)
def test_a_wrong_route_setting_is_named(settings: str, message: str) -> None:
    assert refusal(with_route(settings)) == [f"routes.yaml:5: routes.demo{message}"]


def test_the_same_upstream_twice_is_fine_with_other_models_and_in_patterns() -> None:
    config(with_route("{targets: [{upstream: a, model: x}, {upstream: a, model: y}, {upstream: a}]}"))
    config(with_route("a\n  '*': {targets: [{upstream: a}, {upstream: a, model: '*x'}]}"))


@pytest.mark.parametrize(
    ("setting", "seconds", "told"),
    [("cancel", 0.0, "cancel"), ("finish", math.inf, "finish"), ("{drain: 10s}", 10.0, {"drain": 10.0})],
)
def test_what_becomes_of_an_answer_without_a_client(setting: str, seconds: float, told: object) -> None:
    whole = config(with_route(f"{{targets: [{{upstream: a}}], on_disconnect: {setting}}}"))
    assert whole.routes["demo"].on_disconnect.drain == seconds
    assert summary(whole)["routes"][0]["on_disconnect"] == told
    assert config(with_route("a")).routes["demo"].on_disconnect.drain == 0, "nobody pays for what nobody reads"


def test_a_short_total_needs_no_other_timeout_to_be_lowered() -> None:
    route = config(with_route("{targets: [{upstream: a}], timeouts: {total: 3s}}")).routes["demo"]
    assert route.timeouts.total == 3


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("routes: {a: b}", ["upstreams: required, but not given", 'routes.a: no upstream "b"; configured: none']),
        ("upstreams: {}", ["routes: required, but not given"]),
        ("upstreams: {}\nroutes:", ["routes: at least one is needed"]),
        (
            "upstreams: 5\nroutes: {a: b}",
            ["upstreams: expected a mapping, not 5", 'routes.a: no upstream "b"; configured: none'],
        ),
        (SMALL + "route: {}", ['route: unknown setting; did you mean "routes"?']),
    ],
)
def test_a_wrong_section_is_named(text: str, messages: list[str]) -> None:
    assert [message.split(": ", 1)[1] for message in refusal(text)] == messages


@pytest.mark.parametrize("name", ["a b", "a\\tb", "a\\x07", "m\u00fc", "", "x" * 257])
def test_names_are_printable_ascii_without_spaces(name: str) -> None:
    messages = refusal(with_route(f'a\n  "{name}": a'))
    assert len(messages) == 1
    assert messages[0].endswith(": a name is 1 to 256 printable ASCII characters without spaces")
    assert messages[0].startswith("routes.yaml:6: routes.")
    assert messages[0].isprintable()


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """
server: {port: x}
upstreams:
  a: {dialect: opnai, url: "vllm:8000"}
  b: {dialect: truss, url: "http://x", key: "${MISSING}", options: {input: zz, n: 1}}
  b: {}
routes:
  demo: zz
  x: {targets: [{upstream: c}, {upstream: b, weight: y}]}
"""
    assert refusal(text) == [
        'routes.yaml:2: server.port: expected a whole number, not "x"',
        'routes.yaml:4: upstreams.a.dialect: no dialect "opnai"; did you mean "openai"?',
        f"routes.yaml:4: upstreams.a.url: {_NEEDS_SCHEME}",
        "routes.yaml:5: upstreams.b.key: environment variable MISSING is not set; "
        "export it, or write ${MISSING:-DEFAULT}",
        "routes.yaml:5: upstreams.b.options.n: unknown setting; known here: input",
        'routes.yaml:5: upstreams.b.options.input: expected "auto", "prompt" or "messages", not "zz"',
        "routes.yaml:6: upstreams.b: given twice, first on line 5",
        'routes.yaml:8: routes.demo: no upstream "zz"; configured: a, b',
        'routes.yaml:9: routes.x.targets[0].upstream: no upstream "c"; configured: a, b',
        'routes.yaml:9: routes.x.targets[1].weight: expected a whole number, not "y"',
    ]


def test_a_missing_variable_alone_is_enough_to_refuse() -> None:
    assert refusal(with_upstream("{dialect: openai, url: 'http://x', key: '${MISSING}'}")) == [
        "routes.yaml:3: upstreams.vllm.key: environment variable MISSING is not set; "
        "export it, or write ${MISSING:-DEFAULT}"
    ]


# --- secrets ---


def test_a_key_is_in_no_text_of_the_configuration() -> None:
    whole = config(WHOLE.replace("x: 4.10", "x: '${KEY}'"))
    texts = [repr(whole), str(whole), repr(summary(whole)), repr(warnings(whole))]
    assert not [text for text in texts if SECRET in text]


@pytest.mark.parametrize(
    "text",
    [
        with_upstream("{dialect: openai, url: 'http://x', key: '${KEY} x'}"),
        with_upstream(f"{{dialect: openai, url: 'http://x', key: [{SECRET}]}}"),
        with_upstream(f"{{dialect: openai, url: 'http://x', key: '{SECRET}${{'}}"),
        with_upstream("{dialect: '${KEY}', url: '${KEY}', auth: '${KEY}'}"),
        with_upstream("{dialect: openai, url: 'http://x', options: {retries: '${KEY}', profile: '${KEY}'}}"),
        with_server("{port: '${KEY}', drain: '${KEY}', max_body: '${KEY}', model_hosts: ['${KEY}/']}"),
        with_route("${KEY}"),
        with_route("{targets: [{upstream: '${KEY}', weight: '${KEY}'}], fallback: '${KEY}'}"),
    ],
)
def test_a_secret_is_in_no_message_and_in_no_traceback(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(text)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_value_from_the_environment_is_spoken_of_and_not_shown() -> None:
    assert refusal(with_server("{port: '${KEY}'}")) == [
        "routes.yaml:1: server.port: expected a whole number, not this value"
    ]


@pytest.mark.parametrize("key", ["a b", "a\nx-evil: 1", "a\r", "k\u00e9y", "\x00"])
def test_a_key_that_fits_no_header_is_refused(key: str) -> None:
    assert refusal(with_upstream("{dialect: openai, url: 'http://x', key: '${KEY}'}"), KEY=key) == [
        "routes.yaml:3: upstreams.vllm.key: a key is printable ASCII without spaces and line ends; "
        "this one can't be sent in a header"
    ]


@pytest.mark.parametrize(
    ("url", "is_warned"),
    [
        ("http://vllm:8000/v1", True),
        ("http://10.0.0.7/v1", True),
        ("http://localhost.example.com", True),
        ("https://vllm/v1", False),
        ("http://localhost:8000", False),
        ("http://127.0.0.1:8000", False),
        ("http://[::1]:8000", False),
        ("simulator://", False),
    ],
)
def test_a_key_over_plain_http_to_another_machine_is_warned_of(url: str, is_warned: bool) -> None:
    text = with_upstream(f"{{dialect: openai, url: '{url}', key: '${{KEY}}'}}")
    expected = "upstreams.vllm.url: the key is sent over plain http to another machine"
    assert warnings(config(text)) == ((expected,) if is_warned else ())
    assert warnings(config(text.replace(", key: '${KEY}'", ""))) == ()


# --- files ---


def test_a_file_is_read_and_named_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SMALL)
    assert load(path, {}) == config(SMALL)
    path.write_text(SMALL + "x: 1")
    with pytest.raises(ConfigError, match=r"mine\.yaml:4: x: unknown setting"):
        load(path, {})


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {})
    assert str(caught.value) == f"{tmp_path}: is a directory"


def test_a_file_that_is_not_there_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NoFile, match="no such file; --config names another"):
        load(tmp_path / "absent.yaml", {})


def test_an_endless_file_is_not_read_whole() -> None:
    with pytest.raises(ConfigError, match="/dev/zero: larger than the limit of 1048576 bytes"):
        load(Path("/dev/zero"), {})


def test_the_real_file_in_the_repository_needs_no_key_and_no_network() -> None:
    whole = load(ROOT / "routes.yaml", {})
    assert {upstream.url for upstream in whole.upstreams.values()} == {"simulator://"}
    assert {upstream.dialect for upstream in whole.upstreams.values()} == set(DIALECTS)
    assert {"default", "demo", "demo-anthropic", "demo-responses", "demo-truss"} <= set(whole.routes)
    assert warnings(whole) == ()


def test_the_real_examples_beside_it_are_right_once_uncommented() -> None:
    text = (ROOT / "routes.yaml").read_text()
    lines = [line.replace("  # ", "  ", 1) if line.startswith("  # ") else line for line in text.splitlines()]
    prose = ("  ${NAME} and", "  A profile says")
    whole = parse(
        "\n".join(line for line in lines if not line.startswith(prose)),
        "routes.yaml",
        {"BASETEN_API_KEY": "b", "OPENAI_API_KEY": "o", "ANTHROPIC_API_KEY": "a"},
    )
    assert {"deepseek", "claude-*"} <= set(whole.routes)
    assert {"vllm", "haiku", "baseten-messages", "openai", "openai-responses", "anthropic"} <= set(whole.upstreams)


# --- what the command line prints ---


def test_the_summary_is_plain_and_without_keys() -> None:
    told = summary(config(WHOLE))
    assert told["server"] == {"host": "0.0.0.0", "port": 9000}
    assert told["upstreams"][1] == {
        "name": "baseten",
        "dialect": "anthropic",
        "url": "https://inference.baseten.co",
        "auth": "bearer",
        "has_key": True,
    }
    assert told["routes"][1] == {
        "name": "deepseek",
        "targets": [
            {"upstream": "baseten", "model": "deepseek-ai/DeepSeek-V4-Pro", "context": None, "weight": 9},
            {"upstream": "vllm", "model": "4.10", "context": None, "weight": 1},
        ],
        "fallback": [{"upstream": "haiku", "model": None, "context": None}],
        "balance": "weighted",
        "timeouts": {"connect": 0.25, "headers": None, "first_token": 30.0, "idle": 60.0, "total": 3600.0},
        "retries": {
            "attempts": None,
            "same_target": 1,
            "backoff": 0.25,
            "max_backoff": 5.0,
            "short_retry_after": 1.0,
            "max_retry_after": 10.0,
        },
        "on_disconnect": "cancel",
        "hedge": None,
        "continue_after_cut": False,
        "strict": False,
    }
    assert pickle.loads(pickle.dumps(told)) == told


def definition(name: str) -> Any:
    return schema()["$defs"][name]


def test_the_schema_describes_every_setting() -> None:
    parts = [
        schema(),
        *(definition(name) for name in ("Server", "Upstream", "Target", "WeightedTarget", "Timeouts", "Retries")),
    ]
    parts.append(definition("Route")["anyOf"][1])
    undescribed = [
        name for part in parts for name, setting in part["properties"].items() if not setting.get("description")
    ]
    assert undescribed == []
    assert all(part["additionalProperties"] is False for part in parts)


def test_the_schema_shows_units_defaults_and_the_short_form() -> None:
    connect = definition("Timeouts")["properties"]["connect"]
    assert (connect["type"], connect["default"]) == ("string", "5s")
    assert connect["pattern"].startswith("^([0-9]")
    assert definition("Server")["properties"]["port"]["type"] == ["integer", "string"]
    assert definition("Route")["anyOf"][0]["type"] == "string"


def test_the_schema_has_the_options_of_each_dialect() -> None:
    cases = definition("Upstream")["allOf"]
    assert [case["if"]["properties"]["dialect"]["const"] for case in cases] == ["anthropic", "openai", "truss"]
    options = cases[2]["then"]["properties"]["options"]
    assert options["properties"]["input"]["enum"] == ["auto", "prompt", "messages"]
    assert options["additionalProperties"] is False


def test_the_real_dialects_are_in_the_schema_and_take_no_option_at_all() -> None:
    assert set(definition("Upstream")["properties"]["dialect"]["enum"]) == set(DIALECTS)
    for name in DIALECTS:
        config(with_upstream(f"{{dialect: {name}, url: 'simulator://', options: {{}}}}"))


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        ("{dialect: openai, url: 'http://a/v1', key: one, options: {profile: vllm}}", True),
        ("{dialect: openai, url: 'http://a/v1', key: two}", False),
        ("{dialect: openai, url: 'http://b/v1', key: one}", False),
        ("{dialect: anthropic, url: 'http://a/v1', key: one}", False),
    ],
)
def test_an_upstream_is_known_by_address_dialect_and_credential(changed: str, is_same: bool) -> None:
    """How we treat it, its options say, is not what it is."""
    before = config(with_upstream("{dialect: openai, url: 'http://a/v1', key: one}")).upstreams["vllm"]
    after = config(with_upstream(changed)).upstreams["vllm"]
    assert after.is_same_server(before) is is_same
    assert not after.is_same_server(None)
