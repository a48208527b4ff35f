"""Measurement of expiries in one session in `individual`: each of many participants has a deadline of its own.

The server runs in a separate process. One watcher gets the row of one participant alone, and its received bytes are
counted for each version.
"""

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import orjson
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from loadtests.outbox_events import read_outbox_events
from loadtests.report import percentile
from loadtests.sessions import ANONYMOUS
from loadtests.stores import valkey_only
from synckairos.clock.commands import Create, NewParticipant, Start
from synckairos.clock.model import SyncMode
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.wire.session_json import render_session
from tests.integration.parts import Parts, open_parts
from tests.processes import spawn_server

V3 = Subprotocol("synckairos.v3")

FIRST_DEADLINE_MS = 5_000
"""Time in ms from the start of the session to the first deadline. The watcher subscribes before the start."""

LIMIT_P99_MS = 50
"""Maximum of the 99th percentile of the lateness, in ms."""

LIMIT_BYTES = 2_048
"""Maximum number of bytes that a watcher of one row gets for one version."""

DEADLINE_S = 60
"""Seconds to wait for a version after the version before."""


async def run_individual(participants: int, step_ms: int) -> dict[str, Any]:
    """Run one time on a new store, with `step_ms` between two deadlines. Return the figures."""
    budgets_ms = {str(uuid4()): FIRST_DEADLINE_MS + at * step_ms for at in range(participants)}
    with valkey_only(log_level="error", redis_timeout_s=30) as settings:
        server = spawn_server(settings)
        try:
            async with open_parts(settings) as parts:
                people = tuple(NewParticipant(each, total_time_ms=ms) for each, ms in budgets_ms.items())
                created = await parts.sessions.create(
                    CreateRequest(ANONYMOUS, Create(SyncMode.INDIVIDUAL, people), str(uuid4()))
                )
                session_id = created.session.session_id
                only = list(budgets_ms)[participants // 2]
                received = await _watch_to_the_end(parts, server.ws_url, session_id, only)
                lateness_ms = await _lateness_of_expiries(parts, session_id, budgets_ms)
                keys = parts.store.keys
                outbox_bytes = int(await parts.pipe.call("GET", keys.outbox_bytes(keys.partition_of(session_id))))
                document_bytes = len(render_session((await parts.sessions.read(ANONYMOUS, session_id)).session))
        finally:
            server.kill()
    p99_ms, most_bytes = percentile(lateness_ms, 99), max(received.values())
    return {
        "participants": participants,
        "expired": len(lateness_ms),
        "step_ms": step_ms,
        "p50_ms": percentile(lateness_ms, 50),
        "p99_ms": p99_ms,
        "max_ms": max(lateness_ms),
        "changes_received": len(received),
        "bytes_per_change_p50": percentile(received.values(), 50),
        "bytes_per_change_max": most_bytes,
        "outbox_bytes": outbox_bytes,
        "document_bytes": document_bytes,
        "ok": p99_ms <= LIMIT_P99_MS and most_bytes <= LIMIT_BYTES,
    }


async def _watch_to_the_end(parts: Parts, url: str, session_id: str, only: str) -> Counter[int]:
    """Start the session. Return the bytes that a watcher of one row gets for each version until the session ends."""
    received: Counter[int] = Counter()
    async with connect(url, subprotocols=[V3], compression=None, max_queue=None, proxy=None) as socket:
        subscribe = {"type": "SUBSCRIBE", "session_id": session_id, "only": only, "presence": False}
        await socket.send(orjson.dumps(subscribe).decode())
        assert orjson.loads(await socket.recv())["type"] == "STATE_SYNC"
        await parts.sessions.execute(CommandRequest(ANONYMOUS, session_id, Start(), "start"))
        status = "pending"
        while status != "expired":
            async with asyncio.timeout(DEADLINE_S):
                frame = await socket.recv(decode=False)
            message = orjson.loads(frame)
            received[message["version"]] += len(frame)
            status = message.get("patch", message.get("state", {})).get("status", status)
    return received


async def _lateness_of_expiries(parts: Parts, session_id: str, budgets_ms: dict[str, int]) -> list[int]:
    """Return the lateness of all expiries in ms. Fail unless each participant expired once, at its own deadline."""
    lateness_ms, deadlines_ms, started_at_ms = [], {}, 0
    for event in await read_outbox_events(parts, parts.store.keys.partition_of(session_id)):
        if event.fields["event_type"] == "session_started":
            started_at_ms = event.fields["occurred_at_ms"]
        elif event.fields["command"] == "expire":
            participant_id = event.fields["participant_id"]
            assert participant_id not in deadlines_ms, f"{participant_id} expired twice"
            deadlines_ms[participant_id] = event.fields["occurred_at_ms"]
            lateness_ms.append(event.lateness_ms)
    assert deadlines_ms == {each: started_at_ms + ms for each, ms in budgets_ms.items()}
    return lateness_ms
