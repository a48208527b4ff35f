"""Which life of the store this is: a random id beside each partition's data, gone when they are.

An epoch begins with the generation it was made in, so an absent session tells by its epoch alone whether Redis let it
go as agreed (same generation) or lost it with everything else (another one).
"""

import secrets

from synckairos.store.keys import Keys
from synckairos.store.pipe import RedisPipe
from synckairos.store.redis import unavailable_as_named

GENERATION_BYTES = 4


def new_epoch(generation: str) -> str:
    """Make a session's epoch: 16 hex digits, the first half of them the generation."""
    return generation + secrets.token_hex(GENERATION_BYTES)


def is_of(epoch: str, generation: str) -> bool:
    """Tell whether an epoch was made in this life of the store."""
    return epoch.startswith(generation)


class Generations:
    """The partitions' generations. Raises StoreUnavailable where Redis doesn't answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys

    async def current(self, partition: int) -> str:
        """Return a partition's generation, a new one where it has none (any more). One round trip."""
        fresh = secrets.token_hex(GENERATION_BYTES)
        with unavailable_as_named():
            kept: bytes | None = await self._pipe.call("SET", self._keys.generation(partition), fresh, "NX", "GET")
        return fresh if kept is None else kept.decode()

    async def lease(self, partition: int, holder: str, lease_ms: int) -> bool:
        """Take, or keep, the lease on a partition's recovery."""
        key = self._keys.recovery(partition)
        with unavailable_as_named():
            taken = await self._pipe.call("SET", key, holder, "NX", "GET", "PX", lease_ms)
            if taken is not None and taken.decode() == holder:
                await self._pipe.call("PEXPIRE", key, lease_ms)
        return taken is None or taken.decode() == holder
