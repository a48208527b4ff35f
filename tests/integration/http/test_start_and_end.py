"""Instants of start and end over REST, the socket and the stores: creation, changes, and what time does by itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from synckairos.background.recovery import RecoveryLoop
from synckairos.background.timekeeper import Timekeeper
from synckairos.clock.model import Status
from synckairos.config import Settings
from synckairos.store.connect import make_redis_client
from synckairos.store.deadlines import Deadlines
from synckairos.store.session_index_rebuild import SessionIndexRebuilder
from synckairos.store.store_generation import Generations
from synckairos.wire.instants import parse_instant_ms, render_instant
from tests.background_task import running
from tests.integration.background.timekeeping import load_document
from tests.integration.parts import open_parts
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, open_rest_server, session_url
from tests.waiting import eventually

HOUR_MS = 3_600_000
SHORT_MS = 300
"""Milliseconds from the creation to a start or end that a test waits for."""

EXAM: dict[str, Any] = {"sync_mode": "global", "total_time_ms": None, "participants": []}


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings) as opened:
        yield opened


@asynccontextmanager
async def keeping_time(server: RestServer) -> AsyncIterator[None]:
    """Run a timekeeper beside the server. No client is connected."""
    redis = make_redis_client(server.settings.redis_url, server.settings.redis_timeout_s)
    keys = server.parts.store.keys
    timekeeper = Timekeeper(
        server.parts.sessions, Deadlines(server.parts.pipe, redis, keys), server.settings.partitions
    )
    try:
        async with running(timekeeper.run()):
            yield
    finally:
        await redis.aclose()


async def instant(server: RestServer, after_ms: int) -> str:
    """Return the instant `after_ms` after now, by the time of Redis."""
    return render_instant(await server.parts.store.now_ms() + after_ms)


async def wait_for_status(server: RestServer, session: dict[str, Any], status: Status) -> dict[str, Any]:
    """Wait until the stored session has a status, without a read that would commit what is due."""

    async def has_status() -> bool:
        return (await load_document(server.parts, session["session_id"]))["status"] == status

    await eventually(has_status)
    return await load_document(server.parts, session["session_id"])


async def test_session_starts_and_ends_by_itself_without_a_client(server: RestServer) -> None:
    async with keeping_time(server):
        starts_at, ends_at = await instant(server, SHORT_MS), await instant(server, 3 * SHORT_MS)
        exam = await server.create(**EXAM, starts_at=starts_at, ends_at=ends_at)
        assert (exam["starts_at"], exam["ends_at"], exam["deadline_at"]) == (starts_at, ends_at, None)
        assert exam["time_remaining_ms"] == parse_instant_ms(ends_at) - parse_instant_ms(starts_at)
        over = await wait_for_status(server, exam, Status.EXPIRED)
    assert (over["version"], over["session_started_at"], over["session_completed_at"]) == (3, starts_at, ends_at)
    assert over["time_remaining_ms"] == 0
    await server.drain()
    trail = (await server.client.get(session_url(exam, "events"))).json()["data"]
    assert [(each["event_type"], each["actor"], each["occurred_at"]) for each in trail[1:]] == [
        ("session_started", "timekeeper", starts_at),
        ("session_expired", "timekeeper", ends_at),
    ]


async def test_paused_session_expires_at_its_end(server: RestServer) -> None:
    async with keeping_time(server):
        ends_at = await instant(server, 2 * SHORT_MS)
        exam = await server.create_started(**EXAM, ends_at=ends_at)
        paused = (await server.client.post(session_url(exam, "pause"))).json()["data"]
        assert (paused["cycle_started_at"], paused["deadline_at"]) == (None, ends_at)
        assert (await wait_for_status(server, exam, Status.EXPIRED))["session_completed_at"] == ends_at


async def test_start_moves_with_a_patch_and_a_replay_answers_the_same(server: RestServer) -> None:
    async with keeping_time(server):
        session = await server.create(starts_at=await instant(server, HOUR_MS))
        starts_at = await instant(server, SHORT_MS)
        headers = {"idempotency-key": "earlier"}
        moved = await server.client.patch(session_url(session), json={"starts_at": starts_at}, headers=headers)
        assert (moved.json()["data"]["starts_at"], moved.json()["data"]["status"]) == (starts_at, "pending")
        running_now = await wait_for_status(server, session, Status.RUNNING)
        assert running_now["session_started_at"] == running_now["cycle_started_at"] == starts_at
        again = await server.client.patch(session_url(session), json={"starts_at": starts_at}, headers=headers)
        assert again.content == moved.content
        assert again.headers["idempotency-replayed"] == "true"
        late = await server.client.patch(session_url(session), json={"starts_at": None})
        assert problem_of(late) == (400, "INVALID_STATE_TRANSITION")


async def test_removed_start_leaves_the_deadlines(server: RestServer) -> None:
    session = await server.create(starts_at=await instant(server, HOUR_MS))
    deadlines = server.parts.store.keys.deadlines(server.parts.store.keys.partition_of(session["session_id"]))
    assert await server.parts.pipe.call("ZCARD", deadlines) == 1
    removed = await server.client.patch(
        session_url(session), json={"starts_at": None}, headers={"content-type": "application/merge-patch+json"}
    )
    assert "starts_at" not in removed.json()["data"]
    assert await server.parts.pipe.call("ZCARD", deadlines) == 0


async def test_instants_are_compared_with_the_time_of_redis(server: RestServer) -> None:
    past = await instant(server, -1)
    for fields in (
        {"starts_at": past},
        EXAM | {"ends_at": past},
        {"starts_at": await instant(server, 401 * 24 * HOUR_MS)},
    ):
        body = {"sync_mode": "global", "total_time_ms": 60_000} | fields
        answer = await server.client.post("/v1/sessions", json={k: v for k, v in body.items() if v is not None})
        assert problem_of(answer) == (400, "VALIDATION_ERROR")
        assert [each["path"] for each in answer.json()["error"]["details"]] == [[*fields][-1]]
    exam = await server.create(**EXAM, ends_at=await instant(server, HOUR_MS))
    assert exam["time_remaining_ms"] is None
    refused = await server.client.patch(session_url(exam), json={"ends_at": past})
    assert problem_of(refused) == (400, "VALIDATION_ERROR")
    both = await server.client.patch(session_url(exam), json={"ends_at": past, "metadata": {"a": 1}})
    assert problem_of(both) == (400, "VALIDATION_ERROR")
    read = (await server.client.get(session_url(exam))).json()["data"]
    assert (read["version"], read["ends_at"]) == (1, exam["ends_at"])


async def test_start_at_or_after_the_end_is_refused_until_the_end_moves(server: RestServer) -> None:
    exam = await server.create(**EXAM, ends_at=await instant(server, SHORT_MS))

    async def has_passed() -> bool:
        return await server.parts.store.now_ms() >= parse_instant_ms(exam["ends_at"])

    await eventually(has_passed)
    refused = await server.client.post(session_url(exam, "start"))
    assert problem_of(refused) == (400, "INVALID_STATE_TRANSITION")
    await server.client.patch(session_url(exam), json={"ends_at": await instant(server, HOUR_MS)})
    assert (await server.client.post(session_url(exam, "start"))).status_code == 200


async def test_instants_during_a_data_loss_take_effect_at_their_instants(own_settings: Settings) -> None:
    async with open_rest_server(own_settings) as server:
        starts_at, ends_at = await instant(server, SHORT_MS), await instant(server, 2 * SHORT_MS)
        exam = await server.create(**EXAM, starts_at=starts_at, ends_at=ends_at)
        await server.drain()
        await server.parts.pipe.call("FLUSHALL")

        async def has_passed() -> bool:
            return await server.parts.store.now_ms() >= parse_instant_ms(ends_at)

        await eventually(has_passed)
        async with open_parts(own_settings) as parts:
            keys = parts.store.keys
            recovery = RecoveryLoop(
                parts.sessions,
                parts.history,
                Generations(parts.pipe, keys),
                SessionIndexRebuilder(parts.pipe, keys),
                keys,
            )
            async with running(recovery.run()):

                async def is_stored() -> bool:
                    return bool(await parts.pipe.call("HEXISTS", keys.session(exam["session_id"]), "state"))

                await eventually(is_stored)
                over = await wait_for_status(server, exam, Status.EXPIRED)
        assert (over["session_started_at"], over["session_completed_at"]) == (starts_at, ends_at)
        assert over["epoch"] != exam["epoch"]
