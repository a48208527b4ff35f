"""Two callers with one command id, stored records of anonymous callers, and the rights of roles."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from synckairos.config import Settings
from synckairos.postgres.access import cross_tenant_access
from synckairos.principal import Kind
from synckairos.wire.idempotency_record import IdempotencyRecord
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.http.test_simulate import BODY as SIMULATION
from tests.integration.rest_server import RestServer, chess_body, open_rest_server, session_url

ALICE, BOB = as_caller("alice"), as_caller("bob")
PRESS_17 = {"idempotency-key": "press-17"}
MISSING = "/v1/sessions/00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings, caller_identity=NamedCallers()) as opened:
        yield opened


def result_of(answer: httpx.Response) -> tuple[int, str | None]:
    """Return the version of an answer, or its status as a negative number, and whether it is a replay."""
    body = answer.json()
    version = body["data"]["version"] if answer.is_success else -answer.status_code
    return version, answer.headers.get("idempotency-replayed")


# -- two callers with one command id ----------------------------------------------------------------------------------


async def test_command_id_of_another_caller_gets_a_separate_result(server: RestServer) -> None:
    session = await server.create_started()
    url = session_url(session, "switch")
    hers = await server.client.post(url, headers=ALICE | PRESS_17)
    his = await server.client.post(url, headers=BOB | PRESS_17)
    assert (result_of(hers), result_of(his)) == ((3, None), (4, None))
    again = [await server.client.post(url, headers=each | PRESS_17) for each in (ALICE, BOB)]
    assert [each.content for each in again] == [hers.content, his.content]
    assert {each.headers["idempotency-replayed"] for each in again} == {"true"}
    assert result_of(await server.client.post(url, headers=PRESS_17)) == (5, None)


async def test_command_id_that_another_caller_took_first_is_not_refused(server: RestServer) -> None:
    session = await server.create_started()
    his = await server.client.post(session_url(session, "pause"), headers=BOB | PRESS_17)
    assert result_of(his) == (3, None)
    hers = await server.client.post(session_url(session, "resume"), headers=ALICE | PRESS_17)
    assert result_of(hers) == (4, None)


async def test_key_of_a_creation_simulation_or_webhook_is_separate_for_each_caller(server: RestServer) -> None:
    requests: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("/v1/sessions", chess_body(session_id=None), {"metadata": {"of": "bob"}}),
        ("/v1/simulate", SIMULATION, {"until_ms": 70_000}),
        ("/v1/webhooks", {"url": "https://example.org/"}, {"description": "of bob"}),
    ]
    for path, body, difference in requests:
        his = await server.client.post(path, json=body | difference, headers=BOB | PRESS_17)
        hers = await server.client.post(path, json=body, headers=ALICE | PRESS_17)
        nameless = await server.client.post(path, json=body, headers=PRESS_17)
        assert {each.is_success for each in (his, hers, nameless)} == {True}, path
        assert {each.headers.get("idempotency-replayed") for each in (his, hers, nameless)} == {None}, path
        again = await server.client.post(path, json=body, headers=ALICE | PRESS_17)
        assert again.headers["idempotency-replayed"] == "true", path
        refused = await server.client.post(path, json=body | difference, headers=ALICE | PRESS_17)
        assert refused.status_code == 422, path


async def test_record_of_a_caller_is_replayed_after_the_eviction_of_the_session(server: RestServer) -> None:
    session = await server.create_started()
    url = session_url(session, "complete")
    first = await server.client.post(url, headers=ALICE | PRESS_17)
    await server.drain()
    keys, session_id = server.parts.store.keys, session["session_id"]
    await server.parts.pipe.call(
        "DEL", keys.session(session_id), keys.history(session_id), keys.idempotency_records(session_id)
    )
    refused = await server.client.post(url, headers=BOB | PRESS_17)
    assert refused.json()["error"]["code"] == "INVALID_STATE_TRANSITION"
    again = await server.client.post(url, headers=ALICE | PRESS_17)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")


# -- actors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", ["timekeeper", "anonymous"])
@pytest.mark.parametrize("kind", ["user", "key"])
async def test_user_with_a_reserved_subject_has_a_separate_scope_and_actor(
    server: RestServer, subject: str, kind: Kind
) -> None:
    session = await server.create_started(pause_budget=5)
    impostor = as_caller(subject, kind=kind)
    pauses = [
        await server.client.post(session_url(session, "pause"), headers=each | PRESS_17, json={"reason": reason})
        for each, reason in (({}, "nameless"), (impostor, "impostor"))
    ]
    assert [result_of(each) for each in pauses] == [(3, None), (4, None)]
    state = pauses[1].json()["data"]
    assert [each["paused_by"] for each in state["pauses"]] == ["anonymous", f"{kind}:{subject}"]
    assert state["pauses_taken"] == {"anonymous": 1, f"{kind}:{subject}": 1}
    await server.drain()
    events = (await server.client.get(session_url(session, "events"))).json()["data"]
    assert [each["actor"] for each in events] == ["anonymous"] * 3 + [f"{kind}:{subject}"]


# -- stored records of the release before -----------------------------------------------------------------------------


async def test_stored_records_of_anonymous_callers_have_the_names_of_the_release_before(server: RestServer) -> None:
    keys, pipe = server.parts.store.keys, server.parts.pipe
    body = chess_body()
    created = await server.client.post("/v1/sessions", json=body, headers={"idempotency-key": "make"})
    await server.client.post("/v1/simulate", json=SIMULATION, headers={"idempotency-key": "try"})
    await server.client.post("/v1/webhooks", json={"url": "https://example.org/"}, headers={"idempotency-key": "hook"})
    session_id = created.json()["data"]["session_id"]
    await server.client.post(f"/v1/sessions/{session_id}/start", headers={"idempotency-key": "go"})
    assert set(await pipe.call("HKEYS", keys.idempotency_records(session_id))) == {b"make", b"go"}
    assert await pipe.call("EXISTS", keys.reserved_command_id("create:::make")) == 1
    assert await pipe.call("EXISTS", keys.reserved_command_id("simulate:::try")) == 1
    answers = await server.parts.pool.fetch(b"SELECT key FROM webhook_answers", access=cross_tenant_access())
    assert answers == [("::hook",)]


async def test_record_that_the_release_before_stored_is_replayed_for_anonymous_callers_only(server: RestServer) -> None:
    session = await server.create_started()
    url, records = session_url(session, "switch"), server.parts.store.keys.idempotency_records(session["session_id"])
    first = await server.client.post(url, headers={"idempotency-key": "mine"})
    record = IdempotencyRecord.parse(await server.parts.pipe.call("HGET", records, "mine"))
    stored = orjson.dumps([record.fingerprint, record.epoch, record.version, None, None])
    await server.parts.pipe.call("HSET", records, "stored", stored)
    again = await server.client.post(url, headers={"idempotency-key": "stored"})
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert result_of(await server.client.post(url, headers=ALICE | {"idempotency-key": "stored"})) == (4, None)


# -- authorisation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["viewer", "controller"])
async def test_deletion_by_a_lower_role_is_refused_and_of_a_missing_session_not_found(
    server: RestServer, role: Any
) -> None:
    session = await server.create()
    caller = as_caller("carol", role)
    assert (await server.client.delete(session_url(session), headers=caller)).status_code == 403
    assert (await server.client.delete(MISSING, headers=caller)).status_code == 404
    assert (await server.client.delete(MISSING, headers=ALICE)).status_code == 204


async def test_refusal_by_role_comes_before_replay_precondition_and_state(server: RestServer) -> None:
    session = await server.create_started()
    url = session_url(session, "complete")
    first = await server.client.post(url, headers=ALICE | PRESS_17)
    assert result_of(first) == (3, None)
    demoted = as_caller("alice", "viewer")
    refused = [
        await server.client.post(url, headers=demoted | PRESS_17),
        await server.client.post(url, headers=demoted | {"if-match": '"1-none"'}),
        await server.client.post(url, headers=demoted | {"idempotency-key": "new"}),
        await server.client.post(url, headers=demoted, json={"expected_version": 1}),
    ]
    assert {each.status_code for each in refused} == {403}
    assert len({orjson.dumps(each.json()["error"] | {"request_id": ""}) for each in refused}) == 1
    assert "version" not in refused[0].text
    assert (await server.client.post(f"{MISSING}/complete", headers=demoted)).status_code == 404
    created = await server.client.post("/v1/sessions", json=chess_body(), headers=as_caller("carol", "controller"))
    assert created.status_code == 403


async def test_forbidden_presses_leave_the_presses_of_the_session(settings: Settings) -> None:
    settings = settings.model_copy(update={"rate_limit_switch": 3})
    async with open_rest_server(settings, caller_identity=NamedCallers()) as server:
        url = session_url(await server.create_started(), "switch")
        for _ in range(10):
            assert (await server.client.post(url, headers=as_caller("carol", "viewer"))).status_code == 403
        assert (await server.client.post(url, headers=ALICE)).status_code == 200
