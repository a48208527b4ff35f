"""The command `reopen` over REST: where the server finds the turn in which a session ended, and what follows."""

import asyncio
from typing import Any

import httpx
import pytest

from synckairos.config import Settings
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.jobs.retention import Retention, SessionRowDeleter
from synckairos.jobs.table import open_job_pool
from synckairos.jobs.write_archive import Archiver
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, open_rest_server, session_url


async def post(server: RestServer, session: dict[str, Any], verb: str, **options: Any) -> httpx.Response:
    return await server.client.post(session_url(session, verb), **options)


async def expired_session(server: RestServer) -> dict[str, Any]:
    """Create a session of two participants whose second participant ran out of time. Return its document."""
    session = await server.create_started()
    assert (await post(server, session, "switch")).is_success
    second = session["participants"][1]["participant_id"]
    taken = {"delta_ms": -600_000, "participant_ids": [second]}
    assert (await post(server, session, "adjust", json=taken)).is_success
    ended: dict[str, Any] = (await server.client.get(session_url(session))).json()["data"]
    assert ended["status"] == "expired"
    return ended


async def evict(server: RestServer, session: dict[str, Any], *, with_session: bool = True) -> None:
    """Remove the version history of a session from Redis, and its newest version unless `with_session` is False."""
    keys = server.parts.store.keys
    names = [keys.history(session["session_id"])]
    if with_session:
        names.append(keys.session(session["session_id"]))
    await server.parts.pipe.call("DEL", *names)


def assert_reopened(answer: httpx.Response, ended: dict[str, Any]) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    reopened: dict[str, Any] = answer.json()["data"]
    second = ended["participants"][1]["participant_id"]
    assert (reopened["status"], reopened["active_participant_id"]) == ("paused", second)
    assert [each["reason"] for each in reopened["pauses"]] == ["reopened"]
    assert reopened["session_completed_at"] is None
    assert (reopened["participants"][1]["time_remaining_ms"], reopened["participants"][1]["has_expired"]) == (
        30_000,
        False,
    )
    assert reopened["turn"] == ended["turn"]
    return reopened


async def test_reopened_session_goes_on_and_its_answer_is_replayed(server: RestServer) -> None:
    ended = await expired_session(server)
    assert problem_of(await post(server, ended, "reopen")) == (400, "VALIDATION_ERROR")
    options: dict[str, Any] = {
        "json": {"delta_ms": 30_000, "reason": "flag by mistake"},
        "headers": {"idempotency-key": "r"},
    }
    answer = await post(server, ended, "reopen", **options)
    reopened = assert_reopened(answer, ended)
    assert reopened["version"] == ended["version"] + 1
    again = await post(server, ended, "reopen", **options)
    assert (again.content, again.headers["idempotency-replayed"]) == (answer.content, "true")
    resumed = (await post(server, ended, "resume")).json()["data"]
    assert (resumed["status"], resumed["turn_number"]) == ("running", ended["turn_number"])
    await server.drain()
    trail = (await server.client.get(session_url(ended, "events"))).json()["data"]
    assert [each["event_type"] for each in trail[-3:]] == ["session_expired", "session_reopened", "session_resumed"]
    person = ended["participants"][1]["participant_id"]
    (listed,) = (await server.client.get(f"/v1/participants/{person}/sessions")).json()["data"]
    assert (listed["status"], listed["completed_at"]) == ("running", None)
    live = (await server.client.get("/v1/sessions", params={"status": "running"})).json()["data"]
    assert [each["session_id"] for each in live] == [ended["session_id"]]


@pytest.mark.parametrize("with_session", [True, False])
async def test_turn_comes_from_postgres_after_the_eviction(server: RestServer, with_session: bool) -> None:
    ended = await expired_session(server)
    for note in range(3):
        await server.client.patch(session_url(ended), json={"metadata": {"note": note}})
    await server.drain()
    await evict(server, ended, with_session=with_session)
    assert_reopened(await post(server, ended, "reopen", json={"delta_ms": 30_000}), ended)


