"""The `dev` process: starts embedded stores, migrates Postgres, starts a server and a worker, and stops all of them.

The server and the worker are separate processes, as in production. They get all settings through environment variables.
This module stops every process that it starts. If this process is killed, a guard process stops the started
processes.
"""

import asyncio
import errno
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit
from uuid import uuid4

import click
from pydantic import SecretStr

from synckairos import __version__
from synckairos.config import PREFIX, BadSettings, Settings, env_variables_of, is_set
from synckairos.embedded import EmbeddedStoreFailed, Postgres, Valkey, persistent_data_dir, temporary_data_dir
from synckairos.embedded.guarded_child import ChildProcess
from synckairos.errors import PortTaken
from synckairos.principal import Role
from synckairos.process.ready_line import parse_ready_line
from synckairos.process.stop_signals import stop_on_signals
from synckairos.urls.redact_url import redact_url

# Ctrl-C stops all processes within 10 seconds: at most 6 seconds for server and worker, then at most 2 for the stores.
_DRAIN_S = 2.0
"""Seconds in which the server must drain."""
_PROCESS_STOP_S = 6.0
"""Seconds in which the server process and the worker process must end."""

_TOKEN_TTL_S = 43_200
"""Seconds for which the printed tokens are valid: a working day."""

_ARCHIVE_AFTER_S = 60
"""Seconds from the end of a session to its archive. Short, so that a developer sees archives."""


@dataclass(frozen=True, slots=True)
class _Stores:
    """URLs of Redis and Postgres. `embedded` has the processes of embedded stores by class name: Valkey, Postgres."""

    redis_url: str
    database_url: str
    embedded: dict[str, ChildProcess]


async def run_dev(
    settings: Settings,
    data: Path | None,
    report: Callable[[str], None],
    on_spawn: Callable[[], None],
    *,
    with_auth: bool = False,
) -> int:
    """Run stores, server and worker until Ctrl-C or SIGTERM, or until one of the processes ends.

    `data` is the directory for the data of the embedded stores. None uses a temporary directory, which is removed at
    the end. `report` is called with a text about the current activity. `on_spawn` is called one time, before the server
    and the worker are started. If `with_auth` is True, authentication is on, and a token for each role is printed; a
    secret is made if none is set.

    Return the exit code of the command: 0 after Ctrl-C or SIGTERM, 1 if a process ended unexpectedly.

    Raises: PortTaken, BadSettings, EmbeddedStoreFailed. All started processes are stopped before the exception leaves.
    """
    stop_requested = asyncio.Event()
    with stop_on_signals(stop_requested.set), ExitStack() as stack:
        _refuse_taken_port(settings)
        directory = stack.enter_context(_data_dir(data))
        (directory / "archive").mkdir(mode=0o700, exist_ok=True)
        stores = await asyncio.to_thread(_start_stores, settings, directory, stack)
        settings = _child_settings(settings, stores, directory)
        if with_auth:
            settings = _with_authentication(settings)
        if not stop_requested.is_set():
            from synckairos.postgres.migrate import migrate

            report("updating the schema of the database")
            has_own_postgres = "Postgres" in stores.embedded
            await migrate(settings.schema_url, find_older_instances=_find_none if has_own_postgres else None)
        on_spawn()
        if stop_requested.is_set():
            return 0
        processes = {name: _spawn(name, settings) for name in ("serve", "worker")}
        stack.callback(_run_in_parallel, [partial(child.stop, _PROCESS_STOP_S) for child in processes.values()])
        data_text = f"{directory}" if data else f"{directory} (temporary: removed at the end)"
        relay = asyncio.create_task(asyncio.to_thread(_relay_output, processes["serve"], settings, stores, data_text))
        ended = await _wait_for_first_end(stop_requested, {**processes, **stores.embedded})
        if ended is not None:
            click.echo(f"{ended} ended unexpectedly; stopping all other processes", err=True)
        await asyncio.to_thread(stack.close)
        await relay
    return 0 if ended is None else 1


