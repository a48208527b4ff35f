"""Presence in Redis: each instance's counts of connected clients, the instances that live, and changes.

A session's hash has one field for each instance, which is written when the instance's counts change. A sorted set holds
each instance once, for all its sessions, by Redis TIME of its last heartbeat. A dead instance counts for nothing, even
while its fields exist. Fields of watched sessions are removed; the others expire.

An instance's name is in the sorted set before any field of it is written. A removed name never returns: an instance
that was removed, or does not trust its fields in Redis, continues under a new name. So if a field was read and its name
is missing in the set afterwards, its instance is dead for good. Removing the field cannot remove a newer write.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator

from msgspec import Struct

from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisCommand, RedisPipe

HEARTBEAT_S = 1.0
"""Seconds between two heartbeats of an instance."""

DEAD_AFTER_S = 5.0
"""Seconds without a heartbeat after which an instance counts as dead: its clients reconnect to other instances."""

FIELD_TTL_S = 300
"""Seconds that a session's presence is kept after its last write."""

BATCH_SIZE = 250
"""Sessions in one pipeline and in one message."""


class HeartbeatResult(Struct, frozen=True):
    """The result of a heartbeat.

    `is_new` says that the instance has a new name. `changes` counts all published changes. `living` are the names of
    the living instances.
    """

    is_new: bool
    changes: int
    living: frozenset[str]


class PresenceStore:
    """This instance's presence data. All methods raise StoreUnavailable if Redis does not answer."""

    def __init__(self, pipe: RedisPipe, subscriber: PubSubConnection, keys: Keys) -> None:
        self.instance = secrets.token_hex(8)
        self._pipe = pipe
        self._subscriber = subscriber
        self._keys = keys
        self._heartbeat_script = LuaScript("presence_heartbeat")
        self._publish_script = LuaScript("presence_publish_numbered")

    async def heartbeat(self, *, may_remove_dead: bool, rename: bool = False) -> HeartbeatResult:
        """Report that this instance lives, and remove dead instances if `may_remove_dead`. One round trip.

        An instance that was removed itself, or that asks for it by `rename`, gets a new name. It then has no fields. A
        second round trip is needed if it was removed.
        """
        if not rename:
            lives, changes, living = await self._send_heartbeat(self.instance, "", may_remove_dead)
            if lives:
                return HeartbeatResult(False, changes, living)
        name = secrets.token_hex(8)
        _, changes, living = await self._send_heartbeat(name, self.instance, may_remove_dead)
        self.instance = name
        return HeartbeatResult(True, changes, living)

    async def _send_heartbeat(self, name: str, former: str, may_remove_dead: bool) -> tuple[bool, int, frozenset[str]]:
        keys = [self._keys.instances, self._keys.presence_changes]
        args = (name, int(DEAD_AFTER_S * 1000), int(may_remove_dead), former)
        with translated_errors():
            lives, changes, living = await self._heartbeat_script(self._pipe, keys, [*args])
        return bool(lives), changes, frozenset(each.decode() for each in living)

    async def write(self, values: dict[str, bytes]) -> None:
        """Write this instance's counts of some sessions; an empty value removes its field. One round trip."""
        commands: list[RedisCommand] = []
        for session_id, value in values.items():
            key = self._keys.presence(session_id)
            if value:
                commands += [("HSET", key, self.instance, value), ("EXPIRE", key, FIELD_TTL_S)]
            else:
                commands.append(("HDEL", key, self.instance))
        with translated_errors():
            await self._pipe.call_many(commands)

    async def publish(self, session_ids: list[str]) -> None:
        """Publish the sessions that other instances must read again. One round trip."""
        message = " ".join((self.instance, *session_ids))
        with translated_errors():
            await self._publish_script(
                self._pipe, [self._keys.presence_changes], [self._keys.presence_channel, message]
            )

    async def read(self, session_ids: list[str]) -> list[dict[str, bytes]]:
        """Return each living instance's counts of some sessions, by instance; remove the fields of dead instances.

        One round trip, two if there are fields to remove.
        """
        commands: list[RedisCommand] = [("HGETALL", self._keys.presence(each)) for each in session_ids]
        with translated_errors():
            # The set is read last: an instance with a field that is missing in the set is dead for good.
            *hashes, members = await self._pipe.call_many([*commands, ("ZRANGE", self._keys.instances, 0, -1)])
            living = {each.decode() for each in members}
            found = [dict(_pairs(fields)) for fields in hashes]
            dead = [
                (session_id, name)
                for session_id, fields in zip(session_ids, found, strict=True)
                for name in fields
                if name not in living
            ]
            if dead:
                await self._pipe.call_many([("HDEL", self._keys.presence(each), name) for each, name in dead])
        return [{name: value for name, value in fields.items() if name in living} for fields in found]

    def listen(self, receive: Callable[[int, str, list[str]], None]) -> asyncio.Event:
        """Pass each published message to `receive`: its number, the sending instance, the sessions to read again.

        The returned event is set while Redis has confirmed the subscription.
        """

        def receive_payload(channel: str, payload: bytes) -> None:
            number, instance, *session_ids = payload.decode().split(" ")
            receive(int(number), instance, session_ids)

        return self._subscriber.subscribe(self._keys.presence_channel, receive_payload)


def _pairs(fields: list[bytes]) -> Iterator[tuple[str, bytes]]:
    return ((name.decode(), value) for name, value in zip(fields[::2], fields[1::2], strict=True))
