"""The command `undo` over REST: where the server finds the turns, what lists and reports show, and races."""

import asyncio
from typing import Any

import httpx
import pytest

from synckairos.audit.verify import open_verifier
from synckairos.clock.recover_lost_session import CHARGE
from synckairos.config import Settings
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, open_rest_server, session_url


async def post(server: RestServer, session: dict[str, Any], verb: str, **options: Any) -> httpx.Response:
    return await server.client.post(session_url(session, verb), **options)


async def read(server: RestServer, session: dict[str, Any]) -> dict[str, Any]:
    answer = await server.client.get(session_url(session))
    assert answer.is_success, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def played_session(server: RestServer, turns: int = 2) -> dict[str, Any]:
    """Create a session, start it, and press the clock `turns` times, each after one second. Return its document."""
    session = await server.create_started()
    for _ in range(turns):
        await server.parts.rewind(session["session_id"], 1_000)
        assert (await post(server, session, "switch")).is_success
    await server.parts.rewind(session["session_id"], 1_000)
    return await read(server, session)


async def evict(server: RestServer, session: dict[str, Any], *, with_session: bool = True) -> None:
    """Remove the version history of a session from Redis, and its newest version unless `with_session` is False."""
    keys = server.parts.store.keys
    names = [keys.history(session["session_id"])]
    if with_session:
        names.append(keys.session(session["session_id"]))
    await server.parts.pipe.call("DEL", *names)


def used_ms(session: dict[str, Any]) -> list[int]:
    return [each["time_used_ms"] for each in session["participants"]]


def assert_undone(answer: httpx.Response, before: dict[str, Any], active: int) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    undone: dict[str, Any] = answer.json()["data"]
    assert undone["version"] == before["version"] + 1
    assert undone["turn_number"] == before["turn_number"] + 1
    assert undone["active_participant_id"] == before["participants"][active]["participant_id"]
    return undone


async def test_undone_turn_goes_on_and_its_answer_is_replayed(server: RestServer) -> None:
    before = await played_session(server)
    options: dict[str, Any] = {"json": {"charge": "mover"}, "headers": {"idempotency-key": "u"}}
    answer = await post(server, before, "undo", **options)
    undone = assert_undone(answer, before, active=1)
    assert used_ms(undone) == used_ms(before)
    assert [each["cycle_count"] for each in undone["participants"]] == [1, 0]
    assert undone["turn"]["began_version"] == 3
    again = await post(server, before, "undo", **options)
    assert (again.content, again.headers["idempotency-replayed"]) == (answer.content, "true")
    assert (await read(server, before))["version"] == undone["version"]
    assert problem_of(await post(server, before, "undo", json={"turns": 2})) == (409, "CANNOT_UNDO")
    first = assert_undone(await post(server, before, "undo"), undone, active=0)
    assert used_ms(first) == [0, 0]
    await server.drain()
    trail = (await server.client.get(session_url(before, "events"))).json()["data"]
    undos = [each for each in trail if each["event_type"] == "turn_undone"]
    second = before["participants"][1]["participant_id"]
    assert [each["participant_id"] for each in undos] == [second, before["participants"][0]["participant_id"]]
    assert [each["participant_id"] for each in undos[0]["charges"]] == [second]
    assert "charges" not in undos[1]


@pytest.mark.parametrize("with_session", [True, False])
@pytest.mark.parametrize("place", ["outbox", "postgres", "both"])
async def test_turns_are_found_in_the_outbox_and_in_postgres(
    server: RestServer, place: str, with_session: bool
) -> None:
    """In `both`, the beginning of the session is in Postgres, and its end in the outbox."""
    before = await played_session(server)
    if place != "outbox":
        await server.drain()
    if place == "both":
        assert (await post(server, before, "switch")).is_success
        before = await read(server, before)
    await evict(server, before, with_session=with_session and place == "postgres")
    turns = before["turn_number"] - 1
    undone = assert_undone(await post(server, before, "undo", json={"turns": turns}), before, active=0)
    assert used_ms(undone) == [0, 0]


async def test_undo_changes_nothing_while_postgres_is_away(server: RestServer, settings: Settings) -> None:
    before = await played_session(server)
    await server.drain()
    await evict(server, before, with_session=False)
    away = settings.model_copy(update={"database_url": "postgresql://127.0.0.1:1/nothing"})
    async with open_rest_server(away) as other:
        refused = await post(other, before, "undo", headers={"idempotency-key": "u"})
        assert problem_of(refused) == (503, "STORE_UNAVAILABLE")
    assert (await read(server, before))["version"] == before["version"]
    assert_undone(await post(server, before, "undo", headers={"idempotency-key": "u"}), before, active=1)


async def test_undo_needs_no_postgres_if_redis_has_the_versions(server: RestServer, settings: Settings) -> None:
    before = await played_session(server)
    async with open_rest_server(
        settings.model_copy(update={"database_url": "postgresql://127.0.0.1:1/nothing"})
    ) as other:
        assert_undone(await post(other, before, "undo"), before, active=1)


