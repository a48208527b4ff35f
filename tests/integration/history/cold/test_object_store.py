"""Archives and exports in a real S3 object store: writes, reads, refusals, outages and the return of the store."""

import gzip
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from synckairos.admin import doctor
from synckairos.config import Settings
from synckairos.errors import StoreUnavailable
from synckairos.history.cold.object_store import ColdStorage, ObjectMissing
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.jobs.export import Exporter
from synckairos.jobs.retention import Retention, SessionRowDeleter
from synckairos.jobs.table import open_job_pool
from synckairos.jobs.write_archive import Archiver
from tests.integration.rest_server import RestServer, open_rest_server
from tests.object_store import ObjectStore
from tests.processes import Process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Swift, the object store, runs on Linux alone")

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class BucketParts:
    """A server, and the components of background jobs, with their own bucket."""

    server: RestServer
    bucket: str
    cold_storage: ColdStorage
    archiver: Archiver
    retention: Retention
    exporter: Exporter

    async def finish_session(self) -> dict[str, Any]:
        """Create, start and complete a session, and drain it."""
        session = await self.server.create_started(metadata={"table": 7})
        url = f"/v1/sessions/{session['session_id']}"
        assert (await self.server.client.post(f"{url}/switch")).is_success
        found: dict[str, Any] = (await self.server.client.post(f"{url}/complete")).json()["data"]
        await self.server.drain()
        return found

    async def get_archive(self, session_id: str) -> httpx.Response:
        """Request a session's archive over REST."""
        return await self.server.client.get(f"/v1/sessions/{session_id}/archive")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    swift = ObjectStore(tmp_path_factory.mktemp("swift"))
    swift.start()
    yield swift
    swift.kill()


@pytest.fixture
async def bucket(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in store.environ.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid4()}"
    await store.make_bucket(name)
    return name


@pytest.fixture
def remote(settings: Settings, bucket: str) -> Settings:
    return settings.model_copy(update={"archive_url": f"s3://{bucket}/kept"})


@pytest.fixture
async def parts(remote: Settings, bucket: str) -> AsyncIterator[BucketParts]:
    cold_storage = ColdStorage(remote.archive_url)
    async with open_rest_server(remote) as server, open_job_pool(remote.database_url) as pool:
        archiver, server_parts = Archiver(pool, cold_storage), server.parts
        refresh = SummaryRefresh(server_parts.pipe, server_parts.store.keys)
        retention = Retention(
            cold_storage, archiver, SessionRowDeleter(pool), server_parts.store, server.outbox, refresh
        )
        yield BucketParts(server, bucket, cold_storage, archiver, retention, Exporter(pool, cold_storage))


async def mib_pieces(count: int, pattern: bytes = b"0123456789abcdef") -> AsyncIterator[bytes]:
    """Yield `count` pieces of one MiB, each with different content."""
    for at in range(count):
        yield pattern * (MIB // len(pattern) - 1) + at.to_bytes(len(pattern), "big")


async def test_a_session_is_archived_replaced_removed_and_exported(store: ObjectStore, parts: BucketParts) -> None:
    session, client = await parts.finish_session(), parts.server.client
    session_id = session["session_id"]
    url = f"/v1/sessions/{session_id}"
    events = (await client.get(f"{url}/events?snapshots=1")).json()
    first = await parts.archiver.archive(session_id)
    assert await store.paths(parts.bucket) == [f"kept/{first.path}"]
    answer = (await parts.get_archive(session_id)).json()["data"]
    assert (answer["session"], answer["size_bytes"], answer["checksum"]) == (
        session,
        first.size_bytes,
        first.checksum.hex(),
    )
    # After a change there is another object and the first is deleted. A forced archive overwrites the same object.
    await client.patch(url, json={"metadata": {"table": 8}})
    await parts.server.drain()
    events = (await client.get(f"{url}/events?snapshots=1")).json()
    for force in (False, True):
        second = await parts.archiver.archive(session_id, force=force)
        assert await store.paths(parts.bucket) == [f"kept/{second.path}"]
    # After the removal the object is the only copy, and all answers stay the same.
    state = (await client.get(url)).json()
    assert await parts.retention.archive_and_delete(session_id, 0)
    keys = parts.server.parts.store.keys
    await parts.server.parts.pipe.call("DEL", keys.session(session_id), keys.history(session_id))
    assert (await client.get(url)).json() == state
    assert (await client.get(f"{url}/events?snapshots=1")).json() == events
    now = datetime.now(UTC)
    exported = await parts.exporter.export("1", now - timedelta(hours=1), now + timedelta(hours=1), "ndjson")
    assert exported.events == len(events["data"])
    lines = gzip.decompress(await parts.cold_storage.get(exported.path)).splitlines()
    assert len(lines) == exported.events


async def test_a_large_object_is_written_in_parts_and_can_be_replaced(store: ObjectStore, parts: BucketParts) -> None:
    whole = b"".join([piece async for piece in mib_pieces(20)])
    written = await parts.cold_storage.write_stream("large", mib_pieces(20))
    assert written.size_bytes == len(whole)
    assert await parts.cold_storage.get("large") == whole
    assert await store.parts(parts.bucket, "kept/large") == 3
    assert (await parts.cold_storage.write_bytes("large", whole[::-1])).size_bytes == len(whole)
    assert await parts.cold_storage.get("large") == whole[::-1]
    await parts.cold_storage.write_bytes("large", b"small")
    assert await parts.cold_storage.get("large") == b"small"
    for _ in range(2):
        await parts.cold_storage.delete("large")
    with pytest.raises(ObjectMissing):
        await parts.cold_storage.get("large")
    assert await store.paths(parts.bucket) == []


async def test_an_unfinished_write_leaves_no_object(store: ObjectStore, parts: BucketParts) -> None:
    async def interrupted_pieces() -> AsyncIterator[bytes]:
        async for piece in mib_pieces(20):
            yield piece
        raise LookupError("no more")

    before_bytes = store.size_bytes()
    with pytest.raises(LookupError):
        await parts.cold_storage.write_stream("large", interrupted_pieces())
    assert await store.paths(parts.bucket) == []
    assert store.size_bytes() < before_bytes + MIB


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("AWS_SECRET_ACCESS_KEY", "stolen", "SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "unknown", "SignatureDoesNotMatch"),
        ("SYNCKAIROS_ARCHIVE_URL", "s3://no-such-bucket/kept", "NoSuchBucket"),
    ],
)
async def test_a_refusal_of_the_store_is_store_unavailable_with_its_code(
    parts: BucketParts, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, code: str
) -> None:
    session_id = (await parts.finish_session())["session_id"]
    await parts.archiver.archive(session_id)
    assert (await parts.get_archive(session_id)).status_code == 200
    for name, was in parts.server.settings.to_environment_variables().items():
        monkeypatch.setenv(name, was)
    assert all(check.passed for check in await doctor.run_checks() if check.name == "archive")
    monkeypatch.setenv(variable, value)
    changed = os.environ.get("SYNCKAIROS_ARCHIVE_URL", "")
    cold_storage = ColdStorage(changed)
    operations: list[Callable[[], Awaitable[object]]] = [
        lambda: cold_storage.write_bytes("some", b"thing"),
        lambda: cold_storage.write_stream("some", mib_pieces(9)),
        lambda: cold_storage.get("some"),
        lambda: cold_storage.delete("some"),
    ]
    for operation in operations:
        with pytest.raises(StoreUnavailable, match=code) as refused:
            await operation()
        assert "stolen" not in refused.value.message
    found = [check for check in await doctor.run_checks() if check.name == "archive"]
    assert [check.passed for check in found] == [False]
    assert code in found[0].result
    async with open_rest_server(parts.server.settings.model_copy(update={"archive_url": changed})) as other:
        answer = await other.client.get(f"/v1/sessions/{session_id}/archive")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")


