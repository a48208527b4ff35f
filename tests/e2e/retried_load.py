"""Load of clients that repeat each command until its result is known, for tests in which servers are replaced."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg

from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.principal import TIMEKEEPER
from synckairos.wire.session_parser import parse_session
from synckairos_client import Ack, Client, CommandRefused
from synckairos_client.watched_session import Watch
from tests.balancer import Balancer, run_balancer
from tests.client_sessions import client_session
from tests.integration.parts import Parts, open_parts
from tests.processes import Process
from tests.waiting import eventually

SESSIONS = 4
DEADLINE_S = 60


class Load:
    """Switches by socket clients and by REST until stopped. Each command is repeated until its result is known."""

    def __init__(self, base_url: str) -> None:
        self.acknowledged: dict[str, list[object]] = {}
        """Session id and version of each acknowledged command, by command id."""
        self.counts: Counter[str] = Counter()
        """Number of acknowledged commands, by sender."""
        self.is_stopped = False
        self._base_url = base_url

    async def switch_by_socket(self, session: Watch) -> None:
        while not self.is_stopped:
            command_id = str(uuid4())
            while (ack := await self._send_command(session, command_id)) is None:
                pass
            self._note("socket " + session.session_id, command_id, session.session_id, ack.version)
            await session.reach(ack.version)

    async def _send_command(self, session: Watch, command_id: str) -> Ack | None:
        """Send a command one time. Return None if the result is not available yet.

        The result is also unavailable if Redis does not hold its version any more, and Postgres does not have it yet.
        """
        try:
            return await session.command("switch", command_id=command_id, expected_turn=None)
        except CommandRefused as refusal:
            if refusal.code != "STORE_UNAVAILABLE":
                raise
            return None

    async def switch_by_rest(self, session_id: str) -> None:
        async with httpx.AsyncClient(base_url=self._base_url, trust_env=False) as rest:
            while not self.is_stopped:
                key = str(uuid4())
                while (version := await self._post_switch(rest, session_id, key)) is None:
                    pass
                self._note("rest " + session_id, key, session_id, version)

    async def _post_switch(self, rest: httpx.AsyncClient, session_id: str, key: str) -> int | None:
        """Send a switch one time. Return its version; None if the result is unknown."""
        try:
            response = await rest.post(f"/v1/sessions/{session_id}/switch", headers={"Idempotency-Key": key})
        except httpx.TransportError:
            return None
        if response.status_code == 503:
            return None
        version: int = response.raise_for_status().json()["data"]["version"]
        return version

    def _note(self, sender: str, command_id: str, session_id: str, version: int) -> None:
        assert command_id not in self.acknowledged
        self.acknowledged[command_id] = [session_id, version]
        self.counts[sender] += 1

    async def wait_for_all_senders(self) -> None:
        """Wait until each sender has a further acknowledged command."""
        before = self.counts.copy()

        async def have_all() -> bool:
            return len(self.counts - before) == 2 * SESSIONS

        await eventually(have_all, DEADLINE_S)


@asynccontextmanager
async def run_retried_load(
    settings: Settings, targets: list[tuple[str, int]], watches_per_session: int = 2
) -> AsyncIterator[tuple[Load, Balancer]]:
    """Switch sessions by sockets and by REST through a balancer until the block ends.

    Yield the load and the balancer. At the end, check that the audit has each acknowledged command exactly once, with
    the acknowledged version, and that each watcher has the newest state. `targets` are the first servers.
    """
    participants = tuple(NewParticipant(str(uuid4()), total_time_ms=86_400_000) for _ in range(2))
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(open_parts(settings))
        session_ids = [
            await parts.start_session(Create(SyncMode.PER_PARTICIPANT, participants)) for _ in range(SESSIONS)
        ]
        balancer = await stack.enter_async_context(run_balancer(targets))
        load, watches = Load(balancer.http_url), []
        for session_id in session_ids * watches_per_session:
            client = await stack.enter_async_context(Client(balancer.http_url))
            watches.append(await stack.enter_async_context(client.watch(session_id)))
        async with asyncio.timeout(2 * DEADLINE_S), asyncio.TaskGroup() as senders:
            for watch in watches[:SESSIONS]:
                senders.create_task(load.switch_by_socket(watch))
                senders.create_task(load.switch_by_rest(watch.session_id))
            yield load, balancer
            await load.wait_for_all_senders()
            load.is_stopped = True

        audited = [row for row in await drained_commands(parts, settings) if row[0] in load.acknowledged]
        assert Counter(command_id for command_id, *_ in audited) == Counter(load.acknowledged.keys())
        assert {command_id: result for command_id, *result in audited} == load.acknowledged
        for watch in watches:
            stored = parse_session((await parts.sessions.read(TIMEKEEPER, watch.session_id)).snapshot.document)
            async with asyncio.timeout(DEADLINE_S):
                assert await watch.reach(stored.version) == client_session(stored)


async def drained_commands(parts: Parts, settings: Settings) -> list[tuple[str, str, int]]:
    """Wait until the outbox is empty. Return the id, the session id and the version of each command in Postgres."""

    async def is_drained() -> bool:
        return not await parts.pipe.call("XLEN", parts.store.keys.outbox(0))

    await eventually(is_drained, DEADLINE_S)
    async with await psycopg.AsyncConnection.connect(settings.database_url) as connection:
        rows = await connection.execute("SELECT command_id, session_id::text, version FROM sync_events")
        return await rows.fetchall()


def address(server: Process) -> tuple[str, int]:
    parts = urlsplit(server.base_url)
    return parts.hostname or "", parts.port or 80
