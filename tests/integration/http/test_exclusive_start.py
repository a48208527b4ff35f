"""`start` with `exclusive`: the other running sessions of the participant are completed first."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from synckairos.config import Settings
from synckairos.errors import StoreUnavailable
from synckairos.service.command_executor import CommandExecutor
from synckairos.service.requests import CommandRequest, SessionResult
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, open_rest_server, session_url

ROOT = as_caller("root")


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings, caller_identity=NamedCallers()) as opened:
        yield opened


async def create(server: RestServer, *people: str, running: bool = False, **fields: Any) -> dict[str, Any]:
    body = {"sync_mode": "count_up", "participants": [{"participant_id": each} for each in people], **fields}
    session: dict[str, Any] = (await server.client.post("/v1/sessions", json=body, headers=ROOT)).json()["data"]
    if running:
        assert (await server.client.post(session_url(session, "start"), headers=ROOT)).is_success
    return session


async def start(
    server: RestServer, session: dict[str, Any], caller: dict[str, str] = ROOT, **more: Any
) -> httpx.Response:
    return await server.client.post(session_url(session, "start"), json={"exclusive": True, **more}, headers=caller)


async def status(server: RestServer, session: dict[str, Any]) -> str:
    found: str = (await server.client.get(session_url(session), headers=ROOT)).json()["data"]["status"]
    return found


async def test_other_running_sessions_of_the_participant_are_completed_first(server: RestServer) -> None:
    ada, ben = str(uuid4()), str(uuid4())
    drained = await create(server, ada, running=True)
    paused = await create(server, ada, running=True)
    await server.client.post(session_url(paused, "pause"), headers=ROOT)
    shared = await create(server, ben, ada, running=True)  # Ben has the turn
    chess = await server.create_started()
    await server.drain()
    evicted = await create(server, ada, running=True)
    await server.drain()
    await server.parts.pipe.call("DEL", server.parts.store.keys.session(evicted["session_id"]))
    in_outbox = await create(server, ada, running=True)
    other = await create(server, ben, running=True)
    new = await create(server, ada)
    answer = await start(server, new, ROOT | {"idempotency-key": "k"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["status"] == "running"
    stopped = {each["session_id"]: each["version"] for each in answer.json()["stopped"]}
    assert stopped == {each["session_id"]: 3 for each in (drained, evicted, in_outbox)}
    for each in (drained, evicted, in_outbox):
        assert await status(server, each) == "completed"
    for each, expected in ((paused, "paused"), (shared, "running"), (other, "running"), (chess, "running")):
        assert await status(server, each) == expected
    again = await start(server, new, ROOT | {"idempotency-key": "k"})
    assert (again.content, again.headers["idempotency-replayed"]) == (answer.content, "true")
    alone = await create(server, str(uuid4()))
    assert (await start(server, alone)).json()["stopped"] == []


async def test_repeated_command_finishes_what_was_left(server: RestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = str(uuid4())
    others = [await create(server, ada, running=True) for _ in range(3)]
    new = await create(server, ada)
    execute, completed = CommandExecutor.execute, 0

    async def fail_at_the_second(executor: CommandExecutor, request: CommandRequest, loaded: Any) -> SessionResult:
        nonlocal completed
        completed += request.verb == "complete"
        if completed == 2:
            raise StoreUnavailable
        return await execute(executor, request, loaded)

    key = ROOT | {"idempotency-key": "k"}
    with monkeypatch.context() as patch:
        patch.setattr(CommandExecutor, "execute", fail_at_the_second)
        assert problem_of(await start(server, new, key)) == (503, "STORE_UNAVAILABLE")
    assert sorted([await status(server, each) for each in others]) == ["completed", "running", "running"]
    assert await status(server, new) == "pending"
    later = await create(server, ada, running=True)  # was not chosen by the first request
    answer = await start(server, new, key)
    assert {each["session_id"] for each in answer.json()["stopped"]} == {each["session_id"] for each in others}
    assert [await status(server, each) for each in (*others, new, later)] == [*["completed"] * 3, "running", "running"]
    assert problem_of(await start(server, new, key, expected_version=1)) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_refused_start_completes_no_session(server: RestServer) -> None:
    ada = str(uuid4())
    runs = await create(server, ada, running=True)
    ended = await create(server, ada, running=True)
    await server.client.post(session_url(ended, "complete"), headers=ROOT)
    assert problem_of(await start(server, ended)) == (400, "INVALID_STATE_TRANSITION")
    new = await create(server, ada)
    assert problem_of(await start(server, new, expected_version=9)) == (409, "CONFLICT")
    for refused in (
        await create(server, ada, str(uuid4())),
        await create(server, ada, sync_mode="global", total_time_ms=60_000),
    ):
        answer = await start(server, refused)
        assert problem_of(answer) == (400, "VALIDATION_ERROR")
        assert answer.json()["error"]["details"][0]["path"] == "exclusive"
    assert problem_of(await start(server, {"session_id": str(uuid4())})) == (404, "SESSION_NOT_FOUND")
    assert await status(server, runs) == "running"


async def test_rights_are_decided_session_by_session(server: RestServer) -> None:
    ada = str(uuid4())
    own = await create(server, ada, running=True, labels={"team": "a"})
    seen = await create(server, ada, running=True, labels={"team": "b"})
    hidden = await create(server, ada, running=True, labels={"team": "c"})
    new = await create(server, ada, labels={"team": "a"})
    participant = as_caller("x", "participant", reaches="label:team=a", participant_id=ada)
    assert problem_of(await start(server, new, participant)) == (403, "FORBIDDEN")
    caller = as_caller("x", "controller", reaches="label:team=a")
    answer = await start(server, new, caller)
    assert answer.json()["stopped"] == [{"session_id": own["session_id"], "version": 3}]
    assert [await status(server, each) for each in (own, seen, hidden, new)] == [
        "completed",
        "running",
        "running",
        "running",
    ]


async def test_many_sessions_start_exclusively_by_one_command(server: RestServer) -> None:
    ada = str(uuid4())
    runs, new = await create(server, ada, running=True), await create(server, ada)
    body = {"session_ids": [new["session_id"]], "command": "start", "args": {"exclusive": True}, "command_id": "c"}
    answer = await server.client.post("/v1/sessions/commands", json=body, headers=ROOT)
    assert answer.json()["data"]["results"] == [{"session_id": new["session_id"], "version": 2}]
    assert await status(server, runs) == "completed"
