"""Fixtures for all tests: one Valkey and one Postgres for a test run, a key prefix and a database for each test."""

import asyncio
import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from synckairos.config import Settings, env_variables_of
from synckairos.embedded import Postgres, Valkey, create_temporary_dir
from synckairos.telemetry import log
from tests.databases import SERVING_LOGIN, DatabasePool, create_serving_login
from tests.pgbouncer import PgBouncer, running_pgbouncer
from tests.processes import Process, spawn_server

ROOT = Path(__file__).parents[1]

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> None:
    """Remove the developer's settings from the environment, and configure the log as in production."""
    for field in Settings.model_fields:
        for name in env_variables_of(field):
            os.environ.pop(name, None)
    # The processes that the tests start use the packages of this checkout, as pytest does.
    os.environ["PYTHONPATH"] = os.pathsep.join(str(path) for path in (ROOT, ROOT / "clients" / "python"))
    log.configure_logging("info")
    # A shell ignores Ctrl-C in background jobs. The processes that the tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def restored_log() -> Iterator[None]:
    """Restore the log after the test. Commands configure another log level, and a stream that is closed later."""
    yield
    log.configure_logging("info")


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    """Create a directory that both stores can use as any user. Other users cannot read the directories of pytest."""
    path = create_temporary_dir()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def valkey(data_dir: Path) -> Iterator[Valkey]:
    """Start the Valkey that all tests share. A test that kills or flushes Valkey starts a separate Valkey."""
    with Valkey(data_dir / "valkey") as store:
        yield store


@pytest.fixture(scope="session")
def postgres(data_dir: Path) -> Iterator[Postgres]:
    """Start the Postgres that all tests share. A test that stops Postgres starts a separate Postgres."""
    with Postgres(data_dir / "postgres", durable=False) as store:
        yield store


@pytest.fixture(scope="session")
def template_database(postgres: Postgres) -> str:
    """Migrate one database at the begin of the test run, and return its name. The test databases are copies of it."""
    from synckairos.postgres.migrate import migrate

    asyncio.run(migrate(postgres.url))
    return "synckairos"


@pytest.fixture
def redis_url(valkey: Valkey) -> str:
    return valkey.url


@pytest.fixture(scope="session")
def pgbouncer(data_dir: Path, postgres: Postgres) -> Iterator[PgBouncer]:
    """Start the PgBouncer that all tests share, in front of the shared Postgres."""
    with running_pgbouncer(data_dir / "pgbouncer", postgres) as pooler:
        yield pooler


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that is marked `pooler` twice: with a direct connection to Postgres, and through PgBouncer."""
    if metafunc.definition.get_closest_marker("pooler") is not None:
        metafunc.parametrize("route", ["direct", "pooler"], indirect=True)


@pytest.fixture
def route(request: pytest.FixtureRequest) -> str:
    """Give the way to Postgres: `direct`, or `pooler` for PgBouncer."""
    return str(getattr(request, "param", "direct"))


@pytest.fixture(scope="session")
def databases(postgres: Postgres, template_database: str) -> DatabasePool:
    """Return the pool of migrated databases."""
    return DatabasePool(postgres, template_database)


@pytest.fixture
def direct_database_url(
    route: str, databases: DatabasePool, postgres: Postgres, template_database: str
) -> Iterator[str]:
    """Return the direct URL of a migrated database that nothing else uses, and that equals a new database."""
    # PgBouncer keeps connections to a database of a test. So this database is not used again.
    is_reused = route == "direct"
    with databases.database() if is_reused else copied_database(postgres, template_database) as url:
        yield url


@pytest.fixture(scope="session")
def serving_login(postgres: Postgres, template_database: str) -> str:
    """Create the login of servers and workers, and return its name. The first migration has created its roles."""
    create_serving_login(postgres)
    return SERVING_LOGIN


@pytest.fixture
def database_url(request: pytest.FixtureRequest, route: str, direct_database_url: str) -> str:
    """Give the URL of the database on the route of the test.

    Its login is a superuser, and `serving_login` in tests with the mark of this name.
    """
    url = direct_database_url
    if request.node.get_closest_marker("serving_login") is not None:
        url = url.replace("postgres@", f"{request.getfixturevalue('serving_login')}@", 1)
    if route == "direct":
        return url
    pooler: PgBouncer = request.getfixturevalue("pgbouncer")
    return pooler.url(url)


@pytest.fixture
def bare_database_url(postgres: Postgres) -> Iterator[str]:
    """Create a new database without migrations. Drop the database after the test."""
    with copied_database(postgres, "template1") as url:
        yield url


@contextmanager
def copied_database(postgres: Postgres, template: str) -> Iterator[str]:
    """Create a database as a copy of the database `template`. Yield its URL, and drop the database at the end."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres.database_url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    yield postgres.database_url(name)
    with psycopg.connect(postgres.database_url("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def key_prefix() -> str:
    return f"t{uuid4().hex[:12]}"


@pytest.fixture
def settings(redis_url: str, database_url: str, direct_database_url: str, key_prefix: str, tmp_path: Path) -> Settings:
    """Return settings on the shared stores, with an unused key prefix, an unused database and high rate limits."""
    made = _settings(redis_url, database_url, key_prefix, tmp_path)
    direct = None if database_url == direct_database_url else direct_database_url
    return made.model_copy(update={"database_direct_url": direct})


@pytest.fixture(scope="module")
def module_settings(
    valkey: Valkey, databases: DatabasePool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Return settings like those of `settings`, for processes that all tests of a module share."""
    with databases.database() as url:
        yield _settings(valkey.url, url, f"t{uuid4().hex[:12]}", tmp_path_factory.mktemp("module"))


@pytest.fixture(scope="module")
def module_server(module_settings: Settings) -> Iterator[Process]:
    """Start one server process that all tests of a module share."""
    process = spawn_server(module_settings)
    yield process
    process.stop()


def _settings(redis_url: str, database_url: str, key_prefix: str, folder: Path) -> Settings:
    return Settings(
        port=0,
        redis_url=redis_url,
        database_url=database_url,
        key_prefix=key_prefix,
        rate_limit_general=1_000_000,
        rate_limit_switch=1_000_000,
        client_work_factor=1_000,
        drain_timeout_s=1,
        archive_url=str(folder / "archive"),
    )


@pytest.fixture
def start_server() -> Iterator[Callable[[Settings], Process]]:
    """Return a function that starts a server process. All started servers are stopped after the test."""
    started: list[Process] = []

    def start(settings: Settings) -> Process:
        started.append(spawn_server(settings))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def serve_process(start_server: Callable[[Settings], Process], settings: Settings) -> Process:
    """Start one server process and wait until it is ready."""
    return start_server(settings)