async def test_turn_comes_from_the_outbox_before_the_drain(server: RestServer) -> None:
    ended = await expired_session(server)
    await evict(server, ended, with_session=False)
    assert_reopened(await post(server, ended, "reopen", json={"delta_ms": 30_000}), ended)


async def test_session_that_only_cold_storage_has_is_not_reopened(server: RestServer) -> None:
    ended = await expired_session(server)
    await server.drain()
    objects = ColdStorage(server.settings.archive_url)
    async with open_job_pool(server.settings.database_url) as pool:
        refresh = SummaryRefresh(server.parts.pipe, server.parts.store.keys)
        retention = Retention(
            objects, Archiver(pool, objects), SessionRowDeleter(pool), server.parts.store, server.outbox, refresh
        )
        assert await retention.archive_and_delete(ended["session_id"], 0)
    await evict(server, ended)
    refused = await post(server, ended, "reopen", json={"delta_ms": 30_000})
    assert problem_of(refused) == (409, "SESSION_ARCHIVED")
    assert (await server.client.get(session_url(ended))).json()["data"] == ended


@pytest.mark.parametrize("is_evicted", [False, True], ids=["live", "evicted"])
async def test_one_of_two_instances_reopens(server: RestServer, settings: Settings, is_evicted: bool) -> None:
    ended = await expired_session(server)
    if is_evicted:
        await server.drain()
        await evict(server, ended)
    async with open_rest_server(settings) as other:
        answers = await asyncio.gather(
            *(post(each, ended, "reopen", json={"delta_ms": 30_000}) for each in (server, other))
        )
    assert sorted(each.status_code for each in answers) == [200, 400]
    assert (await server.client.get(session_url(ended))).json()["data"]["version"] == ended["version"] + 1


@pytest.mark.parametrize("is_evicted", [False, True], ids=["live", "evicted"])
async def test_reopen_and_a_press_on_two_instances_have_one_order(
    server: RestServer, settings: Settings, is_evicted: bool
) -> None:
    """A press before the reopening meets the expired turn, and a press after it a paused session. It never counts."""
    async with open_rest_server(settings) as other:
        for _ in range(5):
            ended = await expired_session(server)
            if is_evicted:
                await server.drain()
                await evict(server, ended)
            second = ended["participants"][1]["participant_id"]
            reopened, pressed = await asyncio.gather(
                post(server, ended, "reopen", json={"delta_ms": 30_000}), post(other, ended, "switch")
            )
            assert_reopened(reopened, ended)
            if pressed.status_code == 200:
                assert pressed.json()["data"]["version"] == ended["version"]
                assert pressed.json()["data"]["expired_participant_id"] == second
            else:
                assert problem_of(pressed) == (400, "INVALID_STATE_TRANSITION")
            after = (await server.client.get(session_url(ended))).json()["data"]
            assert (after["version"], after["status"]) == (ended["version"] + 1, "paused")


async def test_overdue_session_expires_and_is_reopened_by_one_command(server: RestServer) -> None:
    session = await server.create_started()
    await server.parts.rewind(session["session_id"], 600_000)
    answer = await post(server, session, "reopen", json={"delta_ms": 30_000})
    assert (answer.status_code, answer.json()["data"]["version"]) == (200, 4)
    early = await server.create_started()
    assert problem_of(await post(server, early, "reopen")) == (400, "INVALID_STATE_TRANSITION")
    await post(server, early, "cancel")
    assert problem_of(await post(server, early, "reopen")) == (400, "INVALID_STATE_TRANSITION")


async def test_reopened_session_stays_in_redis_and_leaves_its_deadline(server: RestServer) -> None:
    ended = await expired_session(server)
    await server.drain()
    key = server.parts.store.keys.session(ended["session_id"])
    assert await server.parts.pipe.call("PTTL", key) > 0
    await post(server, ended, "reopen", json={"delta_ms": 30_000})
    assert await server.parts.pipe.call("PTTL", key) == -1
    resumed = (await post(server, ended, "resume")).json()["data"]
    deadlines = server.parts.store.keys.deadlines(server.parts.store.keys.partition_of(ended["session_id"]))
    assert await server.parts.pipe.call("ZSCORE", deadlines, ended["session_id"]) is not None
    assert resumed["deadline_at"] is not None
