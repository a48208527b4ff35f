"""Checks of Redis for `synckairos doctor`: reachable, recent, permitted, and configured to keep data."""

from collections.abc import Awaitable
from typing import cast

import redis.asyncio
from redis.exceptions import RedisError

from synckairos.admin.check_result import CheckResult, first_line
from synckairos.admin.cluster_checks import check_cluster
from synckairos.admin.redis_option_checks import (
    check_options,
    check_partitions,
    check_permissions,
    check_redis_version,
    read_information,
)
from synckairos.admin.release_checks import check_releases
from synckairos.config import PREFIX, Settings
from synckairos.errors import StoreMisconfigured, StoreMoved
from synckairos.store.connect import make_redis_client
from synckairos.store.keys import Keys
from synckairos.store.move_record import MOVED_FIELD, move_text
from synckairos.store.permissions import Permissions
from synckairos.store.sentinel import read_sentinel_states, sentinel_addresses
from synckairos.store.store_settings import parse_partitions
from synckairos.urls.redact_url import redact_url
from synckairos.urls.redis_url import RedisAddress, parse_redis_url

_CONNECT_TIMEOUT_S = 3


async def check_redis(settings: Settings) -> list[CheckResult]:
    """Check the Redis of the store: version, sentinels, permissions, options and partitions."""
    url = redact_url(settings.redis_url)
    keys = Keys(settings.key_prefix, settings.partitions)
    has_own_queue = settings.queue_redis_url != settings.redis_url
    address = parse_redis_url(settings.redis_url)
    if address.cluster_nodes:
        return await check_cluster(settings)
    permissions = Permissions(
        keys, store=True, queue=not has_own_queue, db=address.db, has_sentinels=address.sentinels is not None
    )
    client = make_redis_client(settings.redis_url, _CONNECT_TIMEOUT_S)
    try:
        missing = await permissions.find_missing_permissions(client)
        information = await read_information(client)
        partitions = None if "+hget" in missing else await _recorded_partitions(client, keys)
        releases = [] if missing else await check_releases(settings, keys)
    except (RedisError, OSError) as error:
        remedy = "start it, or set REDIS_URL to a running one"
        return [CheckResult("redis", False, f"{url}: {first_line(error)}", remedy)]
    except StoreMoved as error:
        return [CheckResult("store", False, error.message, "set them for all processes, and delete the former Redis")]
    except StoreMisconfigured as error:
        return [
            CheckResult("partitions", False, error.message, f"set the field to {PREFIX}PARTITIONS of the first process")
        ]
    finally:
        await client.aclose()
    return [
        check_redis_version(url, information),
        *(() if address.sentinels is None else (await _check_sentinels(address),)),
        check_permissions("redis permissions", permissions, missing, address.username),
        *check_options(information),
        *(() if "+hget" in missing else (check_partitions(settings, partitions),)),
        *releases,
    ]


async def check_queue_redis(settings: Settings) -> list[CheckResult]:
    """Check the Redis of the job queue, if it is not the Redis of the store."""
    if settings.queue_redis_url == settings.redis_url:
        return []
    url = redact_url(settings.queue_redis_url)
    address = parse_redis_url(settings.queue_redis_url)
    permissions = Permissions(
        Keys(settings.key_prefix), store=False, queue=True, db=address.db, has_sentinels=address.sentinels is not None
    )
    client = make_redis_client(settings.queue_redis_url, _CONNECT_TIMEOUT_S)
    try:
        missing = await permissions.find_missing_permissions(client)
    except (RedisError, OSError) as error:
        return [CheckResult("queue redis", False, f"{url}: {first_line(error)}", "start it, or unset QUEUE_REDIS_URL")]
    finally:
        await client.aclose()
    return [
        CheckResult("queue redis", True, f"{url} answers"),
        check_permissions("queue redis permissions", permissions, missing, address.username),
    ]


async def _check_sentinels(address: RedisAddress) -> CheckResult:
    """Check that all sentinels answer, and that a failover is possible."""
    states = await read_sentinel_states(address, _CONNECT_TIMEOUT_S)
    total = len(sentinel_addresses(address))
    newest = max(states, key=lambda state: state.configuration)
    result = (
        f"{len(states)} of {total} answer; primary {newest.host}:{newest.port}, {newest.replicas} replicas, "
        f"quorum {newest.quorum}"
    )
    return CheckResult(
        "redis sentinels",
        len(states) == total and newest.replicas > 0 and newest.quorum <= total,
        result,
        "start the missing sentinels, and keep at least one replica: without them no failover is possible",
    )


async def _recorded_partitions(client: redis.asyncio.Redis, keys: Keys) -> int | None:
    moved = await cast(Awaitable[bytes | None], client.hget(keys.fixed_settings, MOVED_FIELD))
    if moved is not None:
        raise StoreMoved(move_text(moved), moved)
    recorded = await cast(Awaitable[bytes | None], client.hget(keys.fixed_settings, "partitions"))
    return None if recorded is None else parse_partitions(recorded, keys)
