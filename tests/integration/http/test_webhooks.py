"""REST routes for webhook endpoints, signing secrets, test messages and the delivery log."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from synckairos.config import Settings
from synckairos.postgres.access import cross_tenant_access
from synckairos.webhooks import dispatcher
from tests.background_task import running
from tests.integration.rest_server import RestServer, open_rest_server
from tests.integration.webhooks.receiver import Receiver
from tests.waiting import eventually

UNKNOWN = "/v1/webhooks/00000000-0000-4000-8000-000000000000"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Allow webhooks to this machine with plain HTTP."""
    return settings.model_copy(update={"webhook_allowed_networks": ["127.0.0.0/8"], "webhook_allow_http": True})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as opened:
        yield opened


@pytest.fixture
async def dispatching(settings: Settings) -> AsyncIterator[None]:
    async with running(dispatcher.run_dispatcher(settings)):
        yield


async def register(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/webhooks", json={"url": "https://example.org/hook", **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()["data"]
    assert answer.headers["location"] == f"/v1/webhooks/{found['webhook_id']}"
    return found


async def test_endpoint_is_registered_listed_changed_disabled_and_deleted(client: httpx.AsyncClient) -> None:
    one = await register(client, event_types=["session_expired", "session_completed"], metadata={"club": 7})
    other = await register(client, description="the other", snapshots=True)
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", one.pop("secret"))
    del other["secret"]
    assert one["event_types"] == ["session_expired", "session_completed"]
    assert one["enabled"]
    assert (await client.get("/v1/webhooks")).json() == {"data": [one, other], "next_cursor": None}

    path = f"/v1/webhooks/{one['webhook_id']}"
    assert (await client.get(path)).json()["data"] == one
    changes = {"url": "https://example.net/", "metadata": None, "enabled": False}
    changed = (await client.patch(path, json=changes)).json()["data"]
    assert changed["url"] == "https://example.net/"
    assert changed["event_types"] == one["event_types"]
    assert changed["metadata"] is None
    assert (changed["enabled"], changed["disabled_reason"]) == (False, "by request")

    refused = await client.post(f"{path}/test")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "WEBHOOK_DISABLED")
    enabled = (await client.patch(path, json={"enabled": True})).json()["data"]
    assert (enabled["enabled"], enabled["disabled_reason"]) == (True, None)

    assert (await client.delete(path)).status_code == 204
    assert (await client.delete(path)).status_code == 204
    assert (await client.get("/v1/webhooks")).json()["data"] == [other]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "url"),
        ({"url": "ftp://example.org"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://user@example.org/"}, "url"),
        ({"url": "https://example.org/", "event_types": ["session_gone"]}, "event_types.0"),
        ({"url": "https://example.org/", "event_types": []}, "event_types"),
        ({"url": "https://example.org/", "event_types": None}, "event_types"),
        ({"url": "https://example.org/", "secret": "whsec_eHh4"}, "secret"),
        ({"url": "https://example.org/", "metadata": 7}, "metadata"),
    ],
)
async def test_invalid_endpoint_is_refused_with_the_path_of_the_fault(
    client: httpx.AsyncClient, body: Any, path: str
) -> None:
    answer = await client.post("/v1/webhooks", json=body)
    assert answer.status_code == 400
    assert [each["path"] for each in answer.json()["error"]["details"]] == [path]
    assert (await client.get("/v1/webhooks")).json()["data"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", UNKNOWN), ("PATCH", UNKNOWN), ("GET", f"{UNKNOWN}/deliveries"), ("POST", f"{UNKNOWN}/test"),
        ("POST", f"{UNKNOWN}/rotate"), ("POST", f"{UNKNOWN}/deliveries/00000000-0000-4000-8000-000000000000/resend"),
    ],
)  # fmt: skip
async def test_unknown_endpoint_is_not_found(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path, json={} if method != "GET" else None)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


