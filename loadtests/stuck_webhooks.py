"""Load test of webhook receivers that do not answer as they should, beside clients, the drain and another receiver.

100 clients switch once a second. Phases without and with stuck receivers alternate. In both, one receiver works. The
figures are, for both kinds of phases and as a ratio of their 99th percentiles: the latencies of the clients' switches,
and the time from each switch to its message at the working receiver. This time contains the drain to Postgres. The
stuck receivers never answer, send their answer very slowly, redirect, and send endless answers. `--pending` is the
number of older messages that wait for each of them, all of one session.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
import orjson
import psycopg
import uvloop

from loadtests.attacked_sessions import CLIENTS, create_running_session, small_session
from loadtests.http_client import HttpConnection
from loadtests.players import Presses, measure, open_players
from loadtests.process_use import ProcessorUse
from loadtests.report import percentile, print_result
from loadtests.stores import valkey_and_postgres
from synckairos.config import Settings
from tests.processes import Process, spawn_server
from tests.waiting import eventually

SENT_SESSIONS = 20
"""Sessions whose switches are sent to the receivers. The switches of the others are not sent."""

FILTER = {"sent": True}
KINDS = ("silent", "dripping", "redirecting", "endless")


class WorkingReceiver:
    """A receiver that accepts each message, and measures its age."""

    def __init__(self) -> None:
        self.ages_ms: list[float] = []
        self.count = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                message = orjson.loads(await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0])))
                occurred = datetime.fromisoformat(message["timestamp"]).astimezone(UTC).timestamp()
                self.ages_ms.append((time.time() - occurred) * 1000)
                self.count += 1
                writer.write(b"HTTP/1.1 204 So\r\n\r\n")
        writer.close()

    def has_all(self, count: int) -> Callable[[], Awaitable[bool]]:
        """Return a check whether `count` messages have arrived since the begin."""

        async def check() -> bool:
            return self.count >= count

        return check


async def count_switches(client: httpx.AsyncClient, session_ids: Sequence[str]) -> int:
    """Return the number of switches of all these sessions together. Each session had two versions before the first."""
    answers = [await client.get(f"/v1/sessions/{session_id}") for session_id in session_ids]
    return sum(answer.json()["data"]["version"] - 2 for answer in answers)


async def serve_stuck(kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read one request, and answer it as the kind of the receiver does."""
    with suppress(asyncio.IncompleteReadError, OSError):
        await reader.readuntil(b"\r\n\r\n")
        match kind:
            case "silent":
                await reader.read()
            case "dripping":
                writer.write(b"HTTP/1.1 500 So\r\ncontent-length: 60000\r\n\r\n")
                while not writer.is_closing():
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.1)
            case "redirecting":
                writer.write(b"HTTP/1.1 307 So\r\nlocation: /\r\ncontent-length: 0\r\n\r\n")
            case _:
                writer.write(b"HTTP/1.1 500 So\r\ncontent-length: 100000000000\r\n\r\n")
                while not writer.is_closing():
                    writer.write(b"x" * (1 << 16))
                    await writer.drain()
    writer.close()


@asynccontextmanager
async def listen(serve: Any) -> AsyncIterator[str]:
    """Run a receiver inside the block. Yield its URL.

    The end of the block closes all connections and waits until their handlers have ended. The end of the event loop
    would cancel a handler that still runs, and asyncio would log this as an error.
    """
    connections: dict[asyncio.Task[Any] | None, asyncio.StreamWriter] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        connections[task] = writer
        try:
            await serve(reader, writer)
        finally:
            del connections[task]

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    finally:
        server.close()
        for writer in connections.values():
            writer.transport.abort()
        await asyncio.gather(*filter(None, connections))


async def create_endpoint(client: httpx.AsyncClient, url: str) -> str:
    answer = await client.post("/v1/webhooks", json={"url": url, "event_types": ["cycle_switched"], "metadata": FILTER})
    assert answer.status_code == 201, answer.text
    endpoint_id: str = answer.json()["data"]["webhook_id"]
    return endpoint_id


