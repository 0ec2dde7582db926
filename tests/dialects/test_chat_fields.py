"""What an OpenAI chat upstream of each kind is sent: limits, account, output and the beginning of an answer."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from gateway.dialects import DIALECTS
from gateway.dialects.openai.options import Options, ProfileName
from gateway.dialects.openai.profiles import MEANINGS, PROFILES, SETTINGS, profile_of
from gateway.errors import Unsupported
from tests.dialects.requests import USER, Json, carried, chat, message, predict

SCHEMA: Json = {"type": "object", "properties": {"city": {"type": "string"}}}
CLOSED: Json = {**SCHEMA, "required": ["city"], "additionalProperties": False}
NESTED: Json = {**CLOSED, "properties": {"city": {"anyOf": [{"type": "null"}, SCHEMA]}}}
AS_JSON = {"type": "json_schema", "json_schema": {"name": "place", "schema": CLOSED, "strict": True}}
BEGUN: list[Json] = [USER, {"role": "assistant", "content": "So "}]


# -- profiles --------------------------------------------------------------------------------------------------------


def test_every_kind_of_server_has_its_profile_and_every_setting_its_meaning() -> None:
    assert set(PROFILES) == set(get_args(ProfileName))
    assert set(SETTINGS) == set(MEANINGS) == {field.name for field in fields(Options)} - NO_SETTINGS


NO_SETTINGS = {"profile", "keeps_billing_header"}


def test_an_operator_may_replace_any_setting_of_a_profile() -> None:
    """DESIGN.md §5; also from YAML, where lists stand for tuples."""
    options = TypeAdapter(Options).validate_python({"profile": "vllm", "think_tags": True, "samplers": ["top_k"]})
    profile = profile_of(options)
    assert (profile.think_tags, profile.samplers) == (True, ("top_k",))
    assert profile.prefill == PROFILES["vllm"].prefill
    assert profile_of(Options("sglang")) is PROFILES["sglang"]
    assert not profile_of(Options("openai", strict_tools=False)).strict_tools


@pytest.mark.parametrize("dialect", ["openai", "truss"])
def test_an_operator_who_names_no_such_profile_is_told_so(dialect: str) -> None:
    with pytest.raises(ValueError, match="profile"):
        TypeAdapter(DIALECTS[dialect].options).validate_python({"profile": "llama"})


# -- limits and samplers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "name"), [("generic", "max_tokens"), ("openai", "max_completion_tokens"), ("vllm", "max_tokens")]
)
def test_the_limit_goes_by_the_name_that_the_server_knows(profile: str, name: str) -> None:
    """mapping.md §3.2."""
    body = carried("anthropic", message(max_tokens=7), "openai", profile=profile).body
    assert {key for key in body if key.startswith("max")} == {name}
    assert body[name] == 7


def test_anthropics_top_k_goes_where_it_is_known() -> None:
    """mapping.md §3.2."""
    assert carried("anthropic", message(top_k=5), "openai", profile="baseten").body["top_k"] == 5
    assert carried("anthropic", message(top_k=5), "openai").dropped == ("top_k",)


@pytest.mark.parametrize(("profile", "kept"), [("openai", 4), ("deepseek", 16), ("baseten", 32), ("vllm", 40)])
def test_as_many_stops_as_the_server_takes(profile: str, kept: int) -> None:
    """Pitfall 104."""
    stops = [f"s{i}" for i in range(40)]
    outbound = carried("anthropic", message(stop_sequences=stops), "openai", profile=profile)
    assert outbound.body["stop"] == stops[:kept]
    assert outbound.adapted == (() if kept == 40 else (f"stop_sequences=first_{kept}",))


@pytest.mark.parametrize("asks", [True, False])
def test_usage_is_asked_of_a_stream_where_the_server_can_tell(asks: bool) -> None:
    body = carried("anthropic", message(stream=True), "openai", stream_usage=asks).body
    assert body["stream"] is True
    assert body.get("stream_options") == ({"include_usage": True} if asks else None)


# -- who asks --------------------------------------------------------------------------------------------------------


def test_a_user_id_of_any_form_is_taken_and_shortened() -> None:
    """Pitfall 97: Claude Code's is JSON of 150 characters."""
    long = '{"device_id":"' + "a" * 180 + '@x"}'
    for profile, field in (("generic", "user"), ("openai", "safety_identifier")):
        outbound = carried("anthropic", message(metadata={"user_id": long}), "openai", profile=profile)
        assert len(outbound.body[field]) == 64
        assert outbound.adapted == ("metadata.user_id=hashed",)
        short = carried("anthropic", message(metadata={"user_id": "u-1"}), "openai", profile=profile)
        assert (short.body[field], short.adapted) == ("u-1", ())
    nobody = carried("anthropic", message(metadata={"user_id": "u-1"}), "openai", profile="ollama")
    assert nobody.dropped == ("metadata.user_id",)


