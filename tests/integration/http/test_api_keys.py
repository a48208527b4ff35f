"""REST routes of API keys."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from synckairos.config import Settings
from synckairos.identity.secret_text import PATTERN
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.rest_server import open_rest_server
from tests.integration.revocations.nodes import until
from tests.integration.stored_credentials.credential_nodes import CredentialNode, open_credential_node

PATH = "/v1/keys"
ADMIN = as_caller("root")
SESSION = "0f8fad5b-d9cb-469f-a165-70867728950e"
EVERYTHING = {"role": "controller", "grants": [{"sessions": ["*"]}]}


@pytest.fixture
async def node(settings: Settings) -> AsyncIterator[CredentialNode]:
    async with open_credential_node(settings) as opened:
        yield opened


@pytest.fixture
async def client(settings: Settings, node: CredentialNode) -> AsyncIterator[httpx.AsyncClient]:
    async with open_rest_server(settings, control_channel=node.node.channel, caller_identity=NamedCallers()) as server:
        server.client.headers.update(ADMIN)
        yield server.client


async def make(client: httpx.AsyncClient, **body: Any) -> tuple[str, str]:
    answer = await client.post(PATH, json={**EVERYTHING, **body})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()["data"]
    assert found.keys() == {"key_id", "key"}
    return found["key_id"], found["key"]


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_made_key_is_accepted_until_it_is_deleted(client: httpx.AsyncClient, node: CredentialNode) -> None:
    key_id, key = await make(client)
    assert re.fullmatch(PATTERN, key)
    assert key.split("_")[1] == key_id
    principal = await node.authenticate(key)
    assert (principal.actor, principal.role) == (f"key:{key_id}", "controller")
    for _ in range(2):
        assert (await client.delete(f"{PATH}/{key_id}")).status_code == 204
        assert await node.refusal_of(key) == "UNAUTHORIZED"


async def test_lists_show_everything_but_the_secret(client: httpx.AsyncClient, node: CredentialNode) -> None:
    first_id, first = await make(client)
    second_id, second = await make(
        client,
        role="participant",
        label="clock in the hall",
        grants=[{"sessions": [SESSION, "label:cup=spring"], "role": "viewer"}],
        participant_id=SESSION.upper(),
        expires_at="2100-01-01T01:00:00+01:00",
    )
    await node.authenticate(first)
    await node.verifier.refresh()
    answer = await client.get(PATH)
    assert answer.status_code == 200
    assert answer.json()["next_cursor"] is None
    newest, oldest = answer.json()["data"]
    for each in (newest, oldest):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", each.pop("created_at"))
    assert newest == {
        "key_id": second_id,
        "role": "participant",
        "label": "clock in the hall",
        "grants": [{"sessions": [SESSION, "label:cup=spring"], "role": "viewer"}],
        "participant_id": SESSION,
        "created_by": "user:root",
        "expires_at": "2100-01-01T00:00:00.000Z",
    }
    assert "last_used_at" in oldest
    assert first[-20:] not in answer.text
    assert second[-20:] not in answer.text
    page = (await client.get(PATH, params={"limit": 1})).json()
    assert [each["key_id"] for each in page["data"]] == [second_id]
    rest = (await client.get(PATH, params={"limit": 1, "cursor": page["next_cursor"]})).json()
    assert [each["key_id"] for each in rest["data"]] == [first_id]
    assert rest["next_cursor"] is None
    await client.delete(f"{PATH}/{second_id}")
    assert [each["key_id"] for each in (await client.get(PATH)).json()["data"]] == [first_id]


async def test_rotated_key_keeps_its_id_and_both_secrets_work(client: httpx.AsyncClient, node: CredentialNode) -> None:
    key_id, old = await make(client)
    answer = await client.post(f"{PATH}/{key_id}/rotate")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    new = answer.json()["data"]
    assert new["key_id"] == key_id
    assert new["key"] != old
    assert [await node.refusal_of(each) for each in (old, new["key"])] == ["", ""]


async def test_replay_has_no_secret_and_makes_no_second_key(client: httpx.AsyncClient, node: CredentialNode) -> None:
    headers = {"idempotency-key": "make-1"}
    first = await client.post(PATH, json=EVERYTHING, headers=headers)
    again = await client.post(PATH, json=EVERYTHING, headers=headers)
    key_id = first.json()["data"]["key_id"]
    assert again.json() == {"data": {"key_id": key_id}}
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    other = await client.post(PATH, json={**EVERYTHING, "label": "x"}, headers=headers)
    assert code_of(other) == (422, "IDEMPOTENCY_KEY_REUSED")
    rotation = {"idempotency-key": "rotate-1"}
    new = (await client.post(f"{PATH}/{key_id}/rotate", headers=rotation)).json()["data"]["key"]
    replayed = await client.post(f"{PATH}/{key_id}/rotate", headers=rotation)
    assert replayed.json() == {"data": {"key_id": key_id}}
    assert replayed.headers["idempotency-replayed"] == "true"
    assert await node.refusal_of(new) == ""
    assert len((await client.get(PATH)).json()["data"]) == 1


@pytest.mark.parametrize(
    ("body", "path"),
    [
        pytest.param({}, "role", id="no role"),
        pytest.param({"role": "operator"}, "role", id="operator"),
        pytest.param({"role": "participant"}, "", id="participant without an id"),
        pytest.param({"role": "viewer", "grants": [{"sessions": []}]}, "grants.0.sessions", id="no sessions"),
        pytest.param({"role": "viewer", "grants": [{"sessions": ["x"]}]}, "grants.0.sessions.0", id="no session"),
        pytest.param(
            {"role": "viewer", "grants": [{"sessions": ["*"], "role": "admin"}]}, "grants.0.role", id="granted admin"
        ),
        pytest.param({"role": "viewer", "grants": [{"sessions": ["*"]}] * 65}, "grants", id="65 grants"),
        pytest.param({"role": "admin", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at", id="in the past"),
        pytest.param({"role": "admin", "expires_at": "tomorrow"}, "expires_at", id="no instant"),
        pytest.param({"role": "admin", "label": ""}, "label", id="empty label"),
        pytest.param({"role": "admin", "tenant": "other"}, "tenant", id="another tenant"),
    ],
)
async def test_invalid_body_is_400_at_its_path(client: httpx.AsyncClient, body: dict[str, Any], path: str) -> None:
    answer = await client.post(PATH, json=body)
    assert code_of(answer) == (400, "VALIDATION_ERROR")
    assert [each["path"] for each in answer.json()["error"]["details"]] == [path]
    assert (await client.get(PATH)).json()["data"] == []


async def test_unknown_key_cannot_be_rotated(client: httpx.AsyncClient) -> None:
    key_id, _ = await make(client)
    assert code_of(await client.post(f"{PATH}/000000000000/rotate")) == (404, "CREDENTIAL_NOT_FOUND")
    assert code_of(await client.post(f"{PATH}/{SESSION}/rotate")) == (400, "VALIDATION_ERROR")
    await client.delete(f"{PATH}/{key_id}")
    assert code_of(await client.post(f"{PATH}/{key_id}/rotate")) == (404, "CREDENTIAL_NOT_FOUND")
    assert (await client.delete(f"{PATH}/000000000000")).status_code == 204


async def test_maximum_number_of_keys_holds(settings: Settings, node: CredentialNode) -> None:
    async with open_credential_node(settings, max_credentials=2) as small:
        ids = [(await small.add())[0] for _ in range(2)]
        with pytest.raises(Exception, match="At most 2 valid credentials"):
            await small.add()
        await small.end(ids[0])
        await small.add()


async def test_operations_are_403_without_authentication(settings: Settings) -> None:
    async with open_rest_server(settings) as server:
        for method, path in (
            ("GET", PATH),
            ("POST", PATH),
            ("POST", f"{PATH}/000000000000/rotate"),
            ("DELETE", f"{PATH}/000000000000"),
        ):
            answer = await server.client.request(method, path, json=EVERYTHING if path == PATH else None)
            assert code_of(answer) == (403, "FORBIDDEN"), (method, path)


async def test_deletion_reaches_another_instance_before_its_next_refresh(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    async with open_credential_node(settings) as other:
        key_id, key = await make(client)
        assert await other.refusal_of(key) == ""
        await client.delete(f"{PATH}/{key_id}")
        await until(lambda: other.verifier.cached_count == 0)
        assert await other.refusal_of(key) == "UNAUTHORIZED"
