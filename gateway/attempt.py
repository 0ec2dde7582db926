"""One try of one target for one request: call it, read what it answers, hand it to the client."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import ClassVar, Final, Protocol

import orjson

from gateway.aside import Aside
from gateway.config import Server, Timeouts
from gateway.departure import Departure
from gateway.dialects import Dialect, limits
from gateway.dialects.base import Decoder, Encoder, Fault, Json, Outbound, Stamp
from gateway.dialects.sealing import Sealer
from gateway.entering import Entrance
from gateway.errors import GatewayError, Malformed, Unfit, UpstreamError
from gateway.neutral.events import Event
from gateway.neutral.pieces import Piece
from gateway.neutral.quick_value import quick_value
from gateway.neutral.request import Request
from gateway.neutral.response import Collector
from gateway.neutral.restoring import Sequence, restored
from gateway.neutral.sequencer import Sequencer
from gateway.relay.carrier import Carrier, PassThrough, Thread, Translation
from gateway.relay.machine import State
from gateway.relay.pump import Pump
from gateway.relay.sink import Outlet
from gateway.relay.splice import Splice
from gateway.relay.watchdog import Deadlines, Watchdog
from gateway.rendering import Rendering
from gateway.routing.state import States
from gateway.routing.table import Table
from gateway.routing.target import Target
from gateway.running import Running
from gateway.slots import Slot
from gateway.telemetry.meter import Meter, Unmetered
from gateway.telemetry.timeline import Timeline
from gateway.upstreams.client import Answer, Upstreams, read_refusal, scrub, secret_of
from gateway.upstreams.redaction import tells

_JSON: Final = "application/json"
_BYTES: Final = "application/octet-stream"
_MARKUP: Final = ("text/html", "application/xhtml+xml", "text/xml", "application/xml")
REQUEST_ID: Final = "x-request-id"
"""The header that tells an upstream which request of ours a call is for; many note it in their own logs."""
_NAME: Final = re.compile(r"[A-Za-z0-9_.=-]{1,80}")
_VALUE: Final = re.compile(r"[!-~][ -~]{0,1023}")
_MAX_NAMES: Final = 32
"""Names in one report header; a body may hold thousands of unknown fields."""


@dataclass(frozen=True, slots=True)
class Services:
    """What every request needs of the process."""

    settings: Server
    table: Table
    upstreams: Upstreams
    sealer: Sealer
    aside: Aside
    entrance: Entrance | None = None
    """Where clients are asked for their keys; None where nobody needs one."""
    states: States = field(default_factory=States)
    meter: Meter = field(default_factory=Unmetered)
    grammar_faults: Counter[tuple[str, Fault]] = field(default_factory=Counter)
    """How often an answer of ours broke the grammar of its dialect, by the dialect's name and what was wrong."""


@dataclass(slots=True)
class InForce:
    """What a request that begins now gets: a reload puts others in place, and who has begun keeps what it got."""

    services: Services
    running: Running = field(default_factory=Running)


@quick_value
class Call:
    """A client's call, parsed; `body` is the JSON it came as, in `size` bytes."""

    dialect: Dialect
    request: Request
    body: Json = field(repr=False)
    size: int
    stamp: Stamp
    key: bytes = b""
    """A digest of the client's credential: whose call it is, where clients share an upstream."""
    follows: Mapping[str, str] = field(default_factory=dict)
    """Headers that every upstream gets: the request's id, and the client's trace."""
    own: str = field(default="", repr=False)
    """The client's own credential, for upstreams that are called with that."""


class Client(Protocol):
    """Where the answer goes."""

    @property
    def sink(self) -> Outlet: ...

    @property
    def timeline(self) -> Timeline: ...

    @property
    def departure(self) -> Departure: ...

    def prepare(
        self, media_type: str, headers: Callable[[], Mapping[str, str]], keep_alive: Callable[[], bytes] = bytes
    ) -> None:
        """Sets what the response head will say, and what may be said in silence; asked for when it is sent."""

    async def whole(self, body: bytes) -> None:
        """Sends a whole answer."""


