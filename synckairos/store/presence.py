"""Who is connected where: every instance's own counts, which instances live, and word of what changed.

A session's hash has one field an instance, written when that changes. Whether the instance still lives stands once for
all its sessions, in a sorted set by Redis TIME. Who is dead counts for nothing, wherever its fields still are: those of
sessions that others watch are taken out, the others expire.

A name is in that set before any field of it is written, and one that was taken out never comes back: an instance that
was taken for dead, or doesn't trust what Redis has of it, goes on under a new one. So whose field is seen and whose
name isn't there afterwards is dead for good, and clearing it away can't hit what was written again meanwhile.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from synckairos.store.connect import Script, unavailable_as_named
from synckairos.store.keys import Keys
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.shared_connection import Command, RedisPipe

BEAT_S = 1.0
DEAD_AFTER_S = 5.0
"""Silence after which an instance counts as dead: its clients come back to others."""

KEEP_S = 300
"""How long what an instance wrote is kept without being written again."""

AT_ONCE = 250
"""Sessions in one pipeline, and in one message."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What an instance learns when it says that it lives: whether its name is new, who else lives, what was told."""

    is_new: bool
    changes: int
    living: frozenset[str]


class PresenceStore:
    """This instance's part in who is connected where. Everything raises StoreUnavailable."""

    def __init__(self, pipe: RedisPipe, subscriber: PubSubConnection, keys: Keys) -> None:
        self.instance = secrets.token_hex(8)
        self._pipe = pipe
        self._subscriber = subscriber
        self._keys = keys
        self._beat = Script("beat")
        self._say = Script("say")

    async def beat(self, *, may_bury: bool, anew: bool = False) -> Beat:
        """Say that this instance lives, and take out the dead where it may. One round trip.

        Where it was taken out itself, or wants to begin `anew`, it gets another name, and has nothing in any session.
        """
        if not anew:
            lives, changes, living = await self._say_that_lives(self.instance, "", may_bury)
            if lives:
                return Beat(False, changes, living)
        name = secrets.token_hex(8)
        _, changes, living = await self._say_that_lives(name, self.instance, may_bury)
        self.instance = name
        return Beat(True, changes, living)

    async def _say_that_lives(self, name: str, former: str, may_bury: bool) -> tuple[bool, int, frozenset[str]]:
        keys = [self._keys.instances, self._keys.presence_changes]
        args = (name, int(DEAD_AFTER_S * 1000), int(may_bury), former)
        with unavailable_as_named():
            lives, changes, living = await self._beat(self._pipe, keys, [*args])
        return bool(lives), changes, frozenset(each.decode() for each in living)

    async def write(self, values: dict[str, bytes]) -> None:
        """Write what this instance has of some sessions, nothing being nobody, and say so. Two round trips."""
        commands: list[Command] = []
        for session_id, value in values.items():
            key = self._keys.presence(session_id)
            if value:
                commands += [("HSET", key, self.instance, value), ("EXPIRE", key, KEEP_S)]
            else:
                commands.append(("HDEL", key, self.instance))
        with unavailable_as_named():
            await self._pipe.call_many(commands)

    async def say(self, session_ids: list[str]) -> None:
        """Tell the other instances which sessions to look at again. One round trip."""
        told = " ".join((self.instance, *session_ids))
        with unavailable_as_named():
            await self._say(self._pipe, [self._keys.presence_changes], [self._keys.presence_told, told])

    async def read(self, session_ids: list[str]) -> list[dict[str, bytes]]:
        """Return what each living instance has of some sessions, by instance; clear away what the dead left.

        One round trip, two where there is something to clear away.
        """
        commands: list[Command] = [("HGETALL", self._keys.presence(each)) for each in session_ids]
        with unavailable_as_named():
            # The living last: whose field was there and whose name isn't, is dead for good.
            *hashes, members = await self._pipe.call_many([*commands, ("ZRANGE", self._keys.instances, 0, -1)])
            living = {each.decode() for each in members}
            found = [dict(_pairs(fields)) for fields in hashes]
            left = [
                (session_id, name)
                for session_id, fields in zip(session_ids, found, strict=True)
                for name in fields
                if name not in living
            ]
            if left:
                await self._pipe.call_many([("HDEL", self._keys.presence(each), name) for each, name in left])
        return [{name: value for name, value in fields.items() if name in living} for fields in found]

    def listen(self, hear: Callable[[int, str, list[str]], None]) -> asyncio.Event:
        """Have `hear` told the number of each message, the instance that sent it, and the sessions to look at again.

        The event is set while Redis has confirmed it.
        """

        def receive(channel: str, payload: bytes) -> None:
            number, instance, *session_ids = payload.decode().split(" ")
            hear(int(number), instance, session_ids)

        return self._subscriber.want(self._keys.presence_told, receive)


def _pairs(fields: list[bytes]) -> Iterator[tuple[str, bytes]]:
    return ((name.decode(), value) for name, value in zip(fields[::2], fields[1::2], strict=True))
