"""Limits of the outbox. Above them, commits are refused; only overdue transitions are still accepted."""

from msgspec import Struct

from synckairos.config import Settings


class OutboxLimits(Struct, frozen=True):
    """Limits of one partition's outbox: entries, bytes in the entries, and the age of the oldest entry in ms.

    None means no limit. The script that commits checks them before it writes.
    """

    entries: int | None = None
    bytes: int | None = None
    age_ms: int | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "OutboxLimits":
        """Divide the limits of the whole outbox evenly among the partitions."""
        return cls(
            entries=max(1, settings.outbox_max_entries // settings.partitions),
            bytes=max(1, settings.outbox_max_bytes // settings.partitions),
            age_ms=settings.outbox_max_age_s * 1000 or None,
        )

    def script_arguments(self) -> tuple[int | str, ...]:
        """Return entries, bytes and age as `lua/commit.lua` expects them: empty if there is no limit."""
        return tuple("" if limit is None else limit for limit in (self.entries, self.bytes, self.age_ms))

    def fullness(self, entries: int, size: int, age_ms: int) -> float:
        """Return the largest share of a limit that is used: 1 is full. `size` is in bytes."""
        pairs = ((entries, self.entries), (size, self.bytes), (age_ms, self.age_ms))
        return max((used / limit for used, limit in pairs if limit is not None), default=0.0)


UNLIMITED = OutboxLimits()
