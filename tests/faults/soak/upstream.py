"""A hostile upstream in a process of its own: mostly it answers, at the pace of a model, else it breaks in some way.

    python -m tests.faults.soak.upstream SEED

It prints its port, and serves until its input ends; for each line of it, it hangs up on everybody. Then it prints how
often it did what.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections import Counter
from typing import Final

import orjson

from tests.faults.acts import ACTS, Cue
from tests.faults.catalogue import POSITIONS, Act, Position
from tests.faults.hostile_upstream import HostileUpstream, Peer, Play, Seen, hostile_upstream
from tests.faults.voices import LAST_CHUNK, TEXT, TOKENS, VOICES, Voice, chunk, sized

GOOD: Final = 0.7
"""Share of calls that are answered well."""
PACE_S: Final = 0.3
"""Between two tokens: the mean."""
FAULTS: Final = (
    Act(does="refuses", status=500),
    Act(does="refuses", status=503, saying="overloaded"),
    Act(does="refuses", status=429, saying="busy", retry_after="1"),
    Act(does="refuses", status=429, saying="busy"),
    Act(does="refuses", status=400, saying="a malformed request"),
    *map(
        Act.model_validate,
        sorted(
            ACTS.keys() - {"answers", "continues", "is filtered", "refuses", "endless", "unreachable", "many headers"}
        ),
    ),
)
_PRUNE_S: Final = 1.0


class Whim:
    """Chooses what happens to each call."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)
        self.counts: Counter[str] = Counter()

    def __call__(self, seen: Seen) -> Play:
        voice = next(voice for voice in VOICES if seen.target.startswith(f"/{voice.name}/"))
        stream = orjson.loads(seen.body).get("stream") is True
        if self._chance.random() < GOOD:
            self.counts["answers, paced"] += 1
            return self._paced(voice, stream)
        act, at = self._fitting(voice, stream)
        self.counts[act.does] += 1
        cue = Cue(act, voice, at, heard, f"/{voice.name}/elsewhere")

        async def play(peer: Peer, seen: Seen) -> None:
            await cue.play(peer, stream)

        return play

    def _fitting(self, voice: Voice, stream: bool) -> tuple[Act, Position]:
        while True:
            act = self._chance.choice(FAULTS)
            deed = ACTS[act.does]
            is_text = voice.upstream == "truss" and act.does == "image"  # any bytes are, there
            if (stream or not deed.in_stream) and (voice.is_framed or not deed.needs_frames) and not is_text:
                return act, self._chance.choice(POSITIONS[deed.in_stream :])

    def _paced(self, voice: Voice, stream: bool) -> Play:
        pauses = [self._chance.uniform(0, 2 * PACE_S) for _ in TOKENS]

        async def play(peer: Peer, seen: Seen) -> None:
            if not stream:
                await asyncio.sleep(sum(pauses))
                await peer.send(sized(voice.whole(TEXT)))
                return
            await peer.send(voice.head + chunk(voice.opening))
            for token, pause in zip(TOKENS, pauses, strict=True):
                await asyncio.sleep(pause)
                await peer.send(chunk(voice.token(token)))
            await peer.send(chunk(voice.finish + voice.terminator), LAST_CHUNK)

        return play


heard: Final = asyncio.Event()
"""Nobody tells when a client has seen something, so whatever follows content follows at once."""


def prune(upstream: HostileUpstream, done: threading.Event) -> None:
    """Forgets what is over: this is not the process whose memory is looked at, but it has to last too."""
    while not done.wait(_PRUNE_S):
        upstream.requests.clear()
        upstream.peers[:] = [peer for peer in upstream.peers if not peer.closed.is_set()]


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main(seed: str) -> None:
    """Until the end of the input."""
    heard.set()
    whim, done = Whim(seed), threading.Event()
    with hostile_upstream() as upstream:
        upstream.direct(whim)
        threading.Thread(target=prune, args=(upstream, done), daemon=True).start()
        say(upstream.port)
        for _ in sys.stdin:
            upstream.reset()
            say("ok")
        done.set()
    slips = Counter(type(slip).__name__ for slip in upstream.slips)
    sys.stdout.write(orjson.dumps({"calls": whim.counts, "slips": slips}).decode())


if __name__ == "__main__":
    main(sys.argv[1])
