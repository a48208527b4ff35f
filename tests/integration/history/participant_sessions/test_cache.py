"""The Redis cache of participant sessions: it is filled once, refreshed by the drain, and completed from Postgres."""

import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from synckairos.clock.commands import Complete, Start
from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.store.participant_sessions import (
    MAX_READY_ROW_BYTES,
    READY_ROWS_TTL_MS,
    ListRowParts,
    ParticipantSessionStore,
    SessionSummary,
)
from tests.integration.participant_rows import list_rows, new_participants, without_time_used
from tests.integration.rest_server import RestServer, open_rest_server
from tests.integration.session_committer import ALICE, SessionCommitter, chess

DAY_MS = 86_400_000


@asynccontextmanager
async def without_postgres(settings: Settings) -> AsyncIterator[RestServer]:
    """Open another server on the same Redis without a reachable Postgres."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = f"postgresql://user@127.0.0.1:{closed.getsockname()[1]}/nothing"
        async with open_rest_server(settings.model_copy(update={"database_url": away})) as server:
            yield server


async def delete_cache(server: RestServer) -> None:
    prefix = server.settings.key_prefix
    for kind in ("recent", "digest", "rows"):
        for key in await server.parts.pipe.call("KEYS", f"{prefix}:*:{kind}:*"):
            await server.parts.pipe.call("DEL", key)


async def look_up(store: ParticipantSessionStore, participant_id: str, session_id: str) -> ListRowParts:
    found = (await store.load_list_rows(participant_id, [session_id]))[session_id]
    assert isinstance(found, ListRowParts)
    return found


async def test_cached_page_is_read_without_postgres(server: RestServer) -> None:
    ada, bob = str(uuid4()), str(uuid4())
    first = await server.create_started(participants=new_participants(ada, bob), metadata={"n": 0})
    await server.drain()
    assert [row["metadata"] for row in await list_rows(server, bob)] == [{"n": 0}]
    # Later versions are added to the cache by each drain.
    path = f"/v1/sessions/{first['session_id']}"
    for verb in ("pause", "resume", "switch", "pause", "resume", "complete"):
        assert (await server.client.post(f"{path}/{verb}")).is_success
        await server.drain()
    await server.create_started(participants=new_participants(ada, bob), metadata={"n": 1})
    await server.drain()
    await server.create_started(participants=new_participants(ada, bob), metadata={"n": 2})
    gone = await server.create_started(participants=new_participants(ada, bob), metadata={"n": 3})
    await server.drain()
    await server.client.delete(f"/v1/sessions/{gone['session_id']}")
    await server.drain()
    await server.create_started(participants=new_participants(ada, bob), metadata={"n": 4})
    async with without_postgres(server.settings) as alone:
        for limit in (1, 2, 50):
            rows = await list_rows(alone, bob, limit)
            assert [(row["metadata"]["n"], row["synced"]) for row in rows] == [
                (4, False), (2, True), (1, True), (0, True),
            ]  # fmt: skip
        answer = await alone.client.get(f"/v1/participants/{bob}/sessions")
        assert "synckairos-history" not in answer.headers, "the page is complete"
        # A participant whose list was never read has no complete list in the cache.
        assert (await alone.client.get(f"/v1/participants/{ada}/sessions")).status_code == 503
    by_redis = await list_rows(server, bob)
    await delete_cache(server)
    assert await list_rows(server, bob) == by_redis
    assert by_redis[-1]["paused_ms"] > 0


async def test_page_without_postgres_names_the_oldest_instant_that_redis_knows(server: RestServer) -> None:
    committer = SessionCommitter(server.parts.store)
    now_ms = await server.parts.sessions.now_ms()
    for days in (40, 5):
        life = await committer.create(chess(metadata={"days": days}), now_ms - days * DAY_MS)
        await committer.apply(life, Start(), now_ms - days * DAY_MS + 1)
        await committer.apply(life, Complete(), now_ms - days * DAY_MS + 2)
    await server.drain()
    path = f"/v1/participants/{ALICE}/sessions"
    whole = (await server.client.get(path, params={"days": 90})).json()
    assert [row["metadata"]["days"] for row in whole["data"]] == [5, 40]
    async with without_postgres(server.settings) as alone:
        assert len((await alone.client.get(path)).json()["data"]) == 1
        # This page has another size than the cached one. The cached page would be returned in full.
        answer = await alone.client.get(path, params={"days": 90, "limit": 10})
        assert [row["metadata"]["days"] for row in answer.json()["data"]] == [5]
        assert answer.headers["synckairos-history"].startswith("redis; since=20")
        # The next page is not in Redis, so it needs Postgres.
        more = await alone.client.get(path, params={"days": 90, "cursor": answer.json()["next_cursor"]})
        assert more.status_code == 503
    more = await server.client.get(path, params={"days": 90, "cursor": answer.json()["next_cursor"]})
    assert [row["metadata"]["days"] for row in more.json()["data"]] == [40]


@pytest.mark.parametrize("max_listed", [4])
async def test_pages_across_cache_and_postgres_list_each_session_once(server: RestServer) -> None:
    committer = SessionCommitter(server.parts.store)
    now_ms = await server.parts.sessions.now_ms()
    expected = []
    for at in range(12):
        # Four sessions are old, and pairs of sessions began in the same millisecond.
        began_ms = now_ms - (40 if at < 4 else 5) * DAY_MS + at // 2 * 1000
        life = await committer.create(chess(metadata={"at": at}), began_ms)
        await committer.apply(life, Start(), began_ms)
        expected.append((began_ms, life.session_id))
        if at in (7, 9):
            await server.drain()
            await list_rows(server, ALICE)
        if at == 8:
            await committer.apply(life, Complete(), began_ms + 7)
    expected.sort(reverse=True)
    for limit in (1, 2, 3, 5, 50):
        found = await list_rows(server, ALICE, limit, days=90)
        assert [row["session_id"] for row in found] == [session_id for _, session_id in expected], limit
        assert [row["session_id"] for row in await list_rows(server, ALICE, limit)] == [
            session_id for _, session_id in expected[:8]
        ]
    await server.drain()
    for limit in (1, 3, 50):
        found = await list_rows(server, ALICE, limit, days=90)
        assert [row["session_id"] for row in found] == [session_id for _, session_id in expected], limit
        assert all(row["synced"] for row in found)
    kept = await server.parts.pipe.call("ZCARD", server.parts.store.keys.participant_sessions(ALICE))
    assert kept <= 5, "the newest sessions, and the mark of the oldest instant"


async def test_deleted_cache_is_filled_again_by_a_read(server: RestServer) -> None:
    ada = str(uuid4())
    await server.create_started(participants=new_participants(ada, str(uuid4())))
    await server.drain()
    before = without_time_used(await list_rows(server, ada))
    pipe, keys = server.parts.pipe, server.parts.store.keys
    assert await pipe.call("PTTL", keys.participant_sessions(ada)) > 29 * DAY_MS
    for key in (keys.participant_sessions(ada), keys.summary(before[0]["session_id"])):
        await pipe.call("DEL", key, keys.rendered_rows(ada))
        assert without_time_used(await list_rows(server, ada)) == before
        assert await pipe.call("EXISTS", key) == 1
    await pipe.call("PEXPIRE", keys.participant_sessions(ada), 1000 * DAY_MS // 100)
    await list_rows(server, ada)
    assert await pipe.call("PTTL", keys.participant_sessions(ada)) > 29 * DAY_MS, "a read extends its lifetime"


async def test_fill_that_was_overtaken_by_a_newer_version_is_not_cached(server: RestServer) -> None:
    store = ParticipantSessionStore(server.parts.pipe, server.parts.store.keys)
    ada, session_id = str(uuid4()), str(uuid4())
    assert await store.acquire_list_lease(ada, 7)
    assert not await store.acquire_list_lease(ada, 8), "another instance fills the cache"
    assert await store.load_cached_page(ada, None, 10) is None
    await store.set_list_position(ada, session_id, 1_000)
    assert not await store.fill_list(ada, 7, 1, [])
    assert await store.load_cached_page(ada, None, 10) is None

    old, new = SessionSummary(b"e 1", b"[1]", b"{}"), SessionSummary(b"e 2", b"[2]", b"{}")
    await store.acquire_summary_leases(ada, [session_id], 7)
    assert await store.find_existing_caches([session_id], [ada]) == ({session_id: None}, set())
    await store.replace_summary(session_id, None, None, {})
    await store.fill_summaries(7, ada, {session_id: (old, b"1 1")})
    assert (await look_up(store, ada, session_id)).summary is None
    await store.acquire_summary_leases(ada, [session_id], 8)
    await store.fill_summaries(8, ada, {session_id: (old, b"1 1")})
    # The part of another participant is added only to the same version.
    bob, eve = str(uuid4()), str(uuid4())
    await store.fill_summaries(9, bob, {session_id: (old, b"2 2")})
    await store.fill_summaries(9, eve, {session_id: (new, b"3 3")})
    parts = [(await look_up(store, each, session_id)).part for each in (ada, bob, eve)]
    assert parts == [b"1 1", b"2 2", None]
    # The drain replaces a summary only if it is the one that the drain read before.
    await store.replace_summary(session_id, new, None, {})
    await store.replace_summary(session_id, old, new, {ada: b"4 4"})
    found = [await look_up(store, each, session_id) for each in (ada, bob)]
    assert [(each.summary, each.part) for each in found] == [(new, b"4 4"), (new, None)]


async def test_rendered_rows_are_deleted_with_the_data_that_they_were_made_from(server: RestServer) -> None:
    ada, bob, eve = (str(uuid4()) for _ in range(3))
    pipe, keys = server.parts.pipe, server.parts.store.keys
    ids = [(await server.create_started(participants=new_participants(ada, bob, eve)))["session_id"] for _ in range(2)]
    path = f"/v1/sessions/{ids[0]}"
    assert (await server.client.delete(f"{path}/participants/{eve}")).is_success
    assert (await server.client.post(f"{path}/complete")).is_success
    assert (await server.client.patch(path, json={"metadata": {"n": 0}})).is_success
    await server.drain()

    async def metadata_and_synced(person: str) -> tuple[object, bool]:
        (row,) = [row for row in await list_rows(server, person) if row["session_id"] == ids[0]]
        return row["metadata"], row["synced"]

    async def rendered_rows(person: str) -> list[bytes]:
        kept: list[bytes] = await pipe.call("HKEYS", keys.rendered_rows(person))
        return kept

    for person in (ada, eve, ada, eve):
        assert await metadata_and_synced(person) == ({"n": 0}, True)
        assert await rendered_rows(person) == [ids[0].encode()], "rows of running sessions are not kept"
        assert (
            0
            < await pipe.call("PTTL", keys.rendered_rows(person))
            <= READY_ROWS_TTL_MS
            < await pipe.call("PTTL", keys.summary(ids[0]))
        )
    # Versions in the outbox count for participants that stayed and that left, even if there are many versions.
    for at in range(1, 20):
        assert (await server.client.patch(path, json={"metadata": {"n": at}})).is_success
        for person in (ada, eve):
            assert await metadata_and_synced(person) == ({"n": at}, False)
    await server.drain()
    assert [await rendered_rows(person) for person in (ada, eve)] == [[], []]
    for person in (ada, eve):
        for _ in range(2):
            # For the participant that left, the first read queries Postgres.
            assert await metadata_and_synced(person) == ({"n": 19}, True)
        assert await rendered_rows(person) == [ids[0].encode()]
    # A failed entry is beside the outbox.
    assert (await server.client.patch(path, json={"metadata": {"n": 20}})).is_success
    outbox = keys.outbox(keys.partition_of(ids[0]))
    ((entry_id, fields),) = await pipe.call("XRANGE", outbox, "-", "+")
    await pipe.call("DEL", outbox)
    await pipe.call("ZADD", keys.failed_entries(0), "inf", entry_id)
    assert await metadata_and_synced(ada) == ({"n": 20}, False)
    await pipe.call("DEL", keys.failed_entries(0))
    await pipe.call("XADD", outbox, entry_id, *fields)
    long = {"n": "x" * MAX_READY_ROW_BYTES}
    assert (await server.client.patch(path, json={"metadata": long})).is_success
    await server.drain()
    assert await metadata_and_synced(ada) == (long, True)
    assert await rendered_rows(ada) == []
    await ParticipantSessionStore(pipe, keys).drop_summary(ids[0])
    assert await pipe.call("EXISTS", keys.summary(ids[0])) == 0


async def test_participant_that_left_keeps_the_session_in_the_list(server: RestServer) -> None:
    ada, bob, eve = (str(uuid4()) for _ in range(3))
    session = await server.create_started(participants=new_participants(ada, bob, eve))
    path = f"/v1/sessions/{session['session_id']}"
    await server.drain()
    await list_rows(server, eve)
    assert (await server.client.delete(f"{path}/participants/{eve}")).is_success
    (in_outbox,) = await list_rows(server, eve)
    await server.drain()
    (left,) = await list_rows(server, eve)
    assert left == in_outbox | {"synced": True}
    await server.client.post(f"{path}/switch")
    await server.drain()
    assert await list_rows(server, eve) == [left]
    await server.client.delete(path)
    await server.drain()
    assert await list_rows(server, eve) == []
    again = await server.create_started(session_id=session["session_id"], participants=new_participants(eve, bob))
    for _ in range(2):
        assert [row["started_at"] for row in await list_rows(server, eve)] == [again["session_started_at"]]
        await server.drain()


async def test_running_turn_and_running_pause_count_up_to_now(server: RestServer) -> None:
    ada = str(uuid4())
    session = await server.create_started(participants=new_participants(ada, str(uuid4())))
    path = f"/v1/sessions/{session['session_id']}"
    for is_drained in (False, True):
        (row,) = await list_rows(server, ada)
        assert (await server.client.post(f"{path}/pause")).is_success
        if is_drained:
            await server.drain()
        (paused,) = await list_rows(server, ada)
        (later,) = await list_rows(server, ada)
        assert row["time_used_ms"] <= paused["time_used_ms"] == later["time_used_ms"]
        assert paused["paused_ms"] <= later["paused_ms"]
        resumed = (await server.client.post(f"{path}/resume")).json()["data"]
        assert resumed["participants"][0]["time_used_ms"] == later["time_used_ms"]
    await server.parts.rewind(session["session_id"], 60_000)
    (row,) = await list_rows(server, ada)
    assert row["time_used_ms"] >= 60_000
    await server.parts.rewind(session["session_id"], 3_600_000)
    (row,) = await list_rows(server, ada)
    assert row["time_used_ms"] == 600_000, "no reading is below zero"


@pytest.mark.parametrize("seed", range(3))
async def test_redis_and_postgres_list_the_same_after_random_commands(server: RestServer, seed: int) -> None:
    pick = random.Random(seed)
    participants = [str(uuid4()) for _ in range(4)]
    sessions: list[str] = []
    for step in range(120):
        session_id = pick.choice(sessions) if sessions and pick.random() < 0.85 else str(uuid4())
        path, person = f"/v1/sessions/{session_id}", pick.choice(participants)
        match pick.randrange(14):
            case _ if session_id not in sessions:
                sessions.append(session_id)
                await server.create(session_id=session_id, participants=new_participants(*pick.sample(participants, 3)))
            case 0 | 1 | 2:
                await server.client.post(f"{path}/start")
            case 3 | 4:
                await server.client.post(f"{path}/pause", json={"reason": pick.choice("ab")})
            case 5 | 6:
                await server.client.post(f"{path}/resume")
            case 7 | 8:
                await server.client.post(f"{path}/switch")
            case 9:
                await server.client.delete(f"{path}/participants/{person}")
            case 10:
                await server.client.post(f"{path}/participants", json=new_participants(person)[0])
            case 11:
                await server.client.patch(path, json={"metadata": {"step": step}})
            case 12:
                await server.client.post(f"{path}/complete")
            case _:
                await server.client.delete(path)
                await server.create(session_id=session_id, participants=new_participants(*pick.sample(participants, 2)))
        if pick.random() < 0.15:
            await server.drain()
        if pick.random() < 0.2:
            await list_rows(server, person, pick.choice((1, 5, 50)))
    for session_id in sessions:
        # A running pause changes with time. The compared values must not change.
        await server.client.post(f"/v1/sessions/{session_id}/cancel")
    from_outbox = {person: await list_rows(server, person, 3) for person in participants}
    await server.drain()
    by_redis = {person: await list_rows(server, person, 3) for person in participants}
    await delete_cache(server)
    by_postgres = {person: await list_rows(server, person, 3) for person in participants}
    assert by_redis == by_postgres
    for person, rows in from_outbox.items():
        # The order can differ: a session that began in the outbox keeps its place. Participants that joined and left
        # within the outbox are not listed.
        known = {row["session_id"]: row for row in by_postgres[person]}
        assert [row | {"synced": True} for row in rows] == [known[row["session_id"]] for row in rows]


async def test_page_without_redis_is_read_from_postgres(settings: Settings, data_dir: Path) -> None:
    with Valkey(data_dir / f"valkey-{uuid4().hex[:8]}") as own:
        async with open_rest_server(
            settings.model_copy(update={"redis_url": own.url, "redis_timeout_s": 0.2})
        ) as server:
            ada = str(uuid4())
            session = await server.create_started(participants=new_participants(ada, str(uuid4())))
            await server.client.post(f"/v1/sessions/{session['session_id']}/pause")
            await server.drain()
            (before,) = await list_rows(server, ada)
            own.kill()
            answer = await server.client.get(f"/v1/participants/{ada}/sessions")
            assert (answer.status_code, answer.headers["synckairos-history"]) == (200, "postgres")
            (row,) = answer.json()["data"]
            assert row["paused_ms"] >= before["paused_ms"]
            assert row | {"paused_ms": 0} == before | {"paused_ms": 0}


async def test_page_is_read_from_postgres_while_another_instance_fills_the_cache(server: RestServer) -> None:
    ada = str(uuid4())
    await server.create_started(participants=new_participants(ada, str(uuid4())))
    await server.drain()
    store = ParticipantSessionStore(server.parts.pipe, server.parts.store.keys)
    assert await store.acquire_list_lease(ada, 7)
    assert [row["synced"] for row in await list_rows(server, ada)] == [True]
    assert await store.load_cached_page(ada, None, 10) is None, "only the holder of the lease fills the cache"
