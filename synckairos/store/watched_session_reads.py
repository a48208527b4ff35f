"""Reads of watched sessions from Redis for the feed: stored versions and version histories, many sessions at a time."""

from collections.abc import Iterator

from synckairos.errors import InvalidStoredData
from synckairos.session_names import bare_id
from synckairos.store.keys import Keys
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisCommand, RedisPipe, raise_if_invalid_data
from synckairos.store.stored_session import SESSION_FIELDS, parse_history, parse_stored_session
from synckairos.telemetry.invalid_data import report_invalid_data, reporting_invalid_data
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.snapshot import SessionSnapshot, check_stored_document


class WatchedSessionReads:
    """Reads sessions for the feed. Each method makes one round trip."""

    def __init__(self, pipe: RedisPipe, keys: Keys, session_ttl_s: int) -> None:
        """Create a reader on the connection `pipe`.

        `session_ttl_s` is the TTL in seconds that `load_positions` gives sessions if it extends their TTLs.
        """
        self._pipe = pipe
        self._keys = keys
        self._ttl_s = session_ttl_s

    async def load_history(self, session_name: str, snapshot: SessionSnapshot) -> Iterator[FeedMessage]:
        """Return the feed messages of `snapshot` and of the versions before it in Redis, newest first. One round trip.

        The iterator ends at the oldest version of the version history.

        Raises: StoreUnavailable if Redis does not answer.
        """
        with translated_errors():
            kept = await self._pipe.call("LRANGE", self._keys.history(session_name), 0, -1)
        return parse_history(snapshot, kept, self._keys.history(session_name))

    async def load_positions(
        self, names: list[str], extend_ttl: bool = False
    ) -> list[SessionSnapshot | InvalidStoredData | None]:
        """Return the stored snapshots of sessions without their documents: each `document` is empty.

        One round trip. The results are in the order of `names`, None for each session that Redis does not have. A
        session with invalid data is reported, and its result is the error. If `extend_ttl` is True, also extend the
        TTLs of the sessions.
        """
        keys = self._keys
        commands: list[RedisCommand] = [("HMGET", keys.session(each), "epoch", "version", "tag") for each in names]
        if extend_ttl:
            builders = (keys.session, keys.history, keys.idempotency_records)
            kept = (build(session_name) for session_name in names for build in builders)
            commands += [("EXPIRE", key, self._ttl_s, "GT") for key in kept]
        with translated_errors():
            replies = await self._pipe.call_many_independent(commands)
        found: list[SessionSnapshot | InvalidStoredData | None] = []
        for session_name, reply in zip(names, replies, strict=False):
            try:
                with reporting_invalid_data(keys.session(session_name)):
                    epoch, version, tag = raise_if_invalid_data(reply)
                    is_stored = epoch is not None
                    found.append(
                        SessionSnapshot(epoch.decode(), int(version), b"", (tag or b"").decode()) if is_stored else None
                    )
            except InvalidStoredData as error:
                found.append(error)
        return found

    async def load_with_history(
        self, names: list[str]
    ) -> list[tuple[SessionSnapshot | InvalidStoredData | None, Iterator[FeedMessage]]]:
        """Return the stored snapshot and the version history of each session, in the order of `names`. One round trip.

        The newest version of a history is first. If Redis does not have a session, its snapshot is None and its history
        is empty. If the data of a session is invalid, its snapshot is the error and its history is empty.
        """
        commands: list[RedisCommand] = []
        for session_name in names:
            commands.append(("HMGET", self._keys.session(session_name), *SESSION_FIELDS))
            commands.append(("LRANGE", self._keys.history(session_name), 0, -1))
        with translated_errors():
            replies = await self._pipe.call_many_independent(commands)
        found: list[tuple[SessionSnapshot | InvalidStoredData | None, Iterator[FeedMessage]]] = []
        for session_name, fields, kept in zip(names, replies[::2], replies[1::2], strict=True):
            try:
                with reporting_invalid_data(self._keys.session(session_name)):
                    stored = parse_stored_session(raise_if_invalid_data(fields))
                    if stored is not None:
                        check_stored_document(bare_id(session_name), stored.snapshot)
            except InvalidStoredData as error:
                found.append((error, iter(())))
                continue
            newest, history_key = None if stored is None else stored.snapshot, self._keys.history(session_name)
            if isinstance(kept, Exception):
                report_invalid_data(history_key, kept)
                kept = []
            found.append((newest, parse_history(newest, kept, history_key)))
        return found
