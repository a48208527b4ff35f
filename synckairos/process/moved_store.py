"""Following a store that has moved to another Redis: the new settings of a process, and the wait for a move."""

import asyncio
from contextlib import suppress

from synckairos.config import Settings
from synckairos.errors import StoreMoved
from synckairos.store.connect import make_pipe
from synckairos.store.keys import Keys
from synckairos.store.move_record import complete_copy, move_text, parse_move_record, read_move_record
from synckairos.store.shared_connection import RedisPipe
from synckairos.telemetry import log

CHECK_S = 1.0
"""Seconds between two reads of the record of a move. A copy also closes all connections, which is noticed at once."""

RETRY_S = 0.2
"""Seconds between two attempts to use a new store that does not answer."""

logger = log.get_logger(__name__)


async def settings_after_move(settings: Settings, moved: StoreMoved) -> Settings:
    """Return the settings with the Redis and the partitions of the new store. Mark its copy as complete.

    The queue moves too, if it was in the Redis of the store.

    Raises: StoreUnavailable if the new Redis does not answer. StoreMisconfigured if the record is invalid.
    """
    record = parse_move_record(moved.record)
    async with make_pipe(record.url, settings.redis_timeout_s) as pipe:
        await complete_copy(pipe, Keys(settings.key_prefix), record.token)
    logger.warning("following the store to another redis", remedy=move_text(moved.record))
    has_own_queue = settings.queue_redis_url != settings.redis_url
    return settings.model_copy(
        update={
            "redis_url": record.url,
            "partitions": record.partitions,
            **({} if has_own_queue else {"queue_redis_url": record.url}),
        }
    )


async def wait_for_move(pipe: RedisPipe, keys: Keys) -> StoreMoved:
    """Wait until the store has moved. The connection `pipe` then sends no more commands."""
    while not pipe.moved.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_S):
                await pipe.moved.wait()
        if (record := await read_move_record(pipe, keys)) is not None:
            pipe.leave_moved_store(record)
    return StoreMoved(move_text(pipe.move_record), pipe.move_record)


async def leave_moved_store(pipe: RedisPipe, keys: Keys) -> None:
    """Wait until the store has moved. Raises: StoreMoved then."""
    raise await wait_for_move(pipe, keys)
