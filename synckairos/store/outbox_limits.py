"""How much may wait in the outbox: beyond it nothing more is taken on but what time itself does."""

from dataclasses import dataclass

from synckairos.config import Settings


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """The most that may wait in one partition: entries, bytes of what they hold, and the oldest one's age in ms.

    None is no bound. Checked by the script that commits, before it writes.
    """

    entries: int | None = None
    bytes: int | None = None
    age_ms: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> "OutboxLimits":
        """Return what the settings say of the whole outbox, an equal part of it for each partition."""
        return cls(
            entries=max(1, settings.outbox_max_entries // settings.partitions),
            bytes=max(1, settings.outbox_max_bytes // settings.partitions),
            age_ms=settings.outbox_max_age_s * 1000 or None,
        )

    def arguments(self) -> tuple[int | str, ...]:
        """Return them as `lua/commit.lua` takes them."""
        return tuple("" if bound is None else bound for bound in (self.entries, self.bytes, self.age_ms))

    def fullness(self, entries: int, size: int, age_ms: int) -> float:
        """Return how near a partition is to the nearest of its bounds: 1 is full."""
        pairs = ((entries, self.entries), (size, self.bytes), (age_ms, self.age_ms))
        return max((found / bound for found, bound in pairs if bound is not None), default=0.0)


UNBOUNDED = OutboxLimits()