@pytest.mark.parametrize(
    ("tier", "profile", "sent", "dropped", "adapted"),
    [
        ("auto", "openai", "auto", (), ()),
        ("standard_only", "openai", "default", (), ("service_tier=default",)),
        ("auto", "vllm", None, ("service_tier",), ()),
    ],
)
def test_service_tiers(tier: str, profile: str, sent: Any, dropped: Any, adapted: Any) -> None:
    """mapping.md §3.2."""
    outbound = carried("anthropic", message(service_tier=tier), "openai", profile=profile)
    assert (outbound.body.get("service_tier"), outbound.dropped, outbound.adapted) == (sent, dropped, adapted)


def test_a_truss_client_reaches_what_only_openai_knows() -> None:
    fields = {"prompt_cache_key": "k" * 80, "verbosity": "low", "service_tier": "flex"}
    body = {"messages": [USER], **fields}
    outbound = carried("truss", body, "openai", profile="openai")
    assert (outbound.body["verbosity"], outbound.body["service_tier"]) == ("low", "flex")
    assert len(outbound.body["prompt_cache_key"]) == 64
    assert outbound.adapted == ("prompt_cache_key=hashed",)
    assert carried("truss", body, "openai").dropped == ("prompt_cache_key", "service_tier", "verbosity")


# -- the form of the answer ------------------------------------------------------------------------------------------


