"""Frames like the one before are read by template: what comes of it is what comes of decoding each of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import pairwise, product
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dialects.anthropic.decoding import Decoder as MessageDecoder
from gateway.dialects.anthropic.options import Options as MessageOptions
from gateway.dialects.openai.decoding import Decoder as ChatDecoder
from gateway.dialects.openai.options import Options as ChatOptions
from gateway.dialects.responses.decoding import Decoder as ResponseDecoder
from gateway.dialects.responses.options import Options as ResponsesOptions
from gateway.dialects.stream import StreamDecoder
from gateway.dialects.template import MAX_LEARNED, Place
from gateway.dialects.truss.decoding import RawDecoder
from gateway.dialects.truss.options import Options as TrussOptions
from gateway.errors import Truncated
from gateway.neutral.pieces import ContentPiece, Piece, ToolPiece
from gateway.wire import sse

Json = dict[str, Any]


class Counting(StreamDecoder):
    """Counts the frames that are decoded, and those that are thought of learning from."""

    reads = 0
    places = 0

    def read(self, frame: sse.Frame) -> list[Piece]:
        self.reads += 1
        return super().read(frame)  # type: ignore[safe-super]

    def place(self, body: Json) -> Place | None:
        self.places += 1
        return super().place(body)


class Chat(Counting, ChatDecoder):
    pass


class Message(Counting, MessageDecoder):
    pass


class Responses(Counting, ResponseDecoder):
    pass


class Without(StreamDecoder):
    """Knows no place of any text, so that each frame is decoded."""

    def place(self, body: Json) -> Place | None:
        return None


class SlowChat(Without, ChatDecoder):
    pass


class SlowMessage(Without, MessageDecoder):
    pass


class SlowResponses(Without, ResponseDecoder):
    pass


THINKING: Final = ChatOptions(think_tags=True)
DECODERS: Final[dict[str, tuple[Callable[[], Counting], Callable[[], StreamDecoder]]]] = {
    "openai": (lambda: Chat(ChatOptions()), lambda: SlowChat(ChatOptions())),
    "tags": (lambda: Chat(THINKING), lambda: SlowChat(THINKING)),
    "anthropic": (lambda: Message(MessageOptions()), lambda: SlowMessage(MessageOptions())),
    "responses": (lambda: Responses(ResponsesOptions()), lambda: SlowResponses(ResponsesOptions())),
}

Layout = tuple[bytes, bytes]
"""What stands before and behind the JSON of a text."""


def chat(before: str, after: str = "") -> Layout:
    """A chunk with one delta."""
    head = 'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{'
    return (head + before).encode(), (after + '},"finish_reason":null}]}\n\n').encode()


def named(event: str, before: str, after: str, end: str = "\n") -> Layout:
    """An event with a name, which is the type of its data too."""
    head = f'event: {event}{end}data: {{"type":"{event}",'
    return (head + before).encode(), (after + f"}}{end}{end}").encode()


def block_delta(index: int, kind: str, field: str, end: str = "\n") -> Layout:
    return named("content_block_delta", f'"index":{index},"delta":{{"type":"{kind}","{field}":', "}", end)


def item_delta(name: str, before: str = "", after: str = "") -> Layout:
    return named(f"response.{name}.delta", f'"item_id":"i","output_index":0,{before}"delta":', after)


CHAT: Final = (
    chat('"content":'),
    chat('"role":"assistant","content":'),
    chat('"content":"assistant","content":'),
    chat('"content":', ',"content":"assistant"'),
    chat('"content":', ',"refusal":null'),
    chat('"content":', ',"refusal":"no"'),
    chat('"content":"a","reasoning":'),
    chat('"reasoning":"a","reasoning_content":'),
    chat('"content":null,"reasoning_content":'),
    chat('"content":["a",', "]"),
    chat('"tool_calls":[{"index":0,"function":{"arguments":', "}}]"),
    chat('"tool_calls":[{"index":1,"function":{"arguments":', "}}]"),
    chat('"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":', "}}]"),
    chat('"tool_calls":[{"index":0,"function":{"arguments":"a"},"custom":{"input":', "}}]"),
    chat('"tool_calls":[{"index":0,"custom":{"input":"a"},"function":{"arguments":', "}}]"),
    (b'data: {"choices": [{"delta": {"content": ', b'}}], "usage": {"completion_tokens": 1}}\n\n'),
    (b'data: {"choices": [{"delta": {"content": ', b'}}], "obfuscation": "aB1"}\n\n'),
    (b'data: {"choices": [{"delta": {"content": ', b'}}], "obfuscation": "aB23"}\n\n'),
    (b'data: {"created": 7, "choices": [{"delta": {"content": ', b'}}], "obfuscation": ""}\n\n'),
    (b'data: {"created": 8, "choices": [{"delta": {"content": ', b'}}], "obfuscation": "x\\"y"}\n\n'),
    (b'data: {"created": 08, "choices": [{"delta": {"content": ', b'}}], "obfuscation": "x"}\n\n'),
    (b'data: {"created": -8, "choices": [{"delta": {"content": ', b'}}], "obfuscation": 7}\n\n'),
    (b'data:{"choices":[{"delta":{"content":', b"}}]}\r\n\r\n"),
    (b'\xef\xbb\xbfdata: {"choices":[{"delta":{"content":', b"}}]}\n\n"),
    (b'data: {"choices":\ndata: [{"delta":{"content":', b"}}]}\n\n"),
    (b'data: {"choices":[{"delta":{"content":', b"}}]}\r\r"),
    (b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop","more":', b"}]}\n\n"),
    (b'data: {"choices":[{"index":1,"delta":{"content":', b"}}]}\n\n"),
    (b'data: {"choices":[{"delta":{"content":"a"}},{"index":1,"delta":{"content":', b"}}]}\n\n"),
    (b'event: "a\ndata: {"choices":[{"delta":{"content":', b"}}]}\n\n"),
    (b": keep-alive", b"\n\n"),
)
MESSAGE: Final = (
    block_delta(0, "text_delta", "text"),
    block_delta(0, "text_delta", "text", "\r\n"),
    (b"\xef\xbb\xbf" + block_delta(0, "text_delta", "text")[0], block_delta(0, "text_delta", "text")[1]),
    (block_delta(0, "text_delta", "text")[0].replace(b"data", b"id: 7\ndata"), block_delta(0, "text_delta", "text")[1]),
    block_delta(0, "thinking_delta", "thinking"),
    block_delta(1, "input_json_delta", "partial_json"),
    block_delta(2, "text_delta", "text"),
    block_delta(2, "citations_delta", "citation"),
    block_delta(2, "whatever", "text"),
    named("content_block_start", '"index":0,"content_block":{"type":"text","text":', "}"),
    named("content_block_start", '"index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":', "}"),
    named("content_block_start", '"index":2,"content_block":{"type":"new","text":', "}"),
    named("content_block_stop", '"index":0,"more":', ""),
    named("content_block_stop", '"index":2,"more":', ""),
    named("ping", '"more":', ""),
    named("error", '"error":', ""),
)
RESPONSES: Final = (
    item_delta("output_text", '"content_index":0,'),
    item_delta("output_text", '"content_index":1,'),
    *(item_delta("output_text", "", f',"logprobs":[],"sequence_number":{n}') for n in (1, 2, 30, 4000)),
    *(item_delta("output_text", f'"sequence_number":{n},', f',"obfuscation":"{"x" * n}"') for n in range(6)),
    item_delta("output_text", '"sequence_number":1' + "0" * 18 + ","),
    item_delta("output_text", '"sequence_number":1' + "0" * 17 + ","),
    item_delta("output_text", "", ',"sequence_number":1.5'),
    item_delta("output_text", "", ',"sequence_number":1,"sequence_number":2'),
    item_delta("reasoning_text"),
    item_delta("reasoning_summary_text", '"summary_index":0,'),
    item_delta("reasoning_summary_text", '"summary_index":1,'),
    item_delta("refusal"),
    item_delta("function_call_arguments"),
    item_delta("custom_tool_call_input"),
    named("response.output_text.done", '"item_id":"i","output_index":0,"text":', ""),
    named("response.output_item.done", '"item":{"id":"i","type":"message","content":[]},"more":', ""),
    (b'event: response.output_text.delta\ndata: {"item_id":"i","delta":', b"}\n\n"),
)
LAYOUTS: Final = {"openai": CHAT, "tags": CHAT[:5], "anthropic": MESSAGE, "responses": RESPONSES}

TEXTS: Final = st.text(max_size=6) | st.sampled_from(
    ['"', "\\", '\\"', "\u2028", "😀", "\0", "\n", "assistant", "content", ".", ",", "a.", "}", "<think>", "</think>"]
)
TRAPS: Final = (
    *(b'"', b"", b'""', b"null", b"1", b"{}", b'["a"]', b' "a"', b'"a" ', b'\n"a"', b'\n\n"a"', b'"a"\n\n', b'"a\nb"'),
    *(b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\\x"', b'"\\u12"', b'"a\\"', b'"a" "b"', b'"a","content":"b"'),
    *(b'"a":"b"', b'"\xff"', b'"\xed\xa0\x80"', b'"\xf0\x9f"', b'"\x01"', b'"a\rb"', b'"a\x00b"', b'"a\tb"'),
    *(b'"a"},"x":{"y":"b"', b'"a"/**/', b"'a'", b'"a"\ndata: ', b'"\\u0000"', b'"\\/"', b'"a', b'a"', b'"\\\\"'),
    *(b'"a"}}]}\n\ndata: {"choices":[{"delta":{"content":"b"', b'"\xe2\x80\xa8"', b'"<think>"', b'"</think>"', b'","'),
)
"""The JSON of texts, and what only looks like it."""
FIRSTS: Final = (b'"a"', b'"assistant"')
"""Texts that are learned from; some stand in several places."""
LITERALS: Final = st.one_of(
    TEXTS.map(lambda text: json.dumps(text).encode()),
    TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False).encode()),
    st.sampled_from(TRAPS),
    st.binary(max_size=5).map(lambda junk: b'"' + junk + b'"'),
)


@st.composite
def streams(draw: st.DrawFn, dialect: str) -> list[bytes]:
    """Frames in chunks: runs of one layout, in one read each, cut, or several in one."""
    layouts = LAYOUTS[dialect]
    frames: list[bytes] = []
    for _ in range(draw(st.integers(1, 4))):
        before, after = draw(st.sampled_from(layouts))
        run = draw(st.lists(LITERALS, min_size=1, max_size=4))
        frames += [before + literal + after for literal in run]
    how = draw(st.sampled_from(["frames", "pairs", "cut", "mutated"]))
    if how == "frames":
        return frames
    if how == "pairs":
        return [b"".join(frames[at : at + 2]) for at in range(0, len(frames), 2)]
    if how == "mutated":
        at = draw(st.integers(0, len(frames) - 1))
        frames[at] = mutated(draw, frames[at])
        return frames
    data = b"".join(frames)
    edges = [0, *sorted(draw(st.lists(st.integers(0, len(data)), max_size=6))), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def mutated(draw: st.DrawFn, frame: bytes) -> bytes:
    """A frame with some of its bytes put in the place of others."""
    at, size = draw(st.integers(0, len(frame))), draw(st.integers(0, 3))
    return frame[:at] + draw(st.binary(max_size=3)) + frame[at + size :]


# -- as if every frame were decoded --------------------------------------------------------------------------------


def check(dialect: str, chunks: list[bytes]) -> None:
    """Fed, observed and asked for more: what is told and relayed is what comes of decoding each frame."""
    make_fast, make_slow = DECODERS[dialect]
    fed, observed, asked, slow = make_fast(), make_fast(), make_fast(), make_slow()
    last: list[Piece] = []
    for chunk in chunks:
        expected, wanted = slow.observe(chunk)
        assert shown(observed.observe(chunk)[1]) == shown(fed.feed(chunk)) == shown(wanted)
        if texts := asked.more(chunk):
            raw, pieces = chunk, again(last[-1], texts)
        else:
            raw, pieces = asked.observe(chunk)
        assert (raw, shown(pieces)) == (expected, shown(wanted))
        last = pieces or last
        assert observed.keep_alive == asked.keep_alive == slow.keep_alive
        told = slow.tell(Truncated("cut"))
        assert (fed.tell(Truncated("cut")), asked.tell(Truncated("cut"))) == (told, told)
    ended = shown(slow.eof(is_framed=True)[1])
    assert [shown(each.eof(is_framed=True)[1]) for each in (fed, observed, asked)] == [ended] * 3


def again(piece: Piece, texts: Iterable[str]) -> list[Piece]:
    """The piece with each of these texts."""
    assert isinstance(piece, ContentPiece)
    assert all(texts)
    return [ContentPiece(piece.kind, text, piece.key, piece.is_summary) for text in texts]


def shown(pieces: Iterable[Piece]) -> list[str]:
    """Errors have no equality, but a way to be shown."""
    return [repr(piece) for piece in pieces]


@pytest.mark.parametrize("dialect", DECODERS)
def test_whatever_stands_for_the_text_means_what_it_means_alone(dialect: str) -> None:
    for (before, after), first in product(LAYOUTS[dialect], FIRSTS):
        frame = before + first + after
        for trap in TRAPS:
            check(dialect, [frame, frame, before + trap + after, frame])


@pytest.mark.parametrize("dialect", DECODERS)
def test_whatever_stands_around_the_text_means_what_it_means_alone(dialect: str) -> None:
    for one, other in product(LAYOUTS[dialect], LAYOUTS[dialect]):
        a, b, c = (one[0] + literal + one[1] for literal in (b'"a"', b'"b"', b'"c"'))
        d, e = (other[0] + literal + other[1] for literal in (b'"aab"', b'"d"'))
        check(dialect, [a, a, b, d, e, c, c + d + e])


VALUES: Final = (
    *("7", "8", "08", "-8", "1.5", "8e1", "1" + "0" * 17, "1" + "0" * 18, "1" + "0" * 30, "true", "null", "", "[]"),
    *(
        '"7"',
        '""',
        '"x"',
        '"xY3"',
        '"x y"',
        '"é"',
        '"x\\"y"',
        '"\\x"',
        '"x',
        '"x","delta":"y"',
        '7,"delta":"y"',
        '"x"\n\n',
    ),
)
"""What may stand in a field that is a number, or a word, in other frames."""


@pytest.mark.parametrize(
    ("dialect", "before", "between", "after"),
    [
        ("openai", 'data: {"created":', ',"choices":[{"delta":{"content":', "}}]}\n\n"),
        ("openai", 'data: {"choices":[{"delta":{"content":', '}}],"obfuscation":', "}\n\n"),
        ("responses", 'data: {"type":"response.output_text.delta","sequence_number":', ',"delta":', "}\n\n"),
        ("responses", 'data: {"type":"response.output_text.delta","delta":', ',"sequence_number":', "}\r\n\r\n"),
        ("responses", 'data: {"type":"response.output_text.delta","delta":', ',"obfuscation":', ',"n":0}\n\n'),
    ],
)
@pytest.mark.parametrize("plain", [("1", "2"), ('"x1"', '"y2"')])
def test_whatever_stands_in_a_field_that_changed_means_what_it_means(
    dialect: str, before: str, between: str, after: str, plain: tuple[str, str]
) -> None:
    is_first = between.endswith('"delta":') or between.endswith('"content":')
    for value in VALUES:
        held = [*plain, plain[0], value, plain[0]]
        around = [(f"{before}{v}{between}", after) if is_first else (before, f"{between}{v}{after}") for v in held]
        check(dialect, [head.encode() + b'"a"' + tail.encode() for head, tail in around])


def test_text_that_may_hold_a_tag_is_never_taken_for_another() -> None:
    before, after = CHAT[0]
    for words in product((b'"<think>"', b'"a"', b'"</think>"', b'" "'), repeat=4):
        check("tags", [before + word + after for word in (b'""', *words, b'"b"', b'"c"')])


@pytest.mark.parametrize("dialect", DECODERS)
def test_wherever_frames_are_cut_they_mean_the_same(dialect: str) -> None:
    for before, after in LAYOUTS[dialect]:
        frame = before + b'"a"' + after
        for at in range(1, len(frame), 5):
            check(dialect, [frame, frame, frame[:at], frame[at:], frame])
            check(dialect, [frame, frame, frame[:at], frame, frame])


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DECODERS)
def test_whatever_byte_is_another_it_means_what_it_means(dialect: str) -> None:
    for before, after in LAYOUTS[dialect]:
        frame = before + b'"a"' + after
        for at, byte in product(range(len(frame)), (b"", b'"', b"\\", b"\n", b"0", b"}", b"\xff", b"  ")):
            check(dialect, [frame, frame, frame[:at] + byte + frame[at + 1 :], frame])


@pytest.mark.parametrize("dialect", DECODERS)
@given(data=st.data())
def test_any_stream_means_what_it_means_frame_by_frame(dialect: str, data: st.DataObject) -> None:
    check(dialect, data.draw(streams(dialect)))


@pytest.mark.parametrize("rest", [b'"aab"', b'"aabc"', b'"xyz"'])
def test_what_was_read_by_template_is_told_and_not_said_again(rest: bytes) -> None:
    """Pitfall 132: the event at the end of a text repeats it, and adds what wasn't told."""
    before, after = item_delta("output_text", '"content_index":0,')
    done, end = named("response.output_text.done", '"item_id":"i","output_index":0,"content_index":0,"text":', "")
    check("responses", [*(before + literal + after for literal in (b'"a"', b'"a"', b'"b"')), done + rest + end])