async def test_concurrent_registrations_with_one_key_create_one_endpoint(client: httpx.AsyncClient) -> None:
    body, headers = {"url": "https://example.org/"}, {"idempotency-key": "one"}
    answers = await asyncio.gather(*(client.post("/v1/webhooks", json=body, headers=headers) for _ in range(5)))
    assert {each.status_code for each in answers} == {201}
    first, *replays = sorted(answers, key=lambda answer: "idempotency-replayed" in answer.headers)
    created = first.json()["data"]
    assert created.pop("secret").startswith("whsec_")
    assert [each.headers.get("idempotency-replayed") for each in replays] == ["true"] * 4
    assert [each.json()["data"] for each in replays] == [created] * 4
    assert {each.headers["location"] for each in answers} == {f"/v1/webhooks/{created['webhook_id']}"}
    assert len((await client.get("/v1/webhooks")).json()["data"]) == 1
    other = await client.post("/v1/webhooks", json={"url": "https://example.net/"}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_repeated_rotation_returns_no_secret(client: httpx.AsyncClient) -> None:
    webhook_id = (await register(client))["webhook_id"]
    headers = {"idempotency-key": "turn"}
    first, again = [await client.post(f"/v1/webhooks/{webhook_id}/rotate", headers=headers) for _ in range(2)]
    assert first.json()["data"]["secret"].startswith("whsec_")
    assert again.json() == {"data": {"webhook_id": webhook_id}}


async def test_secret_that_the_previous_release_saved_is_not_replayed(server: RestServer) -> None:
    body, headers = {"url": "https://example.org/"}, {"idempotency-key": "saved-before"}
    created = (await server.client.post("/v1/webhooks", json=body, headers=headers)).json()
    statement = b"UPDATE webhook_answers SET body = %(body)s WHERE key = '::saved-before' RETURNING key"
    assert (
        len(await server.parts.pool.fetch(statement, {"body": orjson.dumps(created)}, access=cross_tenant_access()))
        == 1
    )
    again = await server.client.post("/v1/webhooks", json=body, headers=headers)
    del created["data"]["secret"]
    assert (again.headers["idempotency-replayed"], again.json()) == ("true", created)


async def test_creating_more_endpoints_than_the_maximum_is_refused(settings: Settings) -> None:
    async with open_rest_server(settings, max_webhooks=2) as server:
        for _ in range(2):
            await register(server.client)
        refused = await server.client.post("/v1/webhooks", json={"url": "https://example.org/"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "TOO_MANY_WEBHOOKS")


async def test_concurrent_creations_do_not_exceed_the_maximum_of_endpoints(settings: Settings) -> None:
    body = {"url": "https://example.org/"}
    async with open_rest_server(settings, max_webhooks=3) as server:
        answers = await asyncio.gather(*(server.client.post("/v1/webhooks", json=body) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 9


async def test_plain_http_and_loopback_are_refused_by_default(settings: Settings) -> None:
    strict = settings.model_copy(update={"webhook_allowed_networks": [], "webhook_allow_http": False})
    async with open_rest_server(strict) as server:
        for url in ("http://example.org/", "https://127.0.0.1/"):
            assert (await server.client.post("/v1/webhooks", json={"url": url})).status_code == 400


async def test_delivery_is_sent_logged_and_can_be_sent_again(
    server: RestServer, receiver: Receiver, dispatching: None
) -> None:
    client = server.client
    hook = await register(client, url=receiver.url, event_types=["session_started"])
    path = f"/v1/webhooks/{hook['webhook_id']}"
    session = await server.create_started()
    await server.create_started()
    await server.drain()

    async def deliveries(status: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await client.get(f"{path}/deliveries?status={status}")).json()["data"]
        return found

    async def both() -> bool:
        return len(await deliveries("delivered")) == 2

    await eventually(both)
    events = (await client.get(f"/v1/sessions/{session['session_id']}/events")).json()["data"]
    message = receiver.received[0].verify(hook["secret"])
    assert message["data"] == {"session_id": session["session_id"], **events[1]}
    assert message["timestamp"] == events[1]["occurred_at"]

    page = (await client.get(f"{path}/deliveries?limit=1")).json()
    rest = (await client.get(f"{path}/deliveries?limit=1&cursor={page['next_cursor']}")).json()
    assert rest["next_cursor"] is None
    (delivery,) = rest["data"]
    assert delivery["delivery_id"] == receiver.received[0].message_id
    assert (delivery["session_id"], delivery["version"]) == (session["session_id"], 2)
    (attempt,) = delivery["attempts"]
    assert (attempt["status_code"], attempt["error"], attempt["next_try_at"]) == (204, None, None)

    rotated = (await client.post(f"{path}/rotate", json={"overlap_s": 0})).json()["data"]
    again = await client.post(f"{path}/deliveries/{delivery['delivery_id']}/resend")
    assert (again.status_code, again.json()["data"]["status"]) == (202, "pending")
    test = await client.post(f"{path}/test")
    assert (test.status_code, test.json()["data"]["event_type"]) == (202, "webhook_test")

    async def four() -> bool:
        return len(receiver.received) == 4

    await eventually(four)
    assert [each.verify(rotated["secret"])["type"] for each in receiver.received[2:]] == [
        "session_started",
        "webhook_test",
    ]
