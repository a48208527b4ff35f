"""Checks of Redis for `synckairos doctor`: reachable, recent, permitted, and configured to keep data."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import cast

import redis.asyncio
from redis.exceptions import RedisError, ResponseError

from synckairos.admin.check_result import CheckResult, first_line
from synckairos.admin.release_checks import check_releases
from synckairos.config import PREFIX, Settings
from synckairos.errors import StoreMisconfigured
from synckairos.store.connect import make_redis_client
from synckairos.store.keys import Keys
from synckairos.store.permissions import Permissions
from synckairos.store.sentinel import read_sentinel_states, sentinel_addresses
from synckairos.store.store_settings import parse_partitions
from synckairos.urls.redact_url import redact_url
from synckairos.urls.redis_url import RedisAddress, parse_redis_url

_CONNECT_TIMEOUT_S = 3
_OLDEST_REDIS = (7, 0)
_NOT_READABLE = "not readable (INFO is refused or incomplete)"


async def check_redis(settings: Settings) -> list[CheckResult]:
    """Check the Redis of the store: version, sentinels, permissions, options and partitions."""
    url = redact_url(settings.redis_url)
    keys = Keys(settings.key_prefix, settings.partitions)
    has_own_queue = settings.queue_redis_url != settings.redis_url
    address = parse_redis_url(settings.redis_url)
    permissions = Permissions(
        keys, store=True, queue=not has_own_queue, db=address.db, has_sentinels=address.sentinels is not None
    )
    client = make_redis_client(settings.redis_url, _CONNECT_TIMEOUT_S)
    try:
        missing = await permissions.find_missing_permissions(client)
        information = await _redis_information(client)
        partitions = None if "+hget" in missing else await _recorded_partitions(client, keys)
        releases = [] if missing else await check_releases(settings, keys)
    except (RedisError, OSError) as error:
        remedy = "start it, or set REDIS_URL to a running one"
        return [CheckResult("redis", False, f"{url}: {first_line(error)}", remedy)]
    except StoreMisconfigured as error:
        return [
            CheckResult("partitions", False, error.message, f"set the field to {PREFIX}PARTITIONS of the first process")
        ]
    finally:
        await client.aclose()
    policy = information.get("maxmemory_policy")
    append_only = {"0": "no", "1": "yes"}.get(str(information.get("aof_enabled")))
    checks = [
        _check_redis_version(url, information),
        *(() if address.sentinels is None else (await _check_sentinels(address),)),
        _check_permissions("redis permissions", permissions, missing, address.username),
        CheckResult(
            "redis maxmemory-policy",
            policy in (None, "noeviction"),
            str(policy or f"{_NOT_READABLE}; make sure that it is noeviction"),
            "CONFIG SET maxmemory-policy noeviction, and set it in the configuration file: any other policy drops live "
            "sessions",
        ),
        CheckResult(
            "redis appendonly",
            append_only in (None, "yes"),
            append_only or f"{_NOT_READABLE}; make sure that data survives a restart",
            "CONFIG SET appendonly yes, and set it in the configuration file: without it a restart loses every session",
        ),
    ]
    if partitions is not None:
        checks.append(
            CheckResult(
                "partitions",
                partitions == settings.partitions,
                f"the store was created with {partitions}, {PREFIX}PARTITIONS is {settings.partitions}",
                f"set {PREFIX}PARTITIONS={partitions}: the number is fixed for the life of a store",
            )
        )
    elif "+hget" not in missing:
        checks.append(CheckResult("partitions", True, f"the store is new and will have {settings.partitions}"))
    return [*checks, *releases]


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
        _check_permissions("queue redis permissions", permissions, missing, address.username),
    ]


def _permissions(keys: Keys, address: RedisAddress, *, store: bool, queue: bool) -> Permissions:
    return Permissions(keys, store=store, queue=queue, db=address.db, has_sentinels=address.sentinels is not None)


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


def _check_redis_version(url: str, information: Mapping[str, object]) -> CheckResult:
    version = information.get("valkey_version") or information.get("redis_version")
    if version is None:
        return CheckResult("redis", True, f"{url} answers, version {_NOT_READABLE}; make sure that it is 7 or newer")
    return CheckResult(
        "redis",
        tuple(int(part) for part in str(version).split(".")[:2]) >= _OLDEST_REDIS,
        f"{url} answers, version {version}",
        "run Valkey, or Redis 7 or newer",
    )


def _check_permissions(name: str, permissions: Permissions, missing: Sequence[str], user: str | None) -> CheckResult:
    """Check the permissions of a Redis user.

    The result always contains the ACL rule, for operators who want a user with few permissions.
    """
    rule = permissions.render_acl_rule(user or "synckairos")
    if missing:
        return CheckResult(name, False, f"missing: {' '.join(missing)}", rule)
    return CheckResult(name, True, f"sufficient. A user with only the necessary permissions:\n     {rule}")


async def _redis_information(client: redis.asyncio.Redis) -> Mapping[str, object]:
    """Return the fields of the Redis command INFO. Return no fields if the user is not allowed to run INFO.

    INFO is used instead of CONFIG, because many services forbid CONFIG.
    """
    try:
        fields: Mapping[str, object] = await client.info()
    except ResponseError:
        return {}
    return fields


async def _recorded_partitions(client: redis.asyncio.Redis, keys: Keys) -> int | None:
    recorded = await cast(Awaitable[bytes | None], client.hget(keys.fixed_settings, "partitions"))
    return None if recorded is None else parse_partitions(recorded, keys)