class Attempt:
    """Reads top down: `run` calls, `_take` looks at the head, then the answer goes one of four ways.

    Streamed or whole at the upstream, streamed or whole at the client; relayed as it is where both speak one dialect.
    """

    is_answer: ClassVar = True
    """Whether it asks for an answer, and not for something about one."""

    def __init__(
        self,
        services: Services,
        call: Call,
        target: Target,
        timeouts: Timeouts,
        client: Client,
        thread: Thread | None = None,
    ) -> None:
        """`thread`: the answer to go on with, which another upstream began."""
        self.thread = thread
        self._resumes = thread is not None
        self._services = services
        self._settings = services.settings
        self._call = call
        self._request = call.request
        is_revealed = services.settings.reveal_model
        self._answered = replace(call.request, model=target.model) if is_revealed else call.request
        self._client = client
        self._target = target
        self._rendering = Rendering(call.dialect, call.request, call.body, target)
        self._dialect = self._rendering.dialect
        self._options = target.upstream.options
        self._timeouts = timeouts
        self._watchdog = Watchdog(self._deadlines(), client.timeline.begun)
        self._sequencer = Sequencer(call.stamp.token, client=call.dialect.name)
        self._restored: Sequence = self._sequencer
        self._outbound = Outbound({})
        self._content = b""
        self._answer: Answer | None = None
        self._decoder: Decoder | None = None
        self._pump: Pump | None = None
        self._translated: Translation | None = None
        self._form: Encoder | None = None
        """The form of a stream that the client asked for, with what is written in it where it is translated."""
        self._voice: Encoder | Decoder | None = None
        """Whose frames the client gets: our own, or the upstream's."""
        self.queued_s = 0.0
        """How long the call had to wait for its turn at the upstream."""

    @property
    def dropped_fragments(self) -> int:
        """Fragments of tool calls that came too late to belong anywhere."""
        return self._sequencer.dropped

    @property
    def lost(self) -> tuple[int, int]:
        """How many fields of the request were dropped, and how many adapted."""
        return len(self._outbound.dropped), len(self._outbound.adapted)

    @property
    def has_head(self) -> bool:
        """Whether the upstream said anything at all."""
        return self._answer is not None

    @property
    def grammar_fault(self) -> Fault | None:
        """What our own answer got wrong, if anything."""
        return self._translated.fault if self._translated else None

    @property
    def error(self) -> GatewayError | None:
        """What broke the answer after the commit point, if anything did."""
        return self._pump.relay.error if self._pump else None

    @property
    def is_cut(self) -> bool:
        """Whether the answer broke after the commit point and may go on elsewhere: the client was told nothing."""
        return self._pump is not None and self._pump.relay.state is State.CUT

    async def break_off(self) -> None:
        """Nobody goes on with it: the client is told."""
        assert self._pump is not None
        assert self.error is not None
        await self._pump.break_off(self.error)

    async def run(self) -> None:
        """Raises what another target may mend, or the client must hear. Our credential never shows in it."""
        self._outbound, self._content = await self._services.aside.run(self._call.size, self._written)
        restoration = self._outbound.restoration
        if not self._request.shows_reasoning:
            restoration = replace(restoration, hides_reasoning=True)
        self._restored = restored(self._sequencer, restoration)
        self._announce()
        async with self._turn() as self.queued_s:
            with self._client.departure.calling():
                await self._scrubbed()

    @property
    def _as_told(self) -> Callable[[GatewayError], GatewayError]:
        """What the client hears of an error; it does not refer to us, who are behind whoever asks."""
        return partial(scrub, self._target.upstream, own=self._call.own)

    def _turn(self) -> Slot:
        """One of the calls that the upstream is given at a time, until it is done with us."""
        until = self._client.timeline.begun + self._timeouts.total
        admission = self._services.states.upstream(self._target.name).admission
        return Slot(admission, self._target.upstream, self._call.key, until)

    async def _scrubbed(self) -> None:
        self._watchdog.start()
        try:
            await self._watched()
        except UpstreamError as error:
            raise self._as_told(error) from error.__cause__
        finally:
            self._watchdog.stop()

    def _announce(self) -> None:
        """Settles what is said of a stream before the upstream says anything."""
        if self._request.stream:
            self._voice = self._form = (
                self.thread.encoder if self.thread else self._call.dialect.encoder(self._answered, self._call.stamp)
            )
        if self._form is not None and self._may_pass and not self._client.sink.has_head:
            self._voice = self._reader
        self._client.prepare(self._form.media_type if self._form else "", self.headers, self.keep_alive)

    def keep_alive(self) -> bytes:
        """What may be said to the client in silence, now. Before any content only what fits the form it asked for.

        Whoever then answers keeps to that form, so that a head may go out before it is known who does.
        """
        spoken = self._voice.keep_alive if self._voice else b""
        if self._client.sink.is_committed or (self._form is not None and spoken == self._form.keep_alive):
            return spoken
        return b""

    def _written(self) -> tuple[Outbound, bytes]:
        outbound = self._render()
        # A copy: what orjson makes holds 4 KiB, however short it is, and would do so as long as the answer takes.
        return outbound, bytes(memoryview(orjson.dumps(outbound.body)))

    def _render(self) -> Outbound:
        return self._rendering.outbound()

    @property
    def _may_pass(self) -> bool:
        """Whether an answer may go to the client as it comes."""
        return self._dialect is self._call.dialect and not self._rendering.spells_anew

    def _is_in_other_form(self, *, is_whole: bool) -> bool:
        """Whether an answer that is relayed as it comes might not be what a head that is out has announced."""
        return is_whole or self._form is None or self._reader.keep_alive != self._form.keep_alive

    @cached_property
    def _reader(self) -> Decoder:
        """Reads the answer, if it is read as a stream; until then it stands for the form of such answers."""
        return self._dialect.decoder(self._options, self._settings.max_event)

    def _deadlines(self) -> Deadlines:
        """A whole answer has no first token to wait for: only the whole counts."""
        limits = self._timeouts
        if not self._request.stream:
            return Deadlines(limits.total, limits.idle, limits.total)
        return Deadlines(limits.first_token, limits.idle, limits.total, head=limits.headers)

    async def _watched(self) -> None:
        outbound, upstream = self._outbound, self._target.upstream
        headers = {**outbound.headers, **self._call.follows}
        with self._watchdog.scope:
            async with self._services.upstreams.call(
                upstream, outbound.path, self._content, headers, self._timeouts.connect, self._call.own
            ) as answer:
                self._answer = answer
                self._watchdog.got_head()
                await self._take(answer)
        error = self._watchdog.error
        if self._watchdog.scope.cancelled_caught and error is not None:
            if self._pump is None:
                raise error
            await self._pump.break_off(error)

    async def _take(self, answer: Answer) -> None:
        if answer.status >= 400:
            raise await self._refusal(answer)
        if answer.media_type in _MARKUP:
            raise Malformed(f"the upstream answered with a page of {answer.media_type}")
        is_whole = answer.media_type == _JSON
        passes = self._rendering.passes(is_whole=is_whole) and not (
            self._client.sink.has_head and self._is_in_other_form(is_whole=is_whole)
        )
        if is_whole:
            await self._take_whole(answer, passes=passes)
        elif self._request.stream or passes:
            await self._take_stream(answer, passes=passes)
        else:
            await self._collect(answer)

    async def _refusal(self, answer: Answer) -> UpstreamError:
        error = self._dialect.load_error(answer.status, await read_refusal(answer), answer.headers)
        error.headers = self._passed_on(answer)
        return error

    def _passed_on(self, answer: Answer) -> Mapping[str, str]:
        """The upstream's headers that are the client's business, in the spelling of its dialect."""
        if self._dialect is self._call.dialect:
            beginnings = self._dialect.passed_on
            told = {name: value for name, value in answer.headers.items() if name.startswith(beginnings)}
        else:
            now = self._call.stamp.created
            told = limits.carried(answer.headers, self._dialect.limits, self._call.dialect.limits, now)
        return {name: value for name, value in told.items() if self._plain(value)}

    def _plain(self, value: str, otherwise: str = "") -> str:
        """A header's value as it came, if it is one that may be sent on."""
        is_plain = _VALUE.fullmatch(value) and not tells(value, secret_of(self._target.upstream, self._call.own))
        return value if is_plain else otherwise

    # -- the four ways -----------------------------------------------------------------------------------------------

    async def _take_whole(self, answer: Answer, *, passes: bool) -> None:
        if passes:
            self._client.prepare(self._plain(answer.headers.get("content-type", ""), _JSON), self.headers)
        body = await answer.read(self._settings.max_answer)
        try:
            value = self._dialect.skim(body) if passes else orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Malformed(f"the upstream's answer of {len(body)} bytes is not JSON") from error
        if passes:
            self._observe(self._dialect.observe(value, self._options))
            await self._send_whole(body)
        else:
            await self._tell(self._dialect.load(value, self._options))

    async def _tell(self, pieces: list[Piece]) -> None:
        """A whole answer, streamed to a client that wants a stream."""
        if not self._request.stream:
            collector = Collector()
            self._fold(pieces, collector)
            await self._dump(collector)
            return
        carrier = self._translation(self._reader)
        await self._pump_of(carrier).replay(carrier.carry(pieces))

    async def _take_stream(self, answer: Answer, *, passes: bool) -> None:
        decoder = self._decoder = self._reader
        if passes:
            pump = self._pump_of(PassThrough(decoder, self._sequencer, self._as_told))
            self._voice = decoder
            media_type = self._plain(answer.headers.get("content-type", ""), _BYTES)
            self._client.prepare(media_type, self.headers, self.keep_alive)
        else:
            pump = self._pump_of(self._translation(decoder))
        await pump.carry(answer)

    async def _collect(self, answer: Answer) -> None:
        """A streamed answer, folded for a client that wants it whole."""
        decoder, collector, size = self._reader, Collector(), 0
        while (chunk := await answer.next()) is not None:
            size += len(chunk)
            if size > self._settings.max_answer:
                raise Malformed(f"the upstream's answer of more than {size} bytes exceeds the limit")
            self._fold(decoder.feed(chunk), collector)
        self._fold(decoder.eof(is_framed=answer.is_framed)[1], collector)
        await self._dump(collector)

    # -- their steps -------------------------------------------------------------------------------------------------

    def _pump_of(self, carrier: Carrier) -> Pump:
        self._pump = Pump(carrier, self._client.sink, self._watchdog, self._client.timeline, resumes=self._resumes)
        return self._pump

    def _translation(self, decoder: Decoder) -> Translation:
        encoder = self._form or self._call.dialect.encoder(self._answered, self._call.stamp)
        self._voice = encoder
        self._client.prepare(encoder.media_type, self.headers, self.keep_alive)
        guard = self.thread.guard if self.thread else self._call.dialect.guard(self._answered)
        if self.thread is not None:
            self.thread.splice.resume()
        elif self._request.goes_on:
            self.thread = Thread(Splice(), encoder, guard)
        splice = self.thread.splice if self.thread else None
        self._translated = Translation(decoder, self._restored, encoder, self._as_told, guard, splice)
        return self._translated

    def _fold(self, pieces: Iterable[Piece], collector: Collector) -> None:
        for event in self._observe(pieces):
            collector.take(event)

    def _observe(self, pieces: Iterable[Piece]) -> list[Event]:
        """The events, once the timeline has seen them."""
        events = self._restored.feed(pieces)
        self._client.timeline.note(events, self._watchdog.now())
        return events

    async def _dump(self, collector: Collector) -> None:
        answer = self._call.dialect.dump(collector.response(), self._answered, self._call.stamp)
        try:
            body = orjson.dumps(answer)
        except TypeError as error:  # orjson reads 1,024 levels and writes 254 (HARDENING.md 1.8)
            raise Unfit("the upstream's answer nests too deep, or holds a number too large, to be written") from error
        self._client.prepare(_JSON, self.headers)
        await self._send_whole(body)

    async def _send_whole(self, body: bytes) -> None:
        """The upstream is done: how long the client takes is not counted against it."""
        self._watchdog.stop()
        await self._client.whole(body)

    def headers(self) -> Mapping[str, str]:
        """What the client is told of this attempt, in response headers."""
        headers = {
            "x-gateway-dropped": _listed(self._outbound.dropped),
            "x-gateway-adapted": _listed(self._outbound.adapted),
        }
        if self._decoder is not None and not self._decoder.proves_end:
            headers["x-gateway-completeness"] = "unverifiable"
            if self._dialect is not self._call.dialect:  # such a wire counts no tokens either (truss.md §2.4)
                headers["x-gateway-usage"] = "estimated" if self._request.wording.estimates_usage else "unknown"
        if self._answer is not None:
            headers |= self._passed_on(self._answer)
        return headers


def _listed(names: tuple[str, ...]) -> str:
    """Names for a header: they come out of a client's JSON, so only plain ones are repeated."""
    plain = [name for name in names if _NAME.fullmatch(name)][:_MAX_NAMES]
    hidden = len(names) - len(plain)
    return ",".join([*plain, *([f"and_{hidden}_more"] if hidden else [])])
