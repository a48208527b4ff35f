"""Results of `synckairos doctor` about the version, the user and the options of a Redis server, from its answers."""

from collections.abc import Mapping, Sequence

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from synckairos.admin.check_result import CheckResult
from synckairos.config import PREFIX, Settings
from synckairos.store.permissions import Permissions

_OLDEST_REDIS = (7, 0)
_NOT_READABLE = "not readable (INFO is refused or incomplete)"


async def read_information(client: Redis) -> Mapping[str, object]:
    """Return the fields of the Redis command INFO. Return no fields if the user is not allowed to run INFO.

    INFO is used instead of CONFIG, because many services forbid CONFIG.
    """
    try:
        fields: Mapping[str, object] = await client.info()
    except ResponseError:
        return {}
    return fields


def check_redis_version(url: str, information: Mapping[str, object]) -> CheckResult:
    """Check the version of the server in the fields of INFO. `url` is the URL without its password."""
    version = information.get("valkey_version") or information.get("redis_version")
    if version is None:
        return CheckResult("redis", True, f"{url} answers, version {_NOT_READABLE}; make sure that it is 7 or newer")
    return CheckResult(
        "redis",
        tuple(int(part) for part in str(version).split(".")[:2]) >= _OLDEST_REDIS,
        f"{url} answers, version {version}",
        "run Valkey, or Redis 7 or newer",
    )


def check_permissions(name: str, permissions: Permissions, missing: Sequence[str], user: str | None) -> CheckResult:
    """Check the permissions of a Redis user.

    The result always contains the ACL rule, for operators who want a user with few permissions.
    """
    rule = permissions.render_acl_rule(user or "synckairos")
    if missing:
        return CheckResult(name, False, f"missing: {' '.join(missing)}", rule)
    return CheckResult(name, True, f"sufficient. A user with only the necessary permissions:\n     {rule}")


def check_options(information: Mapping[str, object]) -> list[CheckResult]:
    """Check the eviction policy and the append-only file of the server in the fields of INFO."""
    policy = information.get("maxmemory_policy")
    append_only = {"0": "no", "1": "yes"}.get(str(information.get("aof_enabled")))
    return [
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


def check_partitions(settings: Settings, recorded: int | None) -> CheckResult:
    """Check that the store was created with the number of partitions in the settings.

    `recorded` is the number in the store, None if the store is new.
    """
    if recorded is None:
        return CheckResult("partitions", True, f"the store is new and will have {settings.partitions}")
    return CheckResult(
        "partitions",
        recorded == settings.partitions,
        f"the store was created with {recorded}, {PREFIX}PARTITIONS is {settings.partitions}",
        f"set {PREFIX}PARTITIONS={recorded}: the number is fixed for the life of a store",
    )