@pytest.mark.parametrize("is_evicted", [False, True], ids=["live", "evicted"])
async def test_undo_and_a_press_on_two_instances_have_one_order(
    server: RestServer, settings: Settings, is_evicted: bool
) -> None:
    async with open_rest_server(settings) as other:
        for _ in range(5):
            before = await played_session(server)
            if is_evicted:
                await server.drain()
                await evict(server, before)
            turn = {"expected_turn": before["turn_number"]}
            answers = await asyncio.gather(
                post(server, before, "undo", json=turn), post(other, before, "switch", json=turn)
            )
            assert sorted(each.status_code for each in answers) == [200, 409]
            (refused,) = (each for each in answers if each.status_code == 409)
            assert problem_of(refused) == (409, "TURN_OVER")
            after = await read(server, before)
            assert after["version"] == before["version"] + 1
            assert after["turn_number"] == before["turn_number"] + 1


async def test_undo_without_a_guard_and_a_press_are_both_committed(server: RestServer, settings: Settings) -> None:
    async with open_rest_server(settings) as other:
        before = await played_session(server)
        answers = await asyncio.gather(post(server, before, "undo"), post(other, before, "switch"))
    assert [each.status_code for each in answers] == [200, 200]
    after = await read(server, before)
    assert (after["version"], after["turn_number"]) == (before["version"] + 2, before["turn_number"] + 2)


async def test_overdue_turn_ends_before_it_is_undone(server: RestServer) -> None:
    before = await server.create_started(on_timeout="advance")
    await server.parts.rewind(before["session_id"], 600_000)
    undone = (await post(server, before, "undo")).json()["data"]
    assert (undone["version"], undone["turn_number"]) == (before["version"] + 2, 3)
    first = undone["participants"][0]
    assert (first["is_active"], first["has_expired"], first["time_remaining_ms"]) == (True, False, 600_000)


async def test_reports_and_lists_show_what_the_session_shows(server: RestServer) -> None:
    """Undone time counts in no report, whether Postgres or the outbox has its versions."""
    session = await played_session(server, turns=3)

    async def check() -> None:
        shown = await read(server, session)
        for each in shown["participants"]:
            path = f"/v1/participants/{each['participant_id']}"
            buckets = (await server.client.get(f"{path}/time", params={"bucket": "session"})).json()["data"]
            assert sum(bucket["time_used_ms"] for bucket in buckets) == each["time_used_ms"]
            (listed,) = (await server.client.get(f"{path}/sessions")).json()["data"]
            assert (listed["time_used_ms"], listed["cycle_count"]) == (each["time_used_ms"], each["cycle_count"])

    assert (await post(server, session, "pause")).is_success
    await check()
    for body, is_drained in (
        ({"charge": "mover"}, False),
        ({"turns": 1, "charge": "nobody"}, True),
        ({"turns": 1, "charge": "resumed"}, False),
    ):
        if is_drained:
            await server.drain()
        assert (await post(server, session, "undo", json=body)).is_success
        await check()
    await server.drain()
    await check()


async def test_bad_input_is_refused(server: RestServer) -> None:
    session = await played_session(server)
    body: dict[str, Any]
    for body in ({"turns": 0}, {"turns": 101}, {"turns": "1"}, {"charge": "all"}, {"restored": {}}):
        assert problem_of(await post(server, session, "undo", json=body)) == (400, "VALIDATION_ERROR")
    assert problem_of(await post(server, session, "undo", json={"turns": 3})) == (409, "CANNOT_UNDO")
    assert problem_of(await post(server, session, "undo", json={"expected_version": 1})) == (409, "CONFLICT")
    assert (await read(server, session))["version"] == session["version"]


async def test_simulation_undoes_turns(server: RestServer) -> None:
    people = [{"participant_id": f"0198c0de-0000-7000-8000-00000000000{each}"} for each in "ab"]
    body: dict[str, Any] = {
        "session": {"sync_mode": "per_participant", "participants": people, "total_time_ms": 60_000},
        "commands": [
            {"at_ms": 0, "command": "start"},
            {"at_ms": 10_000, "command": "switch"},
            {"at_ms": 15_000, "command": "undo", "args": {"charge": "resumed"}},
            {"at_ms": 16_000, "command": "undo"},
        ],
        "until_ms": 20_000,
    }
    result = (await server.client.post("/v1/simulate", json=body)).json()["data"]
    assert [each.get("event_type", each.get("refused")) for each in result["timeline"]] == [
        *("session_created", "session_started", "cycle_switched", "turn_undone", "CANNOT_UNDO"),
    ]
    assert used_ms(result["final"]) == [15_000, 0]


async def test_undo_replays_without_findings(server: RestServer) -> None:
    session = await server.create_started(lag_compensation=True)
    for verb, body in (
        ("switch", {"lag_ms": 5}),
        ("switch", {}),
        ("undo", {"charge": "mover"}),
        ("switch", {}),
        ("undo", {"turns": 2, "charge": "resumed"}),
        ("complete", {}),
    ):
        assert (await post(server, session, verb, json=body)).is_success
    assert problem_of(await post(server, session, "undo")) == (409, "CANNOT_UNDO")
    await server.drain()
    async with open_verifier(server.settings.database_url, CHARGE) as verifier:
        verified = await verifier.verify_session(session["session_id"])
    assert verified is not None
    assert (verified.versions, verified.findings) == (8, ())
