"""Names of all Redis keys and channels. The partition stands in braces: it is the hash tag of Redis Cluster."""

from functools import lru_cache
from zlib import crc32

from msgspec import Struct


class Keys(Struct, frozen=True):
    """Key names with a prefix. The number of partitions is fixed for the life of a store."""

    prefix: str = "sk"
    partitions: int = 1

    def partition_of(self, text: str) -> int:
        """Return the partition of a session id, or of any other text that ends a key."""
        return _crc(text) % self.partitions

    # -- sessions -----------------------------------------------------------------------------------------------------

    def session(self, session_id: str) -> str:
        """Return the hash of a session: its document and its fields."""
        return self._for_text("session", session_id)

    def session_prefix(self, partition: int) -> str:
        """Return the keys of a partition's sessions up to the session id."""
        return f"{self._for_partition('session', partition)}:"

    def history(self, session_id: str) -> str:
        """Return the list of a session's last versions."""
        return self._for_text("history", session_id)

    def idempotency_records(self, session_id: str) -> str:
        """Return the hash of a session's idempotency records by command id."""
        return self._for_text("commands", session_id)

    def feed_channel(self, session_id: str) -> str:
        """Return the channel of a session's feed messages."""
        return self._for_text("feed", session_id)

    def presence(self, session_id: str) -> str:
        """Return the hash of a session's presence counts by instance."""
        return self._for_text("presence", session_id)

    def reserved_command_id(self, command_id: str) -> str:
        """Return the string for an Idempotency-Key that does not belong to an existing session."""
        return self._for_text("reserved", command_id)

    def rate_limit_bucket(self, owner: str) -> str:
        """Return the string of a rate limit's token bucket: the instant at which it is full again.

        The first edition counted fixed windows in keys of the kind `limit`. Its instances may serve on the same store.
        """
        return self._for_text("bucket", owner)

    # -- lists of participants ----------------------------------------------------------------------------------------

    def participant_sessions(self, participant_id: str) -> str:
        """Return the sorted set of a participant's recent sessions, by the instants at which they began."""
        return self._for_text("recent", participant_id)

    def summary(self, session_id: str) -> str:
        """Return the hash of a session's summary, as of the newest version that Postgres has."""
        return self._for_text("digest", session_id)

    def summary_prefix(self, partition: int) -> str:
        """Return the keys of a partition's summaries up to the session id."""
        return f"{self._for_partition('digest', partition)}:"

    def ready_rows(self, participant_id: str) -> str:
        """Return the hash of a participant's ready list rows by session, for sessions of the same partition only."""
        return self._for_text("rows", participant_id)

    def ready_rows_prefix(self, partition: int) -> str:
        """Return the keys of a partition's ready list rows up to the participant id."""
        return f"{self._for_partition('rows', partition)}:"

    def read_cache(self, kind: str, id_: str) -> str:
        """Return the hash of cached Postgres answers about a participant or a session."""
        return self._for_text(f"aside-{kind}", id_)

    # -- partitions ---------------------------------------------------------------------------------------------------

    def deadlines(self, partition: int) -> str:
        """Return the sorted set of session ids by the instants at which they fall due."""
        return self._for_partition("deadlines", partition)

    def live_sessions(self, partition: int) -> str:
        """Return the sorted set of the ids of sessions that are not final, by creation."""
        return self._for_partition("live", partition)

    def generation(self, partition: int) -> str:
        """Return the string that holds the store's generation. It is lost together with the partition's data."""
        return self._for_partition("generation", partition)

    def recovery_lease(self, partition: int) -> str:
        """Return the lease of the instance that recovers a partition after data loss."""
        return self._for_partition("recovery", partition)

    def outbox(self, partition: int) -> str:
        """Return the outbox stream."""
        return self._for_partition("outbox", partition)

    def outbox_bytes(self, partition: int) -> str:
        """Return the counter of the bytes in the outbox's entries. It does not exist while the outbox is empty."""
        return f"{self.outbox(partition)}:bytes"

    def outbox_gaps(self, partition: int) -> str:
        """Return the sorted set, by name, of the failed entries' versions: `<session id> <epoch> <version>`."""
        return f"{self.outbox(partition)}:gaps"

    def drain_tally(self, partition: int) -> str:
        """Return the hash that counts the drain's work for the life of the store."""
        return f"{self.outbox(partition)}:tally"

    def failed_entries(self, partition: int) -> str:
        """Return the sorted set of failed entries' ids by the instants of their next attempts."""
        return f"{self.outbox(partition)}:isolated"

    def failed_entry(self, partition: int, entry_id: str) -> str:
        """Return the hash of one failed entry."""
        return f"{self.failed_entries(partition)}:{entry_id}"

    # -- the whole store ----------------------------------------------------------------------------------------------

    @property
    def store_settings(self) -> str:
        """Return the hash of the settings that are fixed for the life of the store."""
        return f"{self.prefix}:store"

    @property
    def wake_up_channel(self) -> str:
        """Return the channel for deadlines that are earlier than all others."""
        return f"{self.prefix}:wake"

    @property
    def instances(self) -> str:
        """Return the sorted set of serving instances by the instants of their last heartbeats."""
        return f"{self.prefix}:{{presence}}:instances"

    @property
    def presence_changes(self) -> str:
        """Return the number of messages that were sent on `presence_channel`."""
        return f"{self.prefix}:{{presence}}:changes"

    @property
    def presence_channel(self) -> str:
        """Return the channel for the ids of sessions whose presence changed."""
        return f"{self.prefix}:{{presence}}:told"

    def _for_text(self, kind: str, text: str) -> str:
        return f"{self.prefix}:{{{self.partition_of(text)}}}:{kind}:{text}"

    def _for_partition(self, kind: str, partition: int) -> str:
        return f"{self.prefix}:{{{partition}}}:{kind}"


@lru_cache(maxsize=4096)
def _crc(text: str) -> int:
    # Cached because one command names half a dozen keys of one session.
    return crc32(text.encode())
