"""Many clients of all dialects at once, who ask, read, leave, and know what they saw."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.faults.callers import CALLERS, Caller, read_reply
from tests.faults.sights import Sight, told
from tests.faults.voices import VOICES, Voice

_VOICES: Final[Mapping[str, Voice]] = {voice.name: voice for voice in VOICES}
_PATIENCE_S: Final = 40.0
LEAVE: Final = 0.1
"""Share of the clients that leave in the middle, at any moment."""
SLOW: Final = 0.05
"""Share of the clients that read slowly."""
_LEAVE_WITHIN_S: Final = 1.5


@dataclass
class Crowd:
    """`seen`: what the clients saw, by their request's id where a head came; `left`: those who did not wait for one."""

    port: int
    routes: Sequence[str]
    seed: str
    sent: int = 0
    open: int = 0
    most_open: int = 0
    left: int = 0
    seen: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    oddities: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    async def work(self, users: int, until: float) -> None:
        """That many clients, each asking again and again until the moment on `time.perf_counter`."""
        async with asyncio.TaskGroup() as group:
            for number in range(users):
                group.create_task(self._user(random.Random(f"{self.seed}-{number}"), until))

    async def _user(self, chance: random.Random, until: float) -> None:
        while time.perf_counter() < until:
            await self._ask(chance)

    async def _ask(self, chance: random.Random) -> None:
        caller, route, stream = chance.choice(CALLERS), chance.choice(self.routes), chance.random() < 0.75
        leaves_after_s = chance.uniform(0, _LEAVE_WITHIN_S) if chance.random() < LEAVE else None
        pause_s = 0.05 if chance.random() < SLOW else 0.0
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 14)
        self.sent += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        received, is_whole = b"", False
        try:
            writer.write(caller.request(route, stream=stream))
            async with asyncio.timeout(leaves_after_s if leaves_after_s is not None else _PATIENCE_S):
                while data := await reader.read(256 if pause_s else 1 << 16):
                    received += data
                    await asyncio.sleep(pause_s)
            is_whole = True
        except ConnectionResetError:
            is_whole = True
        except TimeoutError:
            if leaves_after_s is None:
                self.oddities.append(f"{caller.name} on {route}: no end in {_PATIENCE_S} s")
        finally:
            self.open -= 1
            writer.close()
        self._note(caller, received, is_whole=is_whole, stream=stream)

    def _note(self, caller: Caller, received: bytes, *, is_whole: bool, stream: bool) -> None:
        if b"\r\n\r\n" not in received:
            self.left += 1
            self.counts["left before a head"] += 1
            if is_whole:
                self.oddities.append(f"{caller.name}: closed without a response, {received!r}")
            return
        reply = read_reply(received)
        self.statuses[reply.status] += 1
        if not is_whole:
            sight = Sight("left", reply.status)
        else:
            voice = _VOICES[reply.header("x-gateway-upstream").partition(".")[0] or "openai"]
            sight = told(reply, caller, caller.form(voice), stream=stream)
        if sight.what in ("silent", "garbled") or (sight.what == "refused" and not sight.kinds):
            self.oddities.append(f"{caller.name}, stream={stream}: {sight} {dict(reply.headers)} {reply.body[-300:]!r}")
        self.seen[reply.header("x-gateway-request-id")] = sight.what
        self.counts[sight.what] += 1
