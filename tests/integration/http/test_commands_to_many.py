"""One command for many sessions: which sessions it addresses, once for each of them, with a result for each."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from synckairos.config import Settings
from synckairos.errors import StoreUnavailable
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, chess_body, open_rest_server

MISSING = "00000000-0000-4000-8000-00000000000a"
ADMIN = as_caller("root")


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings, caller_identity=NamedCallers()) as opened:
        yield opened


async def create_board(server: RestServer, **labels: str) -> str:
    """Create and start a session with labels. Return its id."""
    made = await server.client.post("/v1/sessions", json=chess_body(labels=labels), headers=ADMIN)
    session_id: str = made.json()["data"]["session_id"]
    await server.client.post(f"/v1/sessions/{session_id}/start", headers=ADMIN)
    return session_id


async def command(server: RestServer, headers: dict[str, str] = ADMIN, **members: Any) -> dict[str, dict[str, Any]]:
    """Send a command to many sessions. Return the results by session id."""
    body = {"command": "pause", "command_id": "k", **members}
    answer = await server.client.post("/v1/sessions/commands", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return {each.pop("session_id"): each for each in answer.json()["data"]["results"]}


async def status_of(server: RestServer, session_id: str) -> str:
    status: str = (await server.client.get(f"/v1/sessions/{session_id}", headers=ADMIN)).json()["data"]["status"]
    return status


async def test_command_by_labels_addresses_live_and_evicted_sessions_that_have_not_ended(server: RestServer) -> None:
    evicted, ended, live, other = [await create_board(server, round=each) for each in ("1", "1", "1", "2")]
    await server.client.post(f"/v1/sessions/{ended}/complete", headers=ADMIN)
    await server.drain()
    keys = server.parts.store.keys
    for key in (keys.session, keys.history, keys.idempotency_records):
        await server.parts.pipe.call("DEL", key(evicted))
    pending = (await server.client.post("/v1/sessions", json=chess_body(labels={"round": "1"}), headers=ADMIN)).json()
    pending_id = pending["data"]["session_id"]
    results = await command(server, label=["round=1"], args={"reason": "fire alarm"})
    assert {each: results[each] for each in (live, evicted)} == {live: {"version": 3}, evicted: {"version": 3}}
    assert results[pending_id]["error"]["code"] == "INVALID_STATE_TRANSITION"
    assert set(results) == {live, evicted, pending_id}
    assert [await status_of(server, each) for each in (live, evicted, other)] == ["paused", "paused", "running"]


async def test_repeated_command_addresses_the_same_sessions_and_executes_nothing_twice(server: RestServer) -> None:
    first, second = await create_board(server, round="1"), await create_board(server, round="1")
    results = await command(server, label=["round=1"], command="adjust", args={"delta_ms": 5_000})
    await create_board(server, round="1")
    await server.client.patch(f"/v1/sessions/{second}", json={"labels": {"round": "2"}}, headers=ADMIN)
    assert await command(server, label=["round=1"], command="adjust", args={"delta_ms": 5_000}) == results
    assert set(results) == {first, second}
    body = {"label": ["round=1"], "command": "adjust", "args": {"delta_ms": 6_000}, "command_id": "k"}
    refused = await server.client.post("/v1/sessions/commands", json=body, headers=ADMIN)
    assert problem_of(refused) == (422, "IDEMPOTENCY_KEY_REUSED")
    own = await server.client.post(
        f"/v1/sessions/{first}/adjust", json={"delta_ms": 5_000}, headers=ADMIN | {"idempotency-key": "bulk:k"}
    )
    assert own.headers["idempotency-replayed"] == "true"


async def test_concurrent_repetitions_execute_each_command_once(server: RestServer) -> None:
    ids = [await create_board(server) for _ in range(5)]
    answers = await asyncio.gather(
        *(command(server, session_ids=ids, command="adjust", args={"delta_ms": 1_000}) for _ in range(6))
    )
    assert answers == [{each: {"version": 3} for each in ids}] * 6


async def test_two_instances_command_300_sessions_of_all_partitions_once(settings: Settings) -> None:
    """Both instances get the same request at the same time. One id has no session, and one session left Redis."""
    apart = settings.model_copy(update={"partitions": 4})
    async with (
        open_rest_server(apart, caller_identity=NamedCallers()) as first,
        open_rest_server(apart, caller_identity=NamedCallers()) as second,
    ):
        bodies = [chess_body(session_id=str(uuid4())) for _ in range(300)]
        for body in bodies:
            assert (await first.client.post("/v1/sessions", json=body, headers=ADMIN)).is_success
        ids = [body["session_id"] for body in bodies]
        await first.drain()
        keys, missing = first.parts.store.keys, str(uuid4())
        evicted = ids[150]
        for key in (keys.session, keys.history, keys.idempotency_records):
            await first.parts.pipe.call("DEL", key(evicted))
        assert {keys.partition_of(each) for each in ids} == set(range(4))
        named = [*ids[:100], missing, *ids[100:]]
        members: dict[str, Any] = {"session_ids": named, "command": "adjust", "args": {"delta_ms": 1_000}}
        answers = await asyncio.gather(*(command(each, **members) for each in (first, second)))
        again = await command(second, **members)
        for results in (*answers, again):
            assert list(results) == named
            assert results.pop(missing)["error"]["code"] == "SESSION_NOT_FOUND"
            assert results == {each: {"version": 2} for each in ids}
        for each in (evicted, ids[0]):
            read = await second.client.get(f"/v1/sessions/{each}", headers=ADMIN)
            assert read.json()["data"]["version"] == 2


async def test_rights_are_checked_for_each_session(server: RestServer) -> None:
    reached, unreached = await create_board(server, cup="spring"), await create_board(server, cup="autumn")
    missing = str(uuid4())
    caller = as_caller("x", "controller", reaches="label:cup=spring")
    results = await command(server, caller, session_ids=[unreached, reached, missing])
    assert list(results) == [unreached, reached, missing]
    assert results[reached] == {"version": 3}
    codes = [results[each]["error"]["code"] for each in (unreached, missing)]
    assert codes == ["SESSION_NOT_FOUND"] * 2
    viewer = as_caller("y", "viewer", reaches=reached)
    assert (await command(server, viewer, session_ids=[reached]))[reached]["error"]["code"] == "FORBIDDEN"
    assert await command(server, caller, label=["cup=autumn"], command_id="other") == {}
    assert await status_of(server, unreached) == "running"


async def test_presses_count_against_the_limit_of_their_session(settings: Settings) -> None:
    limited = settings.model_copy(update={"rate_limit_switch": 2})
    async with open_rest_server(limited, caller_identity=NamedCallers()) as server:
        pressed, other = await create_board(server), await create_board(server)
        codes = []
        while "RATE_LIMIT_EXCEEDED" not in codes:
            results = await command(server, session_ids=[pressed], command="switch", command_id=str(uuid4()))
            codes.append(results[pressed].get("error", {}).get("code"))
        assert set(codes[:-1]) == {None}
        results = await command(server, session_ids=[other], command="switch", command_id=str(uuid4()))
        assert results == {other: {"version": 3}}


async def test_command_id_belongs_to_its_caller(server: RestServer) -> None:
    ids = [await create_board(server) for _ in range(2)]
    for session_id, subject in zip(ids, ("x", "y"), strict=True):
        caller = as_caller(subject, "controller")
        assert await command(server, caller, session_ids=[session_id]) == {session_id: {"version": 3}}


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({}, ""),
        ({"session_ids": [str(uuid4())], "label": ["a=1"]}, ""),
        ({"session_ids": []}, "session_ids"),
        ({"session_ids": ["1"]}, "session_ids.0"),
        ({"session_ids": [MISSING, MISSING.upper()]}, "session_ids"),
        ({"session_ids": [str(uuid4()) for _ in range(1_001)]}, "session_ids"),
        ({"label": ["a"]}, "label.0"),
        ({"label": ["a=1", "a=2"]}, "label"),
        ({"label": []}, "label"),
        ({"label": ["a=1"], "command": "fly"}, "command"),
        ({"label": ["a=1"], "command": "adjust"}, "delta_ms"),
        ({"label": ["a=1"], "command_id": ""}, "command_id"),
        ({"label": ["a=1"], "command_id": "a b"}, "command_id"),
        ({"label": ["a=1"], "command_id": "x" * 251}, "command_id"),
    ],
)
async def test_invalid_request_is_refused_with_the_path(server: RestServer, members: dict[str, Any], path: str) -> None:
    body = {"command": "pause", "command_id": "k"} | members
    answer = await server.client.post("/v1/sessions/commands", json=body, headers=ADMIN)
    assert problem_of(answer) == (400, "VALIDATION_ERROR")
    assert [each["path"] for each in answer.json()["error"]["details"]] == [path]


async def test_more_sessions_than_the_maximum_are_refused_and_nothing_is_done(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synckairos.http.commands_to_many.MAX_SESSIONS", 2)
    ids = [await create_board(server, round="1") for _ in range(3)]
    body = {"label": ["round=1"], "command": "pause", "command_id": "k"}
    refused = await server.client.post("/v1/sessions/commands", json=body, headers=ADMIN)
    assert problem_of(refused) == (400, "VALIDATION_ERROR")
    assert [await status_of(server, each) for each in ids] == ["running"] * 3
    await server.client.post(f"/v1/sessions/{ids[0]}/complete", headers=ADMIN)
    assert set(await command(server, label=["round=1"])) == set(ids[1:]), "the refused command reserved nothing"


async def test_postgres_away_is_503_by_labels_and_no_hindrance_by_ids(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await create_board(server, round="1")

    async def fail(**_: Any) -> None:
        raise StoreUnavailable("Postgres is away")

    monkeypatch.setattr(server.parts.history, "read_sessions_page", fail)
    body = {"label": ["round=1"], "command": "pause", "command_id": "k"}
    refused = await server.client.post("/v1/sessions/commands", json=body, headers=ADMIN)
    assert problem_of(refused) == (503, "STORE_UNAVAILABLE")
    assert await command(server, session_ids=[session_id]) == {session_id: {"version": 3}}


async def test_repetition_reads_the_results_of_sessions_that_the_first_request_did_not_reach(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await create_board(server) for _ in range(3)]
    execute = server.parts.sessions.execute_shielded

    async def fail_for_one(request: Any) -> Any:
        if request.session_id == ids[1]:
            raise StoreUnavailable("Redis is away")
        return await execute(request)

    with monkeypatch.context() as patch:
        patch.setattr(server.parts.sessions, "execute_shielded", fail_for_one)
        results = await command(server, session_ids=ids)
    assert results[ids[1]]["error"]["code"] == "STORE_UNAVAILABLE"
    assert await command(server, session_ids=ids) == {each: {"version": 3} for each in ids}
