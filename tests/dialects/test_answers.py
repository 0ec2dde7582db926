"""Whole answers and streams are one thing: folded, unfolded, and read by the official SDKs in strict mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import anthropic
import httpx2
import openai
import orjson
import pytest
from anthropic.types import Message, RawMessageDeltaEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import ResponseCompletedEvent, ResponseFailedEvent, ResponseIncompleteEvent

from gateway.dialects import DIALECTS
from gateway.dialects.sealing import FOREIGN, Sealer
from gateway.dialects.tools import wrap_custom
from gateway.errors import Kind, UpstreamError
from gateway.neutral.events import BlockKind, Citation, Event, Failed, Finish, Reason, Start
from gateway.neutral.request import OpaqueValue
from gateway.neutral.response import Block, Response, fold
from tests.dialects.cases import CASES, STAMP, Case, asked, dump, sequence

LOSSES: dict[str, Callable[[Response], Response]] = {
    "openai": lambda answer: read_by_openai(answer),
    "anthropic": lambda answer: read_by_anthropic(answer),
    "responses": lambda answer: read_by_responses(answer),
}
SUCCESSES = [case for case in CASES if case.is_success]
FAILURES = [case for case in CASES if not case.is_success]
WITHOUT_FREE_TEXT = [
    case for case in SUCCESSES if all(block.call_kind != "custom" for block in fold(case.events).blocks)
]
"""What may come to Anthropic's clients: they have no tools that take free text."""
WITHOUT_TOOLS = [case for case in SUCCESSES if all(block.kind != "tool" for block in fold(case.events).blocks)]

UNKNOWN_TO_SDK = [case for case in CASES if str(case) == "anthropic-unknown_blocks"]
"""Its blocks go to Anthropic clients as they came, whether or not this version of the SDK knows them."""


# -- one answer, two forms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", LOSSES)
@pytest.mark.parametrize("case", SUCCESSES, ids=str)
def test_a_whole_answer_says_what_its_stream_says(case: Case, client: str) -> None:
    dialect = DIALECTS[client]
    whole = sequence(dialect.load(dump(client, case.events), dialect.options()))
    decoder = dialect.decoder(dialect.options())
    streamed = sequence([*decoder.feed(case.output(client)), *decoder.eof(is_framed=True)[1]])
    expected = WHOLE[client](fold(streamed))
    assert essence(whole, has_usage=is_counted(case)) == spelled(expected, has_usage=is_counted(case))


@pytest.mark.parametrize("client", LOSSES)
@pytest.mark.parametrize("case", SUCCESSES, ids=str)
def test_a_client_reads_what_was_said_up_to_what_its_dialect_loses(case: Case, client: str) -> None:
    """`Decoder` undoes `Encoder`, and `load` undoes `dump` (the test above)."""
    dialect = DIALECTS[client]
    decoder = dialect.decoder(dialect.options())
    read = sequence([*decoder.feed(case.output(client)), *decoder.eof(is_framed=True)[1]])
    expected = LOSSES[client](fold(case.events))
    assert essence(read, has_usage=is_counted(case)) == spelled(expected, has_usage=is_counted(case))


@pytest.mark.parametrize("case", WITHOUT_TOOLS, ids=str)
def test_a_truss_client_gets_the_text_whole_and_streamed(case: Case) -> None:
    answer = fold(case.events)
    text = answer.text() + answer.text(BlockKind.REFUSAL)
    assert dump("truss", case.events) == text
    assert case.output("truss") == text.encode()


def test_a_truss_client_that_sent_messages_gets_openais_object() -> None:
    case = next(case for case in SUCCESSES if str(case) == "openai-golden")
    request = replace(asked("truss"), form="sse")
    truss, chat = DIALECTS["truss"], DIALECTS["openai"]
    answer = fold(case.events)
    assert truss.dump(answer, request, STAMP) == chat.dump(answer, asked("openai"), STAMP)
    assert truss.encoder(request, STAMP).encode(case.events) == case.output("openai")


def test_a_tool_call_has_no_place_in_a_raw_answer() -> None:
    case = next(case for case in SUCCESSES if str(case) == "openai-golden")
    with pytest.raises(UpstreamError, match="called a tool"):
        dump("truss", case.events)


@pytest.mark.parametrize("case", FAILURES, ids=str)
def test_a_failed_answer_can_not_be_folded(case: Case) -> None:
    with pytest.raises(UpstreamError):
        fold(case.events)


