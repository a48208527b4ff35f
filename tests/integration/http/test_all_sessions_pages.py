"""The list of sessions contains live and audited sessions, each one time and in its current state."""

from typing import Any

import orjson

from synckairos.http.all_sessions_pages import SessionList
from synckairos.principal import DEFAULT_TENANT
from synckairos.wire.query_parameters import ListQuery
from synckairos.wire.response_models import SessionPage
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, list_all, session_url


async def test_list_has_live_and_audited_sessions_in_their_current_state(server: RestServer) -> None:
    made = [await server.create(metadata={"at": at}) for at in range(3)]
    await server.client.post(session_url(made[0], "start"))
    await server.client.post(session_url(made[1], "cancel"))
    await server.drain()
    made += [await server.create(metadata={"at": at}) for at in range(3, 6)]
    await server.client.post(session_url(made[0], "pause"))
    await server.client.delete(session_url(made[2]))
    for limit in (1, 2, 3, 50):
        listed = await list_all(server.client, "/v1/sessions", limit=limit)
        assert [each["metadata"]["at"] for each in listed] == [5, 4, 3, 1, 0]
    assert listed[-1]["status"] == "paused", "the state of Redis, not the older one of the audit"
    SessionPage.model_validate_json((await server.client.get("/v1/sessions")).content)


async def test_list_can_be_filtered_by_status_and_mode(server: RestServer) -> None:
    running = await server.create_started()
    counting = await server.create(sync_mode="count_up")
    done = await server.create()
    await server.client.post(session_url(done, "complete"))
    await server.drain()

    async def ids(**params: Any) -> list[str]:
        return [each["session_id"] for each in await list_all(server.client, "/v1/sessions", limit=1, **params)]

    assert await ids(status="running") == [running["session_id"]]
    assert await ids(status="completed") == [done["session_id"]]
    assert await ids(sync_mode="count_up") == [counting["session_id"]]
    assert await ids(status="paused") == []
    await server.client.post(session_url(running, "pause"))
    assert await ids(status="running") == []
    assert await ids(status="paused") == [running["session_id"]]


async def test_list_by_labels_finds_live_and_past_sessions_that_have_all_of_them(server: RestServer) -> None:
    async def ids(*labels: str, **params: Any) -> set[str]:
        query = params | {"label": list(labels)}
        return {each["session_id"] for each in await list_all(server.client, "/v1/sessions", limit=1, **query)}

    past = await server.create(labels={"tournament": "spring", "round": "1"})
    moved = await server.create(labels={"round": "2"})
    await server.create()
    await server.client.post(session_url(past, "complete"))
    await server.drain()
    live = await server.create_started(labels={"tournament": "spring", "round": "2"})
    answer = await server.client.patch(session_url(moved), json={"labels": {"round": None, "hall": "b=1"}})
    assert answer.json()["data"]["labels"] == {"hall": "b=1"}
    assert await ids("tournament=spring") == {past["session_id"], live["session_id"]}
    assert await ids("tournament=spring", "round=2") == {live["session_id"]}
    assert await ids("tournament=spring", status="completed") == {past["session_id"]}
    assert await ids("round=2") == {live["session_id"]}, "the audit still has the former label of the other session"
    await server.drain()
    assert await ids("round=2") == {live["session_id"]}
    assert await ids("hall=b=1") == {moved["session_id"]}
    events = (await server.client.get(session_url(moved, "events"))).json()["data"]
    assert [each["event_type"] for each in events] == ["session_created", "session_updated"]
    for wrong in ("round", "=1", "Round=1", "round="):
        assert (await server.client.get("/v1/sessions", params={"label": wrong})).status_code == 400
    conflicting = await server.client.get("/v1/sessions", params={"label": ["round=1", "round=2"]})
    assert problem_of(conflicting) == (400, "VALIDATION_ERROR")


async def test_patch_changes_labels_and_metadata_together_or_one_of_them(server: RestServer) -> None:
    session = await server.create(labels={"round": "1"})
    both = await server.client.patch(session_url(session), json={"labels": {"round": "2"}, "metadata": {"a": 1}})
    assert (both.json()["data"]["version"], both.json()["data"]["metadata"]) == (2, {"a": 1})
    alone = await server.client.patch(session_url(session), json={"metadata": {"a": 2}})
    assert (alone.json()["data"]["version"], alone.json()["data"]["labels"]) == (3, {"round": "2"})
    assert problem_of(await server.client.patch(session_url(session), json={})) == (400, "VALIDATION_ERROR")


async def list_documents(sessions: SessionList, **query: Any) -> list[dict[str, Any]]:
    """Return the documents of all pages."""
    found: list[dict[str, Any]] = []
    while True:
        page = await sessions.read_page(DEFAULT_TENANT, ListQuery(**query))
        found += map(orjson.loads, page.documents)
        if page.next_cursor is None:
            return found
        assert page.documents, "only the last page can be empty"
        query["cursor"] = page.next_cursor


async def test_filtered_list_of_more_live_sessions_than_one_page_reads_is_complete(server: RestServer) -> None:
    parts = server.parts
    sessions = SessionList(parts.sessions, parts.store, parts.history, live_batch_size=2, max_live_batches=2)
    made = [await server.create(metadata={"at": at}) for at in range(14)]
    for at in (1, 7, 13):
        await server.client.post(session_url(made[at], "start"))
    await server.drain()
    for limit in (1, 2, 50):
        listed = await list_documents(sessions, status="running", limit=limit)
        assert [each["metadata"]["at"] for each in listed] == [13, 7, 1]
        everything = await list_documents(sessions, limit=limit)
        assert [each["metadata"]["at"] for each in everything] == list(range(13, -1, -1))


async def test_page_of_a_filter_without_matches_ends_after_some_reads_with_a_cursor(server: RestServer) -> None:
    parts = server.parts
    sessions = SessionList(
        parts.sessions, parts.store, parts.history, live_batch_size=2, max_live_batches=1, max_reads=2
    )
    oldest = await server.create_started()
    for _ in range(9):
        await server.create()
    found: list[bytes] = []
    sizes: list[int] = []
    query = ListQuery(status="running", limit=50)
    while True:
        page = await sessions.read_page(DEFAULT_TENANT, query)
        found += page.documents
        sizes.append(len(page.documents))
        if page.next_cursor is None:
            break
        query = query.model_copy(update={"cursor": page.next_cursor})
    assert sizes[:2] == [0, 0], "each of these pages read only four sessions"
    assert [orjson.loads(each)["session_id"] for each in found] == [oldest["session_id"]]


async def test_session_with_a_passed_deadline_is_listed_as_expired(server: RestServer) -> None:
    session = await server.create_started()
    await server.parts.rewind(session["session_id"], 700_000)
    [listed] = await list_all(server.client, "/v1/sessions")
    assert listed["status"] == "expired"
