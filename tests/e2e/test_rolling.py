"""A rolling restart of three servers under load: what was acknowledged happened, once, and every watcher has it."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest

from synckairos.client import Ack, Client, CommandRefused
from synckairos.client.watch import Watch
from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.wire.session_json import parse_session
from tests.balancer import run_balancer
from tests.integration.parts import Parts, open_parts
from tests.integration.test_timekeeper import start
from tests.processes import Process
from tests.waiting import eventually

pytestmark = pytest.mark.slow

INSTANCES, SESSIONS = 3, 4
DEADLINE_S = 60


class Load:
    """Who presses, by the client and by REST, and what each was told."""

    def __init__(self, base_url: str) -> None:
        self.told: dict[str, list[object]] = {}
        """Session and version, by the id of the acknowledged command."""
        self.by_whom: Counter[str] = Counter()
        self.is_over = False
        self._base_url = base_url

    async def by_socket(self, session: Watch) -> None:
        while not self.is_over:
            command_id = str(uuid4())
            while (ack := await self._command(session, command_id)) is None:
                pass
            self._note("socket " + session.session_id, command_id, session.session_id, ack.version)
            await session.reach(ack.version)

    async def _command(self, session: Watch, command_id: str) -> Ack | None:
        """Ask once; None where the answer isn't there now, as where many versions came after it before it was sent."""
        try:
            return await session.command("switch", command_id=command_id)
        except CommandRefused as refusal:
            if refusal.code != "STORE_UNAVAILABLE":
                raise
            return None

    async def by_rest(self, session_id: str) -> None:
        async with httpx.AsyncClient(base_url=self._base_url, trust_env=False) as rest:
            while not self.is_over:
                key = str(uuid4())
                while (version := await self._press(rest, session_id, key)) is None:
                    pass
                self._note("rest " + session_id, key, session_id, version)

    async def _press(self, rest: httpx.AsyncClient, session_id: str, key: str) -> int | None:
        """Ask once; None where nobody said what became of it, or the answer isn't there now."""
        try:
            answer = await rest.post(f"/v1/sessions/{session_id}/switch", headers={"Idempotency-Key": key})
        except httpx.TransportError:
            return None
        if answer.status_code == 503:
            return None
        version: int = answer.raise_for_status().json()["data"]["version"]
        return version

    def _note(self, who: str, command_id: str, session_id: str, version: int) -> None:
        assert command_id not in self.told
        self.told[command_id] = [session_id, version]
        self.by_whom[who] += 1

    async def goes_on(self) -> None:
        """Wait until everybody was answered once more."""
        before = self.by_whom.copy()

        async def all_did() -> bool:
            return len(self.by_whom - before) == 2 * SESSIONS

        await eventually(all_did, DEADLINE_S)


async def test_a_rolling_restart_loses_nothing(start_server: Callable[[Settings], Process], settings: Settings) -> None:
    worker = Process("worker", env=settings.environ())
    servers = await asyncio.gather(*(asyncio.to_thread(start_server, settings) for _ in range(INSTANCES)))
    two = tuple(NewParticipant(str(uuid4()), total_time_ms=86_400_000) for _ in range(2))
    async with AsyncExitStack() as stack:
        stack.callback(worker.stop)
        parts = await stack.enter_async_context(open_parts(settings))
        session_ids = [await start(parts, Create(SyncMode.PER_PARTICIPANT, two)) for _ in range(SESSIONS)]
        balancer = await stack.enter_async_context(run_balancer([address(each) for each in servers]))
        load, watches = Load(balancer.http_url), []
        for session_id in session_ids * INSTANCES:
            client = await stack.enter_async_context(Client(balancer.http_url))
            watches.append(await stack.enter_async_context(client.watch(session_id)))
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as pressing:
            for watch in watches[:SESSIONS]:
                pressing.create_task(load.by_socket(watch))
                pressing.create_task(load.by_rest(watch.session_id))
            for server in servers:
                await load.goes_on()
                server.send(signal.SIGTERM)
                assert await asyncio.to_thread(server.wait_end) == 0
                balancer.targets.remove(address(server))
                balancer.targets.append(address(await asyncio.to_thread(start_server, settings)))
            await load.goes_on()
            load.is_over = True

        audited = await audit(parts, settings)
        assert Counter(name for name, *_ in audited if name in load.told) == Counter(load.told.keys())
        assert {name: place for name, *place in audited if name in load.told} == load.told
        for watch in watches:
            stored = parse_session((await parts.sessions.read(watch.session_id)).snapshot.document)
            async with asyncio.timeout(DEADLINE_S):
                assert await watch.reach(stored.version) == stored


async def audit(parts: Parts, settings: Settings) -> list[tuple[str, str, int]]:
    """Wait until everything is in Postgres, and return each command's id, session and version."""

    async def is_drained() -> bool:
        return not await parts.pipe.call("XLEN", parts.store.keys.outbox(0))

    await eventually(is_drained, DEADLINE_S)
    async with await psycopg.AsyncConnection.connect(settings.database_url) as connection:
        rows = await connection.execute("SELECT command_id, session_id::text, version FROM sync_events")
        return await rows.fetchall()


def address(server: Process) -> tuple[str, int]:
    parts = urlsplit(server.base_url)
    return parts.hostname or "", parts.port or 80
