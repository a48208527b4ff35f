"""REST routes of links and session tokens, with real tokens."""

import logging
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from synckairos.config import Settings
from synckairos.http.allowed_origins import AllowedOrigins
from synckairos.identity.secret_text import PATTERN
from synckairos.stored_credentials import new_link
from synckairos.stored_credentials import table as credential_table
from synckairos.tenants.table import TenantChanges
from tests.integration.authentication import authentication_settings, bearer, make_token
from tests.integration.rest_server import RestServer, chess_body, open_rest_server
from tests.integration.stored_credentials.credential_nodes import (
    CredentialNode,
    open_credential_node,
    without_table,
)
from tests.integration.tenants.tenant_nodes import open_tenant_node

PATH = "/v1/links"
PERSON = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@dataclass(frozen=True, slots=True)
class Links:
    """A server with authentication, and one session. Requests have the token of an admin by default."""

    server: RestServer
    node: CredentialNode
    session_id: str

    async def make(self, headers: dict[str, str] | None = None, **body: Any) -> dict[str, str]:
        answer = await self.server.client.post(
            PATH, json={"session_id": self.session_id, "role": "viewer", **body}, headers=headers
        )
        assert answer.status_code == 201, answer.text
        assert answer.headers["cache-control"] == "no-store"
        found: dict[str, str] = answer.json()["data"]
        return found

    async def redeem(self, secret: str, **options: Any) -> httpx.Response:
        return await self.server.client.post(
            f"{PATH}/redeem", json={"secret": secret}, headers={"authorization": ""}, **options
        )

    async def token(self, **body: Any) -> dict[str, str]:
        """Make and redeem a link. Return the header with the session token."""
        answer = await self.redeem((await self.make(**body))["secret"])
        assert answer.status_code == 200, answer.text
        return bearer(answer.json()["data"]["token"])

    async def get(self, path: str, headers: dict[str, str]) -> int:
        return (await self.server.client.get(path, headers=headers)).status_code


@pytest.fixture
async def links(settings: Settings) -> AsyncIterator[Links]:
    settings = authentication_settings(settings)
    async with (
        open_credential_node(settings) as node,
        open_rest_server(
            settings,
            control_channel=node.node.channel,
            authenticator=node.authenticator,
            link_redeemer=node.redeemer,
        ) as server,
    ):
        server.client.headers.update(bearer(make_token(role="admin", sub="root")))
        session = await server.create(session_id=str(uuid4()))
        yield Links(server, node, session["session_id"])


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_redeemed_link_reaches_its_session_only(links: Links) -> None:
    made = await links.make(role="participant", participant_id=PERSON.upper(), label="row 3")
    assert made.keys() == {"link_id", "secret", "url"}
    assert re.fullmatch(PATTERN, made["secret"])
    assert made["url"] == f"http://127.0.0.1:3000/desk/{links.session_id}#link={made['secret']}"
    answer = await links.redeem(made["secret"])
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert "set-cookie" not in answer.headers
    found = answer.json()["data"]
    token = bearer(found.pop("token"))
    assert 12 * 3_600_000 - 60_000 < found.pop("expires_in_ms") <= 12 * 3_600_000
    assert found == {"session_id": links.session_id, "role": "participant", "participant_id": PERSON}
    other = (await links.server.create(session_id=str(uuid4())))["session_id"]
    assert await links.get(f"/v1/sessions/{links.session_id}", token) == 200
    assert await links.get(f"/v1/sessions/{other}", token) == 404
    caller = (await links.server.client.get("/v1/me", headers=token)).json()["data"]
    assert (caller["kind"], caller["subject"], caller["role"]) == ("link", f"{made['link_id']}:1", "participant")


