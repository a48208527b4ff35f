"""`synckairos dev`: stores, migrations, server and worker in one go, and the end of all of them in the right order.

Server and worker are processes of their own, as in production, and learn everything through their environment.
Must not leave anything behind: whoever is started here is stopped here, and guarded in case we can't.
"""

import asyncio
import errno
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from synckairos import __version__
from synckairos.config import BadSettings, Settings, is_set, redact, variables
from synckairos.embedded import EmbeddedStoreFailed, Postgres, Valkey, persistent_data_dir, temporary_data_dir
from synckairos.embedded.child_process import ChildProcess
from synckairos.errors import PortTaken
from synckairos.process.ready_line import parse_ready

# Ctrl-C ends all of it within ten seconds: the server drains in two, its process gets six, the stores two more.
_DRAIN_S = 2.0
_PROCESS_STOP_S = 6.0

_ARCHIVE_AFTER_S = 60  # soon enough to be seen


@dataclass(frozen=True, slots=True)
class _Stores:
    """The URLs in use, and the processes behind those that are our own, by name."""

    redis_url: str
    database_url: str
    own: dict[str, ChildProcess]


async def run_dev(settings: Settings, data: Path | None) -> int:
    """Run everything until Ctrl-C or SIGTERM (0), or until one part ends by itself (1); return the exit code.

    `data` keeps the stores' data; without it they live in a temporary directory, removed at the end.
    Raises: PortTaken, BadSettings, EmbeddedStoreFailed, before anything is left running.
    """
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    _refuse_taken_port(settings)
    with ExitStack() as stack:
        directory = stack.enter_context(_data_dir(data))
        stores = await asyncio.to_thread(_start_stores, settings, directory, stack)
        settings = _settings_of_parts(settings, stores, directory)
        if not told.is_set():
            from synckairos.postgres.migrate import migrate

            await migrate(settings.database_url)
        if told.is_set():
            return 0
        parts = {name: _spawn(name, settings) for name in ("serve", "worker")}
        stack.callback(_together, [partial(child.stop, _PROCESS_STOP_S) for child in parts.values()])
        place = f"{directory}" if data else f"{directory} (temporary: removed at the end)"
        relay = asyncio.create_task(asyncio.to_thread(_relay, parts["serve"], settings, stores, place))
        ended = await _first_end(told, {**parts, **stores.own})
        if ended is not None:
            click.echo(f"{ended} ended by itself; stopping the rest", err=True)
        await asyncio.to_thread(stack.close)
        await relay
    return 0 if ended is None else 1


def _settings_of_parts(settings: Settings, stores: _Stores, directory: Path) -> Settings:
    """Return what server and worker are told: what nobody set is what suits a machine of one's own."""
    ours = {
        "redis_url": stores.redis_url,
        "database_url": stores.database_url,
        "queue_redis_url": stores.redis_url,
        "archive_url": str(directory / "archive"),
        "archive_after_s": _ARCHIVE_AFTER_S,
        "drain_timeout_s": _DRAIN_S,
    }
    return settings.model_copy(update={name: value for name, value in ours.items() if not is_set(settings, name)})


def _refuse_taken_port(settings: Settings) -> None:
    """Find out before anything is started. Raises: PortTaken, BadSettings."""
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
                f"{variables('host')[0]}: can't listen on {settings.host} port {settings.port}: {reason}"
            ) from None


def _data_dir(data: Path | None) -> AbstractContextManager[Path]:
    return temporary_data_dir() if data is None else _kept(data)


@contextmanager
def _kept(data: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(persistent_data_dir(data.absolute()))
        except OSError as error:
            raise BadSettings(f"--data: can't use {data}: {error.strerror or error}") from None
        except EmbeddedStoreFailed as error:
            raise BadSettings(f"--data: {error.message}") from None
        yield directory


def _start_stores(settings: Settings, directory: Path, stack: ExitStack) -> _Stores:
    """Start, side by side, the stores that no setting names; `stack` stops them."""
    redis_url, database_url = settings.redis_url, settings.database_url
    valkey = None if is_set(settings, "redis_url") else Valkey(directory / "valkey")
    postgres = None if is_set(settings, "database_url") else Postgres(directory / "postgres")
    started = [store for store in (valkey, postgres) if store is not None]
    stack.callback(_together, [store.stop for store in started])
    _together([store.start for store in started])
    if valkey is not None:
        redis_url = valkey.url
    if postgres is not None:
        database_url = postgres.url
    own = {type(store).__name__: store.child for store in started}
    return _Stores(redis_url, database_url, own)


def _spawn(command: str, settings: Settings) -> ChildProcess:
    known = {name for field in Settings.model_fields for name in variables(field)}
    rest = {name: value for name, value in os.environ.items() if name not in known}
    return ChildProcess(
        [sys.executable, "-m", "synckairos", command],
        env={**rest, **settings.environ(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE if command == "serve" else None,
    )


def _relay(server: ChildProcess, settings: Settings, stores: _Stores, place: str) -> None:
    """Pass on what the server prints, and at its ready line say where everything is. Ends with the server."""
    assert server.process.stdout is not None
    for line in server.process.stdout:
        if urls := parse_ready(line):
            click.echo(_banner(urls, settings, stores, place))
        click.echo(line, nl=False)


def _banner(urls: Mapping[str, str], settings: Settings, stores: _Stores, place: str) -> str:
    rows = {
        "http": urls["http"],
        "ws": urls["ws"],
        "demo": urls["http"] + "/demo",
        "docs": urls["http"] + "/docs",
        "metrics": urls["http"] + "/metrics",
        "redis": redact(settings.redis_url) + (" (embedded)" if "Valkey" in stores.own else ""),
        "postgres": redact(settings.database_url) + (" (embedded)" if "Postgres" in stores.own else ""),
        "data": place if stores.own else "in the stores you named",
    }
    table = "\n".join(f"  {name:<9} {value}" for name, value in rows.items())
    told = f"\nSyncKairos {__version__} is up; Ctrl-C ends all of it.\n\n{table}\n"
    own = {
        "REDIS_URL": settings.redis_url if "Valkey" in stores.own else None,
        "DATABASE_URL": settings.database_url if "Postgres" in stores.own else None,
        variables("archive_url")[0]: settings.archive_url if stores.own else None,
    }
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in own.items() if value is not None)
    return f"{told}\nCommands such as `synckairos jobs list` find it by\n\n  export {exports}\n" if exports else told


async def _first_end(told: asyncio.Event, children: dict[str, ChildProcess]) -> str | None:
    """Wait until we are told to stop (None) or a child ends by itself (its name)."""
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, changed.set)
    try:
        while True:
            for name, child in children.items():
                if child.returncode is not None:
                    return name
            waits = [asyncio.create_task(event.wait()) for event in (told, changed)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if told.is_set():
                return None
            changed.clear()
    finally:
        loop.remove_signal_handler(signal.SIGCHLD)


def _together(jobs: list[Callable[[], object]]) -> None:
    """Run `jobs` side by side and wait for all of them, then raise what the first failed one raised."""
    with ThreadPoolExecutor(max_workers=max(len(jobs), 1)) as pool:
        futures = [pool.submit(job) for job in jobs]
    for future in futures:
        future.result()
