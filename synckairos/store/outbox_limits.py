"""Limits of the outbox. If a limit is reached, commits of new versions are refused, except overdue transitions."""

from msgspec import Struct

from synckairos.config import Settings


class OutboxLimits(Struct, frozen=True):
    """Limits of one partition's outbox: number of entries, bytes in the entries, and age of the oldest entry in ms.

    If `age_ms` is None, the age has no limit. If `entries` is None, the commit script applies none of the three limits.
    The commit script checks the limits before it writes.
    """

    entries: int | None = None
    bytes: int | None = None
    age_ms: int | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "OutboxLimits":
        """Return the limits of one partition: the limits of the settings, divided by the number of partitions."""
        return cls(
            entries=max(1, settings.outbox_max_entries // settings.partitions),
            bytes=max(1, settings.outbox_max_bytes // settings.partitions),
            age_ms=settings.outbox_max_age_s * 1000 or None,
        )

    @property
    def min_entry_bytes(self) -> int:
        """Return the number of bytes that an entry counts at least for the share of its tenant.

        With it, a tenant with small entries reaches its share of the entries when it reaches its share of the bytes.
        """
        return 0 if self.entries is None or self.bytes is None else -(-self.bytes // self.entries)

    def share_bytes(self, percent: int | None) -> int | None:
        """Return the number of bytes of a share of the outbox in percent. None: no limit."""
        return None if percent is None or self.bytes is None else self.bytes * percent // 100

    def script_arguments(self) -> tuple[int | str, ...]:
        """Return the limits of entries, bytes and age as `lua/commit.lua` expects them. A limit of None becomes ""."""
        return tuple("" if limit is None else limit for limit in (self.entries, self.bytes, self.age_ms))

    def fullness(self, entries: int, size: int, age_ms: int) -> float:
        """Return the largest used share of a limit in one partition. 1 means that a limit is reached.

        `size` is the number of bytes in the entries, and `age_ms` is the age of the oldest entry. Limits that are None
        do not count.
        """
        pairs = ((entries, self.entries), (size, self.bytes), (age_ms, self.age_ms))
        return max((used / limit for used, limit in pairs if limit is not None), default=0.0)


UNLIMITED = OutboxLimits()
