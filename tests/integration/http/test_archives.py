"""The REST route of archives: role of the caller, missing archives, and sessions that only cold storage has."""

import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Scope

from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.http.client_address import CallerResolver
from synckairos.jobs.retention import Retention, SessionRowDeleter
from synckairos.jobs.table import open_job_pool
from synckairos.jobs.write_archive import Archiver
from synckairos.postgres.pool import PostgresPool
from synckairos.principal import Principal, Role
from tests.integration.rest_server import RestServer, open_rest_server
from tests.principals import make_principal


class FixedRole(CallerResolver):
    """Identity that gives all callers the same role. It stands for authentication, which does not exist yet."""

    def __init__(self, role: Role) -> None:
        super().__init__()
        self._principal = make_principal(role)

    def principal_for(self, scope: Scope) -> Principal:
        return self._principal


@dataclass(frozen=True, slots=True)
class Worker:
    """The job handlers of a worker, which the tests call directly."""

    pool: PostgresPool
    archiver: Archiver
    retention: Retention


@pytest.fixture
async def worker(server: RestServer) -> AsyncIterator[Worker]:
    objects = ColdStorage(server.settings.archive_url)
    async with open_job_pool(server.settings.database_url) as pool:
        archiver = Archiver(pool, objects)
        upkeep = SummaryRefresh(server.parts.pipe, server.parts.store.keys)
        rows = SessionRowDeleter(pool)
        yield Worker(pool, archiver, Retention(objects, archiver, rows, server.parts.store, server.outbox, upkeep))


async def complete_session(server: RestServer) -> dict[str, Any]:
    """Create, start, switch and complete a session, and drain it."""
    session = await server.create_started(metadata={"table": 7})
    session_id = session["session_id"]
    assert (await server.client.post(f"/v1/sessions/{session_id}/switch")).status_code == 200
    answer = await server.client.post(f"/v1/sessions/{session_id}/complete", headers={"idempotency-key": "the-end"})
    await server.drain()
    found: dict[str, Any] = answer.json()["data"]
    return found


async def read_archive(client: httpx.AsyncClient, session_id: str, accept: str = "", **params: int) -> httpx.Response:
    headers = {"accept": accept} if accept else {}
    return await client.get(f"/v1/sessions/{session_id}/archive", headers=headers, params=params)


async def test_archive_has_the_session_its_events_and_its_checksum(server: RestServer, worker: Worker) -> None:
    session = await complete_session(server)
    session_id = session["session_id"]
    events = (await server.client.get(f"/v1/sessions/{session_id}/events?snapshots=1")).json()["data"]
    filed = await worker.archiver.archive(session_id)
    answer = await read_archive(server.client, session_id, snapshots=1)
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert data["session"] == session
    assert data["events"] == events
    assert (data["version"], data["epoch"], data["event_count"]) == (4, session["epoch"], 4)
    assert (data["checksum"], data["size_bytes"]) == (filed.checksum.hex(), filed.size_bytes)
    plain = (await read_archive(server.client, session_id)).json()["data"]
    assert all("state" not in event for event in plain["events"])
    lines = await read_archive(server.client, session_id, "application/x-ndjson")
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert filed.path is not None
    assert lines.content == gzip.decompress((Path(server.settings.archive_url) / filed.path).read_bytes())


async def test_archive_with_a_current_if_none_match_is_304(server: RestServer, worker: Worker) -> None:
    session_id = (await complete_session(server))["session_id"]
    await worker.archiver.archive(session_id)
    answers = [
        await read_archive(server.client, session_id),
        await read_archive(server.client, session_id, "application/x-ndjson"),
        await read_archive(server.client, session_id, snapshots=1),
    ]
    tags = [answer.headers["etag"] for answer in answers]
    assert len(set(tags)) == 3
    url = f"/v1/sessions/{session_id}/archive"
    same = await server.client.get(url, headers={"if-none-match": tags[0]})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tags[0])
    other = await server.client.get(url, headers={"if-none-match": tags[1]})
    assert other.status_code == 200
    await server.client.patch(f"/v1/sessions/{session_id}", json={"metadata": {"table": 8}})
    await server.drain()
    await worker.archiver.archive(session_id)
    newer = await server.client.get(url, headers={"if-none-match": tags[0]})
    assert newer.json()["data"]["session"]["metadata"] == {"table": 8}


