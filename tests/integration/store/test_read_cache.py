"""The read cache of Postgres answers: it is used, emptied by the drain, bounded, and bypassed without Redis."""

from pathlib import Path
from typing import Any
from uuid import uuid4

from prometheus_client import REGISTRY

from synckairos.clock.commands import Complete, Start
from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.store import read_cache
from synckairos.store.read_cache import CacheKind, ReadCache
from tests.integration.participant_rows import list_rows
from tests.integration.rest_server import RestServer, open_rest_server
from tests.integration.session_committer import ALICE, SessionCommitter, chess

MINUTE_MS = 60_000
DAY_MS = 86_400_000


def reads(kind: CacheKind) -> tuple[int, int, int]:
    """Return the numbers of hits, misses and bypassed reads that this process has counted."""
    hit, miss, bypassed = (
        REGISTRY.get_sample_value("synckairos_cache_reads_total", {"kind": kind, "outcome": outcome}) or 0
        for outcome in ("hit", "miss", "bypassed")
    )
    return int(hit), int(miss), int(bypassed)


def since(before: tuple[int, int, int], kind: CacheKind) -> tuple[int, ...]:
    return tuple(now - then for now, then in zip(reads(kind), before, strict=True))


async def events_of(server: RestServer, session: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    answer = await server.client.get(f"/v1/sessions/{session['session_id']}/events", params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def test_events_of_a_final_session_are_cached(server: RestServer) -> None:
    session = await server.create_started(metadata={"n": 1})
    path = f"/v1/sessions/{session['session_id']}"
    await server.drain()
    before = reads("events")
    await events_of(server, session)
    assert since(before, "events") == (0, 0, 1), "events of a running session are not cached"
    await server.client.post(f"{path}/complete")
    await server.drain()
    before = reads("events")
    first = await events_of(server, session)
    assert await events_of(server, session) == first
    assert since(before, "events") == (1, 1, 0)
    assert await events_of(server, session, snapshots=1) != first
    assert since(before, "events") == (1, 1, 0), "pages with documents are not cached"
    # The result has the cached events and then the versions in the outbox. Their drain removes the older cached answer.
    await server.client.patch(path, json={"metadata": {"n": 2}})
    with_outbox = await events_of(server, session)
    assert [event["version"] for event in with_outbox] == [1, 2, 3, 4]
    assert since(before, "events") == (2, 1, 0)
    await server.drain()
    assert await events_of(server, session) == with_outbox
    assert since(before, "events") == (2, 2, 0)
    # After the eviction of the session, the cached events are still right.
    await server.parts.pipe.call("DEL", server.parts.store.keys.session(session["session_id"]))
    assert await events_of(server, session) == with_outbox
    assert since(before, "events") == (3, 2, 0)


async def test_older_pages_of_a_participants_sessions_are_cached(server: RestServer) -> None:
    committer = SessionCommitter(server.parts.store)
    now_ms = await server.parts.sessions.now_ms()
    for days in (60, 50, 40):
        life = await committer.create(chess(100 * DAY_MS, metadata={"days": days}), now_ms - days * DAY_MS)
        await committer.apply(life, Start(), now_ms - days * DAY_MS)
    await server.drain()
    before = reads("lists")
    first = await list_rows(server, ALICE, days=90)
    assert [row["metadata"]["days"] for row in first] == [40, 50, 60]
    assert await list_rows(server, ALICE) == []
    assert [row["metadata"]["days"] for row in await list_rows(server, ALICE, days=55)] == [40, 50]
    assert [row["session_id"] for row in await list_rows(server, ALICE, days=90)] == [
        row["session_id"] for row in first
    ]
    assert since(before, "lists") == (1, 2, 0)
    await committer.apply(life, Complete(), now_ms)
    with_outbox = await list_rows(server, ALICE, days=90)
    assert [(row["status"], row["synced"]) for row in with_outbox][:2] == [("completed", False), ("running", True)]
    await server.drain()
    after = await list_rows(server, ALICE, days=90)
    assert after[0] == with_outbox[0] | {"synced": True}
    assert since(before, "lists") == (2, 3, 0)


async def test_cached_answers_are_bounded_and_expire_without_use(server: RestServer) -> None:
    pipe, keys = server.parts.pipe, server.parts.store.keys
    cache, participant_id = ReadCache(pipe, keys), str(uuid4())
    queries: list[bytes] = []

    async def read(name: str, answer: bytes) -> bytes:
        async def query() -> bytes:
            queries.append(answer)
            return answer

        return await cache.read_through("lists", participant_id, name, query, bytes)

    assert [await read("a", b"1"), await read("a", b"2")] == [b"1", b"1"]
    key = keys.read_cache("lists", participant_id)
    assert 29 * MINUTE_MS < await pipe.call("PTTL", key) <= 30 * MINUTE_MS
    await cache.drop([], [participant_id])
    await read("a", b"3")
    assert 4 * MINUTE_MS < await pipe.call("PTTL", key) <= 5 * MINUTE_MS
    large = b"x" * (read_cache.MAX_ANSWER_BYTES + 1)
    assert [await read("b", large), await read("b", large)] == [large, large]
    assert queries == [b"1", b"3", large, large]
    for at in range(2 * read_cache.MAX_ENTRIES):
        await read(f"c{at}", b"4")
    answers = [field for field in await pipe.call("HKEYS", key) if field.startswith(b"answer:")]
    assert len(answers) <= read_cache.MAX_ENTRIES


async def test_answer_to_a_query_that_ran_during_a_drain_is_not_cached(server: RestServer) -> None:
    cache, participant_id = ReadCache(server.parts.pipe, server.parts.store.keys), str(uuid4())

    async def overtaken() -> bytes:
        await cache.drop([], [participant_id])
        return b"old"

    async def query() -> bytes:
        return b"new"

    assert await cache.read_through("lists", participant_id, "q", overtaken, bytes) == b"old"
    assert await cache.read_through("lists", participant_id, "q", query, bytes) == b"new"


async def test_without_redis_postgres_is_queried(settings: Settings, data_dir: Path) -> None:
    with Valkey(data_dir / f"valkey-{uuid4().hex[:8]}") as own:
        async with open_rest_server(
            settings.model_copy(update={"redis_url": own.url, "redis_timeout_s": 0.2})
        ) as server:
            cache = ReadCache(server.parts.pipe, server.parts.store.keys)

            async def query() -> bytes:
                return b"answer"

            own.kill()
            before = reads("lists")
            assert await cache.read_through("lists", str(uuid4()), "q", query, bytes) == b"answer"
            assert since(before, "lists") == (0, 0, 1)
