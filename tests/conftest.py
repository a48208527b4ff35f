"""Real stores for every test: one Valkey and one Postgres a test run, a key prefix and a database of its own a test."""

import asyncio
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from synckairos.config import Settings, variables
from synckairos.embedded import Postgres, Valkey, make_data_dir
from synckairos.telemetry import log
from tests.processes import Process, spawn_server

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> None:
    """Forget the settings of whoever runs the tests, and log everything as production does."""
    for field in Settings.model_fields:
        for name in variables(field):
            os.environ.pop(name, None)
    log.configure("info")


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    """Give a directory that both stores may use, whoever they run as; pytest's own is closed to other users."""
    path = make_data_dir()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def valkey(data_dir: Path) -> Iterator[Valkey]:
    """Give the run's Valkey. Shared: a test that kills or flushes starts one of its own."""
    with Valkey(data_dir / "valkey") as store:
        yield store


@pytest.fixture(scope="session")
def postgres(data_dir: Path) -> Iterator[Postgres]:
    """Give the run's Postgres. Shared: a test that stops it starts one of its own."""
    with Postgres(data_dir / "postgres", durable=False) as store:
        yield store


@pytest.fixture(scope="session")
def template_database(postgres: Postgres) -> str:
    """Migrate one database, once; every test's own is a copy."""
    from synckairos.postgres.migrate import migrate

    asyncio.run(migrate(postgres.url))
    return "synckairos"


@pytest.fixture
def redis_url(valkey: Valkey) -> str:
    return valkey.url


@pytest.fixture
def database_url(postgres: Postgres, template_database: str) -> Iterator[str]:
    """Give a fresh, migrated database; dropped after the test."""
    with _database(postgres, template_database) as url:
        yield url


@pytest.fixture
def bare_database_url(postgres: Postgres) -> Iterator[str]:
    """Give a fresh database that nobody has migrated; dropped after the test."""
    with _database(postgres, "template1") as url:
        yield url


@contextmanager
def _database(postgres: Postgres, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres.database_url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        yield postgres.database_url(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def key_prefix() -> str:
    return f"t{uuid4().hex[:12]}"


@pytest.fixture
def settings(redis_url: str, database_url: str, key_prefix: str, tmp_path: Path) -> Settings:
    """Give settings on the run's stores, with a key prefix and a database nobody else uses, and no felt limits."""
    return Settings(
        port=0,
        redis_url=redis_url,
        database_url=database_url,
        key_prefix=key_prefix,
        rate_limit_general=1_000_000,
        rate_limit_switch=1_000_000,
        drain_timeout_s=1,
        archive_url=str(tmp_path / "archive"),
    )


@pytest.fixture
def start_server() -> Iterator[Callable[[Settings], Process]]:
    """Start as many servers as a test needs, each a process of its own; ended after the test."""
    started: list[Process] = []

    def start(settings: Settings) -> Process:
        started.append(spawn_server(settings))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def serve_process(start_server: Callable[[Settings], Process], settings: Settings) -> Process:
    """Give one ready server as a process: `base_url`, `ws_url`, `kill()`."""
    return start_server(settings)
