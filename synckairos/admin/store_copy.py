"""Work of `synckairos store copy`: opens both Redis, and copies the store of the settings to the other one."""

from collections.abc import Callable

from synckairos.config import Settings
from synckairos.errors import StoreMisconfigured, StoreMoved
from synckairos.store.connect import make_pipe, make_redis_client
from synckairos.store.copy.store_copy import CopyResult, StoreCopy, disconnect_clients
from synckairos.store.keys import Keys
from synckairos.store.move_record import complete_copy, parse_move_record
from synckairos.store.outbox_limits import OutboxLimits
from synckairos.store.partition_tags import choose_balanced_tags
from synckairos.store.store_settings import read_fixed_settings
from synckairos.urls.redis_url import parse_redis_url


async def copy_store(
    settings: Settings, target_url: str, partitions: int | None, report: Callable[[str], None]
) -> CopyResult | None:
    """Copy the store of the settings to the Redis at `target_url`, with `partitions` partitions (None: as many as now).

    Return None if the store has already moved there. Its clients are then disconnected again, as at the end of a copy.

    Raises: StoreMisconfigured if the copy is not possible. StoreUnavailable if one of the Redis does not answer.
    """
    try:
        is_to_cluster = bool(parse_redis_url(target_url).cluster_nodes)
    except ValueError as error:
        raise StoreMisconfigured(f"--to is no URL of a Redis: {error}") from None
    if parse_redis_url(settings.redis_url).cluster_nodes:
        raise StoreMisconfigured("A store in a Redis Cluster cannot be copied; move its slots to other nodes instead")
    if is_to_cluster and settings.queue_redis_url == settings.redis_url:
        raise StoreMisconfigured(
            "The queue cannot be in a Redis Cluster: set QUEUE_REDIS_URL of all processes to a Redis of its own first"
        )
    keys = Keys(settings.key_prefix, settings.partitions)
    redis = make_redis_client(settings.redis_url, settings.redis_timeout_s)
    async with (
        make_pipe(settings.redis_url, settings.redis_timeout_s) as source,
        make_pipe(target_url, settings.redis_timeout_s) as target,
        redis,
    ):
        try:
            source_keys = await read_fixed_settings(source, keys)
        except StoreMoved as moved:
            record = parse_move_record(moved.record)
            if record.url != target_url:
                raise
            await complete_copy(target, keys, record.token)
            await disconnect_clients(source)
            return None
        if source_keys is None:
            raise StoreMisconfigured("REDIS_URL has no store; start the server once, or set SYNCKAIROS_KEY_PREFIX")
        count = source_keys.partitions if partitions is None else partitions
        if source_keys.partitions not in (1, count):
            raise StoreMisconfigured(
                f"A store with {source_keys.partitions} partitions can only be copied to a store with as many; "
                "entries of several outboxes cannot become one outbox"
            )
        target_keys = Keys(keys.prefix, count, choose_balanced_tags(count) if count > 1 else ())
        limits = OutboxLimits.from_settings(settings.model_copy(update={"partitions": count}))
        copy = StoreCopy(
            source,
            source_keys,
            redis,
            target,
            target_keys,
            target_url=target_url,
            min_entry_bytes=limits.min_entry_bytes,
            report=report,
        )
        return await copy.run()
