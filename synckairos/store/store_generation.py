"""Which life of the store this is: an id beside each partition's data, gone when they are.

An epoch begins with the generation it was made in, so an absent session tells by its epoch alone whether Redis let it
go as agreed (same generation) or lost it with everything else (another one). A generation begins with when it began, so
of two epochs that both went on from the same version the one of the later life sorts behind the other.
"""

import secrets

from synckairos.store.connect import unavailable_as_named
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import RedisPipe

_EPOCH_BYTES = 4


def new_generation(began_s: int) -> str:
    """Make a generation: 12 hex digits, the first eight of them the second in which it began."""
    return f"{began_s:08x}{secrets.token_hex(2)}"


def new_epoch(generation: str) -> str:
    """Make a session's epoch: the generation, and eight random hex digits."""
    return generation + secrets.token_hex(_EPOCH_BYTES)


def belongs_to_generation(epoch: str, generation: str) -> bool:
    """Tell whether an epoch was made in this life of the store."""
    return epoch.startswith(generation)


class Generations:
    """The partitions' generations. Raises StoreUnavailable where Redis doesn't answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys

    async def current(self, partition: int) -> str:
        """Return a partition's generation, a new one where it has none. One round trip, two for a new one."""
        key = self._keys.generation(partition)
        with unavailable_as_named():
            kept, (seconds, _) = await self._pipe.call_many([("GET", key), ("TIME",)])
            fresh = new_generation(int(seconds))
            if kept is None:
                kept = await self._pipe.call("SET", key, fresh, "NX", "GET")
        return fresh if kept is None else kept.decode()

    async def lease(self, partition: int, holder: str, lease_ms: int) -> bool:
        """Take, or keep, the lease on a partition's recovery."""
        key = self._keys.recovery(partition)
        with unavailable_as_named():
            taken = await self._pipe.call("SET", key, holder, "NX", "GET", "PX", lease_ms)
            if taken is not None and taken.decode() == holder:
                await self._pipe.call("PEXPIRE", key, lease_ms)
        return taken is None or taken.decode() == holder