async def test_default_expiry_is_a_day_and_the_maximum_a_year(links: Links) -> None:
    await links.make()
    for expires_at in ("2100-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "tomorrow"):
        body = {"session_id": links.session_id, "role": "viewer", "expires_at": expires_at}
        answer = await links.server.client.post(PATH, json=body)
        assert code_of(answer) == (400, "VALIDATION_ERROR")
        assert [each["path"] for each in answer.json()["error"]["details"]] == ["expires_at"]
    (row,) = (await links.server.client.get(PATH)).json()["data"]
    assert row["expires_at"][:16] > row["created_at"][:16]
    assert row["expires_at"][10:] == row["created_at"][10:]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        pytest.param({"role": "admin"}, "role", id="admin"),
        pytest.param({"role": "participant"}, "", id="participant without an id"),
        pytest.param({"max_uses": 0}, "max_uses", id="no uses"),
        pytest.param({"max_uses": 100_001}, "max_uses", id="too many uses"),
        pytest.param({"session_id": "x"}, "session_id", id="no id"),
        pytest.param({"label": ""}, "label", id="empty label"),
        pytest.param({"tenant": "acme"}, "tenant", id="another tenant"),
    ],
)
async def test_invalid_body_is_400_at_its_path(links: Links, body: dict[str, Any], path: str) -> None:
    answer = await links.server.client.post(PATH, json={"session_id": links.session_id, "role": "viewer", **body})
    assert code_of(answer) == (400, "VALIDATION_ERROR")
    assert [each["path"] for each in answer.json()["error"]["details"]] == [path]


async def test_lists_show_everything_but_the_secret(links: Links) -> None:
    first = await links.make(label="hall", max_uses=3)
    await links.redeem(first["secret"])
    second = await links.make(role="controller")
    answer = await links.server.client.get(PATH, params={"session_id": links.session_id})
    newest, oldest = answer.json()["data"]
    assert newest["link_id"] == second["link_id"]
    for name in ("created_at", "expires_at", "last_used_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", oldest.pop(name))
    assert oldest == {
        "link_id": first["link_id"],
        "session_id": links.session_id,
        "role": "viewer",
        "label": "hall",
        "max_uses": 3,
        "uses": 1,
        "created_by": "user:root",
    }
    assert first["secret"][-49:] not in answer.text
    page = (await links.server.client.get(PATH, params={"limit": 1})).json()
    rest = (await links.server.client.get(PATH, params={"limit": 1, "cursor": page["next_cursor"]})).json()
    assert [each["link_id"] for each in page["data"] + rest["data"]] == [second["link_id"], first["link_id"]]
    assert (await links.server.client.get(PATH, params={"session_id": str(uuid4())})).json()["data"] == []


async def test_end_of_a_link_ends_its_tokens(links: Links) -> None:
    made = await links.make()
    token = bearer((await links.redeem(made["secret"])).json()["data"]["token"])
    for _ in range(2):
        assert (await links.server.client.delete(f"{PATH}/{made['link_id']}")).status_code == 204
        assert await links.get("/v1/me", token) == 401
    refused = await links.redeem(made["secret"])
    unknown = await links.redeem("synckairos_")
    assert code_of(refused) == (401, "UNAUTHORIZED")
    assert refused.json()["detail"] == unknown.json()["detail"]
    assert (await links.server.client.get(PATH)).json()["data"] == []


async def test_controller_manages_links_of_its_sessions_only(links: Links) -> None:
    controller = await links.token(role="controller")
    foreign = (await links.server.create(session_id=str(uuid4())))["session_id"]
    foreign_link = (await links.make(session_id=foreign))["link_id"]
    own = await links.make(headers=controller, role="controller")
    client = links.server.client
    for session_id in (foreign, str(uuid4())):
        body = {"session_id": session_id, "role": "viewer"}
        assert code_of(await client.post(PATH, json=body, headers=controller)) == (404, "SESSION_NOT_FOUND")
        listed = await client.get(PATH, params={"session_id": session_id}, headers=controller)
        assert code_of(listed) == (404, "SESSION_NOT_FOUND")
    assert code_of(await client.get(PATH, headers=controller)) == (403, "FORBIDDEN")
    for link_id in (foreign_link, "000000000000"):
        ended = await client.delete(f"{PATH}/{link_id}", headers=controller)
        assert code_of(ended) == (404, "CREDENTIAL_NOT_FOUND")
    listed = await client.get(PATH, params={"session_id": links.session_id}, headers=controller)
    assert listed.json()["data"][0]["link_id"] == own["link_id"]
    assert (await client.delete(f"{PATH}/{own['link_id']}", headers=controller)).status_code == 204
    for role in ("viewer", "participant"):
        caller = await links.token(role=role, participant_id=PERSON)
        body = {"session_id": links.session_id, "role": "viewer"}
        assert code_of(await client.post(PATH, json=body, headers=caller)) == (403, "FORBIDDEN")
        assert code_of(await client.delete(f"{PATH}/{foreign_link}", headers=caller)) == (403, "FORBIDDEN")


