"""A watched session: its newest state, its readings, its updates and its watchers."""

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

MAX_QUEUED_UPDATES = 64
"""Updates that wait for one reader. If there are more, a newer state replaces the last one, with all events."""

SendCommand = Callable[..., Awaitable[Ack]]


class _Reader:
    """One iteration over the updates, with its queue."""

    def __init__(self) -> None:
        self.queue: deque[Update] = deque()
        self.changed = asyncio.Event()

    def add(self, update: Update) -> None:
        if len(self.queue) >= MAX_QUEUED_UPDATES:
            skipped = self.queue.pop()
            update = Update(update.state, skipped.events + update.events, skipped.has_gap or update.has_gap)
        self.queue.append(update)
        self.changed.set()


class Watch:
    """A watched session. `Client.watch` makes it and returns it with its first state."""

    def __init__(
        self,
        session_id: str,
        send_command: SendCommand,
        now_ms: Callable[[], float],
        participant_id: str | None = None,
    ) -> None:
        self.session_id = session_id
        self.present: Present | None = None
        """The connected watchers; None until the server has sent them, soon after the first state."""
        self.users = 0
        """Number of `async with` blocks that share this watch."""
        self.is_subscribing = False
        """Whether a SUBSCRIBE is sent and not answered yet."""
        self._send_command = send_command
        self._now_ms = now_ms
        self._participant_id = participant_id
        self._replica = SessionReplica()
        self._readers: set[_Reader] = set()
        self._failure: SyncKairosError | None = None
        self._is_over = False
        self._presence_changed = asyncio.Event()

    @property
    def state(self) -> Session:
        """The newest state. `remaining_ms` and `used_ms` read its running clocks."""
        assert self._replica.state is not None, "Client.watch returns a watch only with its first state"
        return self._replica.state

    def remaining_ms(self, participant_id: str | None = None) -> int | None:
        """Return the current reading of the running clock, or of a participant's own clock, ms.

        It is None if nothing limits the time. The client calculates it without a request.

        Raises:
            ParticipantNotFound: the session has no such participant.
            ServerTimeUnknown: a clock runs, and the server's time is not measured since this machine slept.
        """
        return readings.remaining_ms(self.state, self._reading_at_ms(), participant_id)

    def used_ms(self, participant_id: str | None = None) -> int:
        """Return the time that the session, or one participant, has used until now, ms.

        Raises ParticipantNotFound and ServerTimeUnknown, as `remaining_ms` does.
        """
        return readings.used_ms(self.state, self._reading_at_ms(), participant_id)

    def _reading_at_ms(self) -> float:
        """Return the instant of a reading. If no clock runs, it is the same at each instant."""
        return self.state.updated_at_ms if self.state.anchor_ms is None else self._now_ms()

    async def updates(self) -> AsyncGenerator[Update, None]:
        """Yield the current state, then each newer state with the events before it, in order.

        A reader that is more than 64 updates behind skips intermediate states, but gets every event. The iteration ends
        at the end of the watch. Raises SessionDeleted, or the error that ended the connection permanently.
        """
        reader = _Reader()
        if self._replica.state is not None:
            # A caller that read `state` before cannot miss a change between that reading and this iteration.
            reader.add(Update(self._replica.state))
        self._readers.add(reader)
        try:
            while True:
                while reader.queue:
                    yield reader.queue.popleft()
                if self._failure is not None:
                    raise self._failure
                if self._is_over:
                    return
                reader.changed.clear()
                await reader.changed.wait()
        finally:
            self._readers.discard(reader)

    async def presences(self) -> AsyncGenerator[Present, None]:
        """Yield the connected watchers now and after each change. Several changes can become one.

        While the client is not connected, the last known watchers stay. Ends as `updates` does.
        """
        last: Present | None = None
        while True:
            changed = self._presence_changed
            if self.present is not None and self.present != last:
                last = self.present
                yield last
                continue
            if self._failure is not None:
                raise self._failure
            if self._is_over:
                return
            await changed.wait()

    async def reach(self, version: int) -> Session:
        """Wait until the state has at least this version, for example that of an `Ack`, and return it."""
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
        """Send a command to the session. It takes effect once; see `Client.command`."""
        return await self._send_command(
            self.session_id, verb, args, expected_version=expected_version, command_id=command_id
        )

    # -- for the client -----------------------------------------------------------------------------------------------

    def subscription(self) -> Message:
        """Return the SUBSCRIBE message that resumes at the current position."""
        identity = {} if self._participant_id is None else {"participant_id": self._participant_id}
        return {"type": "SUBSCRIBE", "session_id": self.session_id, **self._replica.position(), **identity}

    @property
    def has_state(self) -> bool:
        """Return whether the first state has arrived."""
        return self._replica.state is not None

    def receive(self, message: Message) -> None:
        """Apply a message of the server about this session. Raises ReplicaGap: the client must subscribe again."""
        match message["type"]:
            case "STATE_SYNC" | "STATE_UPDATE":
                self._notify_readers(self._replica.apply_state(message))
                self.is_subscribing = False
            case "STATE_DELTA":
                self._notify_readers(self._replica.apply_delta(message))
                self.is_subscribing = False
            case "EVENT":
                self._replica.add_event(message)
            case "PRESENCE":
                self.present = Present.from_message(message)
                self._wake_presences()

    def end(self, failure: SyncKairosError | None = None) -> None:
        """End all iterations after their queued updates; raise `failure` from them, if given."""
        self._failure, self._is_over = failure, True
        for reader in self._readers:
            reader.changed.set()
        self._wake_presences()

    def _wake_presences(self) -> None:
        changed, self._presence_changed = self._presence_changed, asyncio.Event()
        changed.set()

    def _notify_readers(self, update: Update | None) -> None:
        if update is not None:
            for reader in self._readers:
                reader.add(update)
