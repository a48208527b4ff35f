"""Sessions of a participant while versions are in the outbox: each session once, in its current state."""

from uuid import uuid4

import orjson

from synckairos.history.page_cursor import render_cursor
from tests.integration.participant_rows import list_rows, new_participants, without_time_used
from tests.integration.rest_server import RestServer


async def test_invalid_cursor_is_refused_with_answers_from_either_store(server: RestServer) -> None:
    alice = str(uuid4())
    await server.create_started(participants=new_participants(alice, str(uuid4())))
    await server.drain()
    path = f"/v1/participants/{alice}/sessions"
    for _ in range(2):  # from Postgres, then from Redis
        for key in ((2**50, "(+inf"), (2**50, ""), (0, "!whole")):
            answer = await server.client.get(path, params={"cursor": render_cursor(*key)})
            assert answer.status_code == 400, answer.text
        # An id in upper case is the same id.
        answer = await server.client.get(path, params={"cursor": render_cursor(2**50, str(uuid4()).upper())})
        assert len(answer.json()["data"]) == 1


async def test_sessions_only_in_the_outbox_are_listed(server: RestServer) -> None:
    ada, bob = str(uuid4()), str(uuid4())
    made = [await server.create_started(participants=new_participants(ada, bob), metadata={"n": at}) for at in range(3)]
    await server.create_started(participants=new_participants(str(uuid4()), str(uuid4())), metadata={"by": ada})
    rows = await list_rows(server, ada)
    assert [row["metadata"] for row in rows] == [{"n": 2}, {"n": 1}, {"n": 0}]
    assert {row["synced"] for row in rows} == {False}
    assert [row["started_at"] for row in rows] == [each["session_started_at"] for each in reversed(made)]
    before = [row | {"synced": True} for row in rows]
    await server.drain()
    assert without_time_used(await list_rows(server, ada)) == without_time_used(before)


async def test_sessions_of_both_stores_are_listed_once(server: RestServer) -> None:
    ada, bob = str(uuid4()), str(uuid4())
    ids = []
    for at in range(9):
        ids.append((await server.create_started(participants=new_participants(ada, bob)))["session_id"])
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
        rows = await list_rows(server, ada, limit)
        assert [row["session_id"] for row in rows] == expected, limit
        assert {row["session_id"] for row in rows if row["synced"]} == synced
    newcomer = str(uuid4())
    joined = f"/v1/sessions/{ids[0]}/participants"
    assert (await server.client.post(joined, json=new_participants(newcomer)[0])).is_success
    (row,) = await list_rows(server, newcomer)
    assert (row["session_id"], row["synced"]) == (ids[0], False)


async def test_pauses_in_the_outbox_count_like_audited_pauses(server: RestServer) -> None:
    ada = str(uuid4())
    session = await server.create_started(participants=new_participants(ada, str(uuid4())))
    path = f"/v1/sessions/{session['session_id']}"
    for verb in ("pause", "resume", "pause"):
        assert (await server.client.post(f"{path}/{verb}")).is_success
    instants = await _outbox_instants(server)
    (row,) = await list_rows(server, ada)
    fresh_ms = row["paused_ms"]
    await server.drain()
    (row,) = await list_rows(server, ada)
    assert row["synced"]
    assert instants[3] - instants[2] <= fresh_ms <= row["paused_ms"]
    assert (await server.client.post(f"{path}/resume")).is_success
    (resumed,) = await _outbox_instants(server)
    (row,) = await list_rows(server, ada)
    assert not row["synced"]
    # In the audit the pause has not ended yet. It ended with the version in the outbox.
    assert row["paused_ms"] == (instants[3] - instants[2]) + (resumed - instants[4])
    await server.drain()
    assert without_time_used(await list_rows(server, ada)) == without_time_used([row | {"synced": True}])


async def _outbox_instants(server: RestServer) -> list[int]:
    """Return the instants of the versions in the outbox, in ms, oldest first."""
    entries = await server.outbox.read(0, 100, 1 << 20)
    return [orjson.loads(delivery.parse().event)["occurred_at_ms"] for delivery in entries]