def test_a_call_cut_by_length_keeps_what_came_of_its_arguments() -> None:
    """Pitfalls 25 and 82: whole, Anthropic needs an object, so the text is kept inside one."""
    case = next(case for case in SUCCESSES if str(case) == "openai-length_in_call")
    call = dump("openai", case.events)["choices"][0]["message"]["tool_calls"][0]
    assert call["function"]["arguments"] == '{"city":"Os'
    assert dump("anthropic", case.events)["content"][0]["input"] == {"_raw": '{"city":"Os'}


def test_openai_leaves_unknown_usage_out_and_anthropic_estimates_it() -> None:
    """mapping.md §7.2."""
    response = Response(Start(), [Block(BlockKind.TEXT, "x" * 40)], Finish(Reason.STOP))
    assert "usage" not in DIALECTS["openai"].dump(response, asked("openai"), STAMP)
    usage = DIALECTS["anthropic"].dump(response, asked("anthropic"), STAMP)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (asked("anthropic").estimate_tokens(), 10)


def test_an_openai_message_without_text_is_null_with_calls_and_empty_without() -> None:
    """openai-chat.md §4; mapping.md §9.1: usage only, no content."""
    call = Block(BlockKind.TOOL, "", id="call_a", name="now")
    for blocks, content in (([call], None), ([], "")):
        body = DIALECTS["openai"].dump(Response(Start(), blocks, Finish(Reason.STOP)), asked("openai"), STAMP)
        assert body["choices"][0]["message"]["content"] == content
        assert ("tool_calls" in body["choices"][0]["message"]) is bool(blocks)


def test_an_openai_message_has_the_seals_of_its_reasoning_beside_the_text() -> None:
    """mapping.md §6.2: a client that brings its message back brings the signature back too, also of a whole answer."""
    seal, hidden = OpaqueValue("anthropic", "S"), OpaqueValue("anthropic", "D")
    blocks = [
        Block(BlockKind.REASONING, "Hm.", signature=seal),
        Block(BlockKind.REASONING, "Bare."),
        Block(BlockKind.REDACTED, payload=hidden),
        Block(BlockKind.TEXT, "Yes"),
    ]
    body = DIALECTS["openai"].dump(Response(Start(), blocks, Finish(Reason.STOP)), asked("openai"), STAMP)
    message = body["choices"][0]["message"]
    assert message["reasoning_content"] == "Hm.Bare."
    assert message["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hm.", "signature": "S", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "text": "Bare.", "index": 1},
        {"type": "reasoning.encrypted", "data": "D", "format": "anthropic-claude-v1", "index": 2},
    ]


# -- what is compared ------------------------------------------------------------------------------------------------


def is_counted(case: Case) -> bool:
    """Whether the upstream told the counts; otherwise each side estimates."""
    usage = fold(case.events).usage
    return usage is not None and bool(usage.input) and usage.output is not None


def essence(events: list[Event], *, has_usage: bool) -> dict[str, Any]:
    return spelled(fold(events), has_usage=has_usage)


def spelled(answer: Response, *, has_usage: bool) -> dict[str, Any]:
    """What an answer says: blocks, reason and counts, but not ids and times, which are each side's own."""
    usage = answer.usage
    told: dict[str, Any] = {
        "blocks": [
            (b.kind, argument_object(b), b.id, b.name, opened(b.payload), opened(b.signature)) for b in answer.blocks
        ],
        "citations": [(c.url, c.title) if c.url else c.citation for block in answer.blocks for c in block.citations],
        "finish": (answer.finish.reason, answer.finish.stop_sequence),
    }
    if has_usage and usage is not None:
        told["usage"] = (usage.input, usage.output, usage.cache_read or 0, usage.cache_write or 0, usage.reasoning or 0)
    return told


def opened(value: Any) -> Any:
    """What a seal holds: a token of the gateway's is as good as what is in it."""
    if not isinstance(value, OpaqueValue):
        return value
    data = value.data
    if value.format == "openai-encrypted" and data.startswith("["):
        _, data = orjson.loads(data)
    inside = Sealer().open(data)
    if inside is None or inside == FOREIGN:
        return value.format, data
    return inside.format.removeprefix("redacted:"), opened(inside)[1]


def argument_object(block: Block) -> Any:
    """Arguments count as what they parse to; no arguments are none."""
    if block.kind is not BlockKind.TOOL:
        return block.text
    try:
        arguments = orjson.loads(block.text or "{}")
        return arguments.get("_raw", arguments)  # a cut call, whole: the test for it is above
    except orjson.JSONDecodeError:
        return block.text