@given(st.lists(st.binary(max_size=6) | st.text(max_size=4).map(str.encode), max_size=8))
@example([b"a", b"\xc3", b"b", b"c"])
def test_raw_text_goes_on_between_characters(chunks: list[bytes]) -> None:
    asked, slow = RawDecoder(TrussOptions()), RawDecoder(TrussOptions())
    last: list[Piece] = []
    for chunk in chunks:
        texts = asked.more(chunk)
        raw, pieces = (chunk, again(last[-1], texts)) if texts else asked.observe(chunk)
        assert (raw, pieces) == slow.observe(chunk)
        last = pieces or last


# -- and nearly none is decoded ------------------------------------------------------------------------------------

WORDS: Final = ["a", " wörld", 'say "hi"', "line\n", "\\", "😀", "\u2028", "\0", "assistant"] * 4


def literals(ascii_only: bool = False) -> list[bytes]:
    return [json.dumps(word, ensure_ascii=ascii_only).encode() for word in WORDS]


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize(
    ("dialect", "layout"),
    [
        *(("openai", CHAT[at]) for at in (0, 1, 4, 8, 10, 11, 12, 13, 22)),
        *(("anthropic", MESSAGE[at]) for at in (0, 1, 4, 5)),
        *(("responses", item_delta(name)) for name in ("output_text", "refusal", "reasoning_text")),
        ("responses", item_delta("reasoning_summary_text", '"summary_index":0,', ',"sequence_number":7')),
        ("responses", item_delta("function_call_arguments")),
        ("responses", item_delta("custom_tool_call_input")),
    ],
)
def test_one_frame_of_many_alike_is_decoded(dialect: str, layout: Layout, ascii_only: bool) -> None:
    """A second one at most: the first may begin the answer."""
    decoder = DECODERS[dialect][0]()
    said = [decoder.feed(layout[0] + literal + layout[1]) for literal in literals(ascii_only)]
    assert "".join(text_of(pieces[-1]) for pieces in said) == "".join(WORDS)
    assert decoder.reads <= 2


