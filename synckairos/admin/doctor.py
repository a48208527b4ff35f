"""Implementation of `synckairos doctor`: checks of all dependencies and settings of a process, each with a remedy.

The checks change nothing in the stores and never print a password.
"""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psycopg

from synckairos import config
from synckairos.admin.check_result import CheckResult, first_line
from synckairos.admin.redis_checks import check_queue_redis, check_redis
from synckairos.config import PREFIX, Settings
from synckairos.embedded import EmbeddedStoreFailed, postgres_home, valkey_binary
from synckairos.errors import StoreUnavailable, SyncKairosError
from synckairos.identity.jwks_fetch import JwksFetchFailed, fetch_jwks
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.urls.redact_url import redact_url

_CONNECT_TIMEOUT_S = 3
_OLDEST_POSTGRES = 14


async def run_checks() -> list[CheckResult]:
    """Run all checks with the settings of this process, and return their results in the order of the checks.

    If a setting is invalid or a store is unreachable, the checks that need this setting or store are left out.
    """
    checks = [_check_python(), *_check_wheels()]
    try:
        settings = config.load().refuse_unprotected_exposure()
    except config.BadSettings as error:
        return [
            *checks,
            *(CheckResult("settings", False, line, "correct or unset it") for line in error.message.split("\n")),
        ]
    checks.append(_check_settings())
    checks.append(await _check_authentication(settings))
    checks.append(await _check_port(settings))
    store_checks: list[Callable[[Settings], Awaitable[list[CheckResult]]]] = [
        check_redis,
        check_queue_redis,
        _check_postgres,
        _check_archive,
    ]
    for found in await asyncio.gather(*(check(settings) for check in store_checks)):
        checks += found
    return checks


def _check_python() -> CheckResult:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return CheckResult("python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")


def _check_wheels() -> list[CheckResult]:
    checks = []
    for name, locate in (("embedded valkey", valkey_binary), ("embedded postgres", postgres_home)):
        try:
            checks.append(CheckResult(name, True, str(locate())))
        except EmbeddedStoreFailed as error:
            # Production does not need these Python packages, so the check passes without them.
            result = f"missing, so `synckairos dev` needs the URL of a store: {error.message}"
            checks.append(CheckResult(name, True, result))
    return checks


def _check_settings() -> CheckResult:
    unknown = config.unknown_variables(os.environ)
    if unknown:
        result = f"{', '.join(unknown)} sets nothing"
        return CheckResult("settings", False, result, "compare the spelling with .env.example, or unset it")
    return CheckResult("settings", True, "every variable that is set has a valid value")


async def _check_authentication(settings: Settings) -> CheckResult:
    """Check the keys that verify tokens, and fetch the key sets of issuers."""
    name = "authentication"
    if settings.auth == "none":
        return CheckResult(name, True, "off: every caller that can connect has full access")
    try:
        TokenVerifier.from_settings(settings)
    except config.BadSettings as error:
        return CheckResult(name, False, error.message, "correct the setting")
    for source in settings.jwks:
        try:
            await fetch_jwks(source.url)
        except JwksFetchFailed as error:
            url = redact_url(source.url)
            return CheckResult(
                name, False, f"the key set {url} was not fetched: {error.message}", "correct SYNCKAIROS_JWKS"
            )
    return CheckResult(name, True, "tokens are required, and each key is usable")


async def _check_port(settings: Settings) -> CheckResult:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    host = f"[{settings.host}]" if family == socket.AF_INET6 else settings.host
    address = f"{host}:{settings.port}"
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and (version := await _running_version(address)) is not None:
                return await _check_root_path(address, version, settings)
            if error.errno == errno.EADDRINUSE:
                remedy = f"stop the program that listens there, or set {PREFIX}PORT"
                return CheckResult("port", False, f"{address} is taken", remedy)
            return CheckResult(
                "port", False, f"{address}: {error.strerror or error}", f"set {PREFIX}HOST and {PREFIX}PORT"
            )
    return CheckResult("port", True, f"{address} is free")


async def _check_root_path(address: str, version: str, settings: Settings) -> CheckResult:
    """Check that the running server uses the sub-path of the settings.

    A server with a sub-path answers each path with and without the sub-path.
    """
    result = f"SyncKairos {version} listens on {address}"
    if settings.root_path and await _running_version(f"{address}{settings.root_path}") is None:
        remedy = f"restart it with {PREFIX}ROOT_PATH={settings.root_path}"
        return CheckResult("port", False, f"{result}, but not under {settings.root_path}", remedy)
    return CheckResult("port", True, f"{result}{f', also under {settings.root_path}' if settings.root_path else ''}")