def read_by_openai(answer: Response) -> Response:
    """What LOSSY says of OpenAI, as a rule: only web pages are cited, no foreign blocks, fewer reasons, one text."""
    blocks = [
        replace(as_function(b), citations=[cited for cited in b.citations if cited.url])
        for b in answer.blocks
        if b.kind is not BlockKind.OPAQUE and (b.text or b.signature or b.kind is not BlockKind.REASONING)
    ]
    blocks = joined_texts(blocks)
    tools = [b for b in blocks if b.kind is BlockKind.TOOL]
    reasons = {
        Reason.REFUSAL: Reason.CONTENT_FILTER,
        Reason.PAUSE: Reason.STOP,
        Reason.CONTEXT_WINDOW: Reason.LENGTH,
    }
    finish = answer.finish
    if finish.reason is Reason.STOP_SEQUENCE and (tools or not finish.stop_sequence):
        finish = Finish(Reason.TOOL_CALLS if tools else Reason.STOP)
    stop = finish.stop_sequence if finish.reason is Reason.STOP_SEQUENCE else None
    return replace(answer, blocks=blocks, finish=Finish(reasons.get(finish.reason, finish.reason), stop))


def joined_texts(blocks: list[Block]) -> list[Block]:
    """Texts with nothing between them: nobody can tell where one ended."""
    joined: list[Block] = []
    for block in blocks:
        if joined and joined[-1].kind is block.kind is BlockKind.TEXT:
            last = joined.pop()
            block = replace(last, text=last.text + block.text, citations=[*last.citations, *block.citations])
        joined.append(block)
    return joined


def as_function(block: Block) -> Block:
    """A call with free text, for a client that declared no such tool."""
    return replace(block, text=wrap_custom(block.text)) if block.call_kind == "custom" else block


def as_one_message(answer: Response) -> Response:
    """OpenAI's whole message has one text, in front of its calls."""
    ranks = {BlockKind.REASONING: 0, BlockKind.REDACTED: 0, BlockKind.TEXT: 1, BlockKind.REFUSAL: 2, BlockKind.TOOL: 3}
    blocks: list[Block] = []
    for block in sorted(answer.blocks, key=lambda block: ranks[block.kind]):
        last = blocks[-1] if blocks else None
        if last and last.kind is block.kind and block.kind in _JOINED and not last.signature:
            citations = [*last.citations, *block.citations]
            blocks[-1] = replace(last, text=last.text + block.text, signature=block.signature, citations=citations)
        else:
            blocks.append(block)
    return replace(answer, blocks=blocks)


_JOINED = (BlockKind.REASONING, BlockKind.TEXT, BlockKind.REFUSAL)


def as_it_is(answer: Response) -> Response:
    return answer


def read_by_anthropic(answer: Response) -> Response:
    """What LOSSY says of Anthropic: refusals are text, bare reasoning gets a seal of ours, notes are left out."""
    answer = replace(answer, blocks=[replace(b, citations=_anthropics(b)) for b in answer.blocks])
    blocks = [
        replace(b, kind=BlockKind.TEXT)
        if b.kind is BlockKind.REFUSAL
        else replace(b, signature=b.signature or OURS)
        if b.kind is BlockKind.REASONING
        else replace(b, citations=[c for c in b.citations if c.dialect == "anthropic"])
        for b in answer.blocks
    ]
    reasons = {Reason.CONTENT_FILTER: Reason.REFUSAL}
    reason = answer.finish.reason
    return replace(answer, blocks=blocks, finish=replace(answer.finish, reason=reasons.get(reason, reason)))


def _anthropics(block: Block) -> list[Citation]:
    return [cited for cited in block.citations if cited.dialect == "anthropic"]


OURS = OpaqueValue("anthropic", "gw1.eyJvIjoiZ2F0ZXdheSIsImYiOiJub25lIn0")


