"""Checks of a Redis Cluster for `synckairos doctor`: all slots served, replicas, and each primary as one server."""

from collections.abc import Mapping

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from synckairos.admin.check_result import CheckResult, first_line
from synckairos.admin.redis_option_checks import (
    check_options,
    check_partitions,
    check_permissions,
    check_redis_version,
    read_information,
)
from synckairos.admin.release_checks import check_releases
from synckairos.config import PREFIX, Settings
from synckairos.errors import StoreMisconfigured
from synckairos.store.cluster_pipe import ClusterPipe
from synckairos.store.cluster_slots import ClusterView
from synckairos.store.keys import Keys
from synckairos.store.partition_tags import SLOTS
from synckairos.store.permissions import Permissions
from synckairos.store.redis_connection import server_options
from synckairos.store.store_settings import parse_partitions
from synckairos.urls.redact_url import redact_url
from synckairos.urls.redis_url import RedisAddress, parse_redis_url

_CONNECT_TIMEOUT_S = 3


async def check_cluster(settings: Settings) -> list[CheckResult]:
    """Check the Redis Cluster of the store: slots, replicas, and version, permissions and options of each primary."""
    url, keys = redact_url(settings.redis_url), Keys(settings.key_prefix, settings.partitions)
    permissions = Permissions(keys, store=True, queue=False, is_cluster=True)
    missing: dict[str, None] = {}
    information: list[Mapping[str, object]] = []
    try:
        async with ClusterPipe(settings.redis_url, _CONNECT_TIMEOUT_S) as pipe:
            view = await pipe.read_view()
            for node in pipe.primaries:
                found, fields = await _ask_primary(node.address, permissions)
                missing |= dict.fromkeys(found)
                information.append(fields)
            recorded = None if "+hget" in missing else await pipe.call("HGET", keys.fixed_settings, "partitions")
        partitions = None if recorded is None else parse_partitions(recorded, keys)
        releases = [] if missing else await check_releases(settings, keys)
    except (RedisError, OSError) as error:
        remedy = "start its nodes, or set REDIS_URL to a running Redis"
        return [CheckResult("redis", False, f"{url}: {first_line(error)}", remedy)]
    except StoreMisconfigured as error:
        return [
            CheckResult("partitions", False, error.message, f"set the field to {PREFIX}PARTITIONS of the first process")
        ]
    options = [check_options(fields) for fields in information]
    return [
        min((check_redis_version(url, fields) for fields in information), key=lambda check: check.passed),
        _check_slots(view),
        check_permissions(
            "redis permissions", permissions, list(missing), parse_redis_url(settings.redis_url).username
        ),
        *(min(same, key=lambda check: check.passed) for same in zip(*options, strict=True)),
        *(() if "+hget" in missing else (check_partitions(settings, partitions),)),
        *releases,
    ]


async def _ask_primary(address: RedisAddress, permissions: Permissions) -> tuple[list[str], Mapping[str, object]]:
    """Return the missing permissions on one primary, and the fields of its INFO."""
    options = server_options(address, _CONNECT_TIMEOUT_S)
    client = Redis.from_pool(BlockingConnectionPool(max_connections=2, **options))
    try:
        return await permissions.find_missing_permissions(client), await read_information(client)
    finally:
        await client.aclose()


def _check_slots(view: ClusterView) -> CheckResult:
    """Check that primaries serve all slots, and that each primary has a replica."""
    served = sum(each.last + 1 - each.first for each in view.ranges)
    alone = {each.primary for each in view.ranges if not each.replicas}
    result = f"{len(view.primaries)} primaries serve {served} of {SLOTS} slots, {len(alone)} of them without a replica"
    return CheckResult(
        "redis cluster",
        view.is_ok and served == SLOTS and not alone,
        result,
        "give all slots to primaries, and a replica to each primary: without it no failover is possible",
    )
