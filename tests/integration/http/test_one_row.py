"""`GET /v1/sessions/{id}?only=`: a session with the row of one participant alone."""

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import orjson
import pytest

from synckairos.config import Settings
from synckairos.history.cold.object_store import ColdStorage
from synckairos.jobs.table import open_job_pool
from synckairos.jobs.write_archive import Archiver
from synckairos.wire.instants import parse_instant_ms
from synckairos.wire.participant_view import render_participant_view
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.rest_server import RestServer, open_rest_server, session_url

ADMIN = as_caller("root")
ALICE, BOB = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
AS_ALICE = as_caller(ALICE, "participant")
AS_VIEWER = as_caller("wall", "viewer")


async def test_a_read_with_only_has_one_row_and_its_own_etag(server: RestServer) -> None:
    session = await server.create_started()
    path = session_url(session)
    whole = await server.client.get(path)
    one, other = (each["participant_id"] for each in session["participants"])
    views = [await server.client.get(path, params={"only": each}) for each in (one, other.upper())]
    document = orjson.dumps(whole.json()["data"])
    for view, participant_id in zip(views, (one, other), strict=True):
        assert view.content == b'{"data":' + render_participant_view(document, participant_id) + b"}"
        assert [each["participant_id"] for each in view.json()["data"]["participants"]] == [participant_id]
    etags = [each.headers["etag"] for each in (whole, *views)]
    assert len({*etags}) == 3
    for etag in etags:
        again = await server.client.get(path, params={"only": one}, headers={"if-none-match": etag})
        assert again.status_code == (304 if etag == etags[1] else 200)
        # The ETag of each view names the version for a command.
        switched = await server.client.post(f"{path}/switch", headers={"if-match": '"999-e"'})
        assert switched.status_code == 412
    switched = await server.client.post(f"{path}/switch", headers={"if-match": etags[1]})
    assert switched.status_code == 200
    assert (await server.client.post(f"{path}/switch", headers={"if-match": etags[1]})).status_code == 412


async def test_only_works_with_an_instant_and_refuses_unknown_participants(server: RestServer) -> None:
    session = await server.create_started()
    path, one = session_url(session), session["participants"][0]["participant_id"]
    view = await server.client.get(path, params={"only": one, "at": parse_instant_ms(session["updated_at"])})
    assert view.status_code == 200, view.text
    assert [each["participant_id"] for each in view.json()["data"]["participants"]] == [one]
    missing = await server.client.get(path, params={"only": str(uuid4())})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "PARTICIPANT_NOT_FOUND")
    invalid = await server.client.get(path, params={"only": "x"})
    assert (invalid.status_code, invalid.json()["error"]["details"][0]["path"]) == (400, "only")


@pytest.fixture
async def exam(settings: Settings) -> AsyncIterator[RestServer]:
    """Open a server whose callers name themselves."""
    async with open_rest_server(settings, caller_identity=NamedCallers()) as opened:
        yield opened


async def start_exam(exam: RestServer) -> str:
    """Start an individual session of Alice, and of Bob with extra time. Return its path."""
    people = [
        {"participant_id": ALICE, "total_time_ms": 600_000},
        {"participant_id": BOB, "total_time_ms": 600_000, "time_factor": 1.5},
    ]
    body = {"session_id": str(uuid4()), "sync_mode": "individual", "participants": people}
    assert (await exam.client.post("/v1/sessions", json=body, headers=ADMIN)).status_code == 201
    path = f"/v1/sessions/{body['session_id']}"
    assert (await exam.client.post(f"{path}/start", headers=ADMIN)).status_code == 200
    return path


def rows_of(answer: httpx.Response) -> list[str]:
    """Return the participants of the session in an answer. Check that the answer names nobody else."""
    assert answer.status_code == 200, answer.text
    rows = [each["participant_id"] for each in answer.json()["data"]["participants"]]
    assert {each for each in (ALICE, BOB) if each in answer.text} == {*rows}
    return rows


