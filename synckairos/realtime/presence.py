"""Who is connected to the sessions watched here, on all instances, and the PRESENCE that tells of it.

Changes are written, read and told in rounds, so that a thousand who come at once cost a few frames each. Nobody waits
for a round: a state never does, and who reads slowly is told the newest when there is room. Redis away: nothing is
told, and caught up with later.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from synckairos.errors import Forbidden, StoreUnavailable
from synckairos.principal import Principal
from synckairos.realtime.watcher import Subscription, Watcher
from synckairos.store.presence import AT_ONCE, BEAT_S, DEAD_AFTER_S, KEEP_S, Beat, PresenceStore
from synckairos.store.server_time import ServerTime
from synckairos.telemetry import log
from synckairos.telemetry.metrics import INSTANCES, PRESENCE_FRAMES
from synckairos.wire import v3_messages
from synckairos.wire.presence_counts import PresenceCounts, PresenceIdentity

ROUND_S = 0.5
"""A session is told of at most this often, where it is quiet at once."""

LONGEST_PAUSE_S = 2.0
BYTES_A_SECOND = 20_000_000
"""What may be told of one session; where many are told of many, it is told less often, down to the longest pause."""

FRAMES_AT_ONCE = 200
"""Frames written without a breath for the rest of the process."""

REFRESH_S = KEEP_S / 3

logger = log.get_logger(__name__)


def presence_identity(principal: Principal, declared: str | None = None) -> PresenceIdentity:
    """Return who a client is to others. `declared` is the participant that it says it is.

    Without authentication that is believed, as everything is; roles then say no more than whether one was named.
    Raises Forbidden where it is known to be somebody else.
    """
    if principal.subject is None:
        return PresenceIdentity("viewer") if declared is None else PresenceIdentity("participant", declared)
    if declared not in (None, principal.subject):
        raise Forbidden(f"You are {principal.subject}, not participant {declared}; leave participant_id out")
    return PresenceIdentity(principal.role, principal.subject if principal.role == "participant" else None)


class _Place(NamedTuple):
    who: PresenceIdentity
    wants: bool


@lru_cache(maxsize=256)
def _place(who: PresenceIdentity, wants: bool) -> _Place:
    # Ten thousand viewers are one viewer's memory.
    return _Place(who, wants)


class _Room:
    """A session watched here: our clients in it, and who is known to be in it altogether."""

    __slots__ = ("counts", "elsewhere", "frame", "is_news", "next_s", "owed", "places", "present", "written")

    def __init__(self) -> None:
        self.places: dict[Subscription, _Place] = {}
        self.counts: Counter[PresenceIdentity] = Counter()
        self.owed: set[Subscription] = set()
        """Who is still to get `frame`."""
        self.written: bytes | None = b""
        """What Redis has of us; None where it may have lost that."""
        self.elsewhere: tuple[str, ...] = ()
        """The other instances that have clients in it."""
        self.present: PresenceCounts | None = None
        self.frame = b""
        self.is_news = False
        self.next_s = 0.0

    def here(self) -> PresenceCounts:
        return PresenceCounts.count(self.counts)


class PresenceTracker:
    """All rooms of this instance."""

    def __init__(self, store: PresenceStore, server_time: ServerTime) -> None:
        self._store = store
        self._server_time = server_time
        self._rooms: dict[str, _Room] = {}
        self._dirty: dict[str, None] = {}
        self._stale: dict[str, None] = {}
        self._untold: dict[str, None] = {}
        self._work = asyncio.Event()
        self._living: frozenset[str] = frozenset()
        self._lives = asyncio.Event()
        self._life = 0
        """How often all was to be written again, under another name."""
        self._is_suspect = False
        """Redis may have lost some of what it was told."""
        self._heard: int | None = None
        """The number of the last message heard."""
        self._number = 0
        """Messages up to this one were heard, or everything was looked at since they were sent."""
        self._said = 0
        """How many had been sent at the last beat."""

    # -- who comes and goes here --------------------------------------------------------------------------------------

    def enter(self, subscription: Subscription, who: PresenceIdentity, *, wants: bool) -> None:
        """Count a client that has its first answer; tell it who is there if it wants that."""
        session_id = subscription.session_id
        if subscription.connection.subscriptions.get(session_id) is not subscription:
            return  # gone meanwhile
        room = self._rooms.get(session_id)
        if room is None:
            room = self._rooms[session_id] = _Room()
        room.places[subscription] = _place(who, wants)
        room.counts[who] += 1
        if wants:
            room.owed.add(subscription)
        self._soil(session_id)

    def leave(self, subscription: Subscription) -> None:
        """Count a client no longer, if it was."""
        room = self._rooms.get(subscription.session_id)
        if room is None or (place := room.places.pop(subscription, None)) is None:
            return
        room.counts[place.who] -= 1
        if not room.counts[place.who]:
            del room.counts[place.who]
        room.owed.discard(subscription)
        self._soil(subscription.session_id)

    def catch_up(self, connection: Watcher) -> None:
        """Tell a client that takes more again what it wasn't told while it didn't."""
        for session_id, subscription in connection.subscriptions.items():
            room = self._rooms.get(session_id)
            if room is not None and subscription in room.owed and room.frame and connection.show(room.frame):
                room.owed.discard(subscription)

    def present(self, session_id: str) -> PresenceCounts | None:
        """Return who is connected to a session that is watched here, as far as it is known yet."""
        room = self._rooms.get(session_id)
        return None if room is None else room.present

    def _soil(self, session_id: str) -> None:
        self._dirty[session_id] = None
        self._work.set()

    # -- rounds -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the count and tell of it, until cancelled."""
        self._store.listen(self._hear)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._go_round())

    async def farewell(self) -> None:
        """Write a last time, when all clients were sent away, rather than be found dead by the others."""
        try:
            await self._round()
        except StoreUnavailable as trouble:
            logger.debug("no farewell", cause=trouble.code)

    async def _go_round(self) -> None:
        await self._lives.wait()  # what is written of somebody who doesn't live yet is cleared away
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                await self._round()
            except StoreUnavailable as trouble:
                logger.debug("presence waits", cause=trouble.code)
                self._work.set()
            await asyncio.sleep(ROUND_S)

    async def _round(self) -> None:
        for _ in range(0, len(self._dirty), AT_ONCE):
            await self._write(_take(self._dirty))
        for _ in range(0, len(self._stale), AT_ONCE):
            await self._read(_take(self._stale))
        await self._tell()

    async def _write(self, session_ids: list[str]) -> None:
        rooms = {each: room for each in session_ids if (room := self._rooms.get(each)) is not None}
        life = self._life
        values = {each: room.here().render() if room.places else b"" for each, room in rooms.items()}
        try:
            await self._store.write(values)
            if changed := [each for each, value in values.items() if rooms[each].written != value]:
                await self._store.say(changed)
        except StoreUnavailable:
            self._dirty.update(dict.fromkeys(rooms))
            raise
        for session_id, room in rooms.items():
            room.written = values[session_id] if life == self._life else None  # or else it was under a former name
            if room.places:
                self._stale[session_id] = None
            elif not room.written and self._rooms.get(session_id) is room:
                del self._rooms[session_id]

    async def _read(self, session_ids: list[str]) -> None:
        try:
            found = await self._store.read(session_ids)
        except StoreUnavailable:
            self._stale.update(dict.fromkeys(session_ids))
            raise
        for session_id, by_instance in zip(session_ids, found, strict=True):
            room = self._rooms.get(session_id)
            if room is None:
                continue
            by_instance.pop(self._store.instance, None)  # what we have we know better
            room.elsewhere = tuple(by_instance)
            present = PresenceCounts.sum((room.here(), *map(PresenceCounts.parse, by_instance.values())))
            if present != room.present:
                room.present, room.is_news = present, True
                room.frame = v3_messages.presence_frame(session_id, self._server_time.now_ms(), present)
            self._untold[session_id] = None

    async def _tell(self) -> None:
        """Write what is new to all who want it, and to newcomers what is known."""
        now_s = time.monotonic()
        count = 0
        for session_id in tuple(self._untold):
            room = self._rooms.get(session_id)
            if room is None or not room.frame:
                # All left meanwhile, and maybe others came; or the farewell's round was here.
                self._untold.pop(session_id, None)
                continue
            if room.is_news and now_s >= room.next_s:
                room.is_news = False
                room.owed.update(each for each, place in room.places.items() if place.wants)
                room.next_s = now_s + min(LONGEST_PAUSE_S, len(room.owed) * len(room.frame) / BYTES_A_SECOND)
            for subscription in tuple(room.owed):
                if subscription in room.owed and subscription.connection.show(room.frame):
                    room.owed.discard(subscription)
                    count += 1
                    if count % FRAMES_AT_ONCE == 0:
                        await asyncio.sleep(0)
            if not room.is_news:
                self._untold.pop(session_id, None)
        PRESENCE_FRAMES.inc(count)
        if self._untold:
            self._work.set()

    # -- the other instances ------------------------------------------------------------------------------------------

    def _hear(self, number: int, instance: str, session_ids: list[str]) -> None:
        heard, self._heard = self._heard, number
        if heard is not None and number <= heard:
            self._is_suspect = True
        elif number <= self._number:
            return  # it is late, and was made up for
        if number != self._number + 1:
            self._look_again(self._rooms)
        elif instance != self._store.instance:
            self._look_again(each for each in session_ids if each in self._rooms)
        self._number = number

    def _look_again(self, session_ids: Iterable[str]) -> None:
        self._stale.update(dict.fromkeys(session_ids))
        if self._stale:
            self._work.set()

    async def _beat(self) -> None:
        beaten_s, refreshed_s = float("-inf"), time.monotonic()
        while True:
            now_s = time.monotonic()
            silent_s, number = now_s - beaten_s, self._number
            anew = self._is_suspect or silent_s >= DEAD_AFTER_S
            try:
                beat = await self._store.beat(may_bury=silent_s < DEAD_AFTER_S / 2, anew=anew)
            except StoreUnavailable as trouble:
                logger.debug("no beat", cause=trouble.code)
            else:
                beaten_s = now_s
                self._learn(beat, number)
            if now_s - refreshed_s > REFRESH_S:
                refreshed_s = now_s
                self._write_all()
            await asyncio.sleep(BEAT_S)

    def _learn(self, beat: Beat, number: int) -> None:
        """Take in who lives, and whether anything was told that didn't come here; `number` was the last before."""
        INSTANCES.set(len(beat.living))
        went_back = beat.changes < max(number, self._said)  # a failover, or a loss of everything
        if beat.is_new:
            self._write_anew()
        self._is_suspect = (went_back or self._is_suspect) and not beat.is_new  # it may be since the beat was sent
        dead = self._living - beat.living
        if dead:
            self._look_again(each for each, room in self._rooms.items() if not dead.isdisjoint(room.elsewhere))
        self._living = beat.living
        self._lives.set()
        if self._number < self._said or went_back:
            self._number = beat.changes
            self._look_again(self._rooms)
        if went_back:
            self._heard = None
        self._said = beat.changes

    def _write_anew(self) -> None:
        """Write all again, and tell of it: of this instance's new name Redis has nothing."""
        self._life += 1
        for room in self._rooms.values():
            room.written = None
        self._write_all()

    def _write_all(self) -> None:
        self._dirty.update(dict.fromkeys(self._rooms))
        if self._dirty:
            self._work.set()


def _take(waiting: dict[str, None]) -> list[str]:
    """Take the first of what waits; what comes again meanwhile waits for another round."""
    session_ids = list(islice(waiting, AT_ONCE))
    for session_id in session_ids:
        del waiting[session_id]
    return session_ids