def padded(number: int) -> Layout:
    """A chunk of OpenAI's own."""
    head = f'data: {{"id":"c","created":{number // 9},"choices":[{{"index":0,"delta":{{"content":'
    return head.encode(), b'}}],"usage":null,"obfuscation":"%s"}\n\n' % (b"xY3" * (number % 5))


def counted(number: int) -> Layout:
    return item_delta("output_text", "", f',"logprobs":[],"sequence_number":{number}')


def counted_and_padded(number: int) -> Layout:
    return item_delta("output_text", f'"sequence_number":{number},', f',"obfuscation":"{"x" * (number % 7)}"')


@pytest.mark.parametrize(
    ("dialect", "layout", "reads"),
    [("openai", padded, 6), ("responses", counted, 2), ("responses", counted_and_padded, 3)],
)
def test_fields_that_mean_nothing_may_change(dialect: str, layout: Callable[[int], Layout], reads: int) -> None:
    """From when they were seen to change."""
    decoder = DECODERS[dialect][0]()
    said: list[Piece] = []
    for number, literal in enumerate(literals()):
        before, after = layout(number)
        said += decoder.feed(before + literal + after)
    assert "".join(text_of(piece) for piece in said if isinstance(piece, ContentPiece)) == "".join(WORDS)
    assert decoder.reads <= reads


