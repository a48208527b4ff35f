"""Load test of watchers of one row: processor time of the server for a change of a session with many participants.

A session in `individual` has as many participants as there are watchers. Three kinds of watchers take turns: all of the
whole session, all of the row of the same participant, and each of the row of another participant. `different_to_same`
and `different_to_whole` are ratios of the processor time of the server for one change. All watchers get all changes.
"""

import argparse
import asyncio
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import orjson
import uvloop
from websockets.asyncio.client import ClientConnection, connect

from loadtests.individual_expiry import DEADLINE_S, V3
from loadtests.process_use import processor_s
from loadtests.report import print_result
from loadtests.sessions import ANONYMOUS
from loadtests.stores import valkey_only
from synckairos.clock.commands import Adjust, Create, NewParticipant, Start
from synckairos.clock.model import SyncMode
from synckairos.service.requests import CommandRequest, CreateRequest
from tests.integration.parts import Parts, open_parts
from tests.processes import Process, spawn_server

KINDS = ("whole", "same", "different")


async def run(watchers: int, changes: int, rounds: int) -> dict[str, Any]:
    people = [str(uuid4()) for _ in range(watchers)]
    cpu_ms: dict[str, list[float]] = defaultdict(list)
    most_bytes: dict[str, int] = defaultdict(int)
    with valkey_only(log_level="error", redis_timeout_s=30) as settings:
        server = spawn_server(settings)
        try:
            async with open_parts(settings) as parts:
                rows = tuple(NewParticipant(each, total_time_ms=60_000_000) for each in people)
                created = await parts.sessions.create(
                    CreateRequest(ANONYMOUS, Create(SyncMode.INDIVIDUAL, rows), str(uuid4()))
                )
                session_id = created.session.session_id
                await parts.sessions.execute(CommandRequest(ANONYMOUS, session_id, Start(), "start"))
                for kind in KINDS * rounds:
                    shown: dict[str, list[str | None]] = {
                        "whole": [None] * watchers,
                        "same": [people[0]] * watchers,
                        "different": [*people],
                    }
                    spent_ms, size = await _measure(parts, server, session_id, shown[kind], people[:changes])
                    cpu_ms[kind].append(spent_ms)
                    most_bytes[kind] = max(most_bytes[kind], size)
        finally:
            server.kill()
    medians = {kind: statistics.median(cpu_ms[kind]) for kind in KINDS}
    return {
        "watchers": watchers,
        "changes": changes,
        "server_ms_per_change": {kind: round(medians[kind], 1) for kind in KINDS},
        "bytes_per_change_max": dict(most_bytes),
        "different_to_same": round(medians["different"] / medians["same"], 2),
        "different_to_whole": round(medians["different"] / medians["whole"], 2),
    }


async def _measure(
    parts: Parts, server: Process, session_id: str, rows: Sequence[str | None], changed: list[str]
) -> tuple[float, int]:
    """Connect a watcher for each of `rows`, and change the clocks of `changed`, one after the other.

    None in `rows` is the whole session. Return the processor time of the server for one change in ms, and the greatest
    number of bytes that a watcher got for one change.
    """
    sockets = [await _subscribe(server, session_id, row) for row in rows]
    try:
        last = (await parts.sessions.read(ANONYMOUS, session_id)).session.version + len(changed)
        readers = [asyncio.create_task(_read_to_version(socket, last)) for socket in sockets]
        began_s = processor_s(server.pid)
        for participant_id in changed:
            adjust = Adjust(1_000, (participant_id,))
            await parts.sessions.execute(CommandRequest(ANONYMOUS, session_id, adjust, "adjust"))
        sizes = await asyncio.gather(*readers)
        return (processor_s(server.pid) - began_s) * 1_000 / len(changed), max(sizes)
    finally:
        for socket in sockets:
            await socket.close()


async def _subscribe(server: Process, session_id: str, row: str | None) -> ClientConnection:
    socket = await connect(server.ws_url, subprotocols=[V3], compression=None, max_queue=None, proxy=None)
    only = {} if row is None else {"only": row}
    await socket.send(orjson.dumps({"type": "SUBSCRIBE", "session_id": session_id, "presence": False} | only).decode())
    assert orjson.loads(await socket.recv())["type"] == "STATE_SYNC"
    return socket


async def _read_to_version(socket: ClientConnection, last: int) -> int:
    """Read frames until that of the version `last`. Return the greatest number of bytes of a frame."""
    most, version = 0, 0
    while version < last:
        async with asyncio.timeout(DEADLINE_S):
            frame = await socket.recv(decode=False)
        most, version = max(most, len(frame)), orjson.loads(frame).get("version", version)
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watchers", type=int, default=1_000, help="number of watchers and of participants")
    parser.add_argument("--changes", type=int, default=25, help="changes in each round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each kind of watchers")
    options = parser.parse_args()
    print_result("one_row", uvloop.run(run(options.watchers, options.changes, options.rounds)))
