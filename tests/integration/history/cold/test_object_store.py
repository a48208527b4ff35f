"""Archives and exports in a real object store that speaks S3: written, read, refused, gone in the middle and back."""

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
from synckairos.history.cold import reader
from synckairos.history.cold.object_store import ColdStorage, ObjectMissing
from synckairos.history.participant_sessions.refresh import SummaryRefresh
from synckairos.jobs.archive import Archiver
from synckairos.jobs.export import Exporter
from synckairos.jobs.retention import Retention
from synckairos.jobs.table import open_job_pool
from tests.integration.rest_server import RestServer, open_rest_server
from tests.object_store import ObjectStore
from tests.processes import Process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Swift, the object store, runs on Linux alone")

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """A server, and what a worker's jobs do with a bucket of its own."""

    server: RestServer
    bucket: str
    objects: ColdStorage
    archiver: Archiver
    retention: Retention
    exporter: Exporter

    async def over(self) -> dict[str, Any]:
        """Play a session to its end and drain it."""
        session = await self.server.create_started(metadata={"table": 7})
        url = f"/v1/sessions/{session['session_id']}"
        assert (await self.server.client.post(f"{url}/switch")).is_success
        found: dict[str, Any] = (await self.server.client.post(f"{url}/complete")).json()["data"]
        await self.server.drain()
        return found

    async def archive(self, session_id: str) -> httpx.Response:
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
async def kept(remote: Settings, bucket: str) -> AsyncIterator[Kept]:
    objects = ColdStorage(remote.archive_url)
    async with open_rest_server(remote) as server, open_job_pool(remote.database_url) as pool:
        archiver, parts = Archiver(pool, objects), server.parts
        upkeep = SummaryRefresh(parts.pipe, parts.store.keys)
        retention = Retention(pool, objects, archiver, parts.store, server.outbox, upkeep)
        yield Kept(server, bucket, objects, archiver, retention, Exporter(pool, objects))


async def pieces(count: int, of: bytes = b"0123456789abcdef") -> AsyncIterator[bytes]:
    """Yield so many pieces of a MiB, each another."""
    for at in range(count):
        yield of * (MIB // len(of) - 1) + at.to_bytes(len(of), "big")


async def test_a_session_goes_there_and_is_read_back(store: ObjectStore, kept: Kept) -> None:
    session, client = await kept.over(), kept.server.client
    session_id = session["session_id"]
    url = f"/v1/sessions/{session_id}"
    events = (await client.get(f"{url}/events?snapshots=1")).json()
    first = await kept.archiver.archive(session_id)
    assert await store.paths(kept.bucket) == [f"kept/{first.path}"]
    told = (await kept.archive(session_id)).json()["data"]
    assert (told["session"], told["size_bytes"], told["checksum"]) == (
        session,
        first.size_bytes,
        first.checksum.hex(),
    )
    # It changes: another object, and the first is deleted. Made anew it is the same one, written over itself.
    await client.patch(url, json={"metadata": {"table": 8}})
    await kept.server.drain()
    events = (await client.get(f"{url}/events?snapshots=1")).json()
    for anew in (False, True):
        second = await kept.archiver.archive(session_id, anew=anew)
        assert await store.paths(kept.bucket) == [f"kept/{second.path}"]
    # Then it is nowhere else any more, and still all it was.
    state = (await client.get(url)).json()
    assert await kept.retention.remove(session_id, 0)
    keys = kept.server.parts.store.keys
    await kept.server.parts.pipe.call("DEL", keys.session(session_id), keys.history(session_id))
    assert (await client.get(url)).json() == state
    assert (await client.get(f"{url}/events?snapshots=1")).json() == events
    now = datetime.now(UTC)
    exported = await kept.exporter.export("1", now - timedelta(hours=1), now + timedelta(hours=1), "ndjson")
    assert exported.events == len(events["data"])
    lines = gzip.decompress(await kept.objects.get(exported.path)).splitlines()
    assert len(lines) == exported.events


async def test_what_is_large_goes_in_parts_and_may_be_replaced(store: ObjectStore, kept: Kept) -> None:
    whole = b"".join([piece async for piece in pieces(20)])
    written = await kept.objects.write("large", pieces(20))
    assert written.size_bytes == len(whole)
    assert await kept.objects.get("large") == whole
    assert await store.parts(kept.bucket, "kept/large") == 3
    assert (await kept.objects.put("large", whole[::-1])).size_bytes == len(whole)
    assert await kept.objects.get("large") == whole[::-1]
    await kept.objects.put("large", b"small")
    assert await kept.objects.get("large") == b"small"
    for _ in range(2):
        await kept.objects.delete("large")
    with pytest.raises(ObjectMissing):
        await kept.objects.get("large")
    assert await store.paths(kept.bucket) == []


async def test_of_what_was_not_finished_nothing_is_there(store: ObjectStore, kept: Kept) -> None:
    async def cut_short() -> AsyncIterator[bytes]:
        async for piece in pieces(20):
            yield piece
        raise LookupError("no more")

    before_bytes = store.size_bytes()
    with pytest.raises(LookupError):
        await kept.objects.write("large", cut_short())
    assert await store.paths(kept.bucket) == []
    assert store.size_bytes() < before_bytes + MIB


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("AWS_SECRET_ACCESS_KEY", "stolen", "SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "nobody", "SignatureDoesNotMatch"),
        ("SYNCKAIROS_ARCHIVE_URL", "s3://no-such-bucket/kept", "NoSuchBucket"),
    ],
)
async def test_what_it_refuses_is_said(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, code: str
) -> None:
    session_id = (await kept.over())["session_id"]
    await kept.archiver.archive(session_id)
    assert (await kept.archive(session_id)).status_code == 200
    for name, was in kept.server.settings.environ().items():
        monkeypatch.setenv(name, was)
    assert all(check.passed for check in await doctor.run_checks() if check.name == "archive")
    monkeypatch.setenv(variable, value)
    changed = os.environ.get("SYNCKAIROS_ARCHIVE_URL", "")
    objects = ColdStorage(changed)
    asks: list[Callable[[], Awaitable[object]]] = [
        lambda: objects.put("some", b"thing"),
        lambda: objects.write("some", pieces(9)),
        lambda: objects.get("some"),
        lambda: objects.delete("some"),
    ]
    for ask in asks:
        with pytest.raises(StoreUnavailable, match=code) as refused:
            await ask()
        assert "stolen" not in refused.value.message
    found = [check for check in await doctor.run_checks() if check.name == "archive"]
    assert [check.passed for check in found] == [False]
    assert code in found[0].result
    async with open_rest_server(kept.server.settings.model_copy(update={"archive_url": changed})) as other:
        answer = await other.client.get(f"/v1/sessions/{session_id}/archive")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")


