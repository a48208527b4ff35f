"""The names of all keys and channels. The partition stands in braces: it is Redis Cluster's hash tag."""

from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names under a prefix, for a store of `partitions` partitions (fixed for the life of the store)."""

    prefix: str = "sk"
    partitions: int = 1

    def partition_of(self, session_id: str) -> int:
        """Return the partition that holds a session, or anything else by its text."""
        return _crc(session_id) % self.partitions

    def session(self, session_id: str) -> str:
        return self._of("session", session_id)

    def sessions(self, partition: int) -> str:
        """Return what the keys of a partition's sessions begin with, up to the id."""
        return f"{self._in('session', partition)}:"

    def history(self, session_id: str) -> str:
        return self._of("history", session_id)

    def commands(self, session_id: str) -> str:
        return self._of("commands", session_id)

    def feed(self, session_id: str) -> str:
        """Return the channel of one session's feed messages."""
        return self._of("feed", session_id)

    def presence(self, session_id: str) -> str:
        """Return where it stands who is connected to a session, by instance."""
        return self._of("presence", session_id)

    def reserved(self, command_id: str) -> str:
        """Return where it is kept what an Idempotency-Key stands for that belongs to no session (yet)."""
        return self._of("reserved", command_id)

    def recent(self, participant_id: str) -> str:
        """Return somebody's recent sessions, by when they began."""
        return self._of("recent", participant_id)

    def digest(self, session_id: str) -> str:
        """Return what lists tell of a session, as of the newest version that Postgres has."""
        return self._of("digest", session_id)

    def rows(self, participant_id: str) -> str:
        """Return somebody's rows in lists that are ready, by session: of their own partition's sessions alone."""
        return self._of("rows", participant_id)

    def all_rows(self, partition: int) -> str:
        """Return what the keys of a partition's ready rows begin with, up to whose they are."""
        return f"{self._in('rows', partition)}:"

    def aside(self, kind: str, id_: str) -> str:
        """Return the cache of what Postgres answered about a participant or session."""
        return self._of(f"aside-{kind}", id_)

    def digests(self, partition: int) -> str:
        """Return what the keys of a partition's digests begin with, up to the session's id."""
        return f"{self._in('digest', partition)}:"

    def limit(self, scope: str) -> str:
        return self._of("limit", scope)

    def deadlines(self, partition: int) -> str:
        return self._in("deadlines", partition)

    def outbox(self, partition: int) -> str:
        return self._in("outbox", partition)

    def outbox_bytes(self, partition: int) -> str:
        """Return where a partition counts the bytes that its outbox's entries hold; gone when there are none."""
        return f"{self.outbox(partition)}:bytes"

    def live(self, partition: int) -> str:
        return self._in("live", partition)

    def generation(self, partition: int) -> str:
        """Return where a partition keeps which life of the store this is; gone when its data are."""
        return self._in("generation", partition)

    def recovery(self, partition: int) -> str:
        """Return the lease of whoever looks after a partition whose data were lost."""
        return self._in("recovery", partition)

    @property
    def wake(self) -> str:
        """Return the channel that says: an earlier deadline than any before it was written."""
        return f"{self.prefix}:wake"

    @property
    def instances(self) -> str:
        """Return the sorted set of the instances that serve, by when each was last heard of."""
        return f"{self.prefix}:{{presence}}:instances"

    @property
    def presence_changes(self) -> str:
        """Return the count of what was told on `presence_told`."""
        return f"{self.prefix}:{{presence}}:changes"

    @property
    def presence_told(self) -> str:
        """Return the channel that says of which sessions somebody came or went."""
        return f"{self.prefix}:{{presence}}:told"

    @property
    def store(self) -> str:
        """Return the hash that holds what is fixed for the life of the store."""
        return f"{self.prefix}:store"

    def _of(self, kind: str, text: str) -> str:
        return f"{self.prefix}:{{{self.partition_of(text)}}}:{kind}:{text}"

    def _in(self, kind: str, partition: int) -> str:
        return f"{self.prefix}:{{{partition}}}:{kind}"


@lru_cache(maxsize=4096)
def _crc(text: str) -> int:
    # One command names half a dozen keys of one session.
    return crc32(text.encode())