def test_a_schema_gets_a_name_and_is_strict_where_that_is_known() -> None:
    """mapping.md §3.2."""
    body = message(output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    sent = carried("anthropic", body, "openai", profile="vllm").body["response_format"]
    assert sent == {"type": "json_schema", "json_schema": {"name": "output", "schema": SCHEMA}}
    truss = {"messages": [USER], "response_format": AS_JSON}
    assert carried("truss", truss, "openai", profile="openai").body["response_format"] == AS_JSON
    loose = carried("truss", truss, "openai", profile="vllm")
    assert "strict" not in loose.body["response_format"]["json_schema"]


@pytest.mark.parametrize("upstream", ["openai", "responses"])
def test_anthropics_schemas_are_promised_where_openai_can_promise_them(upstream: str) -> None:
    """mapping.md §3.2; openai-chat.md §3: with `strict` a schema that leaves anything open is an error."""
    for schema, is_strict in ((CLOSED, True), (SCHEMA, None), ({**CLOSED, "required": []}, None), (NESTED, None)):
        body = message(output_config={"format": {"type": "json_schema", "schema": schema}})
        outbound = carried("anthropic", body, upstream, **({"profile": "openai"} if upstream == "openai" else {}))
        form = (
            outbound.body["response_format"]["json_schema"] if upstream == "openai" else outbound.body["text"]["format"]
        )
        assert form.get("strict") is is_strict
        assert outbound.adapted == ()


def test_a_server_without_schemas_is_told_in_words() -> None:
    """mapping.md §3: the form of an answer is never dropped in silence."""
    body = message(system="Be kind.", output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    outbound = carried("anthropic", body, "openai", profile="deepseek")
    assert outbound.body["response_format"] == {"type": "json_object"}
    assert outbound.body["messages"][0]["content"].startswith("Be kind.\n\nAnswer with one JSON object")
    assert '"city"' in outbound.body["messages"][0]["content"]
    assert outbound.adapted == ("output_config.format=json_object_and_instruction",)
    with pytest.raises(Unsupported) as raised:
        carried("anthropic", body, "openai", structured="none")
    assert raised.value.param == "output_config.format"


def test_any_json_object_is_asked_in_words_where_there_is_no_field_for_it() -> None:
    body = {"messages": [USER], "response_format": {"type": "json_object"}}
    assert carried("truss", body, "openai").body["response_format"] == {"type": "json_object"}
    outbound = carried("truss", body, "openai", structured="none")
    assert outbound.body["messages"][0]["role"] == "system"
    assert outbound.adapted == ("response_format=instruction",)


# -- the beginning of the answer -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "flags", "marks"),
    [
        (
            "vllm",
            {
                "add_generation_prompt": False,
                "continue_final_message": True,
                "chat_template_kwargs": {"enable_thinking": False},
            },
            {},
        ),
        ("deepseek", {}, {"prefix": True}),
        ("llamacpp", {"chat_template_kwargs": {"enable_thinking": False}}, {}),
        ("openrouter", {}, {}),
    ],
)
def test_an_answers_beginning_in_each_servers_own_way(profile: str, flags: Json, marks: Json) -> None:
    """mapping.md §4.5; pitfall 80: a template that thinks first would put its thoughts behind the beginning."""
    body = carried("anthropic", message(messages=BEGUN), "openai", profile=profile).body
    assert body["messages"][-1].items() >= (BEGUN[1] | marks).items()
    assert {name: body[name] for name in body if name not in ("model", "messages", "max_tokens")} == flags


def test_partial_is_kimis_way() -> None:
    assert carried("anthropic", message(messages=BEGUN), "openai", prefill="partial").body["messages"][-1]["partial"]


@pytest.mark.parametrize(
    ("client", "body", "param"),
    [
        ("anthropic", message(messages=BEGUN), "messages"),
        ("openai", chat(messages=BEGUN, continue_final_message=True), "continue_final_message"),
        ("openai", chat(messages=[USER, {**BEGUN[1], "prefix": True}]), "messages.1.prefix"),
    ],
)
def test_an_answers_beginning_is_never_taken_for_history(client: str, body: Json, param: str) -> None:
    """Pitfall 79."""
    with pytest.raises(Unsupported, match="beginning") as raised:
        carried(client, body, "openai")
    assert raised.value.param == param


def test_a_given_beginning_can_not_be_thought_about() -> None:
    """Pitfall 80."""
    body = message(messages=BEGUN, thinking={"type": "enabled", "budget_tokens": 1024})
    with pytest.raises(Unsupported) as raised:
        carried("anthropic", body, "openai", profile="vllm")
    assert raised.value.param == "thinking"


def test_an_openai_history_may_end_with_the_assistant() -> None:
    """mapping.md §4.5."""
    body = carried("truss", {"messages": BEGUN}, "openai").body
    assert body["messages"] == BEGUN
    assert "continue_final_message" not in body


# -- truss -----------------------------------------------------------------------------------------------------------


def test_a_truss_model_with_a_known_engine_takes_what_that_engine_takes() -> None:
    body = chat(response_format=AS_JSON, logit_bias={"5": 1}, reasoning_effort="low", max_tokens=9, min_p=0.1)
    outbound = carried("openai", body, "truss", profile="vllm")
    assert outbound.body["response_format"]["type"] == "json_schema"
    assert outbound.body["logit_bias"] == {"5": 1}
    assert outbound.body["reasoning_effort"] == "low"
    assert outbound.body["min_p"] == 0.1
    begun = carried("anthropic", message(messages=BEGUN), "truss", profile="vllm")
    assert begun.body["continue_final_message"] is True


def test_a_model_written_by_hand_is_sent_no_names_it_may_not_know() -> None:
    outbound = carried("openai", chat(reasoning_effort="low"), "truss")
    assert outbound.body == {"messages": [USER]}
    assert outbound.dropped == ("reasoning_effort",)
    told = carried("openai", chat(reasoning_effort="low"), "truss", reasoning="effort")
    assert told.body["reasoning_effort"] == "low"
    prompted = carried("truss", predict(reasoning_effort="low"), "truss", input="prompt", profile="vllm")
    assert (prompted.body, prompted.dropped) == ({"prompt": "Hi"}, ("reasoning_effort",))