async def test_a_participant_of_an_individual_session_reads_its_own_row_alone(exam: RestServer) -> None:
    path = await start_exam(exam)
    await exam.drain()
    query = {"at": parse_instant_ms((await exam.client.get(path, headers=ADMIN)).json()["data"]["updated_at"])}
    for params in ({}, query):
        mine = await exam.client.get(path, headers=AS_ALICE, params=params)
        assert rows_of(mine) == [ALICE]
        data = mine.json()["data"]
        assert (data["total_time_ms"], data["deadline_at"]) == (600_000, data["participants"][0]["deadline_at"])
        assert rows_of(await exam.client.get(path, headers=AS_VIEWER, params=params)) == []
        assert rows_of(await exam.client.get(path, headers=ADMIN, params=params)) == [ALICE, BOB]
        assert rows_of(await exam.client.get(path, headers=ADMIN, params={**params, "only": BOB})) == [BOB]
        assert rows_of(await exam.client.get(path, headers=AS_ALICE, params={**params, "only": ALICE})) == [ALICE]
        for caller in (AS_ALICE, AS_VIEWER):
            refused = await exam.client.get(path, headers=caller, params={**params, "only": BOB})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "FORBIDDEN")


async def test_another_user_of_a_browser_gets_no_304_for_the_row_of_the_first(exam: RestServer) -> None:
    path = await start_exam(exam)
    etag = (await exam.client.get(path, headers=AS_ALICE)).headers["etag"]
    as_bob = as_caller(BOB, "participant") | {"if-none-match": etag}
    assert rows_of(await exam.client.get(path, headers=as_bob)) == [BOB]
    assert (await exam.client.get(path, headers=AS_ALICE | {"if-none-match": etag})).status_code == 304


async def test_answers_to_commands_of_a_participant_have_its_row_alone(exam: RestServer) -> None:
    path = await start_exam(exam)
    key = AS_ALICE | {"idempotency-key": "p"}
    for _ in range(2):
        assert rows_of(await exam.client.post(f"{path}/pause", headers=key)) == [ALICE]
    conflict = await exam.client.post(f"{path}/resume", headers=AS_ALICE, json={"expected_version": 1})
    assert conflict.status_code == 409
    state = conflict.json()["error"]["details"]["state"]
    assert [each["participant_id"] for each in state["participants"]] == [ALICE]
    assert BOB not in conflict.text
    assert rows_of(await exam.client.post(f"{path}/finish", headers=AS_ALICE)) == [ALICE]


async def test_an_archive_has_the_row_of_the_participant_and_no_events(exam: RestServer) -> None:
    path = await start_exam(exam)
    assert (await exam.client.post(f"{path}/complete", headers=ADMIN)).status_code == 200
    await exam.drain()
    async with open_job_pool(exam.settings.database_url) as pool:
        await Archiver(pool, ColdStorage(exam.settings.archive_url)).archive(path.rpartition("/")[2])
    archived = await exam.client.get(f"{path}/archive", headers=AS_ALICE, params={"snapshots": "true"})
    assert archived.status_code == 200, archived.text
    data = archived.json()["data"]
    assert [each["participant_id"] for each in data["session"]["participants"]] == [ALICE]
    assert "events" not in data
    assert BOB not in archived.text
    lines = await exam.client.get(f"{path}/archive", headers=AS_ALICE | {"accept": "application/x-ndjson"})
    assert ALICE in lines.text
    assert BOB not in lines.text
    etags = [
        (await exam.client.get(f"{path}/archive", headers=each)).headers["etag"]
        for each in (AS_ALICE, as_caller(BOB, "participant"), AS_VIEWER, ADMIN)
    ]
    assert len({*etags}) == 4
    events = await exam.client.get(f"{path}/events", headers=AS_ALICE)
    assert events.status_code == 403
