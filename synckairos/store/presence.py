"""Presence in Redis: the counts of each instance's clients, the living instances, and notifications of changed counts.

The presence hash of a session has one field for each instance. An instance writes its field when its counts change. A
sorted set has the name of each instance, by the time of Redis at its last heartbeat. The counts of a dead instance are
ignored, even if its fields still exist. In watched sessions these fields are removed; in other sessions they expire.

The name of an instance is in the sorted set before the instance writes a field. A removed name never returns: an
instance that was removed, or that does not trust its fields in Redis, continues under a new name. So if a field is read
first and its name is then missing in the sorted set, the instance will never write that field again. Removing the field
therefore never removes a newer write.
"""

import asyncio
import secrets
from collections.abc import Callable

from msgspec import Struct

from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisCommand, RedisPipe, parse_time_ms
from synckairos.telemetry.invalid_data import report_dropped_keys, report_invalid_data, reporting_invalid_data

HEARTBEAT_S = 1.0
"""Seconds between two heartbeats of an instance."""

DEAD_AFTER_S = 5.0
"""Seconds without a heartbeat after which an instance counts as dead. Its clients reconnect to other instances."""

FIELD_TTL_S = 300
"""Seconds that the presence hash of a session stays after its last write."""

_RELEASE = ".3"
"""End of the names of instances of this release: the number of the newest data that they can read."""

_READS_TENANTS = (".2", _RELEASE)
_READS_PACKED_HISTORY = (_RELEASE,)
_FOLLOWS_MOVES = "-m"  # before the mark of the release, because earlier releases compare the end of a name

BATCH_SIZE = 250
"""Number of sessions in one pipeline and in one message."""


class HeartbeatResult(Struct, frozen=True):
    """The result of a heartbeat.

    `is_new` is True if this heartbeat gave this instance a new name. `changes` is the number of messages that all
    instances have published on the presence channel until now. `living` has the names of the living instances.
    """

    is_new: bool
    changes: int
    living: frozenset[str]


