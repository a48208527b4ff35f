"""`GET /v1/me`: the description of the caller, with and without authentication."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from synckairos.config import Settings
from synckairos.wire.own_credential import OwnCredentialAnswer
from tests.integration.authentication import bearer, make_authenticator, make_token
from tests.integration.rest_server import RestServer, chess_body, open_rest_server

OWN, OTHER = "7c9e6679-7425-40de-944b-e07fc1f90ae7", "7c9e6679-7425-40de-944b-e07fc1f90ae8"
PERSON = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings, authenticator=make_authenticator(settings)) as opened:
        yield opened


async def describe(server: RestServer, query: str = "", **claims: Any) -> dict[str, Any]:
    answer = await server.client.get(f"/v1/me{query}", headers=bearer(make_token(**claims)))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    OwnCredentialAnswer.model_validate_json(answer.content)
    found: dict[str, Any] = answer.json()["data"]
    return found


async def test_caller_learns_its_name_its_highest_role_and_the_time_to_its_expiry(server: RestServer) -> None:
    found = await describe(server, role="participant", participant_id=PERSON)
    assert 590_000 < found.pop("expires_in_ms") <= 600_000
    assert found == {
        "kind": "user", "tenant": "default", "subject": "alice", "role": "participant", "participant_id": PERSON,
        "session_role": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("claims", "session_id", "expected"),
    [
        ({"role": "admin"}, OWN, "admin"),
        ({"role": "controller"}, OWN, None),
        ({"role": "controller", "grants": [{"sessions": [OWN]}]}, OWN, "controller"),
        ({"role": "controller", "grants": [{"sessions": [OWN]}]}, OWN.upper(), "controller"),
        ({"role": "controller", "grants": [{"sessions": [OWN]}]}, OTHER, None),
        ({"role": "viewer", "grants": [{"sessions": ["*"], "role": "controller"}]}, OTHER, "viewer"),
    ],
)
async def test_role_on_a_session_is_the_lower_of_ceiling_and_grant(
    server: RestServer, claims: dict[str, Any], session_id: str, expected: str | None
) -> None:
    assert (await describe(server, f"?session_id={session_id}", **claims))["session_role"] == expected


async def test_labels_of_the_session_decide_the_role_if_a_grant_names_them(server: RestServer) -> None:
    body = chess_body(labels={"class": "7b"})
    created = await server.client.post("/v1/sessions", json=body, headers=bearer(make_token(role="admin")))
    session_id = created.json()["data"]["session_id"]
    for label, expected in (("class=7b", "participant"), ("class=7c", None)):
        claims = {"role": "controller", "grants": [{"sessions": [f"label:{label}"], "role": "participant"}]}
        for requested, role in ((session_id, expected), (OTHER, None)):
            assert (await describe(server, f"?session_id={requested}", **claims))["session_role"] == role


async def test_missing_token_is_401_and_a_bad_session_id_is_400(server: RestServer) -> None:
    assert (await server.client.get("/v1/me")).status_code == 401
    answer = await server.client.get("/v1/me?session_id=x", headers=bearer(make_token()))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")


async def test_without_authentication_each_caller_is_an_anonymous_admin(settings: Settings) -> None:
    async with open_rest_server(settings) as server:
        answer = await server.client.get(f"/v1/me?session_id={OWN}")
        assert answer.json()["data"] == {
            "kind": "anonymous", "tenant": "default", "subject": "anonymous", "role": "admin", "participant_id": None,
            "expires_in_ms": None, "session_role": "admin",
        }  # fmt: skip
