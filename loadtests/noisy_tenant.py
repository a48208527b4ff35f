"""A tenant that is at all its limits, for the load test `neighbours`. The process acts as many subjects of the tenant.

`python -m loadtests.noisy_tenant HTTP_URL WS_URL KIND…` sends work of these kinds until the end of its standard input.
It prints `ready` when each of its connections has an answer, or after `READY_S` seconds, and at the end the number of
answers by status as JSON.
"""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any
from uuid import uuid4

import orjson
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from loadtests.attacked_sessions import small_session
from loadtests.attacks import V3
from loadtests.http_client import HttpConnection
from loadtests.revoke import make_token

TENANT = "noisy"
SUBJECTS = 50
"""Number of subjects. Each has a connection for each kind of work."""

SOCKETS = 400
"""Number of sockets that the tenant tries to open."""

READY_S = 15
"""Seconds after which most connections have an answer."""

KINDS = ("presses", "creations", "lists", "reports", "simulations", "outbox", "sockets")
"""The kinds of work. `outbox` is large changes of metadata, which fill the outbox."""

SIMULATION = orjson.dumps(
    {
        "session": small_session(),
        "commands": [{"at_ms": 0, "command": "start"}, *({"at_ms": at, "command": "switch"} for at in range(1, 500))],
        "until_ms": 1_000,
    }
)


def large_metadata() -> bytes:
    """Return the body of a change of metadata with 2,500 values. Each body differs, so it is never a replay."""
    return orjson.dumps({"metadata": {"values": [random.randrange(10**9) for _ in range(2_500)]}})


class NoisyTenant:
    """The clients of the tenant, with the number of its answers by status."""

    def __init__(self, http_url: str, ws_url: str) -> None:
        self._http_url, self._ws_url = http_url, ws_url
        self.answers: Counter[str] = Counter()
        self._unanswered: set[asyncio.Task[Any] | None] = set()
        """The tasks without an answer."""
        self.is_answered = asyncio.Event()
        """Set when each connection has an answer."""

    async def run(self, kinds: Collection[str]) -> None:
        """Send work of these kinds of `KINDS`, without a pause after an answer, until cancelled."""
        requests: dict[str, Callable[[HttpConnection], Awaitable[Any]]] = {
            "presses": self._press,
            "creations": self._create,
            "lists": self._list,
            "reports": self._report,
            "simulations": self._simulate,
            "outbox": self._fill_outbox,
        }
        async with asyncio.TaskGroup() as tasks:
            for number in range(SUBJECTS):
                for kind, request in requests.items():
                    if kind in kinds:
                        self._unanswered.add(tasks.create_task(self._repeat(request, number)))
            for number in range(SOCKETS if "sockets" in kinds else 0):
                self._unanswered.add(tasks.create_task(self._keep_socket(number)))

    async def _repeat(self, kind: Callable[[HttpConnection], Awaitable[Any]], number: int) -> None:
        while True:
            with suppress(ConnectionError):
                connection = await HttpConnection.open(self._http_url, token_of(number))
                try:
                    while True:
                        await kind(connection)
                finally:
                    connection.close()
            self.answers["connection closed"] += 1
            await asyncio.sleep(0.1)

    async def _count(self, answer: Awaitable[tuple[int, bytes]]) -> tuple[int, bytes]:
        status, body = await answer
        self._note_answer(str(status))
        if status == 429:
            await asyncio.sleep(0.05)  # an honest client waits longer; the server must bear this one
        return status, body

    def _note_answer(self, status: str) -> None:
        self.answers[status] += 1
        self._unanswered.discard(asyncio.current_task())
        if not self._unanswered:
            self.is_answered.set()

    async def _press(self, connection: HttpConnection) -> None:
        status, body = await self._count(connection.post("/v1/sessions", orjson.dumps(small_session())))
        if status != 201:
            return
        session_id = orjson.loads(body)["data"]["session_id"]
        status, _ = await self._count(connection.post(f"/v1/sessions/{session_id}/start"))
        for _ in range(100 if status == 200 else 0):
            await self._count(connection.post(f"/v1/sessions/{session_id}/switch"))

    async def _create(self, connection: HttpConnection) -> None:
        await self._count(connection.post("/v1/sessions", orjson.dumps(small_session())))

    async def _fill_outbox(self, connection: HttpConnection) -> None:
        """Change large metadata of a session. Each change is a large body, many values, and bytes in the outbox."""
        status, body = await self._count(connection.post("/v1/sessions", orjson.dumps(small_session())))
        if status != 201:
            return
        session_id = orjson.loads(body)["data"]["session_id"]
        for _ in range(20):
            await self._count(connection.patch(f"/v1/sessions/{session_id}", large_metadata()))

    async def _list(self, connection: HttpConnection) -> None:
        await self._count(connection.get("/v1/sessions?limit=200"))

    async def _report(self, connection: HttpConnection) -> None:
        await self._count(connection.get(f"/v1/participants/{uuid4()}/time?from=2026-01-01T00:00:00Z"))

    async def _simulate(self, connection: HttpConnection) -> None:
        await self._count(connection.post("/v1/simulate", SIMULATION))

    async def _keep_socket(self, number: int) -> None:
        headers = {"Authorization": f"Bearer {token_of(number % SUBJECTS)}"}
        while True:
            try:
                async with connect(self._ws_url, subprotocols=[V3], additional_headers=headers) as socket:
                    await self._ping(socket)
            except ConnectionClosed as end:
                self._note_answer(f"close {end.rcvd.code if end.rcvd else None}")
            except (WebSocketException, OSError):
                self._note_answer("no handshake")
            await asyncio.sleep(1)

    async def _ping(self, socket: ClientConnection) -> None:
        while True:
            await socket.send('{"type":"PING","t0":0}')
            await socket.recv()
            self._note_answer("message")
            await asyncio.sleep(0.1)


def token_of(number: int) -> str:
    """Return a token of one subject of the tenant."""
    return make_token("admin", sub=f"noisy-{number}", tenant=TENANT)


async def run(http_url: str, ws_url: str, *kinds: str) -> None:
    noisy = NoisyTenant(http_url, ws_url)
    task = asyncio.create_task(noisy.run(kinds))
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_S):
            await noisy.is_answered.wait()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (fault := task.exception()) is not None:
        raise fault
    print(orjson.dumps(noisy.answers).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))