class PresenceStore:
    """The presence data of this instance. All methods raise StoreUnavailable if Redis does not answer."""

    def __init__(self, pipe: RedisPipe, subscriber: PubSubConnection, keys: Keys) -> None:
        self.instance = make_instance_name()
        self._pipe = pipe
        self._subscriber = subscriber
        self._keys = keys
        self._heartbeat_script = LuaScript("presence_heartbeat")
        self._publish_script = LuaScript("presence_publish_numbered")

    async def send_heartbeat(self, *, may_remove_dead: bool, rename: bool = False) -> HeartbeatResult:
        """Send a heartbeat of this instance. One round trip, or two if the instance gets a new name.

        If `may_remove_dead` is True, instances without a recent heartbeat are removed. The instance gets a new name if
        another instance has removed its name, or if `rename` is True. Redis has no counts under a new name, so the
        caller must write all counts again.
        """
        if not rename:
            lives, changes, living = await self._send_heartbeat(self.instance, "", may_remove_dead)
            if lives:
                return HeartbeatResult(False, changes, living)
        name = make_instance_name()
        _, changes, living = await self._send_heartbeat(name, self.instance, may_remove_dead)
        self.instance = name
        return HeartbeatResult(True, changes, living)

    async def _send_heartbeat(self, name: str, former: str, may_remove_dead: bool) -> tuple[bool, int, frozenset[str]]:
        keys = [self._keys.instance_heartbeats, self._keys.presence_message_count]
        args = (name, int(DEAD_AFTER_S * 1000), int(may_remove_dead), former)
        with translated_errors():
            lives, changes, living, *dropped = await self._heartbeat_script(self._pipe, keys, [*args])
        report_dropped_keys(dropped)
        return bool(lives), changes, frozenset(_decode_name(each) for each in living)

    async def write_counts(self, values: dict[str, bytes]) -> None:
        """Write this instance's presence counts of sessions.

        `values` are rendered counts by session name. One round trip.

        If a value is empty, the field of this instance is removed from that session.
        """
        commands: list[RedisCommand] = []
        for session_name, value in values.items():
            key = self._keys.presence(session_name)
            if value:
                commands += [("HSET", key, self.instance, value), ("EXPIRE", key, FIELD_TTL_S)]
            else:
                commands.append(("HDEL", key, self.instance))
        with translated_errors():
            replies = await self._pipe.call_many_independent(commands)
            again: list[RedisCommand] = []
            for command, reply in zip(commands, replies, strict=True):
                if isinstance(reply, Exception):
                    report_invalid_data(str(command[1]), reply)
                    again += [("UNLINK", command[1]), command, ("EXPIRE", command[1], FIELD_TTL_S)]
            if again:
                await self._pipe.call_many(again)

    async def publish_changed_sessions(self, session_names: list[str]) -> None:
        """Publish the names of sessions whose counts other instances must read again. One round trip."""
        message = " ".join((self.instance, *session_names))
        with translated_errors():
            dropped = await self._publish_script(
                self._pipe, [self._keys.presence_message_count], [self._keys.presence_channel, message]
            )
        report_dropped_keys(dropped)

    async def read_counts(self, session_names: list[str]) -> list[dict[str, bytes]]:
        """Return the rendered counts of each living instance for each of `session_names`.

        There is one dictionary by instance name for each session, in the order of `session_names`. The fields of dead
        instances are removed. One round trip, or two if there are fields to remove.
        """
        commands: list[RedisCommand] = [("HGETALL", self._keys.presence(each)) for each in session_names]
        with translated_errors():
            # The sorted set is read last. So if an instance has a field but is missing in the sorted set, it is dead
            # for good.
            *hashes, members = await self._pipe.call_many_independent(
                [*commands, ("ZRANGE", self._keys.instance_heartbeats, 0, -1)]
            )
            if isinstance(members, Exception):
                members = []  # the next heartbeat drops the key and reports it
            living = set(members)
            found: list[dict[bytes, bytes]] = []
            removals: list[RedisCommand] = []
            for session_name, fields in zip(session_names, hashes, strict=True):
                key = self._keys.presence(session_name)
                if isinstance(fields, Exception):
                    report_invalid_data(key, fields)
                    removals.append(("UNLINK", key))
                    fields = []
                found.append(dict(zip(fields[::2], fields[1::2], strict=True)))
                removals += [("HDEL", key, name) for name in found[-1] if name not in living and members]
            if removals:
                await self._pipe.call_many(removals)
        return [{_decode_name(name): value for name, value in fields.items() if name in living} for fields in found]

    def reporting_invalid_counts(self, session_name: str) -> reporting_invalid_data:
        """Return the context manager in which the caller parses the counts of a session.

        If parsing fails, the context manager reports the Redis key and raises InvalidStoredData.
        """
        return reporting_invalid_data(self._keys.presence(session_name))

    async def remove_instance_counts(self, session_name: str, instance: str) -> None:
        """Remove the field of an instance in the presence hash of a session. One round trip.

        Call this if the field cannot be parsed.
        """
        with translated_errors():
            await self._pipe.call("HDEL", self._keys.presence(session_name), instance)

    def listen_for_changes(self, receive: Callable[[int, str, list[str]], None]) -> asyncio.Event:
        """Call `receive` for each presence message from now on. Return immediately.

        The arguments are the number of the message, the name of the sending instance and the session names. Messages of
        this instance are also received. The returned event is set while Redis has confirmed the subscription.
        """

        def receive_payload(channel: str, payload: bytes) -> None:
            number, instance, *session_names = payload.decode().split(" ")
            receive(int(number), instance, session_names)

        return self._subscriber.subscribe(self._keys.presence_channel, receive_payload)


def make_instance_name() -> str:
    """Return a new random name of an instance, which ends with the mark of this release."""
    return secrets.token_hex(8) + _FOLLOWS_MOVES + _RELEASE


def follows_moves(instance: str) -> bool:
    """Return whether the name of an instance says that its release obeys fences, and follows a moved store."""
    return instance.endswith(_FOLLOWS_MOVES + _RELEASE)


def reads_tenants(instance: str) -> bool:
    """Return whether the name of an instance says that its release reads data of tenants."""
    return instance.endswith(_READS_TENANTS)


def reads_packed_history(instance: str) -> bool:
    """Return whether the name of an instance says that its release reads packed messages of the version history."""
    return instance.endswith(_READS_PACKED_HISTORY)


async def read_living_instances(pipe: RedisPipe, keys: Keys) -> frozenset[str]:
    """Return the names of the instances whose last heartbeat is not older than `DEAD_AFTER_S`. One round trip.

    Raises: StoreUnavailable if Redis does not answer.
    """
    with translated_errors():
        time, found = await pipe.call_many([("TIME",), ("ZRANGE", keys.instance_heartbeats, 0, -1, "WITHSCORES")])
    oldest_ms = parse_time_ms(time) - DEAD_AFTER_S * 1000
    beats = zip(found[::2], found[1::2], strict=True)
    return frozenset(_decode_name(name) for name, score in beats if float(score) >= oldest_ms)


async def read_instance_names(pipe: RedisPipe, keys: Keys) -> frozenset[str]:
    """Return the names of all instances with a heartbeat in Redis, living or not. One round trip.

    Only a server removes the heartbeats of dead instances. So after the last server ended, they stay for an hour.

    Raises: StoreUnavailable if Redis does not answer.
    """
    with translated_errors():
        return frozenset(map(_decode_name, await pipe.call("ZRANGE", keys.instance_heartbeats, 0, -1)))


def _decode_name(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
