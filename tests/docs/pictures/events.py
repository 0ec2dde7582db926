"""One answer on its way: an upstream's frames, what they mean, and what a client of another dialect gets of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.dialects import DIALECTS
from gateway.dialects.base import Stamp
from gateway.neutral.events import BlockKind, BlockStart, BlockStop, End, Event, Finish, Reason, Start, TextDelta
from gateway.neutral.request import Request
from gateway.neutral.sequencer import Sequencer
from tests.docs.pictures.svg import GOOD, PALE, Drawing, shortened

STAMP: Final = Stamp("0123456789abcdef01234567", 1700000000)
REQUEST: Final = Request("demo", (), stream=True, form="raw")
_SAID: Final[Sequence[Event]] = (
    Start(id="msg_1", model="demo"),
    BlockStart(0, BlockKind.TEXT),
    TextDelta(0, "Grey "),
    TextDelta(0, "waves"),
    BlockStop(0),
    Finish(Reason.STOP),
    End(),
)
_ROW: Final = 40


def rows() -> Iterator[tuple[str, list[str], str]]:
    """Of each frame of an Anthropic upstream: the frame, the events it makes, what an OpenAI client gets."""
    upstream, client = DIALECTS["anthropic"], DIALECTS["openai"]
    frames = upstream.encoder(REQUEST, STAMP).encode(_SAID).split(b"\n\n")[:-1]
    decoder, sequencer, encoder = upstream.decoder(upstream.options()), Sequencer(), client.encoder(REQUEST, STAMP)
    for frame in frames:
        events = sequencer.feed(decoder.feed(frame + b"\n\n"))
        told = encoder.encode(events).decode().replace("\n\n", "  ").strip()
        name, _, data = frame.removeprefix(b"event: ").partition(b"\ndata: ")
        yield f"{name.decode()} {brief(data.decode())}", [type(event).__name__ for event in events], told


def picture() -> str:
    """Three columns: bytes, events, bytes."""
    told = list(rows())
    drawing = Drawing(980, 96 + _ROW * len(told), "An Anthropic answer becomes events, then an OpenAI answer")
    for x, title in ((20, "the upstream's frames"), (470, "events"), (690, "what the client gets")):
        drawing.text(x, 30, title, size=15)
    for x, title in ((20, "Anthropic Messages"), (470, "in no dialect, in strict order"), (690, "OpenAI Chat")):
        drawing.text(x, 50, title, ink=PALE)
    for row, (frame, events, client) in enumerate(told):
        y = 66 + _ROW * row
        drawing.box(14, y, 410, 28)
        drawing.code(22, y + 18, shortened(frame, 60), size=11)
        drawing.line(426, y + 14, 458, y + 14, is_arrow=True)
        drawing.text(470, y + 18, ", ".join(events) or "nothing", ink=GOOD if events else PALE)
        if client:
            drawing.line(648, y + 14, 676, y + 14, is_arrow=True)
            drawing.box(682, y, 284, 28)
            drawing.code(690, y + 18, without_prologue(client, 40), size=11)
    return drawing.svg()


def without_prologue(frames: str, most: int) -> str:
    """The part of some chunks that differs from chunk to chunk, and the terminator if it is there."""
    first, _, rest = frames.partition("  ")
    end = " data: [DONE]" if rest.endswith("data: [DONE]") else ""
    told = "{… " + brief(first.partition('"choices":')[2]) if '"choices":' in first else first
    return shortened(told, most - len(end)) + end


def brief(data: str) -> str:
    """JSON without what is the same in all frames shown."""
    return re.sub(
        r'"type":"(?:message|content_block)_[a-z]+",?|"type":"text_delta",|"(index|logprobs)":(0|null),', "", data
    )
