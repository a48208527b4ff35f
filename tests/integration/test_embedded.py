"""The stores that `dev` and the tests run on are real, safe to kill, and mean what we mean."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import redis

from synckairos.embedded import EmbeddedStoreFailed, Postgres, Valkey
from synckairos.embedded import valkey as embedded_valkey


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path / "valkey", appendfsync="always") as store:
        yield store


@pytest.fixture
def own_postgres(data_dir: Path) -> Iterator[Postgres]:
    with Postgres(data_dir / f"own-{uuid4().hex}") as store:
        yield store


def test_valkey_has_the_options_we_mean(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for name, value in {"maxmemory-policy": "noeviction", "appendonly": "yes", "bind": "127.0.0.1"}.items():
            assert client.config_get(name) == {name: value}


def test_valkey_killed_comes_back_on_the_same_port_with_its_data(own_valkey: Valkey) -> None:
    url = own_valkey.url
    with redis.Redis.from_url(url) as client:
        client.set("kept", "1")
        own_valkey.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        assert own_valkey.start() == url
        assert client.get("kept") == b"1"


def test_valkey_frozen_answers_nothing_until_it_thaws(own_valkey: Valkey) -> None:
    with redis.Redis.from_url(own_valkey.url, socket_timeout=0.1) as client:
        client.ping()
        own_valkey.freeze()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        own_valkey.thaw()
        assert client.ping()


def test_two_valkeys_never_share_one_data(own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_valkey, "START_TIMEOUT_S", 0.05)
    with pytest.raises(EmbeddedStoreFailed, match="in use"):
        Valkey(own_valkey.data_dir).start()


def test_valkey_says_why_it_does_not_start(own_valkey: Valkey, tmp_path: Path) -> None:
    with pytest.raises(EmbeddedStoreFailed, match="in use"):
        Valkey(tmp_path / "other", port=own_valkey.port).start()


def test_postgres_killed_comes_back_with_its_data(own_postgres: Postgres) -> None:
    with psycopg.connect(own_postgres.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (a int)")
        own_postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    own_postgres.start()
    with psycopg.connect(own_postgres.url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_postgres_stopped_starts_again(own_postgres: Postgres) -> None:
    own_postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(own_postgres.url)
    own_postgres.start()
    psycopg.connect(own_postgres.url).close()


def test_postgres_knows_utf8_and_time_zones_and_speaks_utc(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
        row = connection.execute("SELECT '2026-01-01 00:00Z'::timestamptz AT TIME ZONE 'Asia/Tokyo'").fetchone()
        assert row is not None
        assert row[0].hour == 9


def test_postgres_takes_a_path_too_long_for_a_socket(data_dir: Path) -> None:
    with Postgres(data_dir / ("long-" + "x" * 120), durable=False) as store:
        psycopg.connect(store.url).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to step aside for another user")
def test_postgres_below_a_closed_environment_runs_from_a_copy(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Postgres, "_may", lambda self, test, path: test != "-x")
    with Postgres(data_dir / "copied", durable=False) as store:
        assert (store.data_dir / "dist").is_dir()
        psycopg.connect(store.url).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to step aside for another user")
def test_postgres_says_when_its_user_cannot_reach_the_data(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(EmbeddedStoreFailed, match="everybody may enter"):
        Postgres(tmp_path / "inside" / "data").start()


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EmbeddedStoreFailed, match="synckairos\\[embedded\\]"):
        Valkey(tmp_path).start()
    with pytest.raises(EmbeddedStoreFailed, match="synckairos\\[embedded\\]"):
        Postgres(tmp_path).start()