def _child_settings(settings: Settings, stores: _Stores, directory: Path) -> Settings:
    """Return the settings for server and worker.

    Set values stay, with one exception: with an embedded Postgres, `database_direct_url` is removed. Store URLs and
    time limits that are not set get values for a developer's machine.
    """
    defaults = {
        "redis_url": stores.redis_url,
        "database_url": stores.database_url,
        "queue_redis_url": stores.redis_url,
        "archive_url": str(directory / "archive"),
        "archive_after_s": _ARCHIVE_AFTER_S,
        "drain_timeout_s": _DRAIN_S,
    }
    update: dict[str, Any] = {name: value for name, value in defaults.items() if not is_set(settings, name)}
    if "Postgres" in stores.embedded:
        update["database_direct_url"] = None  # it would lead to another database
    return settings.model_copy(update=update)


async def _find_none() -> list[str]:
    """Return no instance of an older release. All processes on the embedded stores are those of this command."""
    return []


def _with_authentication(settings: Settings) -> Settings:
    """Return the settings with authentication, and with a new secret if they have none."""
    secret = settings.jwt_secret or SecretStr(secrets.token_urlsafe(48))
    return settings.model_copy(update={"auth": "required", "jwt_secret": secret})


def _make_tokens(settings: Settings) -> dict[str, tuple[str, str]]:
    """Return a new token for each role, by the role: the token and the text that names it in the banner.

    Each token reaches all sessions. The token with the role `participant` names a random participant id, for which a
    session can be created. Return no tokens if authentication is off, or if the settings have no secret.
    """
    from synckairos.identity.token_minting import mint_token

    if settings.auth == "none" or settings.jwt_secret is None:
        return {}
    tokens = {}
    for role in get_args(Role):
        participant_id = str(uuid4()) if role == "participant" else None
        token, _ = mint_token(
            settings,
            time.time_ns() // 1_000_000,
            subject=f"dev-{role}",
            role=role,
            participant_id=participant_id,
            grants=[{"sessions": ["*"]}],
            ttl_s=_token_ttl_s(settings),
        )
        tokens[role] = token, role if participant_id is None else f"{role} {participant_id}"
    return tokens


def _token_ttl_s(settings: Settings) -> int:
    return min(_TOKEN_TTL_S, settings.jwt_max_ttl)


def _tokens_text(settings: Settings, tokens: Mapping[str, tuple[str, str]]) -> str:
    """Return the part of the banner with the tokens, and with the hours for which they are valid."""
    rows = "".join(f"  {name}\n    {token}\n" for token, name in tokens.values())
    return (
        f"Authentication is on. Each token is valid for {_token_ttl_s(settings) // 3_600} h:\n\n{rows}\n"
        f"The demo URL and {PREFIX}TOKEN below have the token of the admin. To open a link of the demo page with "
        "another role, add #token=TOKEN to it.\n"
    )


