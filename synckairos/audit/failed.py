"""Entries that were set aside: for an operator to look at, and to send again once the cause is mended."""

from synckairos.store.isolation import Isolated, Isolation
from synckairos.store.keys import Keys


async def failed(isolation: Isolation, keys: Keys) -> list[Isolated]:
    """Return everything that was set aside, oldest failure first."""
    found = [
        each for partition in range(keys.partitions) for each in await isolation.all(partition, set_aside_only=True)
    ]
    return sorted(found, key=lambda each: each.first_failed_at_ms)


async def retry(isolation: Isolation, keys: Keys, entry_id: str | None = None) -> int:
    """Have what was set aside, or the one entry named, tried again with a fresh schedule; return how many.

    The next sweep of a worker takes them.
    """
    sent = 0
    for each in await failed(isolation, keys):
        if entry_id in (None, each.delivery.entry_id):
            sent += await isolation.retry(each.partition, each.delivery.entry_id)
    return sent