async def add_pending(settings: Settings, endpoint_ids: Sequence[str], session_id: str, count: int) -> None:
    """Add `count` old messages of one session to the queue of each endpoint. All have the first event of the session.

    Ends when Postgres has statistics of the rows and has written them to disk, so that no phase contains this work.
    """
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as connection:

        async def has_event() -> bool:
            found = await connection.execute("SELECT FROM sync_events WHERE session_id = %s", (session_id,))
            return found.rowcount > 0

        await eventually(has_event)
        for endpoint_id in endpoint_ids:
            await connection.execute(
                "INSERT INTO webhook_deliveries (delivery_id, endpoint_id, session_id, epoch, version, event_type,"
                " due_at) SELECT gen_random_uuid(), %s, session_id, epoch, version, event_type, now() - interval '1 h'"
                " FROM sync_events CROSS JOIN generate_series(1, %s) WHERE session_id = %s AND version = 1",
                (endpoint_id, count, session_id),
            )
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")


async def run(options: argparse.Namespace) -> None:
    async with valkey_and_postgres() as (stores, postgres), AsyncExitStack() as stack:
        settings = stores.model_copy(
            update={"webhook_allowed_networks": ["127.0.0.0/8"], "webhook_allow_http": True, "webhook_timeout_s": 2.0}
        )
        worker = Process("worker", env=settings.to_environment_variables())
        stack.push_async_callback(asyncio.to_thread, worker.stop)
        server = await asyncio.to_thread(spawn_server, settings)
        stack.push_async_callback(asyncio.to_thread, server.stop)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=server.base_url, trust_env=False))
        connection = await HttpConnection.open(server.base_url)
        ids = [
            await create_running_session(connection, small_session() | {"metadata": {"sent": number < SENT_SESSIONS}})
            for number in range(CLIENTS)
        ]
        connection.close()
        working = WorkingReceiver()
        await create_endpoint(client, await stack.enter_async_context(listen(working.serve)))
        stuck = []
        for behaviour in KINDS:
            url = await stack.enter_async_context(listen(partial(serve_stuck, behaviour)))
            stuck.append(await create_endpoint(client, url))
        use = ProcessorUse({"server": server.pid, "worker": worker.pid, "postgres": postgres.child.pid})
        phases = [Presses(), Presses()]
        ages_ms: list[list[float]] = [[], []]
        await add_pending(settings, stuck, ids[-1], options.pending)
        players = await stack.enter_async_context(open_players(server, ids))
        await measure(players, 1, Presses())
        for number in range(2 * options.rounds):
            kind = number % 2
            for endpoint_id in stuck:
                answer = await client.patch(f"/v1/webhooks/{endpoint_id}", json={"enabled": kind == 1})
                assert answer.status_code == 200, answer.text
            await measure(players, 1, Presses())
            accepted = Presses()
            use.begin_phase()
            await measure(players, options.seconds, accepted)
            use.end_phase(kind)

            phases[kind].latencies_ms += accepted.latencies_ms
            await eventually(working.has_all(await count_switches(client, ids[:SENT_SESSIONS])), 60)
            ages_ms[kind] += working.ages_ms
            working.ages_ms.clear()
    switch_ms = [percentile(each.latencies_ms, 99) for each in phases]
    message_ms = [percentile(each, 99) for each in ages_ms]
    print_result(
        "stuck_webhooks",
        {
            "switch_p99_ms": [round(each, 2) for each in switch_ms],
            "switch_ratio": round(switch_ms[1] / switch_ms[0], 2),
            "message_p99_ms": [round(each) for each in message_ms],
            "message_ratio": round(message_ms[1] / message_ms[0], 2),
            "cores": use.cores(options.seconds * options.rounds),
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests stuck_webhooks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6, help="seconds of each phase")
    parser.add_argument("--rounds", type=int, default=3, help="number of phases of each kind")
    parser.add_argument("--pending", type=int, default=50_000, help="old messages that wait for each stuck receiver")
    uvloop.run(run(parser.parse_args()))
