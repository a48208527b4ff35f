"""Somebody's sessions while the audit is behind: each once, as it is now, and told apart by `synced`."""

from typing import Any
from uuid import uuid4

import orjson

from synckairos.history.page_cursor import render_cursor
from tests.integration.http.conftest import Server


def people(*names: str) -> list[dict[str, Any]]:
    return [{"participant_id": name, "total_time_ms": 600_000} for name in names]


def still(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows without what moves while somebody's time runs."""
    return [{name: value for name, value in row.items() if name != "time_used_ms"} for row in rows]


async def rows_of(server: Server, participant_id: str, limit: int = 50, days: int = 30) -> list[dict[str, Any]]:
    """Return all rows, page by page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": limit, "days": days} | ({} if cursor is None else {"cursor": cursor})
        answer = await server.client.get(f"/v1/participants/{participant_id}/sessions", params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        cursor = page["next_cursor"]
        assert page["data"] or cursor is None
        if cursor is None:
            return found


async def test_a_cursor_is_checked_whichever_store_answers(server: Server) -> None:
    alice = str(uuid4())
    await server.started(participants=people(alice, str(uuid4())))
    await server.drain()
    path = f"/v1/participants/{alice}/sessions"
    for _ in range(2):  # out of Postgres, then out of Redis
        for key in ((2**50, "(+inf"), (2**50, ""), (0, "!whole")):
            answer = await server.client.get(path, params={"cursor": render_cursor(*key)})
            assert answer.status_code == 400, answer.text
        # An id means the same however it is written.
        answer = await server.client.get(path, params={"cursor": render_cursor(2**50, str(uuid4()).upper())})
        assert len(answer.json()["data"]) == 1


async def test_what_never_was_in_postgres_is_there_too(server: Server) -> None:
    ada, bob = str(uuid4()), str(uuid4())
    made = [await server.started(participants=people(ada, bob), metadata={"n": at}) for at in range(3)]
    await server.started(participants=people(str(uuid4()), str(uuid4())), metadata={"by": ada})
    rows = await rows_of(server, ada)
    assert [row["metadata"] for row in rows] == [{"n": 2}, {"n": 1}, {"n": 0}]
    assert {row["synced"] for row in rows} == {False}
    assert [row["started_at"] for row in rows] == [each["session_started_at"] for each in reversed(made)]
    before = [row | {"synced": True} for row in rows]
    await server.drain()
    assert still(await rows_of(server, ada)) == still(before)


async def test_both_stores_make_one_list_without_doubles(server: Server) -> None:
    ada, bob = str(uuid4()), str(uuid4())
    ids = []
    for at in range(9):
        ids.append((await server.started(participants=people(ada, bob)))["session_id"])
        if at == 3:
            await server.drain()
        if at == 6:
            await server.client.post(f"/v1/sessions/{ids[1]}/switch")
            await server.client.post(f"/v1/sessions/{ids[6]}/complete")
    await server.client.delete(f"/v1/sessions/{ids[2]}")
    await server.client.delete(f"/v1/sessions/{ids[5]}")
    expected = [session_id for session_id in reversed(ids) if session_id not in (ids[2], ids[5])]
    synced = {ids[0], ids[3]}
    for limit in (1, 2, 3, 4, 50):
        rows = await rows_of(server, ada, limit)
        assert [row["session_id"] for row in rows] == expected, limit
        assert {row["session_id"] for row in rows if row["synced"]} == synced
    newcomer = str(uuid4())
    joined = f"/v1/sessions/{ids[0]}/participants"
    assert (await server.client.post(joined, json=people(newcomer)[0])).is_success
    (row,) = await rows_of(server, newcomer)
    assert (row["session_id"], row["synced"]) == (ids[0], False)


async def test_breaks_on_their_way_count_as_those_that_arrived(server: Server) -> None:
    ada = str(uuid4())
    session = await server.started(participants=people(ada, str(uuid4())))
    path = f"/v1/sessions/{session['session_id']}"
    for verb in ("pause", "resume", "pause"):
        assert (await server.client.post(f"{path}/{verb}")).is_success
    instants = await _instants(server)
    (row,) = await rows_of(server, ada)
    fresh_ms = row["paused_ms"]
    await server.drain()
    (row,) = await rows_of(server, ada)
    assert row["synced"]
    assert instants[3] - instants[2] <= fresh_ms <= row["paused_ms"]
    assert (await server.client.post(f"{path}/resume")).is_success
    (resumed,) = await _instants(server)
    (row,) = await rows_of(server, ada)
    assert not row["synced"]
    # The break that the archive thinks is under way ended with the version that is on its way.
    assert row["paused_ms"] == (instants[3] - instants[2]) + (resumed - instants[4])
    await server.drain()
    assert still(await rows_of(server, ada)) == still([row | {"synced": True}])


async def _instants(server: Server) -> list[int]:
    """Return when each version in the outbox took effect; the creation's index is 0."""
    waiting = await server.outbox.read(0, 100, 1 << 20)
    return [orjson.loads(delivery.parse().event)["occurred_at_ms"] for delivery in waiting]
