"""Pages of sessions and events with large documents: each page ends by bytes, and all pages together are complete."""

import csv
import io
from typing import Any
from uuid import uuid4

import orjson
import pytest

from synckairos.history.page_size import MAX_PAGE_BYTES
from tests.integration.rest_server import RestServer, list_all, session_url

MAX_DOCUMENT_BYTES = 1 << 20


def large_session(**fields: Any) -> dict[str, Any]:
    """Return the fields of a session with a document of more than 500 kB."""
    participants = [
        {
            "participant_id": str(uuid4()),
            "participant_index": at,
            "total_time_ms": 60_000,
            "display_name": f"{at} " + "ä" * 150,
        }
        for at in range(1000)
    ]
    return {"participants": participants, "total_time_ms": 60_000_000, **fields}


async def play(server: RestServer, switches: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Create and start a large session, switch it, and return it with its document at each version from 1 on."""
    session = await server.create(**large_session())
    documents = [session, (await server.client.post(session_url(session, "start"))).json()["data"]]
    for _ in range(switches):
        assert (await server.client.post(session_url(session, "switch"))).status_code == 200
        documents.append((await server.client.get(session_url(session))).json()["data"])
    return session, documents


@pytest.mark.parametrize("drained", [0, 5, 10], ids=["outbox", "both", "postgres"])
async def test_events_with_large_snapshots_fill_pages_of_bounded_size(server: RestServer, drained: int) -> None:
    session, documents = await play(server, 4)
    if drained == 5:
        await server.drain()
    for _ in range(4):
        assert (await server.client.post(session_url(session, "switch"))).status_code == 200
        documents.append((await server.client.get(session_url(session))).json()["data"])
    if drained == 10:
        await server.drain()
    found: list[dict[str, Any]] = []
    sizes: list[int] = []
    params: dict[str, Any] = {"limit": 200, "snapshots": 1}
    while True:
        answer = await server.client.get(session_url(session, "events"), params=params)
        assert answer.status_code == 200
        sizes.append(len(answer.content))
        found += (body := answer.json())["data"]
        if body["next_cursor"] is None:
            break
        params["cursor"] = body["next_cursor"]
    assert [each["version"] for each in found] == list(range(1, 11))
    assert [each["state"] for each in found] == documents
    assert len(sizes) == 2
    assert MAX_PAGE_BYTES <= sizes[0] <= MAX_PAGE_BYTES + MAX_DOCUMENT_BYTES


async def test_events_without_snapshots_fit_on_one_page_if_documents_are_large(server: RestServer) -> None:
    session, _ = await play(server, 8)
    await server.drain()
    answer = await server.client.get(session_url(session, "events"), params={"limit": 200})
    assert [each["version"] for each in answer.json()["data"]] == list(range(1, 11))
    assert answer.json()["next_cursor"] is None


@pytest.mark.parametrize("media_type", ["text/csv", "application/x-ndjson"])
async def test_pages_of_large_snapshots_are_complete_in_every_format(server: RestServer, media_type: str) -> None:
    csv.field_size_limit(2 * MAX_DOCUMENT_BYTES)
    session, documents = await play(server, 5)
    await server.drain()
    found: list[dict[str, Any]] = []
    path: str | None = session_url(session, "events") + "?limit=200&snapshots=1"
    while path is not None:
        answer = await server.client.get(path, headers={"accept": media_type})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(media_type)
        if media_type == "text/csv":
            found += [orjson.loads(row["state"]) for row in csv.DictReader(io.StringIO(answer.text))]
        else:
            found += [orjson.loads(line)["state"] for line in answer.content.splitlines()]
        path = answer.links["next"]["url"] if "next" in answer.links else None
    assert found == documents


@pytest.mark.parametrize("place", ["redis", "both", "postgres"])
async def test_list_of_large_sessions_fills_pages_of_bounded_size(server: RestServer, place: str) -> None:
    made = [await server.create(**large_session(metadata={"at": at})) for at in range(10)]
    if place != "redis":
        for each in made[::2] if place == "both" else made:
            assert (await server.client.post(session_url(each, "cancel"))).status_code == 200
        await server.drain()
        if place == "postgres":
            await server.parts.pipe.call("DEL", *(server.parts.store.keys.session(each["session_id"]) for each in made))
    first = await server.client.get("/v1/sessions", params={"limit": 200})
    assert MAX_PAGE_BYTES <= len(first.content) <= MAX_PAGE_BYTES + MAX_DOCUMENT_BYTES
    listed = await list_all(server.client, "/v1/sessions", limit=200)
    assert [each["metadata"]["at"] for each in listed] == list(range(9, -1, -1))
