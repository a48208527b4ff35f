"""The access log: administrative acts one by one, refusals as numbers per minute, and its route."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest

from synckairos.access_log import recorder as recording
from synckairos.access_log.recorder import AccessRecorder
from synckairos.access_log.table import AccessTable
from synckairos.config import Settings
from synckairos.errors import StoreUnavailable
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.pool import PostgresPool
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.rest_server import open_rest_server
from tests.integration.signing_keys.key_nodes import open_key_node
from tests.principals import make_principal
from tests.tokens import signing_key

MINUTE_MS = 60_000
T0 = 1_750_000_000_000 // MINUTE_MS * MINUTE_MS
ADMIN = as_caller("alice")


@pytest.fixture
async def table(settings: Settings) -> AsyncIterator[AccessTable]:
    async with PostgresPool(settings.database_url, "test", access=cross_tenant_access(), max_connections=2) as pool:
        yield AccessTable(pool)


@pytest.fixture
def recorder(table: AccessTable) -> AccessRecorder:
    return AccessRecorder(table, lambda: T0 + 1_234)


@pytest.fixture
async def client(settings: Settings, recorder: AccessRecorder) -> AsyncIterator[httpx.AsyncClient]:
    async with open_rest_server(settings, access_recorder=recorder, caller_identity=NamedCallers()) as server:
        yield server.client


async def test_administrative_act_is_listed_with_its_caller_and_target(
    client: httpx.AsyncClient, recorder: AccessRecorder
) -> None:
    made = await client.post("/v1/webhooks", json={"url": "https://example.org/"}, headers=ADMIN)
    path = f"/v1/webhooks/{made.json()['data']['webhook_id']}"
    assert (await client.get(path, headers=ADMIN)).status_code == 200
    assert (await client.delete(path, headers=as_caller("ops", kind="key"))).status_code == 204
    await recorder.flush()
    listed = (await client.get("/v1/access?entry=act", headers=ADMIN)).json()
    assert listed["next_cursor"] is None
    for each in listed["data"]:
        del each["access_id"]
    common = {"entry": "act", "at": "2025-06-15T15:06:01.234Z", "role": "admin", "address": "10.0.0.1"} | {
        "reason": None,
        "count": 1,
    }
    assert listed["data"] == [
        common
        | {"kind": "key", "subject": "ops", "action": "DELETE /v1/webhooks/:wid", "target": path.rpartition("/")[2]}
        | {"status": 204},
        common
        | {"kind": "user", "subject": "alice", "action": "POST /v1/webhooks"}
        | {"target": path.rpartition("/")[2], "status": 201},
    ]


async def test_target_of_an_act_is_what_was_made_revoked_or_disconnected(
    settings: Settings, recorder: AccessRecorder
) -> None:
    async with (
        open_key_node(settings) as keys,
        open_rest_server(
            settings,
            access_recorder=recorder,
            caller_identity=NamedCallers(),
            control_channel=keys.node.channel,
            verifier=keys.verifier,
            signing_keys=keys.keys,
        ) as server,
    ):
        body = {"jwk": signing_key("ES256").jwk}
        added = await server.client.post("/v1/signing-keys", json=body, headers=ADMIN)
        revoked = await server.client.post("/v1/revocations", json={"jti": "t1"}, headers=ADMIN)
        closed = await server.client.post("/v1/disconnect", json={"subject": "bob"}, headers=ADMIN)
        assert [each.status_code for each in (added, revoked, closed)] == [201, 201, 204], added.text
        await recorder.flush()
        listed = (await server.client.get("/v1/access?entry=act", headers=ADMIN)).json()["data"]
    assert [(each["action"], each["target"]) for each in listed] == [
        ("POST /v1/disconnect", "bob"),
        ("POST /v1/revocations", revoked.json()["data"]["revocation_id"]),
        ("POST /v1/signing-keys", added.json()["data"]["signing_key_id"]),
    ]


async def test_refusals_of_one_address_and_minute_are_one_entry_also_from_two_instances(
    client: httpx.AsyncClient, recorder: AccessRecorder, table: AccessTable
) -> None:
    for _ in range(3):
        assert (await client.get("/v1/webhooks", headers=as_caller("bob", "viewer"))).status_code == 403
    other = AccessRecorder(table, lambda: T0 + MINUTE_MS - 1)
    other.record_refusal("10.0.0.1", "FORBIDDEN")
    other.record_refusal("10.0.0.2", "UNAUTHORIZED")
    await asyncio.gather(recorder.flush(), other.flush())
    listed = (await client.get("/v1/access?entry=refusal", headers=ADMIN)).json()["data"]
    found = {(each["address"], each["reason"], each["at"], each["count"]) for each in listed}
    assert found == {
        ("10.0.0.1", "FORBIDDEN", "2025-06-15T15:06:00.000Z", 4),
        ("10.0.0.2", "UNAUTHORIZED", "2025-06-15T15:06:00.000Z", 1),
    }
    assert {(each["subject"], each["action"]) for each in listed} == {(None, None)}


async def test_refused_administrative_act_is_no_act(client: httpx.AsyncClient, recorder: AccessRecorder) -> None:
    answer = await client.post("/v1/webhooks", json={"url": "https://example.org/"}, headers=as_caller("bob", "viewer"))
    assert answer.status_code == 403
    await recorder.flush()
    assert (await client.get("/v1/access?entry=act", headers=ADMIN)).json()["data"] == []


async def test_list_needs_the_role_admin(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/access", headers=as_caller("bob", "controller"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")


async def test_pages_of_the_list_contain_each_entry_once(client: httpx.AsyncClient, recorder: AccessRecorder) -> None:
    for number in range(5):
        recorder.record_act(make_principal("admin"), "POST /v1/exports", str(number), 202)
    await recorder.flush()
    targets: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get(f"/v1/access?limit=2{cursor and f'&cursor={cursor}'}", headers=ADMIN)).json()
        targets += [each["target"] for each in page["data"]]
        cursor = page["next_cursor"]
    assert targets == ["4", "3", "2", "1", "0"]
    answer = await client.get("/v1/access?cursor=x", headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["details"][0]["path"]) == (400, "cursor")


async def test_entries_stay_in_memory_while_postgres_refuses_and_are_written_once_afterwards(
    settings: Settings, recorder: AccessRecorder, table: AccessTable
) -> None:
    recorder.record_act(make_principal("admin"), "POST /v1/exports", "", 202)
    recorder.record_refusal("10.0.0.1", "UNAUTHORIZED")
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as database:
        await database.execute("ALTER TABLE sync_access RENAME TO away")
        with pytest.raises(StoreUnavailable):
            await recorder.flush()
        recorder.record_refusal("10.0.0.1", "UNAUTHORIZED")
        await database.execute("ALTER TABLE away RENAME TO sync_access")
    await recorder.flush()
    await recorder.flush()
    page = await table.read_page("default", cursor=None, limit=10, entry=None)
    assert sorted((each.entry, each.count) for each in page.items) == [("act", 1), ("refusal", 2)]


async def test_memory_of_refusals_is_bounded_and_keeps_their_total_number(
    recorder: AccessRecorder, table: AccessTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MAX_REFUSAL_ROWS", 2)
    for number in range(10):
        recorder.record_refusal(f"10.0.0.{number}", "UNAUTHORIZED")
    await recorder.flush()
    page = await table.read_page("default", cursor=None, limit=10, entry="refusal")
    assert {each.address: each.count for each in page.items} == {"10.0.0.0": 1, "10.0.0.1": 1, "": 8}


async def test_entries_older_than_the_limit_are_deleted(settings: Settings, table: AccessTable) -> None:
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as database:
        await database.execute(
            "INSERT INTO sync_access (tenant, entry, at, address, reason) SELECT 'default', 'refusal',"
            " now() - make_interval(days => days), '10.0.0.' || days, 'FORBIDDEN' FROM unnest(ARRAY[1, 89, 91]) AS days"
        )
    await table.delete_older_than(recording.KEEP_DAYS)
    page = await table.read_page("default", cursor=None, limit=10, entry=None)
    assert {each.address for each in page.items} == {"10.0.0.1", "10.0.0.89"}
