"""`synckairos doctor`: what a process needs to start and to be safe, each checked, each with its remedy.

Changes nothing, in no store. Never prints a password.
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
    """One check's outcome; `mend` says what to do where it isn't fine."""

    name: str
    fine: bool
    told: str
    mend: str = ""


def render(finding: Check) -> str:
    """Render one finding, with its remedy on a line of its own."""
    line = f"{'ok  ' if finding.fine else 'BAD '} {finding.name}: {finding.told}"
    return line if finding.fine or not finding.mend else f"{line}\n     -> {finding.mend}"


async def run_checks() -> list[Check]:
    """Check everything; what rests on a setting that can't be read, or a store that isn't there, is left out."""
    findings = [_python(), *_wheels()]
    try:
        settings = config.load().refuse_exposure()
    except config.BadSettings as error:
        return [
            *findings,
            *(Check("settings", False, line, "mend or unset it") for line in error.message.split("\n")),
        ]
    findings.append(_settings())
    findings.append(await _port(settings))
    checks: list[Callable[[Settings], Awaitable[list[Check]]]] = [_redis, _queue_redis, _postgres, _archive]
    for found in await asyncio.gather(*(check(settings) for check in checks)):
        findings += found
    return findings


def _python() -> Check:
    told = ".".join(str(part) for part in sys.version_info[:3])
    return Check("python", sys.version_info >= (3, 11), told, "install Python 3.11 or newer")


def _wheels() -> list[Check]:
    found = []
    for name, locate in (("embedded valkey", valkey_binary), ("embedded postgres", postgres_home)):
        try:
            found.append(Check(name, True, str(locate())))
        except EmbeddedStoreFailed as error:
            # Production does without them: said, not held against anybody.
            found.append(Check(name, True, f"not there, so `synckairos dev` needs a store named: {error.message}"))
    return found


def _settings() -> Check:
    unknown = config.unknown_variables(os.environ)
    if unknown:
        told = f"{', '.join(unknown)} sets nothing"
        return Check("settings", False, told, "compare the spelling with .env.example, or unset it")
    return Check("settings", True, "every variable that is set has a good value")


async def _port(settings: Settings) -> Check:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    host = f"[{settings.host}]" if family == socket.AF_INET6 else settings.host
    place = f"{host}:{settings.port}"
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and (version := await _own_version(place)) is not None:
                return Check("port", True, f"{place} is where SyncKairos {version} serves")
            if error.errno == errno.EADDRINUSE:
                return Check("port", False, f"{place} is taken", f"stop who listens there, or set {PREFIX}PORT")
            return Check("port", False, f"{place}: {error.strerror or error}", f"set {PREFIX}HOST and {PREFIX}PORT")
    return Check("port", True, f"{place} is free")


async def _own_version(place: str) -> str | None:
    """Ask whoever listens which SyncKairos it is; None where it is something else."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_CONNECT_TIMEOUT_S) as client:
            answer = (await client.get(f"http://{place}/v1/time")).json()
            return str(answer["server_version"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


async def _redis(settings: Settings) -> list[Check]:
    shown = redact(settings.redis_url)
    client = _client(settings.redis_url)
    try:
        information = await client.info("server")
        policy = await _option(client, "maxmemory-policy")
        kept = await _option(client, "appendonly")
        partitions = await cast(Awaitable[str | None], client.hget(Keys(settings.key_prefix).store, "partitions"))
    except (RedisError, OSError) as error:
        return [Check("redis", False, f"{shown}: {_plain(error)}", "start it, or set REDIS_URL to one that runs")]
    finally:
        await client.aclose()
    version = str(information.get("valkey_version") or information.get("redis_version"))
    found = [
        Check(
            "redis",
            tuple(int(part) for part in version.split(".")[:2]) >= _OLDEST_REDIS,
            f"{shown} answers, version {version}",
            "run Valkey, or Redis 7 or newer",
        ),
        Check(
            "redis maxmemory-policy",
            policy in (None, "noeviction"),
            policy or "it doesn't say; make sure that it is noeviction",
            "CONFIG SET maxmemory-policy noeviction, and in its configuration file: any other drops live sessions",
        ),
        Check(
            "redis appendonly",
            kept in (None, "yes"),
            kept or "it doesn't say; make sure that a restart forgets nothing",
            "CONFIG SET appendonly yes, and in its configuration file: without it a restart forgets every session",
        ),
    ]
    if partitions is not None:
        found.append(
            Check(
                "partitions",
                int(partitions) == settings.partitions,
                f"the store was made with {int(partitions)}, {PREFIX}PARTITIONS is {settings.partitions}",
                f"set {PREFIX}PARTITIONS={int(partitions)}: it is fixed for the life of a store",
            )
        )
    else:
        found.append(Check("partitions", True, f"the store is new and will have {settings.partitions}"))
    return found


async def _queue_redis(settings: Settings) -> list[Check]:
    if settings.queue_redis_url == settings.redis_url:
        return []
    shown = redact(settings.queue_redis_url)
    client = _client(settings.queue_redis_url)
    try:
        await client.ping()
    except (RedisError, OSError) as error:
        return [Check("queue redis", False, f"{shown}: {_plain(error)}", "start it, or unset QUEUE_REDIS_URL")]
    finally:
        await client.aclose()
    return [Check("queue redis", True, f"{shown} answers")]


async def _postgres(settings: Settings) -> list[Check]:
    from synckairos.postgres.migrate import pending_migrations

    shown = redact(settings.database_url)
    try:
        connection = await psycopg.AsyncConnection.connect(settings.database_url, connect_timeout=_CONNECT_TIMEOUT_S)
        async with connection:
            version = connection.info.server_version // 10_000
    except psycopg.Error as error:
        mend = "start it, or set DATABASE_URL to one that runs and lets us in"
        return [Check("postgres", False, f"{shown}: {_plain(error)}", mend)]
    found = [
        Check(
            "postgres",
            version >= _OLDEST_POSTGRES,
            f"{shown} answers, version {version}",
            f"run Postgres {_OLDEST_POSTGRES} or newer",
        )
    ]
    try:
        missing = await pending_migrations(settings.database_url)
    except SyncKairosError as error:
        return [*found, Check("migrations", False, error.message, "run the version that belongs to this database")]
    told = f"not applied: {', '.join(missing)}" if missing else "all applied"
    return [*found, Check("migrations", not missing, told, "synckairos migrate")]


async def _archive(settings: Settings) -> list[Check]:
    """Look whether archives could be written; a remote store is only asked for something it hasn't got."""
    from synckairos.history.cold.object_store import ColdStorage, ObjectMissing, local_folder

    folder = local_folder(settings.archive_url)
    mend = f"set {PREFIX}ARCHIVE_URL to a folder that workers may write and servers read, or to s3://bucket/prefix"
    if folder is not None:
        nearest = next(each for each in (folder, *folder.parents) if each.exists())
        if nearest.is_dir() and os.access(nearest, os.W_OK):
            return [Check("archive", True, f"{folder}{' can be made' if nearest != folder else ' can be written'}")]
        return [Check("archive", False, f"{nearest} can't be written", mend)]
    try:
        await ColdStorage(settings.archive_url).get("doctor/nothing")
    except StoreUnavailable as fault:
        return [Check("archive", False, redact(fault.message), f"{mend}, with its AWS_* variables")]
    except ObjectMissing:
        pass
    return [Check("archive", True, f"{settings.archive_url} answers")]


async def _option(client: redis.asyncio.Redis, name: str) -> str | None:
    """Return one option's value; None where the server (a managed one, often) doesn't say."""
    try:
        value: str | None = (await client.config_get(name)).get(name)
    except ResponseError:
        return None
    return value


def _client(url: str) -> redis.asyncio.Redis:
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
        url, decode_responses=True, socket_timeout=_CONNECT_TIMEOUT_S, socket_connect_timeout=_CONNECT_TIMEOUT_S
    )
    return client


def _plain(error: Exception) -> str:
    """Say an error in one line without what may be a password in it."""
    return redact(str(error).strip().split("\n")[0]) or type(error).__name__