async def test_it_is_gone_in_the_middle_and_comes_back(store: ObjectStore, kept: Kept) -> None:
    archived, other = [(await kept.over())["session_id"] for _ in range(2)]
    await kept.archiver.archive(archived)

    async def killing() -> AsyncIterator[bytes]:
        async for piece in pieces(20):
            yield piece
        store.kill()
        yield b"one more"

    try:
        with pytest.raises(StoreUnavailable):
            await kept.objects.write("large", killing())
        answer = await kept.archive(archived)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")
        for session_id in (archived, other):
            with pytest.raises(StoreUnavailable):
                await kept.retention.remove(session_id, 0)
        answer = await kept.archive(other)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_ARCHIVED")
    finally:
        store.start()
    assert not any(path.endswith("large") for path in await store.paths(kept.bucket))
    assert (await kept.objects.write("large", pieces(9))).size_bytes == 9 * MIB
    for session_id in (archived, other):
        assert (await kept.server.client.get(f"/v1/sessions/{session_id}/events")).json()["data"]
        assert await kept.retention.remove(session_id, 0)
        assert (await kept.archive(session_id)).status_code == 200


async def test_nobody_waits_long_for_one_that_is_silent(
    store: ObjectStore, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = (await kept.over())["session_id"]
    await kept.archiver.archive(session_id)
    monkeypatch.setattr(reader, "_PATIENCE_S", 0.2)
    with store.frozen():
        answer = await kept.archive(session_id)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")
    monkeypatch.undo()
    assert (await kept.archive(session_id)).status_code == 200


@pytest.mark.slow
async def test_a_workers_job_outlives_its_absence(
    store: ObjectStore, kept: Kept, start_server: Callable[[Settings], Process]
) -> None:
    session = await kept.over()
    environ = kept.server.settings.environ()
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
        server = start_server(kept.server.settings)
        async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as client:
            answer = await client.get(f"/v1/sessions/{session['session_id']}/archive")
        assert answer.json()["data"]["session"] == session
    finally:
        worker.stop()