def test_the_number_of_a_failure_follows_that_of_the_last_frame() -> None:
    """Whether or not that was decoded."""
    decoder = DECODERS["responses"][0]()
    for number in (1, 2, 3, 4, 70):
        before, after = counted(number)
        decoder.feed(before + b'"a"' + after)
    assert decoder.reads == 2
    assert b'"sequence_number":71}' in decoder.tell(Truncated("cut"))


def test_several_frames_of_one_read_are_taken_all_or_none() -> None:
    decoder = DECODERS["openai"][0]()
    before, after = CHAT[0]
    frame = before + b'"a"' + after
    assert decoder.more(frame) == ()
    decoder.observe(frame)
    assert decoder.more(frame) == (), "the first one began the answer: it was more than a delta"
    decoder.observe(frame)
    assert list(decoder.more(frame * 3)) == ["a", "a", "a"]
    assert not decoder.more(frame * 3 + before)
    assert not decoder.more(frame + CHAT[4][0] + b'"a"' + CHAT[4][1])
    assert not decoder.more(b"")
    assert decoder.reads == 2


def test_fragments_of_calls_are_pieces_of_their_own() -> None:
    """The Sequencer has to see them."""
    decoder = DECODERS["openai"][0]()
    before, after = CHAT[10]
    for _ in range(3):
        assert not decoder.more(before + b'"a"' + after)
        decoder.observe(before + b'"a"' + after)
    assert decoder.reads == 2


def test_a_keep_alive_changes_nothing() -> None:
    decoder = DECODERS["openai"][0]()
    before, after = CHAT[0]
    for _ in range(5):
        decoder.feed(before + b'"a"' + after)
        decoder.feed(b": keep-alive\n\n")
    assert decoder.reads == 2


def test_learning_gives_up_where_no_two_frames_are_alike() -> None:
    """It costs as much as decoding some frames."""
    decoder = DECODERS["openai"][0]()
    for number in range(1000):
        before, after = chat(f'"n":{number},"content":')
        decoder.feed(before + b'"a"' + after)
    assert decoder.reads == 1000
    assert decoder.places < 150


def test_a_large_frame_is_not_kept() -> None:
    decoder = DECODERS["openai"][0]()
    before, after = CHAT[0]
    for _ in range(3):
        decoder.feed(before + b'"%s"' % (b"a" * MAX_LEARNED) + after)
    assert decoder.places == 0


def text_of(piece: Piece) -> str:
    if isinstance(piece, ToolPiece):
        return piece.fragment
    assert isinstance(piece, ContentPiece)
    return piece.text
