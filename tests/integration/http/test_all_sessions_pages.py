"""The list of sessions contains live and audited sessions, each one time and in its current state."""

from typing import Any

import orjson

from synckairos.http.all_sessions_pages import SessionList
from synckairos.wire.query_parameters import ListQuery
from synckairos.wire.response_models import SessionPage
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


async def list_documents(sessions: SessionList, **query: Any) -> list[dict[str, Any]]:
    """Return the documents of all pages."""
    found: list[dict[str, Any]] = []
    while True:
        page = await sessions.read_page(ListQuery(**query))
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
        page = await sessions.read_page(query)
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
