"""The record that a store has moved to another Redis: instances and workers follow it.

The record is the field `moved` of `Keys.fixed_settings` in the former Redis. The process that copies the store writes
it as its last step (`store/copy`). Until then, the new Redis has the field `copying` with the token of the copy.
"""

import msgspec
from msgspec import Struct
from redis.exceptions import RedisError

from synckairos.errors import StoreMisconfigured
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe
from synckairos.urls.redact_url import redact_url

MOVED_FIELD = "moved"
"""Field of the record in the hash `Keys.fixed_settings` of the former store."""

COPYING_FIELD = "copying"
"""Field of the token in the hash `Keys.fixed_settings` of an incomplete copy."""

INCOMPLETE = "This Redis has an incomplete copy of another store: run `synckairos store copy` again, or remove its keys"
"""Text of the refusal of a store that is an incomplete copy."""


class MoveRecord(Struct, frozen=True):
    """Where a store is now: the URL of its Redis, its number of partitions, and the token of the copy."""

    url: str
    partitions: int
    token: str

    def render(self) -> bytes:
        """Return the record as it is stored."""
        return msgspec.json.encode(self)


def parse_move_record(stored: bytes) -> MoveRecord:
    """Parse a stored record. Raises: StoreMisconfigured if the record is invalid."""
    try:
        return msgspec.json.decode(stored, type=MoveRecord)
    except msgspec.MsgspecError:
        raise StoreMisconfigured("The field `moved` of this store is invalid; set REDIS_URL to the new Redis") from None


def move_text(stored: bytes) -> str:
    """Return the text of a refusal of a store that has moved, without the password of the new Redis."""
    record = parse_move_record(stored)
    return (
        f"This store has moved: set REDIS_URL to {redact_url(record.url)} and SYNCKAIROS_PARTITIONS={record.partitions}"
    )


async def read_move_record(pipe: RedisPipe, keys: Keys) -> bytes | None:
    """Return the stored record, None if the store has not moved, or if Redis does not answer. One round trip."""
    try:
        record: bytes | None = await pipe.call("HGET", keys.fixed_settings, MOVED_FIELD)
    except RedisError:  # the commands of the process report it
        return None
    return record


async def complete_copy(pipe: RedisPipe, keys: Keys, token: str) -> None:
    """Mark a copy as complete, so that processes can use it. Do nothing if it is already complete.

    Call this only after the former store has the record with `token`.

    Raises: StoreUnavailable if Redis does not answer or accepts no writes.
    """
    with translated_errors():
        await LuaScript("store_complete", uses_one_key=True)(pipe, [keys.fixed_settings], [token])