def read_by_responses(answer: Response) -> Response:
    """What LOSSY says of Responses: no foreign blocks, web citations only, sealed thoughts without text."""
    blocks = [
        replace(b, kind=BlockKind.REASONING, payload=None, signature=b.payload)
        if b.kind is BlockKind.REDACTED and isinstance(b.payload, OpaqueValue)
        else replace(b, citations=[as_annotation(c, b) for c in b.citations if c.dialect == "responses" or c.url])
        for b in answer.blocks
        if b.kind is not BlockKind.OPAQUE
    ]
    has_refusal = any(b.kind is BlockKind.REFUSAL for b in blocks)
    has_calls = any(b.kind is BlockKind.TOOL for b in blocks)
    complete = Reason.REFUSAL if has_refusal else Reason.TOOL_CALLS if has_calls else Reason.STOP
    incomplete = {Reason.CONTEXT_WINDOW: Reason.LENGTH}
    reason = incomplete.get(answer.finish.reason, answer.finish.reason)
    is_cut = reason in (Reason.LENGTH, Reason.CONTENT_FILTER)
    return replace(answer, blocks=blocks, finish=Finish(reason if is_cut else complete))


def as_annotation(citation: Citation, block: Block) -> Citation:
    """An address is all that another dialect's citation keeps, over the whole text."""
    if citation.dialect == "responses":
        return citation
    named = {"title": citation.title, "url": citation.url}
    told = {"type": "url_citation", "start_index": 0, "end_index": len(block.text), **named}
    return replace(citation, citation=told)


WHOLE = {"openai": as_one_message, "anthropic": as_it_is, "responses": as_it_is}


# -- the official SDKs -----------------------------------------------------------------------------------------------

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}


Answers = list[tuple[bytes, dict[str, str]]]


def transport(answers: Answers) -> httpx2.MockTransport:
    """Gives these answers, one a call."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        body, headers = answers.pop(0)
        return httpx2.Response(200, headers=headers, content=body)

    return httpx2.MockTransport(answer)


@pytest.fixture(scope="module")
def answers() -> Answers:
    """What the SDKs' next calls are answered with."""
    return []


@pytest.fixture(scope="module")
def chat_sdk(answers: Answers) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        api_key="key",
        base_url="http://gateway/v1",
        http_client=httpx2.Client(transport=transport(answers)),
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


@pytest.fixture(scope="module")
def message_sdk(answers: Answers) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        api_key="key",
        base_url="http://gateway",
        http_client=httpx2.Client(transport=transport(answers)),
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


MESSAGES: list[Any] = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("case", SUCCESSES, ids=str)
def test_openais_sdk_takes_every_chunk_and_every_whole_answer(
    case: Case, chat_sdk: openai.OpenAI, answers: Answers
) -> None:
    """Strict validation; pitfalls 7, 8, 9, 15, 17, 27."""
    answers[:] = [(case.output("openai"), SSE), (orjson.dumps(dump("openai", case.events)), JSON)]
    chunks = list(chat_sdk.chat.completions.create(model="demo", messages=MESSAGES, stream=True))
    whole = chat_sdk.chat.completions.create(model="demo", messages=MESSAGES)
    assert chunks
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in chunks)
    assert isinstance(whole, ChatCompletion)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == (whole.choices[0].message.content or "")


@pytest.mark.parametrize("case", SUCCESSES, ids=str)
def test_openais_stream_helper_builds_the_whole_answer(case: Case, chat_sdk: openai.OpenAI, answers: Answers) -> None:
    """Pitfalls 15, 17, 93: the helper is the strictest reader of tool calls."""
    answer = fold(case.events)
    if answer.finish.reason in (Reason.LENGTH, Reason.CONTEXT_WINDOW, Reason.CONTENT_FILTER, Reason.REFUSAL):
        return  # the helper raises for these by design
    answers[:] = [(case.output("openai"), SSE)]
    with chat_sdk.chat.completions.stream(model="demo", messages=MESSAGES) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls or []
    blocks = [block for block in answer.blocks if block.kind is BlockKind.TOOL]
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        (block.id, block.name, as_function(block).text or "{}") for block in blocks
    ]


@pytest.mark.parametrize("case", [case for case in SUCCESSES if case not in UNKNOWN_TO_SDK], ids=str)
def test_anthropics_sdk_takes_every_event_and_every_whole_answer(
    case: Case, message_sdk: anthropic.Anthropic, answers: Answers
) -> None:
    """Strict validation; pitfalls 16, 18, 33, 34, 89, 116."""
    answers[:] = [(case.output("anthropic"), SSE), (orjson.dumps(dump("anthropic", case.events)), JSON)]
    events = list(message_sdk.messages.create(model="demo", max_tokens=64, messages=MESSAGES, stream=True))
    whole = message_sdk.messages.create(model="demo", max_tokens=64, messages=MESSAGES)
    assert events[-1].type == "message_stop"
    assert sum(isinstance(event, RawMessageDeltaEvent) for event in events) == 1
    assert isinstance(whole, Message)


