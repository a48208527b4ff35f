"""A session as one who watches it has it: its state, its readings, what happens to it."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from synckairos.client import readings
from synckairos.client.pending_commands import Ack
from synckairos.client.replica import Message, Present, SessionReplica, Update
from synckairos.clock.model import Session
from synckairos.errors import SyncKairosError

BEHIND = 64
"""Updates that wait for a reader; beyond them the newest state takes the place of the one before it."""

Carry = Callable[..., Awaitable[Ack]]


class _Reader:
    """One who iterates: what waits for it."""

    def __init__(self) -> None:
        self.waiting: deque[Update] = deque()
        self.news = asyncio.Event()

    def give(self, update: Update) -> None:
        if len(self.waiting) >= BEHIND:
            passed = self.waiting.pop()
            update = Update(update.state, passed.events + update.events, passed.has_gap or update.has_gap)
        self.waiting.append(update)
        self.news.set()


class Watch:
    """A watched session. Made by `Client.watch`, which gives it with its first state."""

    def __init__(
        self, session_id: str, carry: Carry, now_ms: Callable[[], float], participant_id: str | None = None
    ) -> None:
        self.session_id = session_id
        self.present: Present | None = None
        """Who is connected; None until that is known, soon after the first state."""
        self.users = 0
        self.is_asking = False
        self._carry = carry
        self._now_ms = now_ms
        self._participant_id = participant_id
        self._mirror = SessionReplica()
        self._readers: set[_Reader] = set()
        self._failure: SyncKairosError | None = None
        self._is_over = False
        self._came_or_went = asyncio.Event()

    @property
    def state(self) -> Session:
        """The newest state; running clocks are read by `remaining_ms`."""
        assert self._mirror.state is not None, "a watch is given with its first state"
        return self._mirror.state

    def remaining_ms(self, participant_id: str | None = None) -> int | None:
        """Return what the running clock, or a participant's own, reads now: ms, None where nothing limits it.

        Calculated, at no cost to the server. Raises ParticipantNotFound.
        """
        return readings.remaining_ms(self.state, self._now_ms(), participant_id)

    def used_ms(self, participant_id: str | None = None) -> int:
        """Return the time that the session, or one participant, has used by now: ms. Raises ParticipantNotFound."""
        return readings.used_ms(self.state, self._now_ms(), participant_id)

    async def updates(self) -> AsyncGenerator[Update, None]:
        """Yield the state as it is, then each newer one with the events before it, in order.

        A reader that falls behind by more than 64 gets the newest state instead of some, but every event. Ends when
        the watch is left. Raises SessionDeleted, or what ended the connection for good.
        """
        reader = _Reader()
        if self._mirror.state is not None:
            # Nobody who looks at `state` first and comes here then misses what was in between.
            reader.give(Update(self._mirror.state))
        self._readers.add(reader)
        try:
            while True:
                while reader.waiting:
                    yield reader.waiting.popleft()
                if self._failure is not None:
                    raise self._failure
                if self._is_over:
                    return
                reader.news.clear()
                await reader.news.wait()
        finally:
            self._readers.discard(reader)

    async def presences(self) -> AsyncGenerator[Present, None]:
        """Yield who is connected, then whenever that changes, the newest where it did several times.

        While the client itself is away it is what was known last. Ends as `updates` does.
        """
        told: Present | None = None
        while True:
            news = self._came_or_went
            if self.present is not None and self.present != told:
                told = self.present
                yield told
                continue
            if self._failure is not None:
                raise self._failure
            if self._is_over:
                return
            await news.wait()

    async def reach(self, version: int) -> Session:
        """Wait until the state is at least of that version, as after an `Ack`, and return it."""
        async with aclosing(self.updates()) as updates:
            async for update in updates:
                if update.state.version >= version:
                    return update.state
        return self.state

    async def command(
        self,
        verb: str,
        args: Mapping[str, Any] | None = None,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
    ) -> Ack:
        """Do something to the session, once; see `Client.command`."""
        return await self._carry(self.session_id, verb, args, expected_version=expected_version, command_id=command_id)

    # -- for the client -----------------------------------------------------------------------------------------------

    def subscription(self) -> Message:
        """Return the SUBSCRIBE that goes on from here."""
        named = {} if self._participant_id is None else {"participant_id": self._participant_id}
        return {"type": "SUBSCRIBE", "session_id": self.session_id, **self._mirror.position(), **named}

    @property
    def is_known(self) -> bool:
        return self._mirror.state is not None

    def hear(self, message: Message) -> None:
        """Take what the server says of the session. Raises OutOfStep: it must be subscribed again."""
        match message["type"]:
            case "STATE_SYNC" | "STATE_UPDATE":
                self._give(self._mirror.take_state(message))
                self.is_asking = False
            case "STATE_DELTA":
                self._give(self._mirror.take_delta(message))
                self.is_asking = False
            case "EVENT":
                self._mirror.take_event(message)
            case "PRESENCE":
                self.present = Present.of(message)
                self._wake()

    def end(self, failure: SyncKairosError | None = None) -> None:
        """End all iterations, after what they were still to get."""
        self._failure, self._is_over = failure, True
        for reader in self._readers:
            reader.news.set()
        self._wake()

    def _wake(self) -> None:
        news, self._came_or_went = self._came_or_went, asyncio.Event()
        news.set()

    def _give(self, update: Update | None) -> None:
        if update is not None:
            for reader in self._readers:
                reader.give(update)