@pytest.mark.parametrize("by", ["end", "revocation"])
async def test_link_of_a_controller_ends_with_its_link(links: Links, by: str) -> None:
    """No worker runs, so the instance itself ends the link below another one."""
    parent = await links.make(role="controller")
    controller = bearer((await links.redeem(parent["secret"])).json()["data"]["token"])
    child = bearer((await links.redeem((await links.make(headers=controller))["secret"])).json()["data"]["token"])
    assert await links.get("/v1/me", child) == 200
    if by == "end":
        await links.server.client.delete(f"{PATH}/{parent['link_id']}")
    else:
        await links.server.client.post("/v1/revocations", json={"credential": parent["link_id"]})
    assert [await links.get("/v1/me", each) for each in (controller, child)] == [401, 401]


async def test_links_of_a_link_are_bounded_in_uses_and_in_number(links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link with five uses of which one is taken makes links of at most four uses, and three links in all."""
    monkeypatch.setattr(credential_table, "MAX_LINKS_BELOW_LINK", 3)
    controller = await links.token(role="controller", max_uses=5)
    client, body = links.server.client, {"session_id": links.session_id, "role": "controller"}
    refused = await client.post(PATH, json={**body, "max_uses": 5}, headers=controller)
    assert (code_of(refused), refused.json()["error"]["details"][0]["path"]) == ((400, "VALIDATION_ERROR"), "max_uses")
    child = await links.make(headers=controller, role="controller")
    assert (await client.get(PATH)).json()["data"][0]["max_uses"] == 4
    below = bearer((await links.redeem(child["secret"])).json()["data"]["token"])
    await links.make(headers=below, max_uses=1)
    last = await links.make(headers=controller)
    for headers in (controller, below):
        assert code_of(await client.post(PATH, json=body, headers=headers)) == (409, "TOO_MANY_CREDENTIALS")
    await links.make(max_uses=100_000)
    await client.delete(f"{PATH}/{last['link_id']}")
    await links.make(headers=below)
    used_up = await links.token(role="controller", max_uses=1)
    assert code_of(await client.post(PATH, json=body, headers=used_up)) == (400, "VALIDATION_ERROR")


async def test_links_of_one_caller_below_admin_are_bounded(links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_link, "MAX_LINKS_OF_CREATOR", 1)
    grants = [{"sessions": [links.session_id]}]
    first, second = [bearer(make_token(sub=each, role="controller", grants=grants)) for each in ("ann", "bob")]
    for headers in (first, second):
        await links.make(headers=headers)
        body = {"session_id": links.session_id, "role": "viewer"}
        answer = await links.server.client.post(PATH, json=body, headers=headers)
        assert code_of(answer) == (409, "TOO_MANY_CREDENTIALS")
    for _ in range(2):
        await links.make()


async def test_replay_has_no_secret_and_makes_no_second_link(links: Links) -> None:
    headers, body = {"idempotency-key": "make-1"}, {"session_id": links.session_id, "role": "viewer"}
    first = await links.server.client.post(PATH, json=body, headers=headers)
    again = await links.server.client.post(PATH, json=body, headers=headers)
    assert again.json() == {"data": {"link_id": first.json()["data"]["link_id"]}}
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    other = await links.server.client.post(PATH, json={**body, "label": "x"}, headers=headers)
    assert code_of(other) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len((await links.server.client.get(PATH)).json()["data"]) == 1


async def test_missing_session_is_404(links: Links) -> None:
    answer = await links.server.client.post(PATH, json={"session_id": str(uuid4()), "role": "viewer"})
    assert code_of(answer) == (404, "SESSION_NOT_FOUND")


async def test_url_has_the_scheme_of_a_trusted_proxy(settings: Settings) -> None:
    trusting = authentication_settings(settings).model_copy(
        update={"trusted_proxies": ["127.0.0.1"], "root_path": "/clock"}
    )
    async with (
        open_credential_node(trusting) as node,
        open_rest_server(
            trusting,
            control_channel=node.node.channel,
            authenticator=node.authenticator,
            link_redeemer=node.redeemer,
        ) as server,
    ):
        server.client.headers.update(bearer(make_token(role="admin", sub="root")))
        server.client.headers["x-forwarded-proto"] = "https"
        session = (await server.client.post("/v1/sessions", json=chess_body())).json()["data"]["session_id"]
        body = {"session_id": session, "role": "viewer"}
        for path in ("/clock/v1/links", "/v1/links"):
            url = (await server.client.post(path, json=body)).json()["data"]["url"]
            assert url.startswith(f"https://127.0.0.1:3000/clock/view/{session}#link=synckairos_")


async def test_redemption_is_503_while_postgres_is_away(links: Links, settings: Settings) -> None:
    secret = (await links.make())["secret"]
    async with without_table(settings):
        assert code_of(await links.redeem(secret)) == (503, "STORE_UNAVAILABLE")
    assert (await links.redeem(secret)).status_code == 200


async def test_operations_are_403_without_authentication(settings: Settings) -> None:
    async with open_rest_server(settings) as server:
        session = (await server.create())["session_id"]
        for method, path, body in (
            ("GET", PATH, None),
            ("POST", PATH, {"session_id": session, "role": "viewer"}),
            ("DELETE", f"{PATH}/000000000000", None),
            ("POST", f"{PATH}/redeem", {"secret": "x"}),
            ("POST", "/v1/tokens", {}),
            ("DELETE", "/v1/tokens", None),
        ):
            answer = await server.client.request(method, path, json=body)
            assert code_of(answer) == (403, "FORBIDDEN"), (method, path)
            assert "SYNCKAIROS_AUTH" in answer.json()["detail"]


async def test_key_is_exchanged_for_a_session_token_that_signs_out(links: Links) -> None:
    key_id, key = await links.node.add(role="admin", grants=())
    client = links.server.client
    answer = await client.post("/v1/tokens", json={}, headers=bearer(key) | {"idempotency-key": "t"})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    data = answer.json()["data"]
    assert 3_600_000 - 60_000 < data["expires_in_ms"] <= 3_600_000
    replayed = await client.post("/v1/tokens", json={}, headers=bearer(key) | {"idempotency-key": "t"})
    assert replayed.headers["idempotency-replayed"] == "true"
    assert replayed.json()["data"].keys() == {"expires_in_ms"}
    token = bearer(data["token"])
    caller = (await client.get("/v1/me", headers=token)).json()["data"]
    assert (caller["kind"], caller["subject"], caller["role"]) == ("key", key_id, "admin")
    other = bearer((await client.post("/v1/tokens", headers=bearer(key))).json()["data"]["token"])
    for refused in (token, bearer(make_token(role="admin"))):
        assert code_of(await client.post("/v1/tokens", json={}, headers=refused)) == (403, "FORBIDDEN")
    assert (await client.delete("/v1/tokens", headers=token)).status_code == 204
    assert [await links.get("/v1/me", each) for each in (token, other, bearer(key))] == [401, 200, 200]
    for refused in (bearer(key), bearer(make_token(role="admin"))):
        assert code_of(await client.delete("/v1/tokens", headers=refused)) == (403, "FORBIDDEN")
    assert (await client.delete(f"/v1/keys/{key_id}")).status_code == 204
    assert [await links.get("/v1/me", each) for each in (other, bearer(key))] == [401, 401]


async def test_sign_out_of_one_device_keeps_the_link(links: Links) -> None:
    made = await links.make()
    left, kept = [bearer((await links.redeem(made["secret"])).json()["data"]["token"]) for _ in range(2)]
    assert (await links.server.client.delete("/v1/tokens", headers=left)).status_code == 204
    assert [await links.get("/v1/me", each) for each in (left, kept)] == [401, 200]
    assert (await links.redeem(made["secret"])).status_code == 200


async def test_number_of_session_tokens_of_a_key_is_bounded(settings: Settings) -> None:
    async with open_credential_node(settings, max_credentials=2) as node:
        first, second = [(await node.add())[0] for _ in range(2)]
        for parent_id in (first, first, second):
            await node.add(kind="session", parent_id=parent_id, subject=parent_id)
        with pytest.raises(Exception, match="At most 2 valid credentials of the kind session"):
            await node.add(kind="session", parent_id=first, subject=first)


async def test_secrets_are_in_no_table_and_in_no_log(
    links: Links, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    client = links.server.client
    with caplog.at_level(logging.DEBUG):
        made = await links.make()
        answer = await links.redeem(made["secret"])
        await links.redeem(made["secret"][:-1])
        token = answer.json()["data"]["token"]
        await links.get("/v1/me", bearer(token))
        made_key = await client.post("/v1/keys", json={"role": "admin"}, headers={"idempotency-key": "make-1"})
        key = made_key.json()["data"]
        rotated = (await client.post(f"/v1/keys/{key['key_id']}/rotate")).json()["data"]["key"]
        of_key = (await client.post("/v1/tokens", headers=bearer(rotated))).json()["data"]["token"]
        for text in (key["key"], rotated, of_key):
            assert (await client.get("/v1/me", headers=bearer(text))).status_code == 200
            assert (await client.get("/v1/me", headers=bearer(text[:-1]))).status_code == 401
    secrets = (made["secret"], token, key["key"], rotated, of_key)
    async with await psycopg.AsyncConnection.connect(settings.database_url) as database:
        tables = await (
            await database.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        ).fetchall()
        for (table,) in tables:
            rows = repr(await (await database.execute(f"SELECT t::text FROM {table} AS t".encode())).fetchall())
            for text in secrets:
                assert text[-49:-6] not in rows, table
    logged = "\n".join(f"{each.getMessage()} {each.__dict__}" for each in caplog.records)
    assert "/v1/me" in logged
    for text in secrets:
        assert text[-49:-6] not in logged


async def test_page_of_another_tenant_and_a_closed_tenant_take_no_use(settings: Settings) -> None:
    with_auth = authentication_settings(settings)
    origins = AllowedOrigins(["https://common.example"])
    async with open_tenant_node(with_auth) as tenants, open_credential_node(with_auth, tenants=tenants.tenants) as node:
        origins.use_tenants(tenants.tenants)
        await tenants.add("acme", origins=("https://acme.example",))
        async with open_rest_server(
            with_auth,
            control_channel=node.node.channel,
            authenticator=node.authenticator,
            link_redeemer=node.redeemer,
            tenants=tenants.tenants,
            origins=origins,
        ) as server:
            _, secret = await node.add_link(tenant="acme", max_uses=2)
            _, common = await node.add_link(tenant="other", max_uses=1)
            await tenants.add("closed")
            await tenants.set_status("closed", "suspended")
            _, closed = await node.add_link(tenant="closed", max_uses=1)
            for origin, of, status, code in (
                ("https://common.example", secret, 403, "FORBIDDEN"),
                ("https://acme.example", common, 403, "FORBIDDEN"),
                ("https://common.example", common, 200, ""),
                ("https://acme.example", secret, 200, ""),
                ("http://127.0.0.1:3000", secret, 200, ""),
                ("https://acme.example", secret, 401, "UNAUTHORIZED"),
                ("https://common.example", closed, 403, "TENANT_SUSPENDED"),
            ):
                answer = await server.client.post(f"{PATH}/redeem", json={"secret": of}, headers={"origin": origin})
                assert answer.status_code == status, (origin, answer.text)
                assert ("token" in answer.text) == (status == 200)
                assert answer.json().get("error", {}).get("code", "") == code
            await tenants.set_status("closed", "active")
            answer = await server.client.post(f"{PATH}/redeem", json={"secret": closed})
            assert answer.status_code == 200
            await tenants.tenants.change("acme", TenantChanges(origins=(), has_origins=True))
            _, secret = await node.add_link(tenant="acme")
            for origin in ("https://common.example", "https://acme.example"):
                answer = await server.client.post(f"{PATH}/redeem", json={"secret": secret}, headers={"origin": origin})
                assert answer.status_code == 403


async def test_link_of_an_unregistered_tenant_keeps_its_use_until_the_tenant_is_registered(settings: Settings) -> None:
    with_auth = authentication_settings(settings)
    async with (
        open_tenant_node(with_auth, requires_registration=True) as tenants,
        open_credential_node(with_auth, tenants=tenants.tenants) as node,
    ):
        _, secret = await node.add_link(tenant="acme", max_uses=1)
        assert (await node.redemption_refusal_of(secret)).startswith("TENANT_UNKNOWN: ")
        await tenants.add("acme")
        assert await node.redemption_refusal_of(secret) == ""
        _, of_default = await node.add_link()
        assert await node.redemption_refusal_of(of_default) == ""
