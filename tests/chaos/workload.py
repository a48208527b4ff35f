"""The clients of a run: they send commands until each has an answer, watch sessions, and note all that they see."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from synckairos.wire.instants import parse_instant_ms
from tests.chaos.history import Answer, Frame, History, Position
from tests.waiting import eventually

DEADLINE_S = 60.0
REQUEST_TIMEOUT_S = 3.0
"""Seconds after which a client repeats a request on another connection, as a fault can hold its connection."""

PAUSE_S = 0.01
"""Seconds between two attempts to send the same command."""

RETRY_SHARE = 0.05
"""Share of the commands that a client repeats although it has the answer, as a client that lost it would."""

DAY_MS = 86_400_000


def parse_etag(etag: str) -> Position:
    """Return the epoch and the version of an ETag."""
    version, _, epoch = etag.strip('"').partition("-")
    return epoch, int(version)


class Workload:
    """Clients of one server address. `history` gets all that they see."""

    def __init__(self, base_url: str, rng: random.Random, history: History) -> None:
        self._base_url = base_url
        self._rng = rng
        self.history = history
        self.session_ids: list[str] = []
        self.operations: Counter[str] = Counter()
        """Number of finished operations by client."""
        self._is_stopping = False
        self._watching: list[asyncio.Task[None]] = []

    async def start_sessions(self, count: int, watchers: int) -> None:
        """Create and start sessions, each with some watchers."""
        for _ in range(count):
            people = [{"participant_id": str(uuid4()), "total_time_ms": DAY_MS} for _ in range(2)]
            self.session_ids.append(await self._create({"sync_mode": "per_participant", "participants": people}))
        for session_id in self.session_ids:
            for number in range(watchers):
                name = f"watcher {number}"
                self._watching.append(asyncio.create_task(self._watch(name, session_id)))

    async def start_countdown(self, total_time_ms: int) -> None:
        """Start a session that expires after `total_time_ms`, and note its deadline."""
        session_id = await self._create({"sync_mode": "global", "total_time_ms": total_time_ms})
        async with self._client() as client:
            state = await self._repeat(client, "GET", f"/v1/sessions/{session_id}")
        self.history.deadlines_ms[session_id] = parse_instant_ms(state.json()["data"]["deadline_at"])

    @asynccontextmanager
    async def running(self, switchers: int) -> AsyncIterator[None]:
        """Switch and read all sessions during the block. At its end, wait for the answers to all sent commands."""
        async with asyncio.timeout(3 * DEADLINE_S), asyncio.TaskGroup() as clients:
            for session_id in self.session_ids:
                for number in range(switchers):
                    clients.create_task(self._switch_until_stopped(f"switcher {number}", session_id))
                clients.create_task(self._read_until_stopped("reader", session_id))
            yield
            self._is_stopping = True

    async def wait_for_operations(self, count: int) -> None:
        """Wait until the clients have finished `count` further operations."""
        wanted = self.operations.total() + count

        async def are_finished() -> bool:
            return self.operations.total() >= wanted

        await eventually(are_finished, DEADLINE_S)

    async def wait_for_watchers(self) -> None:
        """Wait until the last frame of each watcher is the stored version, then end all watchers.

        A watcher that never gets that version is a violation, which the checker finds.
        """

        async def have_converged() -> bool:
            last = {(each.watcher, each.session_id): each.position for each in self.history.frames}
            return all(position == self.history.stored[session_id] for (_, session_id), position in last.items())

        try:
            await eventually(have_converged, DEADLINE_S / 4)
        except AssertionError:
            pass
        finally:
            for task in self._watching:
                task.cancel()
            await asyncio.gather(*self._watching, return_exceptions=True)

    async def read_stored(self, session_ids: list[str]) -> None:
        """Read sessions, and note their positions as those in Redis."""
        async with self._client() as client:
            for session_id in session_ids:
                response = await self._repeat(client, "GET", f"/v1/sessions/{session_id}")
                self.history.stored[session_id] = parse_etag(response.headers["ETag"])

    # -- clients ------------------------------------------------------------------------------------------------------

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._base_url, timeout=REQUEST_TIMEOUT_S, trust_env=False)

    async def _create(self, body: dict[str, Any]) -> str:
        session_id = str(uuid4())
        async with self._client() as client:
            key = {"Idempotency-Key": str(uuid4())}
            await self._repeat(client, "POST", "/v1/sessions", headers=key, json={"session_id": session_id, **body})
            key = {"Idempotency-Key": str(uuid4())}
            await self._repeat(client, "POST", f"/v1/sessions/{session_id}/start", headers=key)
        return session_id

    async def _switch_until_stopped(self, name: str, session_id: str) -> None:
        async with self._client() as client:
            while not self._is_stopping:
                command_id = str(uuid4())
                self.history.sent[command_id] = session_id
                self.history.answers.append(await self._send(name, client, session_id, command_id))
                if self._rng.random() < RETRY_SHARE:
                    self.history.retries.append(await self._send(name, client, session_id, command_id))

    async def _read_until_stopped(self, name: str, session_id: str) -> None:
        async with self._client() as client:
            while not self._is_stopping:
                self.history.answers.append(await self._send(name, client, session_id, ""))
                await asyncio.sleep(PAUSE_S)

    async def _send(self, name: str, client: httpx.AsyncClient, session_id: str, command_id: str) -> Answer:
        """Send a switch, or a read without `command_id`, until its outcome is known. Return the answer."""
        sent_s, path = time.monotonic(), f"/v1/sessions/{session_id}"
        if command_id:
            headers = {"Idempotency-Key": command_id}
            response = await self._repeat(client, "POST", f"{path}/switch", headers=headers)
        else:
            response = await self._repeat(client, "GET", path)
        self.operations[name] += 1
        position, document = parse_etag(response.headers["ETag"]), response.json()["data"]
        return Answer(name, session_id, command_id, sent_s, time.monotonic(), position, document)

    async def _repeat(self, client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response:
        while True:
            try:
                response = await client.request(method, path, **options)
            except httpx.TransportError:
                response = None
            if response is not None and response.status_code != 503:
                return response.raise_for_status()
            await asyncio.sleep(PAUSE_S)

    async def _watch(self, name: str, session_id: str) -> None:
        url, connection = f"{self._base_url.replace('http', 'ws', 1)}/ws?sessionId={session_id}", 0
        while True:
            connection += 1
            try:
                async with connect(url, proxy=None, open_timeout=REQUEST_TIMEOUT_S, close_timeout=1) as socket:
                    async for text in socket:
                        message = orjson.loads(text)
                        if (state := message.get("state")) is not None:
                            position = state["epoch"], state["version"]
                            self.history.frames.append(Frame(name, connection, session_id, position, state))
            except (OSError, TimeoutError, WebSocketException):
                pass  # the watcher connects again
            await asyncio.sleep(PAUSE_S)
