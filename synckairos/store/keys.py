"""Names of all Redis keys and channels.

The tag of the partition is in braces, because braces mark the hash tag of Redis Cluster. Sessions and participants have
the names of `session_names.py`, so keys of the default tenant end with the bare id.
"""

from functools import lru_cache
from zlib import crc32

from msgspec import Struct
from msgspec.structs import force_setattr

from synckairos.principal import DEFAULT_TENANT
from synckairos.store.partition_tags import number_tags


class Keys(Struct, frozen=True, cache_hash=True):
    """Names of Redis keys and channels with the prefix of the store.

    The number of partitions and their hash tags must not change after the first write to the store. `tags` has the hash
    tag of each partition. Without `tags`, the tag of a partition is its number.
    """

    prefix: str = "sk"
    partitions: int = 1
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.tags:
            force_setattr(self, "tags", number_tags(self.partitions))

    def partition_of(self, text: str) -> int:
        """Return the partition number, from 0, of a session name, or of another text at the end of a key."""
        return _crc(text) % self.partitions

    # -- sessions -----------------------------------------------------------------------------------------------------

    def session(self, session_name: str) -> str:
        """Return the key of the hash of a session: its document and its other fields."""
        return self._for_text("session", session_name)

    def session_prefix(self, partition: int) -> str:
        """Return the part of a session's key before the session name, for sessions in the partition."""
        return f"{self._for_partition('session', partition)}:"

    def history(self, session_name: str) -> str:
        """Return the key of the list with the version history of a session."""
        return self._for_text("history", session_name)

    def idempotency_records(self, session_name: str) -> str:
        """Return the key of the hash with a session's idempotency records by command id."""
        return self._for_text("commands", session_name)

    def feed_channel(self, session_name: str) -> str:
        """Return the name of the channel for the feed messages of a session."""
        return self._for_text("feed", session_name)

    def presence(self, session_name: str) -> str:
        """Return the key of the hash with the presence counts of a session by instance."""
        return self._for_text("presence", session_name)

    def reserved_command_id(self, command_id: str) -> str:
        """Return the key of the string for an Idempotency-Key whose session does not exist yet."""
        return self._for_text("reserved", command_id)

    def rate_limit_bucket(self, owner: str) -> str:
        """Return the key of a rate limit's token bucket. Its value is the instant at which the bucket is full again.

        Instances of the first edition can use the same store. Those instances count requests in fixed windows, under
        other keys: the part before `owner` is `limit`.
        """
        return self._for_text("bucket", owner)

    def ticket(self, digest: str) -> str:
        """Return the key of the string with a ticket, by the SHA-256 of its text."""
        return self._for_text("ticket", digest)

    def member_copy(self, tenant: str, subject: str) -> str:
        """Return the key of the string with the copy of a subject's members."""
        return self._for_text("members", f"{tenant}/{subject}")

    # -- lists of participants ----------------------------------------------------------------------------------------

    def participant_sessions(self, participant_name: str) -> str:
        """Return the key of the sorted set with a participant's recent sessions, by their start instants.

        The start instant of a session that was never started is its creation instant.
        """
        return self._for_text("recent", participant_name)

    def summary(self, session_name: str) -> str:
        """Return the key of the hash with a session's summary. The summary is of the newest version in Postgres."""
        return self._for_text("digest", session_name)

    def summary_prefix(self, partition: int) -> str:
        """Return the part of a summary's key before the session name, for sessions in the partition."""
        return f"{self._for_partition('digest', partition)}:"

    def rendered_rows(self, participant_name: str) -> str:
        """Return the key of the hash with rendered list rows of a participant, by session name.

        The hash has only sessions in the partition of the participant name.
        """
        return self._for_text("rows", participant_name)

    def rendered_rows_prefix(self, partition: int) -> str:
        """Return the part of the key of rendered list rows before the participant name, for the partition."""
        return f"{self._for_partition('rows', partition)}:"

    def read_cache(self, kind: str, name: str) -> str:
        """Return the key of the hash with cached answers of Postgres about a participant or a session."""
        return self._for_text(f"aside-{kind}", name)

    # -- partitions ---------------------------------------------------------------------------------------------------

    def deadlines(self, partition: int) -> str:
        """Return the key of the sorted set of session names by the instants at which the sessions fall due."""
        return self._for_partition("deadlines", partition)

    def index_rebuild_mark(self, partition: int) -> str:
        """Return the key of a mark. The mark means that the deadlines or the set of live sessions had invalid data.

        An instance must then build both sets again.
        """
        return f"{self.deadlines(partition)}:rebuild"

    def live_sessions(self, partition: int, tenant: str = DEFAULT_TENANT) -> str:
        """Return the key of the sorted set of a tenant's unfinished sessions, by the instants of their creation.

        The members are session names.
        """
        name = self._for_partition("live", partition)
        return name if tenant == DEFAULT_TENANT else f"{name}:{tenant}"

    def generation(self, partition: int) -> str:
        """Return the key of the string with the generation of a partition.

        The generation is lost together with the partition's data.
        """
        return self._for_partition("generation", partition)

    def recovery_lease(self, partition: int) -> str:
        """Return the key of the lease of the instance that recovers a partition after data loss."""
        return self._for_partition("recovery", partition)

    def fence(self, partition: int) -> str:
        """Return the key of a fence. While it exists, commits of the partition are refused (`store/copy`)."""
        return self._for_partition("fence", partition)

    def outbox(self, partition: int) -> str:
        """Return the key of the outbox stream of a partition."""
        return self._for_partition("outbox", partition)

    def outbox_bytes(self, partition: int) -> str:
        """Return the key of the number of bytes in the outbox entries.

        The key does not exist if the outbox is empty.
        """
        return f"{self.outbox(partition)}:bytes"

    def outbox_tenants(self, partition: int) -> str:
        """Return the key of the hash with the bytes of each tenant in the outbox entries, by the name of the tenant.

        The hash has no field of the default tenant. Each entry counts at least `OutboxLimits.min_entry_bytes`.
        """
        return f"{self.outbox(partition)}:tenants"

    def indexed_outbox_entries(self, partition: int) -> str:
        """Return the key of the sorted set of the outbox entries that this release wrote, by the instants in their ids.

        If this set has fewer members than the outbox has entries, an earlier release wrote the difference.
        """
        return f"{self.outbox(partition)}:indexed"

    def outbox_participants(self, partition: int) -> str:
        """Return the key of the index of participants: a sorted set with all scores 0, in alphabetical order.

        The members are `<participant name> <session name>`, for all sessions that have the status `running` or versions
        in the outbox.
        """
        return f"{self.outbox(partition)}:participants"

    def failed_entry_versions(self, partition: int) -> str:
        """Return the key of the sorted set of gaps: the versions of failed entries.

        The members are `<session name> <epoch> <version>`, in alphabetical order.
        """
        return f"{self.outbox(partition)}:gaps"

    def drain_tally(self, partition: int) -> str:
        """Return the key of the hash with the totals of all drains since the store was created."""
        return f"{self.outbox(partition)}:tally"

    def failed_entries(self, partition: int) -> str:
        """Return the key of the sorted set of the ids of failed entries, by the instants of their next attempts."""
        return f"{self.outbox(partition)}:isolated"

    def failed_entry(self, partition: int, entry_id: str) -> str:
        """Return the key of the hash of one failed entry."""
        return f"{self.failed_entries(partition)}:{entry_id}"

    # -- the whole store ----------------------------------------------------------------------------------------------

    @property
    def fixed_settings(self) -> str:
        """Return the key of the hash with the settings that never change in a store."""
        return f"{self.prefix}:store"

    @property
    def copy_lease(self) -> str:
        """Return the key of the lease of the process that copies this store to another Redis."""
        return f"{self.prefix}:copy"

    @property
    def running_releases(self) -> str:
        """Return the key of the sorted set of running releases, by the instant (ms) of their last announcement."""
        return f"{self.prefix}:releases"

    @property
    def older_instances_seen(self) -> str:
        """Return the key of the mark that an instance of an earlier release ran. See `HistoryFormatChoice`."""
        return f"{self.prefix}:older"

    @property
    def write_check(self) -> str:
        """Return the key of the string that readiness checks write."""
        return f"{self.prefix}:ready"

    @property
    def tenants_with_sessions(self) -> str:
        """Return the key of the sorted set of tenants, except the default tenant, that have had sessions in Redis."""
        return f"{self.prefix}:tenants"

    @property
    def wake_up_channel(self) -> str:
        """Return the name of the channel for new deadlines.

        Only deadlines that are earlier than all other deadlines of their partition are published.
        """
        return f"{self.prefix}:wake"

    def wake_up_channel_of(self, partition: int, *, is_cluster: bool) -> str:
        """Return the name of the channel for new deadlines of a partition.

        It is `wake_up_channel`, but in a Redis Cluster a channel of the slot of the deadlines.
        """
        return f"{self.deadlines(partition)}:wake" if is_cluster else self.wake_up_channel

    @property
    def instance_heartbeats(self) -> str:
        """Return the key of the sorted set of serving instances, by the instants of their last heartbeats."""
        return f"{self.prefix}:{{presence}}:instances"

    @property
    def presence_message_count(self) -> str:
        """Return the key of the number of messages that were published on `presence_channel`."""
        return f"{self.prefix}:{{presence}}:changes"

    @property
    def presence_channel(self) -> str:
        """Return the name of the channel for the names of sessions whose presence counts changed."""
        return f"{self.prefix}:{{presence}}:told"

    @property
    def control_position(self) -> str:
        """Return the key of the hash with the position of the control channel: generation, number and tag."""
        return f"{self.prefix}:{{control}}:position"

    @property
    def control_entries(self) -> str:
        """Return the key of the sorted set of the entries of the control channel, by their numbers."""
        return f"{self.prefix}:{{control}}:entries"

    @property
    def control_fence(self) -> str:
        """Return the key of the fence of the control channel. While it exists, no entries are added."""
        return f"{self.prefix}:{{control}}:fence"

    @property
    def control_channel(self) -> str:
        """Return the name of the Redis pub/sub channel that carries each new control entry with its position."""
        return f"{self.prefix}:{{control}}:added"

    def stream_channel(self, digest: str) -> str:
        """Return the name of the channel for the batches of an event stream, by the digest of its id and identity."""
        return self._for_text("stream", digest)

    def _for_text(self, kind: str, text: str) -> str:
        return f"{self.prefix}:{{{self.tags[_crc(text) % self.partitions]}}}:{kind}:{text}"

    def _for_partition(self, kind: str, partition: int) -> str:
        return f"{self.prefix}:{{{self.tags[partition]}}}:{kind}"


@lru_cache(maxsize=4096)
def _crc(text: str) -> int:
    # The results are cached, because one command needs about six keys of the same session.
    return crc32(text.encode())
