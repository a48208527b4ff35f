"""Presence tracker: counts the watchers of each session on all instances, and sends PRESENCE frames to the watchers.

The tracker writes, reads and sends counts in rounds. If a thousand watchers arrive in one round, each watcher gets one
frame instead of a thousand. Session states are sent immediately and never wait for a round. A slow client gets only the
newest PRESENCE frame, when its socket is ready. If Redis is unavailable, no frame is sent. The next successful round
sends the newest counts.
"""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

from synckairos.errors import Forbidden, InvalidStoredData, StoreUnavailable
from synckairos.principal import Principal, Role
from synckairos.realtime.presence_sync_state import (
    PresenceSyncState,
    RereadScope,
    SyncResult,
    apply_change_message,
    apply_heartbeat_reply,
)
from synckairos.realtime.session_presence import SessionPresence
from synckairos.realtime.timings import DEFAULT_TIMINGS, RealtimeTimeLimits
from synckairos.realtime.watcher_interface import Subscription, Watcher
from synckairos.session_names import bare_id
from synckairos.store.presence import BATCH_SIZE, DEAD_AFTER_S, FIELD_TTL_S, PresenceStore
from synckairos.store.redis_time_estimate import ServerTime
from synckairos.telemetry import log
from synckairos.telemetry.guarded_loop import keep_running
from synckairos.telemetry.metrics import INSTANCES, PRESENCE_FAILURES, PRESENCE_FRAMES, PRESENCE_ROUND_DURATION
from synckairos.wire import v3_messages
from synckairos.wire.presence_counts import PresenceCounts, PresenceIdentity

FRAMES_AT_ONCE = 200
"""Number of frames that the tracker writes before it lets other tasks of the event loop run."""

REFRESH_S = FIELD_TTL_S / 3
"""Seconds between two writes of unchanged counts. Shorter than the TTL of the counts in the store."""

logger = log.get_logger(__name__)


def presence_identity(principal: Principal, role: Role, declared_id: str | None = None) -> PresenceIdentity:
    """Return the identity under which presence counts a client.

    `role` is the role of the principal on the session. `declared_id` is the participant id that the client sends in
    SUBSCRIBE; None if it sends no id.

    - Client without authentication: `declared_id` is accepted unchecked. The role is `participant` if there is an id,
      and otherwise `viewer`.
    - Authenticated client: the role is `role`. `declared_id` must be None or the participant id of
      the principal.

    Raises: Forbidden if the client is authenticated and `declared_id` is another id than its participant id.
    """
    if principal.kind == "anonymous":
        return PresenceIdentity("viewer") if declared_id is None else PresenceIdentity("participant", declared_id)
    if declared_id not in (None, principal.participant_id):
        raise Forbidden(f"Your credential does not name the participant {declared_id}. Omit participant_id")
    return PresenceIdentity(role, principal.participant_id)


