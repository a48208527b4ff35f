"""Generations of the store: an id in each partition that is lost together with the partition's data.

An epoch begins with the generation in which it was made. So the epoch of a session that is not in Redis shows whether
the session was evicted (same generation) or its data was lost (another generation). A generation begins with the second
in which it was made. So if two epochs continue the same version, the epoch of the later generation sorts last.
"""

import re
import secrets

from synckairos.store.keys import Keys
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe
from synckairos.telemetry.invalid_data import report_invalid_data, reporting_invalid_data

MAX_LEASE_MS = 3_600_000
"""Milliseconds: maximum lease on a recovery in any release. A longer lease, or a lease without an end, is invalid."""

_EPOCH_BYTES = 4
_GENERATION = re.compile(rb"[0-9a-f]{12}")


def new_generation(began_s: int) -> str:
    """Return a new generation: 12 hexadecimal digits.

    The first eight digits are `began_s` as a hexadecimal number. `began_s` is in seconds since the Unix epoch.
    """
    return f"{began_s:08x}{secrets.token_hex(2)}"


def make_session_epoch(generation: str) -> str:
    """Return a new epoch for a session: the generation and eight random hexadecimal digits."""
    return generation + secrets.token_hex(_EPOCH_BYTES)


def belongs_to_generation(epoch: str, generation: str) -> bool:
    """Return whether an epoch was made in this generation of the store."""
    return epoch.startswith(generation)


class Generations:
    """The generations of the partitions. All methods raise StoreUnavailable if Redis does not answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys

    async def load_or_create(self, partition: int) -> str:
        """Return the generation of a partition. If Redis has no valid generation, write a new generation and return it.

        One round trip, or two for a new generation.
        """
        key = self._keys.generation(partition)
        with translated_errors():
            found, (seconds, _) = await self._pipe.call_many_independent([("GET", key), ("TIME",)])
            new = new_generation(int(seconds))
            if found is not None and not _is_generation(found):
                # Under the new generation, sessions of the previous generation count as lost data. They are recovered
                # under a new epoch.
                report_invalid_data(key, "not a generation, so a new one begins")
                await self._pipe.call("SET", key, new)
                return new
            if found is None:
                found = await self._pipe.call("SET", key, new, "NX", "GET")
        return new if found is None else parse_generation(key, found)

    async def acquire_recovery_lease(self, partition: int, holder: str, lease_ms: int) -> bool:
        """Take or renew the lease on the recovery of a partition for `holder`, for `lease_ms` milliseconds from now.

        Return False if another holder has the lease, or if Redis had invalid data instead of a lease, otherwise True.
        """
        key = self._keys.recovery_lease(partition)
        with translated_errors():
            found, ttl_ms = await self._pipe.call_many_independent(
                [("SET", key, holder, "NX", "GET", "PX", lease_ms), ("PTTL", key)]
            )
            if isinstance(found, Exception) or (found is not None and not 0 <= ttl_ms <= MAX_LEASE_MS):
                report_invalid_data(key, "not a lease, so it was dropped")
                await self._pipe.call("DEL", key)
                return False
            if found == holder.encode():
                await self._pipe.call("PEXPIRE", key, lease_ms)
        return found is None or found == holder.encode()


def _is_generation(found: object) -> bool:
    return isinstance(found, bytes) and _GENERATION.fullmatch(found) is not None


def parse_generation(key: str, found: bytes) -> str:
    """Parse a stored generation. `key` is its Redis key, which is reported if the data is invalid.

    Raises: InvalidStoredData if `found` is not a generation.
    """
    with reporting_invalid_data(key):
        if not _is_generation(found):
            raise ValueError("not a generation")
        return found.decode()
