"""A watched session: its newest state, its readings, its updates and its watchers."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from enum import Enum
from typing import Any, Protocol

from synckairos_client import readings
from synckairos_client.errors import SyncKairosError
from synckairos_client.generated.clock.model import Session
from synckairos_client.generated.clock.timing import number_of_turn
from synckairos_client.pending_commands import Ack
from synckairos_client.replica import Message, ReceivedPresence, SessionReplica, Update

MAX_QUEUED_UPDATES = 64
"""Maximum number of updates that wait for one reader.

A further update replaces the newest waiting update, and has the events of both.
"""

MAX_REMEMBERED_PRESSES = 256
"""Maximum number of presses whose values a watch keeps for a repetition."""

SendCommand = Callable[..., Awaitable[Ack]]


class Turn(Enum):
    """A turn that the client looks up. `SHOWN`: the turn of the newest state that the client has."""

    SHOWN = "shown"


class ReadableTime(Protocol):
    """The server's time, as readings and presses use it."""

    @property
    def round_trip_ms(self) -> float: ...

    def now_ms(self) -> float: ...


class _Reader:
    """One iteration over the updates, with the queue of its updates."""

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
    """A watched session, from `async with Client.watch(…)`. The block begins when the watch has its first state."""

    def __init__(
        self,
        session_id: str,
        send_command: SendCommand,
        server_time: ReadableTime,
        participant_id: str | None = None,
        only: str | None = None,
    ) -> None:
        self.session_id = session_id
        self.only = only
        """The participant whose row the states have alone. None for all rows that the client is allowed to see."""
        self.present: ReceivedPresence | None = None
        """The connected watchers, None before the first PRESENCE. It arrives soon after the first state."""
        self.users = 0
        """Number of `async with` blocks that share this watch."""
        self.is_subscribing = False
        """Whether a SUBSCRIBE was sent that has no answer yet."""
        self._send_command = send_command
        self._server_time = server_time
        self._newest_ack: Ack | None = None
        self._presses: dict[str | None, tuple[Mapping[str, Any] | None, int | None]] = {}
        """Arguments and turn of the newest presses that the caller gave an id, oldest first."""
        self._participant_id = participant_id
        self._replica = SessionReplica()
        self._readers: set[_Reader] = set()
        self._failure: SyncKairosError | None = None
        self._is_over = False
        self._presence_changed = asyncio.Event()

    @property
    def state(self) -> Session:
        """Return the newest state. `remaining_ms` and `used_ms` return the readings of its clocks."""
        assert self._replica.state is not None, "Client.watch returns a watch only with its first state"
        return self._replica.state

    @property
    def document(self) -> Message:
        """Return the document of the newest state as JSON values, as REST returns it in `data`."""
        return self._replica.document

    def remaining_ms(self, participant_id: str | None = None) -> int | None:
        """Return the present reading of one clock in ms; None if this clock has no time limit.

        With `participant_id`, the clock is the own clock of this participant. Without, it is the running clock, or the
        clock that would run after a start or resume. The client calculates the reading without a request to the server.

        Raises:
            ParticipantNotFound: the session has no such participant.
            ServerTimeUnknown: a clock runs, and the server's time is not measured, or not measured again after a sleep.
        """
        return readings.remaining_ms_at(self.state, self._reading_at_ms(), participant_id)

    def used_ms(self, participant_id: str | None = None) -> int:
        """Return the used time until now in ms: of the session, or of one participant if `participant_id` is given.

        Raises: ParticipantNotFound and ServerTimeUnknown, for the same reasons as `remaining_ms`.
        """
        return readings.used_ms_at(self.state, self._reading_at_ms(), participant_id)

    def _reading_at_ms(self) -> float:
        """Return the instant for a reading. If no clock runs, any instant gives the same reading."""
        return self._server_time.now_ms() if readings.changes_with_time(self.state) else self.state.updated_at_ms

    async def updates(self) -> AsyncGenerator[Update, None]:
        """Yield the latest state without events, then each newer state with the events since the previous state.

        A reader that is more than 64 updates behind skips intermediate states. The next state then has the events of
        the skipped states too. The iteration ends when the last `Client.watch` block of the session ends.

        Raises: SessionDeleted, or the error that ended the connection permanently.
        """
        reader = _Reader()
        if self._replica.state is not None:
            # The first update is the latest state. So a caller that read `state` before the iteration misses no change.
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

    async def presences(self) -> AsyncGenerator[ReceivedPresence, None]:
        """Yield the connected watchers of the session now, and again after changes.

        Several changes can be combined into one.

        If the client loses the connection, the last known watchers stay. The iteration ends when the last
        `Client.watch` block of the session ends.

        Raises: the exceptions of `updates`.
        """
        last: ReceivedPresence | None = None
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
        """Wait until the state has at least this version, for example the version of an `Ack`. Return the state.

        If the watch ends before, return the newest state, which has a lower version.

        Raises: The exceptions of `updates`.
        """
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
        expected_turn: int | Turn | None = Turn.SHOWN,
        on_behalf_of: str | None = None,
        command_id: str | None = None,
    ) -> Ack:
        """Send a command to this session, and wait for its answer.

        By default a `switch` names the turn of the newest state, so that a press that arrives in a later turn is
        refused with TURN_OVER. The newest state has the result of each command that this watch has sent before. Pass
        None for any turn. In a session with lag compensation a `switch` also claims the measured round trip.

        See `Client.command` for the other parameters and the errors.
        """
        if verb == "switch":
            args, expected_turn = await self._complete_press(args, expected_turn, command_id)
        ack = await self._send_command(
            self.session_id,
            verb,
            args,
            expected_version=expected_version,
            expected_turn=None if expected_turn is Turn.SHOWN else expected_turn,
            on_behalf_of=on_behalf_of,
            command_id=command_id,
        )
        if self._newest_ack is None or ack.version > self._newest_ack.version:
            self._newest_ack = ack
        return ack

    async def _complete_press(
        self, args: Mapping[str, Any] | None, expected_turn: int | Turn | None, command_id: str | None
    ) -> tuple[Mapping[str, Any] | None, int | None]:
        """Return the arguments and the turn of a `switch`, with the values that the client adds.

        A repetition of a press has the values of the first call, because the server refuses
        another command with the same id.
        """
        if (repeated := self._presses.get(command_id)) is not None:
            return repeated
        if expected_turn is Turn.SHOWN:
            await self._wait_for_own_results()
            expected_turn = number_of_turn(self.state)
        if self.state.rules.lag_compensation and "lag_ms" not in (args or {}):
            args = {**(args or {}), "lag_ms": round(self._server_time.round_trip_ms)}
        if command_id is not None:
            if len(self._presses) >= MAX_REMEMBERED_PRESSES:
                del self._presses[next(iter(self._presses))]
            self._presses[command_id] = args, expected_turn
        return args, expected_turn

    async def _wait_for_own_results(self) -> None:
        """Wait until the state is not older than the answers to the commands of this watch."""
        if self._has_own_results():
            return
        async with aclosing(self.updates()) as updates:
            async for _ in updates:
                if self._has_own_results():
                    return

    def _has_own_results(self) -> bool:
        ack = self._newest_ack
        return ack is None or ack.epoch != self.state.epoch or ack.version <= self.state.version

    # -- for the client -----------------------------------------------------------------------------------------------

    def make_subscribe_message(self) -> Message:
        """Return the SUBSCRIBE message that resumes at the position of the watch."""
        identity = {} if self._participant_id is None else {"participant_id": self._participant_id}
        row = {} if self.only is None else {"only": self.only}
        return {"type": "SUBSCRIBE", "session_id": self.session_id, **self._replica.resume_members(), **identity, **row}

    @property
    def has_state(self) -> bool:
        """Return whether the first state has arrived."""
        return self._replica.state is not None

    def apply_message(self, message: Message) -> None:
        """Apply a message of the server about this session.

        Raises: ReplicaGap if the client must subscribe again.
        """
        match message["type"]:
            case "STATE_SYNC" | "STATE_UPDATE":
                known = self._replica.state
                if message["type"] == "STATE_SYNC" or (known is not None and known.version > message["version"]):
                    # After data loss the server can have an older version than the version of an answer.
                    self._newest_ack = None
                self._notify_readers(self._replica.apply_state(message))
                self.is_subscribing = False
            case "STATE_DELTA":
                self._notify_readers(self._replica.apply_delta(message))
                self.is_subscribing = False
            case "EVENT":
                self._replica.keep_event(message)
            case "PRESENCE":
                self.present = ReceivedPresence.from_message(message)
                self._wake_presences()

    def end_iterations(self, failure: SyncKairosError | None = None) -> None:
        """End all iterations of this watch after their queued updates.

        If `failure` is given, the iterations then raise it.
        """
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
