"""Credentials of event streams: tokens, tickets, AUTH and REFRESH, and the end of a credential."""

import time
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest

from synckairos.config import Settings
from synckairos.principal import CredentialLife
from synckairos.store.tickets import Ticket, TicketStore
from tests.integration.authentication import bearer, make_token
from tests.integration.realtime.event_stream_client import EventStreamClient, event_stream, v3_stream
from tests.integration.realtime.instances import CredentialLifeOptions, Instance, serving
from tests.integration.realtime.v3_client import V3Client
from tests.principals import make_principal

ADMIN = make_principal("admin", "root")
NO_HEADERS: Mapping[str, str] = {}
LIFE = CredentialLifeOptions(warn_before_s=25, auth_timeout_s=30)


@pytest.fixture
async def instance(settings: Settings) -> AsyncIterator[Instance]:
    async with serving(settings, credential_life=LIFE) as served:
        yield served


def alice() -> dict[str, str]:
    """Return the headers of a new token. A token from the import of this module could expire before its test."""
    return bearer(make_token(role="admin"))


def stream_of(client: V3Client) -> EventStreamClient:
    stream: object = client.socket
    assert isinstance(stream, EventStreamClient)
    return stream


async def refusal_of(instance: Instance, headers: Mapping[str, str] = NO_HEADERS, query: str = "") -> tuple[int, str]:
    with pytest.raises(httpx.HTTPStatusError) as refused:
        async with event_stream(instance.base_url, headers=headers, query=query):
            pass
    answer = refused.value.response
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
    return answer.status_code, answer.json()["error"]["message"]


async def make_ticket(instance: Instance, origin: str | None = None) -> str:
    store = TicketStore(instance.parts.pipe, instance.parts.store.keys)
    life = CredentialLife(
        expires_at_ms=int(time.time() + 60) * 1000, issued_at_ms=None, token_id=None, group=None, verified_by=None
    )
    principal = make_principal("admin", "alice", life=life)
    return await store.make(Ticket(principal=principal, origin=origin), 30, for_earlier_release=principal)


async def test_stream_with_a_token_takes_frames_of_the_same_identity_only(instance: Instance) -> None:
    async with v3_stream(instance.base_url, headers=alice()) as client:
        assert (await client.receive())["type"] == "AUTHENTICATED"
        assert (await client.request("PING", t0=1))["type"] == "PONG"
        stream = stream_of(client)
        renewed = bearer(make_token(role="admin", jti="renewed"))
        assert (await stream.post(stream.batch(2), headers=renewed)).status_code == 204
        for others in (bearer(make_token(sub="mallory", role="admin")), NO_HEADERS):
            answer = await stream.post(stream.batch(3), headers=others)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
        assert (await stream.post(stream.batch(3), headers=bearer("a.b.c"))).status_code == 401


async def test_bad_token_opens_no_stream(instance: Instance) -> None:
    assert await refusal_of(instance, bearer("a.b.c")) == (401, "The token is not a JSON Web Token")
    assert await refusal_of(instance, query="?ticket=unknown") == (401, "The ticket is not valid")
    ticket = await make_ticket(instance)
    both = (401, "The request has two different credentials")
    assert await refusal_of(instance, alice(), f"?ticket={ticket}") == both
    assert not instance.hub.connections


async def test_ticket_opens_one_stream_whose_frames_have_no_token(instance: Instance) -> None:
    ticket = await make_ticket(instance)
    async with v3_stream(instance.base_url, query=f"?ticket={ticket}") as client:
        assert (await client.receive())["type"] == "AUTHENTICATED"
        session_id = await instance.create()
        assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
        assert await refusal_of(instance, query=f"?ticket={ticket}") == (401, "The ticket is not valid")
        stream = stream_of(client)
        assert (await stream.post(stream.batch(2), headers=alice())).status_code == 404


async def test_ticket_that_is_bound_to_an_origin_needs_it(instance: Instance) -> None:
    ticket = await make_ticket(instance, origin=instance.base_url)
    assert await refusal_of(instance, query=f"?ticket={ticket}") == (401, "The ticket is not valid")
    async with event_stream(instance.base_url, headers={"origin": instance.base_url}, query=f"?ticket={ticket}"):
        assert len(instance.hub.connections) == 1


async def test_stream_without_a_token_waits_for_auth(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_stream(instance.base_url) as client:
        refused = await client.request("SUBSCRIBE", session_id=session_id)
        assert (refused["code"], refused["message"]) == ("UNAUTHORIZED", "Send AUTH first")
        accepted = await client.request("AUTH", token=make_token(role="admin"))
        assert accepted["type"] == "AUTHENTICATED"
        assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
        renewed = await client.request("REFRESH", token=make_token(role="admin", jti="new"))
        assert renewed["type"] == "AUTHENTICATED"


async def test_refused_auth_and_changed_identity_end_the_stream_with_4501(instance: Instance) -> None:
    async with v3_stream(instance.base_url) as client:
        refused = await client.request("AUTH", token="a.b.c")
        assert refused["code"] == "UNAUTHORIZED"
        assert (await stream_of(client).wait_closed()).code == 4501
    async with v3_stream(instance.base_url, headers=alice()) as client:
        await client.send("REFRESH", token=make_token(sub="mallory", role="admin"))
        closed = await stream_of(client).wait_closed()
        assert (closed.code, closed.reason) == (4501, "identity changed")


async def test_stream_ends_with_its_credential(instance: Instance) -> None:
    expiring = bearer(make_token(role="admin", exp=time.time() + 1.5))
    async with v3_stream(instance.base_url, headers=expiring) as client:
        assert [(await client.receive())["type"] for _ in range(2)] == ["AUTHENTICATED", "REAUTH"]
        closed = await stream_of(client).wait_closed()
        assert (closed.code, closed.reason) == (4005, "token_expired")
    await instance.wait_until_unused()
    assert instance.hub.credential_ends.holder_count == 0


async def test_refreshed_stream_outlives_its_first_token(instance: Instance) -> None:
    old, new = make_token(role="admin", jti="old"), make_token(role="admin", jti="new")
    async with v3_stream(instance.base_url, headers=bearer(old), frame_headers=bearer(new)) as client:
        assert (await client.request("REFRESH", token=new))["type"] == "AUTHENTICATED"
        await instance.revocations.revoke(ADMIN, token_id="old")
        assert (await client.request("PING", t0=1))["type"] == "PONG"
        await instance.revocations.revoke(ADMIN, token_id="new")
        assert (await stream_of(client).wait_closed()).code == 4501


async def test_revoked_credential_ends_the_stream_and_refuses_its_frames(instance: Instance) -> None:
    async with v3_stream(instance.base_url, headers=bearer(make_token(role="admin", jti="t1"))) as client:
        assert (await client.receive())["type"] == "AUTHENTICATED"
        await instance.revocations.revoke(ADMIN, token_id="t1")
        closed = await stream_of(client).wait_closed()
        assert (closed.code, closed.reason) == (4501, "revoked")
        stream = stream_of(client)
        assert (await stream.post(stream.batch(1))).status_code == 401