async def test_read_during_a_new_archiving_returns_the_newer_archive(
    server: RestServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = (await complete_session(server))["session_id"]
    await worker.archiver.archive(session_id)
    await server.client.patch(f"/v1/sessions/{session_id}", json={"metadata": {"table": 8}})
    await server.drain()
    objects = server.parts.cold_storage
    get = objects.get

    async def get_after_new_archiving(path: str) -> bytes:
        monkeypatch.undo()
        await worker.archiver.archive(session_id)
        return await get(path)

    monkeypatch.setattr(objects, "get", get_after_new_archiving)
    answer = await read_archive(server.client, session_id)
    assert answer.json()["data"]["session"]["metadata"] == {"table": 8}


@pytest.mark.parametrize(
    ("role", "least", "events_from", "shown"),
    [
        ("viewer", "participant", "admin", None),
        ("viewer", "viewer", "participant", "state"),
        ("participant", "viewer", "participant", "events"),
        ("participant", "viewer", "controller", "state"),
        ("controller", "viewer", "participant", "events"),
        ("admin", "viewer", "admin", "all"),
    ],
)
async def test_readable_part_of_an_archive_depends_on_role_and_settings(
    server: RestServer,
    worker: Worker,
    role: Role,
    least: Role,
    events_from: Role,
    shown: str | None,
) -> None:
    session_id = (await complete_session(server))["session_id"]
    await worker.archiver.archive(session_id)
    settings = server.settings.model_copy(update={"archive_role": least, "archive_events_role": events_from})
    async with open_rest_server(settings, caller_identity=FixedRole(role)) as other:
        answer = await read_archive(other.client, session_id)
        lines = await read_archive(other.client, session_id, "application/x-ndjson")
    if shown is None:
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "FORBIDDEN"
        return
    data = answer.json()["data"]
    assert "session" in data
    assert ("events" in data) is (shown != "state")
    assert ("checksum" in data) is (shown == "all")
    assert len(lines.content.splitlines()) == {"state": 1, "events": 4, "all": 5}[shown]
    assert (b"payload_hash" in lines.content) is (shown == "all")


async def test_missing_archive_is_refused_with_the_reason(server: RestServer, worker: Worker) -> None:
    async def refusal(session_id: str) -> tuple[int, str]:
        answer = await read_archive(server.client, session_id)
        return answer.status_code, answer.json()["error"]["code"]

    assert await refusal("00000000-0000-4000-8000-000000000000") == (404, "SESSION_NOT_FOUND")
    session_id = (await complete_session(server))["session_id"]
    assert await refusal(session_id) == (404, "NOT_ARCHIVED")
    await worker.pool.fetch(
        b"INSERT INTO sync_archives (session_id, created_at, status)"
        b" SELECT session_id, created_at, 'processing' FROM sync_sessions"
    )
    assert await refusal(session_id) == (409, "ARCHIVE_PROCESSING")
    assert (await read_archive(server.client, session_id)).headers["retry-after"] == "1"
    await worker.pool.fetch(b"UPDATE sync_archives SET status = 'failed'")
    assert await refusal(session_id) == (404, "NOT_ARCHIVED")
    filed = await worker.archiver.archive(session_id)
    assert (await read_archive(server.client, session_id)).status_code == 200
    assert filed.path is not None
    (Path(server.settings.archive_url) / filed.path).write_bytes(b"something else")
    assert await refusal(session_id) == (500, "ARCHIVE_DAMAGED")


async def test_lists_do_not_show_a_session_that_retention_removed(server: RestServer, worker: Worker) -> None:
    gone, stays = await complete_session(server), await complete_session(server)
    person = gone["participants"][0]["participant_id"]
    keys, pipe = server.parts.store.keys, server.parts.pipe
    url = f"/v1/participants/{person}/sessions"
    for _ in range(2):
        listed = [row["session_id"] for row in (await server.client.get(url)).json()["data"]]
        assert gone["session_id"] in listed
    assert await pipe.call("HEXISTS", keys.rendered_rows(person), gone["session_id"])
    assert await worker.retention.archive_and_delete(gone["session_id"], 0)
    listed.remove(gone["session_id"])
    assert [row["session_id"] for row in (await server.client.get(url)).json()["data"]] == listed
    assert await pipe.call("EXISTS", keys.summary(gone["session_id"])) == 0
    assert not await pipe.call("HEXISTS", keys.rendered_rows(person), gone["session_id"])
    assert await pipe.call("ZSCORE", keys.participant_sessions(person), gone["session_id"]) is None
    assert (await server.client.get(f"/v1/sessions/{stays['session_id']}")).is_success


@pytest.mark.pooler
async def test_session_that_left_redis_and_postgres_is_read_and_restored_from_its_archive(
    server: RestServer, worker: Worker
) -> None:
    session = await complete_session(server)
    session_id = session["session_id"]
    url = f"/v1/sessions/{session_id}"
    tag = (await server.client.get(url)).headers["etag"]
    events = (await server.client.get(f"{url}/events?snapshots=1")).json()
    assert await worker.retention.archive_and_delete(session_id, 0)
    keys = server.parts.store.keys
    await server.parts.pipe.call(
        "DEL", keys.session(session_id), keys.history(session_id), keys.idempotency_records(session_id)
    )
    answer = await server.client.get(url)
    assert (answer.json()["data"], answer.headers["etag"]) == (session, tag)
    assert (await server.client.get(f"{url}/events?snapshots=1")).json() == events
    page = await server.client.get(f"{url}/events?limit=3", headers={"accept": "text/csv"})
    assert len(page.content.splitlines()) == 4
    assert 'rel="next"' in page.headers["link"]
    assert (await read_archive(server.client, session_id)).status_code == 200
    # The id is still used, the status is final, and idempotency records still work.
    made = await server.client.post("/v1/sessions", json={**_participants(session), "session_id": session_id})
    assert made.json()["error"]["code"] == "SESSION_EXISTS"
    refused = await server.client.post(f"{url}/start")
    assert refused.json()["error"]["code"] == "INVALID_STATE_TRANSITION"
    again = await server.client.post(f"{url}/complete", headers={"idempotency-key": "the-end"})
    assert again.headers["idempotency-replayed"] == "true"
    changed = await server.client.patch(url, json={"metadata": {"table": 9}})
    assert changed.json()["data"]["version"] == 5
    await server.drain()
    assert [event["version"] for event in (await server.client.get(f"{url}/events")).json()["data"]] == [1, 2, 3, 4, 5]
    assert (await server.client.delete(url)).status_code == 204
    await server.drain()
    assert (await server.client.get(url)).status_code == 404


def _participants(session: dict[str, Any]) -> dict[str, Any]:
    parts = [{name: part[name] for name in ("participant_id", "total_time_ms")} for part in session["participants"]]
    return {"sync_mode": session["sync_mode"], "participants": parts}
