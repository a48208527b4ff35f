"""People at play while stores and processes fail: what was answered is kept, to be compared with the audit."""

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
"""What is known of each version of each session."""


class Load:
    """Sessions that are switched as fast as answers come. `failures` are answers but 200, and those that never came."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.acknowledged: Documents = {}
        self.failures: list[str] = []

    async def begin(self, session_id: str) -> None:
        """Create a session and start it."""
        players = [{"participant_id": str(uuid4()), "total_time_ms": 86_400_000} for _ in range(2)]
        body = {"session_id": session_id, "sync_mode": "per_participant", "participants": players}
        await self._ask("/v1/sessions", body)
        await self._ask(f"/v1/sessions/{session_id}/start")

    async def play(self, session_id: str) -> None:
        """Switch until cancelled; the answer under way is waited for."""
        while True:
            asking = asyncio.create_task(self._ask(f"/v1/sessions/{session_id}/switch"))
            try:
                taken = await asyncio.shield(asking)
            except asyncio.CancelledError:
                await asking
                raise
            if not taken:
                await asyncio.sleep(POLL_S)

    async def more(self, count: int) -> None:
        """Wait until so many more changes were acknowledged."""
        enough = self._count() + count

        async def is_enough() -> bool:
            return self._count() >= enough

        await eventually(is_enough, 60)

    def _count(self) -> int:
        return sum(map(len, self.acknowledged.values()))

    async def _ask(self, path: str, body: dict[str, Any] | None = None) -> bool:
        try:
            answer = await self._client.post(path, json=body)
        except httpx.HTTPError as fault:
            self.failures.append(repr(fault))
            return False
        if not answer.is_success:
            self.failures.append(answer.text)
            return False
        data = answer.json()["data"]
        self.acknowledged.setdefault(data["session_id"], {})[data["version"]] = data
        return True


@asynccontextmanager
async def load(base_url: str, sessions: int = 6) -> AsyncIterator[Load]:
    """Play so many sessions at once until the block ends."""
    async with httpx.AsyncClient(base_url=base_url, timeout=30) as client:
        players = Load(client)
        ids = [str(uuid4()) for _ in range(sessions)]
        for session_id in ids:
            await players.begin(session_id)
        tasks = [asyncio.create_task(players.play(session_id)) for session_id in ids]
        try:
            yield players
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


async def audited(database_url: str) -> Documents:
    """Return what Postgres has, after a look at its hashes, epochs and conflicts."""
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


def holds(audit: Documents, acknowledged: Documents) -> bool:
    """Tell whether the audit has every acknowledged version, saying what the answer said, and no gap between them."""
    return all(
        list(audit[session_id]) == list(range(1, len(audit[session_id]) + 1))
        and all(
            audit[session_id][version] | answer == audit[session_id][version] for version, answer in answers.items()
        )
        for session_id, answers in acknowledged.items()
    )


def counts(documents: Documents) -> dict[str, int]:
    """Return how many versions each session has."""
    return {session_id: len(versions) for session_id, versions in documents.items()}