def _refuse_taken_port(settings: Settings) -> None:
    """Check that a process can listen on the configured host and port. The port is free again after the check.

    Raises: PortTaken if the port is in use. BadSettings if listening fails for another reason.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(settings.port) from None
            reason = error.strerror or str(error)
            raise BadSettings(
                f"{env_variables_of('host')[0]}: cannot listen on {settings.host} port {settings.port}: {reason}"
            ) from None


def _data_dir(data: Path | None) -> AbstractContextManager[Path]:
    return temporary_data_dir() if data is None else _persistent_data_dir(data)


@contextmanager
def _persistent_data_dir(data: Path) -> Iterator[Path]:
    """Yield the data directory for the option `--data`. Raises: BadSettings if the directory cannot be used."""
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(persistent_data_dir(data.absolute()))
        except OSError as error:
            raise BadSettings(f"--data: cannot use {data}: {error.strerror or error}") from None
        except EmbeddedStoreFailed as error:
            raise BadSettings(f"--data: {error.message}") from None
        yield directory


def _start_stores(settings: Settings, directory: Path, stack: ExitStack) -> _Stores:
    """Start an embedded store for each store without a configured URL, in parallel.

    Return the URLs of both stores, embedded or configured, when the stores are ready. The started stores are stopped
    when `stack` is closed.
    """
    redis_url, database_url = settings.redis_url, settings.database_url
    valkey = None if is_set(settings, "redis_url") else Valkey(directory / "valkey", on_socket=True)
    postgres = None if is_set(settings, "database_url") else Postgres(directory / "postgres")
    started = [store for store in (valkey, postgres) if store is not None]
    stack.callback(_run_in_parallel, [store.stop for store in started])
    _run_in_parallel([store.start for store in started])
    if valkey is not None:
        redis_url = valkey.url
    if postgres is not None:
        database_url = postgres.url
    embedded = {type(store).__name__: store.child for store in started}
    return _Stores(redis_url, database_url, embedded)


def _spawn(command: str, settings: Settings) -> ChildProcess:
    """Start the process `synckairos COMMAND` with `settings` and without settings of this process's environment."""
    known = {name for field in Settings.model_fields for name in env_variables_of(field)}
    without_settings = {name: value for name, value in os.environ.items() if name not in known}
    return ChildProcess(
        [sys.executable, "-m", "synckairos", command],
        env={**without_settings, **settings.to_environment_variables(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE if command == "serve" else None,
    )


def _relay_output(server: ChildProcess, settings: Settings, stores: _Stores, data_text: str) -> None:
    """Print each line of the server's output, and print the banner before the ready line. Return when the server ends.

    `data_text` describes the data directory.
    """
    assert server.process.stdout is not None
    for line in server.process.stdout:
        if urls := parse_ready_line(line):
            click.echo(_banner(urls, settings, stores, data_text))
        click.echo(line, nl=False)


def _banner(urls: Mapping[str, str], settings: Settings, stores: _Stores, data_text: str) -> str:
    """Return the start banner: a table of URLs, and a shell command that exports the URLs of embedded stores.

    `urls` are the URLs of the ready line.
    """
    tokens = _make_tokens(settings)
    rows = {
        "http": urls["http"],
        "ws": urls["ws"],
        "demo": urls["http"] + "/demo" + (f"#token={tokens['admin'][0]}" if tokens else ""),
        "docs": urls["http"] + "/docs",
        "metrics": urls["http"] + "/metrics",
        "redis": redact_url(settings.redis_url) + (" (embedded)" if "Valkey" in stores.embedded else ""),
        "postgres": redact_url(settings.database_url) + (" (embedded)" if "Postgres" in stores.embedded else ""),
        "data": data_text if stores.embedded else "in the stores that are set",
    }
    table = "\n".join(f"  {name:<9} {value}" for name, value in rows.items())
    banner = f"\nSyncKairos {__version__} is ready. Ctrl-C stops all processes.\n\n{table}\n"
    exported = {
        env_variables_of("host")[0]: settings.local_connect_host if is_set(settings, "host") else None,
        env_variables_of("port")[0]: str(urlsplit(urls["http"]).port),
        env_variables_of("root_path")[0]: settings.root_path or None,
        "REDIS_URL": settings.redis_url if "Valkey" in stores.embedded else None,
        "DATABASE_URL": settings.database_url if "Postgres" in stores.embedded else None,
        env_variables_of("archive_url")[0]: settings.archive_url if stores.embedded else None,
        env_variables_of("auth")[0]: settings.auth if tokens else None,
        "JWT_SECRET": settings.jwt_secret.get_secret_value() if tokens and settings.jwt_secret else None,
        f"{PREFIX}TOKEN": tokens["admin"][0] if tokens else None,
    }
    if tokens:
        banner += f"\n{_tokens_text(settings, tokens)}"
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in exported.items() if value is not None)
    return (
        f"{banner}\nCommands such as `synckairos session watch` and `synckairos jobs list` need these variables:\n\n"
        f"  export {exports}\n"
    )


async def _wait_for_first_end(stop_requested: asyncio.Event, children: dict[str, ChildProcess]) -> str | None:
    """Wait until a stop is requested or a child process ends.

    Return the name of the child process that ended; None if a stop was requested.
    """
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, changed.set)
    try:
        while True:
            for name, child in children.items():
                if child.returncode is not None:
                    return name
            waits = [asyncio.create_task(event.wait()) for event in (stop_requested, changed)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if stop_requested.is_set():
                return None
            changed.clear()
    finally:
        loop.remove_signal_handler(signal.SIGCHLD)


def _run_in_parallel(functions: list[Callable[[], object]]) -> None:
    """Call the functions in parallel and wait until all have returned or raised.

    Raises: The exception of the first failed function, in the order of the list.
    """
    with ThreadPoolExecutor(max_workers=max(len(functions), 1)) as pool:
        futures = [pool.submit(function) for function in functions]
    for future in futures:
        future.result()
