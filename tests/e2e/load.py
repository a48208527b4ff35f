"""Load on a server for tests in which stores and processes fail. Acknowledged versions are compared with the audit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import orjson
import psycopg

from tests.waiting import POLL_S, eventually

Documents = dict[str, dict[int, dict[str, Any]]]
"""Compared members of session documents, by session id and version."""


class Load:
    """Sessions that are switched repeatedly. The next switch is sent when the response to the previous switch arrives.

    `acknowledged` has the documents of successful responses. `failures` has all other responses and connection errors.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.acknowledged: Documents = {}
        self.failures: list[str] = []

    async def start_session(self, session_id: str) -> None:
        """Create a session and start it."""
        participants = [{"participant_id": str(uuid4()), "total_time_ms": 86_400_000} for _ in range(2)]
        body = {"session_id": session_id, "sync_mode": "per_participant", "participants": participants}
        await self._post("/v1/sessions", body)
        await self._post(f"/v1/sessions/{session_id}/start")

    async def switch(self, session_id: str) -> None:
        """Switch once."""
        await self._post(f"/v1/sessions/{session_id}/switch")

    async def complete(self, session_id: str) -> None:
        """End a session."""
        await self._post(f"/v1/sessions/{session_id}/complete")

    async def switch_until_cancelled(self, session_id: str) -> None:
        """Switch a session repeatedly until cancelled. At cancellation, wait for the response to the last request."""
        while True:
            request = asyncio.create_task(self._post(f"/v1/sessions/{session_id}/switch"))
            try:
                is_acknowledged = await asyncio.shield(request)
            except asyncio.CancelledError:
                await request
                raise
            if not is_acknowledged:
                await asyncio.sleep(POLL_S)

    async def wait_for_changes(self, count: int) -> None:
        """Wait until `count` further changes were acknowledged."""
        wanted = self._acknowledged_count() + count

        async def is_reached() -> bool:
            return self._acknowledged_count() >= wanted

        await eventually(is_reached, 60)

    def _acknowledged_count(self) -> int:
        return sum(map(len, self.acknowledged.values()))

    async def _post(self, path: str, body: dict[str, Any] | None = None) -> bool:
        """Send a request and save its result. Return whether it was acknowledged."""
        try:
            response = await self._client.post(path, json=body)
        except httpx.HTTPError as fault:
            self.failures.append(repr(fault))
            return False
        if not response.is_success:
            self.failures.append(response.text)
            return False
        data = response.json()["data"]
        self.acknowledged.setdefault(data["session_id"], {})[data["version"]] = data
        return True


@asynccontextmanager
async def run_load(base_url: str, sessions: int = 6) -> AsyncIterator[Load]:
    """Switch `sessions` sessions in parallel until the block ends."""
    async with httpx.AsyncClient(base_url=base_url, timeout=30) as client:
        load = Load(client)
        ids = [str(uuid4()) for _ in range(sessions)]
        for session_id in ids:
            await load.start_session(session_id)
        tasks = [asyncio.create_task(load.switch_until_cancelled(session_id)) for session_id in ids]
        try:
            yield load
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results


async def audited_documents(database_url: str) -> Documents:
    """Return the documents in Postgres. Fail if a hash is wrong, or if a session has a conflict or two epochs."""
    async with await psycopg.AsyncConnection.connect(database_url) as database:
        faults = await database.execute(
            "SELECT 'hash', version FROM sync_events WHERE sha256(snapshot) <> payload_hash"
            " UNION ALL SELECT 'conflict', version FROM sync_conflicts"
        )
        assert await faults.fetchall() == []
        epochs = await database.execute(
            "SELECT session_id FROM sync_events GROUP BY 1 HAVING count(DISTINCT epoch) > 1"
        )
        assert await epochs.fetchall() == []
        rows = await database.execute("SELECT session_id::text, version, snapshot FROM sync_events ORDER BY 1, 2")
        found: Documents = {}
        async for session_id, version, snapshot in rows:
            found.setdefault(session_id, {})[version] = orjson.loads(snapshot)
    return found


def has_all_acknowledged(audit: Documents, acknowledged: Documents) -> bool:
    """Return whether the audit has each acknowledged version with the same content, and no gap between versions."""
    return all(
        list(audit[session_id]) == list(range(1, len(audit[session_id]) + 1))
        and all(
            audit[session_id][version] | answer == audit[session_id][version] for version, answer in answers.items()
        )
        for session_id, answers in acknowledged.items()
    )


def version_counts(documents: Documents) -> dict[str, int]:
    """Return the number of versions of each session."""
    return {session_id: len(versions) for session_id, versions in documents.items()}