class PresenceTracker:
    """Counts the watchers of the sessions that are watched on this instance, and sends PRESENCE frames to them."""

    def __init__(
        self, store: PresenceStore, server_time: ServerTime, timings: RealtimeTimeLimits = DEFAULT_TIMINGS
    ) -> None:
        self._store = store
        self._server_time = server_time
        self._timings = timings
        self._sessions: dict[str, SessionPresence] = {}
        # Session names for the next round, in order of insertion: counts to write, counts to read, frames to send.
        self._to_write: dict[str, None] = {}
        self._to_read: dict[str, None] = {}
        self._to_send: dict[str, None] = {}
        self._has_work = asyncio.Event()
        self._is_registered = asyncio.Event()
        self._sync = PresenceSyncState()

    # -- watchers of this instance ------------------------------------------------------------------------------------

    def add(self, subscription: Subscription, identity: PresenceIdentity, *, wants_frames: bool) -> None:
        """Start to count a watcher, from the next round on. Do nothing if `subscription` has already ended.

        Call this after the watcher got the session's state. Only if `wants_frames` is True, the watcher gets PRESENCE
        frames.
        """
        if subscription.watcher.subscriptions.get(subscription.session_id) is not subscription:
            return  # unsubscribed in the meantime
        session_name = subscription.session_name
        session = self._sessions.get(session_name)
        if session is None:
            session = self._sessions[session_name] = SessionPresence()
        session.add(subscription, identity, wants_frames=wants_frames)
        self._schedule_write(session_name)

    def remove(self, subscription: Subscription) -> None:
        """Stop to count a watcher, from the next round on. Do nothing if the watcher is not counted."""
        session = self._sessions.get(subscription.session_name)
        if session is not None and session.remove(subscription):
            self._schedule_write(subscription.session_name)

    def change_identity(self, subscription: Subscription, identity: PresenceIdentity) -> None:
        """Count a watcher under another identity, from the next round on. Do nothing if the watcher is not counted.

        Called after the credential of the watcher was replaced. The watcher gets a frame only if the counts change.
        """
        session = self._sessions.get(subscription.session_name)
        if session is not None and session.change_identity(subscription, identity):
            self._schedule_write(subscription.session_name)

    def send_unsent_frames(self, watcher: Watcher) -> None:
        """Send a watcher the newest unsent PRESENCE frame of each session, as long as its socket is ready.

        Called when the watcher's socket is ready again.
        """
        for subscription in watcher.subscriptions.values():
            session = self._sessions.get(subscription.session_name)
            if session is None or subscription not in session.owed:
                continue
            if session.frame and watcher.try_send_frame(session.frame_for(subscription)):
                session.owed.discard(subscription)

    def _schedule_write(self, session_name: str) -> None:
        self._to_write[session_name] = None
        self._has_work.set()

    # -- rounds -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send heartbeats and run presence rounds until cancelled."""
        self._store.listen_for_changes(self._receive)
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_running("presence heartbeats", self._send_heartbeats))
            group.create_task(keep_running("presence rounds", self._run_rounds))

    async def withdraw_counts(self) -> None:
        """Run a final round at shutdown, so that the other instances stop to count the watchers of this instance.

        Call this after all watchers are removed. If Redis is unavailable, return without an error. Without this round
        the other instances count the removed watchers until the heartbeats of this instance are overdue.
        """
        try:
            await self._run_round()
        except StoreUnavailable as fault:
            logger.debug("last presence round failed", cause=fault.code)

    async def _run_rounds(self) -> None:
        await self._is_registered.wait()  # other instances remove the counts of an instance that is not registered
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            try:
                with PRESENCE_ROUND_DURATION.time():
                    await self._run_round()
            except StoreUnavailable as fault:
                PRESENCE_FAILURES.inc()
                logger.debug("presence round failed", cause=fault.code)
                self._has_work.set()
            await asyncio.sleep(self._timings.presence_round_s)

    async def _run_round(self) -> None:
        for _ in range(0, len(self._to_write), BATCH_SIZE):
            await self._write(_take_batch(self._to_write))
        for _ in range(0, len(self._to_read), BATCH_SIZE):
            await self._read(_take_batch(self._to_read))
        await self._send_frames()

    async def _write(self, session_names: list[str]) -> None:
        sessions = {each: session for each in session_names if (session := self._sessions.get(each)) is not None}
        registrations = self._sync.registrations
        values = {each: session.local().render() if session.has_watchers else b"" for each, session in sessions.items()}
        try:
            await self._store.write_counts(values)
            if changed := [each for each, value in values.items() if sessions[each].written != value]:
                await self._store.publish_changed_sessions(changed)
        except StoreUnavailable:
            self._to_write.update(dict.fromkeys(sessions))
            raise
        for session_name, session in sessions.items():
            # If a heartbeat registered a new name in the meantime, the counts were written under the old name. The
            # store has removed the old name with its counts.
            session.written = values[session_name] if registrations == self._sync.registrations else None
            if session.has_watchers:
                self._to_read[session_name] = None
            elif not session.written and self._sessions.get(session_name) is session:
                del self._sessions[session_name]

    async def _read(self, session_names: list[str]) -> None:
        try:
            found = await self._store.read_counts(session_names)
        except StoreUnavailable:
            self._to_read.update(dict.fromkeys(session_names))
            raise
        for session_name, by_instance in zip(session_names, found, strict=True):
            session = self._sessions.get(session_name)
            if session is None:
                continue
            by_instance.pop(self._store.instance, None)  # the counts in memory are newer than the stored counts
            others = await self._parse_counts(session_name, by_instance)
            session.other_instances = tuple(others)
            total = PresenceCounts.sum((session.local(), *others.values()))
            if total != session.total:
                session.total, session.is_changed = total, True
                session.frame_time_ms = self._server_time.now_ms()
                session.frame = v3_messages.presence_frame(bare_id(session_name), session.frame_time_ms, total)
            self._to_send[session_name] = None

    async def _parse_counts(self, session_name: str, by_instance: dict[str, bytes]) -> dict[str, PresenceCounts]:
        """Return the parsed counts of other instances, by instance name.

        Counts that cannot be parsed are removed from Redis and do not count.
        """
        counts: dict[str, PresenceCounts] = {}
        for instance, text in by_instance.items():
            try:
                with self._store.reporting_invalid_counts(session_name):
                    counts[instance] = PresenceCounts.parse(text)
            except InvalidStoredData:
                with suppress(StoreUnavailable):
                    await self._store.remove_instance_counts(session_name, instance)
        return counts

    async def _send_frames(self) -> None:
        """Send changed PRESENCE frames to all watchers that want frames, and unchanged frames to new watchers.

        If a socket is not ready, the frame stays unsent for a later round or for `send_unsent_frames`.
        """
        now_s = time.monotonic()
        count = 0
        for session_name in tuple(self._to_send):
            session = self._sessions.get(session_name)
            if session is None or not session.frame:
                # All watchers unsubscribed, or `withdraw_counts` ran a round in the meantime. A new watcher gets its
                # own round.
                self._to_send.pop(session_name, None)
                continue
            if session.is_changed and now_s >= session.next_frame_s:
                session.is_changed = False
                session.owe_frame_to_all()
                pause_s = len(session.owed) * len(session.frame) / self._timings.presence_bytes_per_s
                session.next_frame_s = now_s + min(self._timings.presence_longest_pause_s, pause_s)
            for subscription in tuple(session.owed):
                if subscription in session.owed and subscription.watcher.try_send_frame(
                    session.frame_for(subscription)
                ):
                    session.owed.discard(subscription)
                    count += 1
                    if count % FRAMES_AT_ONCE == 0:
                        await asyncio.sleep(0)
            if not session.is_changed:
                self._to_send.pop(session_name, None)
        PRESENCE_FRAMES.inc(count)
        if self._to_send:
            self._has_work.set()

    # -- the other instances ------------------------------------------------------------------------------------------

    def _receive(self, number: int, instance: str, session_names: list[str]) -> None:
        self._apply(apply_change_message(self._sync, number, is_own=instance == self._store.instance), session_names)

    async def _send_heartbeats(self) -> None:
        """Send heartbeats until cancelled. Schedule writes of all counts before the counts expire in the store."""
        beat_s, refreshed_s = float("-inf"), time.monotonic()
        while True:
            now_s = time.monotonic()
            silent_s, covered = now_s - beat_s, self._sync.covered
            needs_new_name = self._sync.suspects_loss or silent_s >= DEAD_AFTER_S
            try:
                beat = await self._store.send_heartbeat(
                    may_remove_dead=silent_s < DEAD_AFTER_S / 2, rename=needs_new_name
                )
            except StoreUnavailable as fault:
                logger.debug("no heartbeat", cause=fault.code)
            else:
                beat_s = now_s
                INSTANCES.set(len(beat.living))
                self._apply(
                    apply_heartbeat_reply(
                        self._sync,
                        is_new_name=beat.is_new,
                        counter=beat.changes,
                        living=beat.living,
                        covered_before=covered,
                    )
                )
                self._is_registered.set()
            if now_s - refreshed_s > REFRESH_S:
                refreshed_s = now_s
                self._schedule_all_writes()
            await asyncio.sleep(self._timings.presence_beat_s)

    def _apply(self, step: SyncResult, named: Iterable[str] = ()) -> None:
        """Keep the new synchronisation state of `step` in memory, and schedule the work of `step` for the next round.

        `named` are the session names that the change message names; empty for a heartbeat.
        """
        self._sync = step.state
        if step.rewrites_all:
            for session in self._sessions.values():
                session.written = None
            self._schedule_all_writes()
        if step.dead:
            self._schedule_reads(
                each for each, session in self._sessions.items() if not step.dead.isdisjoint(session.other_instances)
            )
        if step.reread is RereadScope.ALL:
            self._schedule_reads(self._sessions)
        elif step.reread is RereadScope.NAMED:
            self._schedule_reads(each for each in named if each in self._sessions)

    def _schedule_reads(self, session_names: Iterable[str]) -> None:
        self._to_read.update(dict.fromkeys(session_names))
        if self._to_read:
            self._has_work.set()

    def _schedule_all_writes(self) -> None:
        self._to_write.update(dict.fromkeys(self._sessions))
        if self._to_write:
            self._has_work.set()


def _take_batch(session_names: dict[str, None]) -> list[str]:
    """Remove the first `BATCH_SIZE` session names from `session_names` and return them.

    A name that is added again during the work on the batch is part of a later batch.
    """
    batch = list(islice(session_names, BATCH_SIZE))
    for session_name in batch:
        del session_names[session_name]
    return batch