@pytest.mark.parametrize("case", [case for case in WITHOUT_FREE_TEXT if case not in UNKNOWN_TO_SDK], ids=str)
def test_anthropics_stream_helper_builds_the_whole_answer(
    case: Case, message_sdk: anthropic.Anthropic, answers: Answers
) -> None:
    answers[:] = [(case.output("anthropic"), SSE)]
    with message_sdk.messages.stream(model="demo", max_tokens=64, messages=MESSAGES) as stream:
        final = stream.get_final_message()
    whole = dump("anthropic", case.events)
    if fold(case.events).finish.reason is not Reason.LENGTH:  # cut arguments: the helper reads what it can
        assert [_content(block.to_dict()) for block in final.content] == [_content(b) for b in whole["content"]]
    assert final.stop_reason == whole["stop_reason"]
    assert final.usage.output_tokens == whole["usage"]["output_tokens"]


def _content(block: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if value is not None and name != "parsed_output"}


@pytest.mark.parametrize("case", SUCCESSES, ids=str)
def test_openais_sdk_takes_every_response_event_and_every_whole_response(
    case: Case, chat_sdk: openai.OpenAI, answers: Answers
) -> None:
    """Strict validation; pitfalls 117 and 119."""
    answers[:] = [(case.output("responses"), SSE), (orjson.dumps(dump("responses", case.events)), JSON)]
    events = list(chat_sdk.responses.create(model="demo", input="Hi", stream=True))
    whole = chat_sdk.responses.create(model="demo", input="Hi")
    final = events[-1]
    assert isinstance(final, ResponseCompletedEvent | ResponseIncompleteEvent)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.response.to_dict() == whole.to_dict(), "streamed and whole, an answer is the same to the last field"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text


@pytest.mark.parametrize("case", SUCCESSES, ids=str)
def test_openais_response_stream_helper_builds_the_whole_response(
    case: Case, chat_sdk: openai.OpenAI, answers: Answers
) -> None:
    """Pitfall 117: it takes the events in one order only, and every id twice the same."""
    answers[:] = [(case.output("responses"), SSE)]
    with chat_sdk.responses.stream(model="demo", input="Hi") as stream:
        events = list(stream)
        if events[-1].type != "response.completed":
            return  # the helper has no final response of a cut one, by design
        final = stream.get_final_response()
    told = fold(case.events)
    calls = [item for item in final.output if item.type in ("function_call", "custom_tool_call")]
    assert [(call.call_id, call.name) for call in calls] == [
        (block.id, block.name) for block in told.blocks if block.kind is BlockKind.TOOL
    ]
    assert final.output_text == told.text()


@pytest.mark.parametrize("case", FAILURES, ids=str)
def test_the_sdks_raise_where_an_answer_failed(
    case: Case, chat_sdk: openai.OpenAI, message_sdk: anthropic.Anthropic, answers: Answers
) -> None:
    """Pitfalls 43, 46, 47: the one thing that a user must notice."""
    answers[:] = [(case.output("openai"), SSE), (case.output("anthropic"), SSE)]
    with pytest.raises(openai.APIError):
        list(chat_sdk.chat.completions.create(model="demo", messages=MESSAGES, stream=True))
    with pytest.raises(anthropic.APIStatusError):
        list(message_sdk.messages.create(model="demo", max_tokens=64, messages=MESSAGES, stream=True))


@pytest.mark.parametrize("case", FAILURES, ids=str)
def test_a_failed_response_is_its_last_event(case: Case, chat_sdk: openai.OpenAI, answers: Answers) -> None:
    """Pitfall 48. The SDK raises nothing for it: the event itself says what happened."""
    answers[:] = [(case.output("responses"), SSE)]
    events: list[Any] = []
    failed = case.events[-1]
    assert isinstance(failed, Failed)
    is_known = failed.error.kind not in (Kind.CONTEXT_LENGTH, Kind.BILLING)  # agents need codes the SDK has not
    with nullcontext() if is_known else pytest.raises(openai.APIResponseValidationError):
        events += chat_sdk.responses.create(model="demo", input="Hi", stream=True)
        assert isinstance(events[-1], ResponseFailedEvent)
        assert events[-1].response.error is not None
        assert events[-1].response.id == events[0].response.id
