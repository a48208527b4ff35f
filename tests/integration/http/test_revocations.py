"""REST routes of revocations and disconnections."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from synckairos.config import Settings
from synckairos.errors import Unauthorized
from synckairos.revocations.credential_ends import CredentialEnds
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.rest_server import open_rest_server
from tests.integration.revocations.nodes import Node, holder, open_node, until
from tests.principals import make_principal

ADMIN = as_caller("root")


@pytest.fixture
async def node(settings: Settings) -> AsyncIterator[Node]:
    async with open_node(settings) as opened:
        yield opened


@pytest.fixture
async def client(settings: Settings, node: Node) -> AsyncIterator[httpx.AsyncClient]:
    async with open_rest_server(settings, control_channel=node.channel, caller_identity=NamedCallers()) as server:
        yield server.client


async def revoke(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/revocations", json=body, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


async def test_instant_of_a_revocation_is_a_text_or_a_number_of_ms(client: httpx.AsyncClient) -> None:
    for given in ("1970-01-01T01:00:01+01:00", 1_000):
        made = await revoke(client, subject="alice", issued_before=given)
        assert made["issued_before"] == "1970-01-01T00:00:01.000Z"


async def test_revocations_are_listed_newest_first_page_by_page(client: httpx.AsyncClient, node: Node) -> None:
    made = [
        await revoke(client, jti="t1"),
        await revoke(client, subject="alice", issued_before="1970-01-01T01:00:01+01:00"),
        await revoke(client, grp="login-7", margin_s=60),
        await revoke(client, credential="k1"),
        await revoke(client, all=True),
    ]
    assert node.knows("t1")
    assert made[0].keys() == {"revocation_id", "at", "effective_at", "until", "revoked_by", "jti"}
    assert (made[0]["revoked_by"], made[0]["at"]) == ("user:root", made[0]["effective_at"])
    assert (made[1]["subject"], made[1]["issued_before"]) == ("alice", "1970-01-01T00:00:01.000Z")
    assert made[2]["effective_at"] > made[2]["at"]
    assert made[4]["all"] is True
    listed: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get(f"/v1/revocations?limit=2{cursor and f'&cursor={cursor}'}", headers=ADMIN)).json()
        listed += page["data"]
        cursor = page["next_cursor"]
    key = lambda each: (each["at"], each["revocation_id"])  # noqa: E731
    assert listed == sorted(made, key=key, reverse=True)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jti": "a", "subject": "b"},
        {"all": False},
        {"jti": ""},
        {"jti": "a b"},
        {"jti": "x" * 256},
        {"jti": "a", "issued_before": 5},
        {"subject": "a", "margin_s": 3_601},
        {"subject": "a", "issued_before": 2**60},
        {"subject": "a", "issued_before": True},
        {"subject": "a", "issued_before": 1.5},
        {"subject": "a", "issued_before": "yesterday"},
        {"subject": "a", "issued_before": "2026-01-31T12:00:00"},
    ],
)
async def test_revocation_without_exactly_one_valid_selector_is_400(
    client: httpx.AsyncClient, node: Node, body: dict[str, Any]
) -> None:
    answer = await client.post("/v1/revocations", json=body, headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert node.channel.list_revocations("default") == []


@pytest.mark.parametrize("role", ["viewer", "participant", "controller"])
async def test_only_admins_revoke_list_and_disconnect(client: httpx.AsyncClient, role: Any) -> None:
    caller = as_caller("bob", role)
    answers = [
        await client.post("/v1/revocations", json={"jti": "t1"}, headers=caller),
        await client.get("/v1/revocations", headers=caller),
        await client.post("/v1/disconnect", json={"subject": "alice"}, headers=caller),
    ]
    assert [(each.status_code, each.json()["error"]["code"]) for each in answers] == [(403, "FORBIDDEN")] * 3


async def test_disconnection_is_204_and_is_no_revocation(client: httpx.AsyncClient, node: Node) -> None:
    answer = await client.post("/v1/disconnect", json={"subject": "alice"}, headers=ADMIN)
    assert (answer.status_code, answer.content) == (204, b"")
    assert node.channel.list_revocations("default") == []
    assert not node.channel.is_revoked(holder("t1"))


async def test_revocation_without_a_margin_is_effective_although_the_estimate_of_the_time_is_late(node: Node) -> None:
    revocation = await node.channel.revoke(make_principal("admin"), token_id="t1")
    ends = CredentialEnds(lambda: revocation.at_ms - 50, node.channel)
    with pytest.raises(Unauthorized):
        ends.require_valid(holder("t1"))
    ends.require_valid(holder("t2"))


async def test_without_authentication_each_route_is_403_and_names_the_setting(settings: Settings) -> None:
    async with open_rest_server(settings) as server:
        answers = [
            await server.client.post("/v1/revocations", json={"jti": "t1"}),
            await server.client.get("/v1/revocations"),
            await server.client.post("/v1/disconnect", json={"subject": "alice"}),
        ]
    assert [each.status_code for each in answers] == [403] * 3
    assert all("SYNCKAIROS_AUTH" in each.json()["error"]["message"] for each in answers)


async def test_list_that_cannot_be_known_is_503(settings: Settings) -> None:
    async with (
        open_node(settings, stale_after_s=0.0) as node,
        open_rest_server(settings, control_channel=node.channel, caller_identity=NamedCallers()) as server,
    ):
        node.subscriber.unsubscribe(node.keys.control_channel)
        await until(lambda: True)
        answer = await server.client.get("/v1/revocations", headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")
