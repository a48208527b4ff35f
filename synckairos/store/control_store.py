"""The control channel in Redis: numbered entries that every instance holds in memory, such as revocations.

One script adds an entry, gives it the next number and publishes it. An instance that missed a message finds another
position at its next check and reads all entries again. The generation is lost together with the data of the store.
"""

import secrets
from collections.abc import Callable, Sequence

from msgspec import Struct

from synckairos.errors import StoreUnavailable
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.redis_errors import FENCED, translated_errors
from synckairos.store.shared_connection import Argument, RedisPipe, parse_time_ms
from synckairos.telemetry.invalid_data import report_dropped_keys, report_invalid_data

MAX_ENTRIES = 100_000
"""Maximum number of entries. Entries that have no effect any more are removed, so only a flood reaches this number."""

ENTRIES_PER_CALL = 500
"""Maximum number of entries in one call of the script."""


class ControlPosition(Struct, frozen=True):
    """The position of the control channel: the last entry of a generation.

    `number` is the number of the last entry, 0 before the first entry. `tag` is a random text of this entry. A failover
    can lose entries and give their numbers again, with other tags.
    """

    generation: str
    number: int
    tag: str


class StoredEntries(Struct, frozen=True):
    """The entries of the control channel, and the position that Redis had just before the entries were read.

    `position` is None if the channel has no entry since the store was created or lost its data, or if the data is
    invalid. If `is_complete` is True, all entries in Postgres were added in the present generation of the channel.
    `now_ms` is the time of Redis in ms since the Unix epoch.
    """

    position: ControlPosition | None
    is_complete: bool
    entries: Sequence[bytes]
    now_ms: int


class AddedEntry(Struct, frozen=True):
    """A message of the control channel: an entry with its position, and the tag of the entry before it."""

    position: ControlPosition
    tag_before: str
    entry: bytes


class ControlStore:
    """The control channel in Redis. All methods raise StoreUnavailable if Redis does not answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys
        # A revocation must also work if the memory of Redis is full.
        self._append_script = LuaScript("control_append", allow_oom=True)

    async def append(self, entries: Sequence[bytes], *, completes: bool = False, keeps_reserve: bool = False) -> bool:
        """Add the entries that the channel does not have yet, in order, and publish each added entry.

        Return False if the channel would have more than `MAX_ENTRIES` entries, or half of them with
        `keeps_reserve=True`; some entries were possibly added then. Otherwise return True. Pass `completes=True` only
        if the channel has all entries in Postgres after this call. There is then no maximum.
        """
        names = [self._keys.control_position, self._keys.control_entries, self._keys.control_fence]
        few = [entries[at : at + ENTRIES_PER_CALL] for at in range(0, len(entries), ENTRIES_PER_CALL)] or [()]
        for at, each in enumerate(few):
            is_last = completes and at == len(few) - 1
            limit = 2**53 if completes else MAX_ENTRIES // 2 if keeps_reserve else MAX_ENTRIES
            args: list[Argument] = [self._keys.control_channel, secrets.token_hex(8), limit, int(is_last), *each]
            with translated_errors():
                was_added, *dropped = await self._append_script(self._pipe, names, args)
            report_dropped_keys(dropped)
            if was_added < 0:
                raise StoreUnavailable(FENCED)
            if not was_added:
                return False
        return True

    async def read_position(self, min_entries: int = 0) -> ControlPosition | None:
        """Return the position of the channel. One round trip.

        Return None if the channel has no valid position, if it is not complete (see `StoredEntries`), or if it has
        fewer than `min_entries` entries.
        """
        with translated_errors():
            found, count = await self._pipe.call_many_independent(
                [self._position_command, ("ZCARD", self._keys.control_entries)]
            )
        position, is_complete = self._parse_position(found)
        return position if is_complete and not isinstance(count, Exception) and count >= min_entries else None

    async def read_all(self) -> StoredEntries:
        """Return all entries with the position of the channel. One round trip."""
        with translated_errors():
            # The position is read first. An entry that is added in between is then read twice, which has no effect.
            found, entries, now = await self._pipe.call_many_independent(
                [self._position_command, ("ZRANGE", self._keys.control_entries, 0, -1), ("TIME",)]
            )
        position, is_complete = self._parse_position(found)
        if isinstance(entries, Exception):
            report_invalid_data(self._keys.control_entries, entries)
            position, is_complete, entries = None, False, ()
        return StoredEntries(position, is_complete, entries, parse_time_ms(now))

    async def now_ms(self) -> int:
        """Return the time of Redis in ms since the Unix epoch. One round trip."""
        with translated_errors():
            return parse_time_ms(await self._pipe.call("TIME"))

    async def remove(self, entries: Sequence[bytes]) -> None:
        """Remove entries that have no effect any more. The position of the channel does not change."""
        with translated_errors():
            for at in range(0, len(entries), ENTRIES_PER_CALL):
                await self._pipe.call("ZREM", self._keys.control_entries, *entries[at : at + ENTRIES_PER_CALL])

    def listen(self, subscriber: PubSubConnection, receive: Callable[[AddedEntry], None]) -> None:
        """Call `receive` for each entry that is added from now on. Return immediately.

        Messages can be lost. Then `receive` is not called for their entries.
        """

        def receive_payload(channel: str, payload: bytes) -> None:
            generation, number, tag, tag_before, entry = payload.split(b" ", 4)
            position = ControlPosition(generation.decode(), int(number), tag.decode())
            receive(AddedEntry(position, tag_before.decode(), entry))

        subscriber.subscribe(self._keys.control_channel, receive_payload)

    @property
    def _position_command(self) -> tuple[str, ...]:
        return ("HMGET", self._keys.control_position, "generation", "number", "tag", "complete")

    def _parse_position(self, found: object) -> tuple[ControlPosition | None, bool]:
        """Return the position, and whether the channel is complete. Invalid data counts as no position."""
        if isinstance(found, list) and found[0] is None:
            return None, False
        try:
            if not isinstance(found, list):
                raise TypeError(str(found))
            generation, number, tag, complete = found
            return ControlPosition(generation.decode(), int(number), tag.decode()), complete == b"1"
        except (AttributeError, TypeError, ValueError) as error:
            report_invalid_data(self._keys.control_position, error)
            return None, False