async def test_an_outage_fails_every_operation_until_the_store_is_back(store: ObjectStore, parts: BucketParts) -> None:
    archived, other = [(await parts.finish_session())["session_id"] for _ in range(2)]
    await parts.archiver.archive(archived)

    async def pieces_with_outage() -> AsyncIterator[bytes]:
        async for piece in mib_pieces(20):
            yield piece
        store.kill()
        yield b"one more"

    try:
        with pytest.raises(StoreUnavailable):
            await parts.cold_storage.write_stream("large", pieces_with_outage())
        answer = await parts.get_archive(archived)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")
        for session_id in (archived, other):
            with pytest.raises(StoreUnavailable):
                await parts.retention.archive_and_delete(session_id, 0)
        answer = await parts.get_archive(other)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_ARCHIVED")
    finally:
        store.start()
    assert not any(path.endswith("large") for path in await store.paths(parts.bucket))
    assert (await parts.cold_storage.write_stream("large", mib_pieces(9))).size_bytes == 9 * MIB
    for session_id in (archived, other):
        assert (await parts.server.client.get(f"/v1/sessions/{session_id}/events")).json()["data"]
        assert await parts.retention.archive_and_delete(session_id, 0)
        assert (await parts.get_archive(session_id)).status_code == 200


async def test_a_read_from_a_frozen_store_fails_after_its_timeout(store: ObjectStore, parts: BucketParts) -> None:
    session_id = (await parts.finish_session())["session_id"]
    await parts.archiver.archive(session_id)
    async with open_rest_server(parts.server.settings, cold_timeout_s=0.2) as impatient:
        with store.frozen():
            answer = await impatient.client.get(f"/v1/sessions/{session_id}/archive")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")
    assert (await parts.get_archive(session_id)).status_code == 200


@pytest.mark.slow
async def test_a_job_that_failed_in_an_outage_is_retried(
    store: ObjectStore, parts: BucketParts, start_server: Callable[[Settings], Process]
) -> None:
    session = await parts.finish_session()
    environ = parts.server.settings.to_environment_variables()
    worker = Process("worker", env=environ)
    try:
        worker.wait_for_line(lambda line: "worker started" in line)
        store.kill()
        try:
            job = Process("jobs", "run", "archive", session["session_id"], "--wait", env=environ)
            failed = worker.wait_for_line(lambda line: "job attempt failed" in line)
            assert "object store" in failed
        finally:
            store.start()
        assert job.wait_end() == 0, job.output
        server = start_server(parts.server.settings)
        async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as client:
            answer = await client.get(f"/v1/sessions/{session['session_id']}/archive")
        assert answer.json()["data"]["session"] == session
    finally:
        worker.stop()