async def _running_version(address: str) -> str | None:
    """Return the version of the SyncKairos server at an address. Return None without a valid answer.

    Another program can listen at the address.
    """
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_CONNECT_TIMEOUT_S) as client:
            body = (await client.get(f"http://{address}/v1/time")).json()
            return str(body["server_version"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


async def _check_postgres(settings: Settings) -> list[CheckResult]:
    from synckairos.postgres.privileges import find_missing_grants
    from synckairos.postgres.tenant_fence import is_fenced
    from synckairos.postgres.tenant_roles import find_missing_roles

    url = redact_url(settings.database_url)
    try:
        connection = await psycopg.AsyncConnection.connect(settings.database_url, connect_timeout=_CONNECT_TIMEOUT_S)
        async with connection:
            version = connection.info.server_version // 10_000
            roles = await find_missing_roles(connection)
            is_separated = await is_fenced(connection)
            # With the roles, and also behind the fence, the login needs no privileges of its own.
            grants = await find_missing_grants(connection) if roles and not is_separated else []
    except psycopg.Error as error:
        remedy = "start it, or set DATABASE_URL to a running one that accepts its user"
        return [CheckResult("postgres", False, f"{url}: {first_line(error)}", remedy)]
    checks = [
        CheckResult(
            "postgres",
            version >= _OLDEST_POSTGRES,
            f"{url} answers, version {version}",
            f"run Postgres {_OLDEST_POSTGRES} or newer",
        )
    ]
    if grants:
        remedy = "; ".join(grants)
        checks.append(
            CheckResult("postgres privileges", False, "the role cannot use all tables", f"as their owner: {remedy}")
        )
    checks.append(_check_tenants(settings, roles, is_separated=is_separated))
    return [*checks, *await _check_migrations(settings)]


def _check_tenants(settings: Settings, roles: Sequence[str], *, is_separated: bool) -> CheckResult:
    """Check whether the login may use the roles of Postgres. `roles` are the statements that would grant them.

    Without authentication and without separated tenants, servers and workers do not need the roles.
    """
    name = "tenants"
    if roles:
        is_needed = settings.auth == "required" or is_separated
        remedy = f"synckairos migrate, or as a role that can create roles: {'; '.join(roles)}"
        return CheckResult(name, not is_needed, "the login may not use the roles that separate tenants", remedy)
    if is_separated:
        return CheckResult(name, True, "row-level security separates them")
    return CheckResult(name, True, "the database does not separate them yet, so only the tenant default is accepted")


async def _check_migrations(settings: Settings) -> list[CheckResult]:
    """Check the schema through the URL that `synckairos migrate` uses."""
    from synckairos.postgres.migrate import pending_migrations
    from synckairos.postgres.privileges import PrivilegeMissing, find_missing_create_grant

    try:
        missing = await pending_migrations(settings.schema_url)
        async with await psycopg.AsyncConnection.connect(
            settings.schema_url, connect_timeout=_CONNECT_TIMEOUT_S
        ) as connection:
            grant = await find_missing_create_grant(connection) if missing else None
    except PrivilegeMissing as error:
        return [CheckResult("migrations", False, error.message, "connect as the owner, or grant the privilege")]
    except StoreUnavailable as error:
        name = "DATABASE_DIRECT_URL" if settings.database_direct_url else "DATABASE_URL"
        return [CheckResult("migrations", False, redact_url(error.message), f"set {name} to a Postgres that answers")]
    except SyncKairosError as error:
        return [CheckResult("migrations", False, error.message, "run the release that belongs to this database")]
    result = f"not applied: {', '.join(missing)}" if missing else "all applied"
    if grant is not None:
        return [
            CheckResult(
                "migrations", False, f"{result}, and the role may not create tables", f"{grant}; synckairos migrate"
            )
        ]
    return [CheckResult("migrations", not missing, result, "synckairos migrate")]


def _nearest_visible(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists and that this user can see."""
    for each in (folder, *folder.parents):
        with suppress(PermissionError):  # below a folder that this user cannot enter
            if each.exists():
                return each
    return Path("/")


async def _check_archive(settings: Settings) -> list[CheckResult]:
    """Check whether archives can be stored. For a remote store, read one object that does not exist."""
    from synckairos.history.cold.object_store import ColdStorage, ObjectMissing, parse_local_folder

    folder = parse_local_folder(settings.archive_url)
    remedy = f"set {PREFIX}ARCHIVE_URL to a folder that workers may write and servers read, or to s3://bucket/prefix"
    if folder is not None:
        nearest = _nearest_visible(folder)
        if nearest.is_dir() and os.access(nearest, os.W_OK):
            state = "can be created" if nearest != folder else "is writable"
            return [CheckResult("archive", True, f"{folder} {state}")]
        return [CheckResult("archive", False, f"{nearest} is not a writable folder", remedy)]
    try:
        await ColdStorage(settings.archive_url).get("doctor/nothing")
    except StoreUnavailable as fault:
        return [CheckResult("archive", False, redact_url(fault.message), f"{remedy}, with its AWS_* variables")]
    except ObjectMissing:
        pass
    return [CheckResult("archive", True, f"{settings.archive_url} answers")]
