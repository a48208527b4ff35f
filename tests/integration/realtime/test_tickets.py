"""Tickets: single-use credentials in the URL of a WebSocket, in both dialects."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from synckairos.config import Settings
from synckairos.limits.work_limits import HANDSHAKES, REFUSED_TOKENS
from synckairos.store.tickets import TicketStore
from tests.integration.authentication import bearer, make_authenticator, make_token
from tests.integration.realtime.instances import CredentialLifeOptions, Instance, receive, serving, watching
from tests.integration.realtime.test_label_grants import receive_end_of_subscription, set_labels
from tests.integration.realtime.v3_client import V3, V3Client
from tests.integration.rest_server import RestServer, open_rest_server
from tests.principals import make_principal

ADMIN = make_principal("admin", "root")
LIFE = CredentialLifeOptions()
PAGE = "http://127.0.0.1:3000"


@pytest.fixture
async def rest(settings: Settings) -> AsyncIterator[RestServer]:
    """Return a REST application whose tickets all instances of the test accept."""
    async with open_rest_server(settings) as plain:
        tickets = TicketStore(plain.parts.pipe, plain.parts.store.keys)
        async with open_rest_server(settings, authenticator=make_authenticator(settings), tickets=tickets) as opened:
            yield opened


async def make_ticket(rest: RestServer, token: str = "", headers: dict[str, str] | None = None, **body: Any) -> str:
    headers = bearer(token or make_token(role="admin")) | (headers or {})
    answer = await rest.client.post("/v1/tickets", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.json()["data"]["expires_at"].endswith("Z")
    ticket: str = answer.json()["data"]["ticket"]
    assert len(ticket) >= 22, "a ticket has at least 128 random bits"
    return ticket


@asynccontextmanager
async def using(instance: Instance, ticket: str, **options: Any) -> AsyncIterator[V3Client]:
    async with connect(f"{instance.ws_url}?ticket={ticket}", subprotocols=[V3], proxy=None, **options) as socket:
        client = V3Client(socket)
        assert (await client.receive())["type"] == "AUTHENTICATED"
        yield client


async def connect_often(instance: Instance, times: int, **options: Any) -> None:
    for _ in range(times):
        async with connect(instance.ws_url, subprotocols=[V3], proxy=None, **options):
            pass


async def refusal_of(instance: Instance, ticket: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        async with using(instance, ticket, **options):
            pass
    return refused.value.response.status_code, refused.value.response.body.decode()


NOT_VALID = (401, "The ticket is not valid")


async def test_ticket_opens_one_socket(settings: Settings, rest: RestServer) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        session_id = await instance.create()
        ticket = await make_ticket(rest)
        async with using(instance, ticket) as client:
            assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
        assert await refusal_of(instance, ticket) == NOT_VALID
        assert await refusal_of(instance, "unknown") == NOT_VALID
        assert await refusal_of(instance, "x" * 5_000) == NOT_VALID


async def test_ticket_is_neither_looked_up_nor_used_after_too_many_refused_tickets(
    settings: Settings, rest: RestServer
) -> None:
    limited = settings.model_copy(update={"client_work_factor": 3 / REFUSED_TOKENS.burst})
    async with serving(limited, credential_life=LIFE) as instance, serving(settings, credential_life=LIFE) as other:
        ticket = await make_ticket(rest)
        statuses = {(await refusal_of(instance, "unknown"))[0] for _ in range(20)}
        assert statuses == {401, 429}
        assert (await refusal_of(instance, ticket))[0] == 429
        async with using(other, ticket):
            pass


async def test_ticket_is_not_used_by_a_handshake_beyond_the_limit(settings: Settings, rest: RestServer) -> None:
    limited = settings.model_copy(update={"client_work_factor": 3 / HANDSHAKES.burst})
    async with serving(limited, credential_life=LIFE) as instance, serving(settings, credential_life=LIFE) as other:
        ticket = await make_ticket(rest)
        with pytest.raises(InvalidStatus, match="429"):
            await connect_often(instance, 10)
        assert (await refusal_of(instance, ticket))[0] == 429
        async with using(other, ticket):
            pass


@pytest.mark.parametrize("v2", [False, True])
async def test_ticket_of_a_caller_beyond_its_own_handshake_limit_is_not_used(
    settings: Settings, rest: RestServer, v2: bool
) -> None:
    limited = settings.model_copy(update={"client_work_factor": 3 / HANDSHAKES.burst})
    async with serving(limited, credential_life=LIFE) as instance, serving(settings, credential_life=LIFE) as other:
        session_id = await other.create()
        token = make_token(role="admin")
        ticket = await make_ticket(rest, token)
        with pytest.raises(InvalidStatus, match="429"):
            await connect_often(instance, 10, additional_headers=bearer(token))
        if v2:
            with pytest.raises(InvalidStatus, match="429"):
                async with watching(instance, f"{session_id}&ticket={ticket}"):
                    pass
        else:
            assert (await refusal_of(instance, ticket))[0] == 429
        async with using(other, ticket):
            pass


async def test_ticket_used_at_the_same_time_on_two_instances_opens_one_socket(
    settings: Settings, rest: RestServer
) -> None:
    async with serving(settings, credential_life=LIFE) as here, serving(settings, credential_life=LIFE) as there:
        ticket = await make_ticket(rest)

        async def use(instance: Instance) -> int:
            try:
                async with using(instance, ticket):
                    return 101
            except InvalidStatus as refused:
                return refused.response.status_code

        assert sorted(await asyncio.gather(use(here), use(there))) == [101, 401]


async def test_ticket_is_bound_to_the_origin_of_the_body_else_of_the_request(
    settings: Settings, rest: RestServer
) -> None:
    settings = settings.model_copy(update={"allowed_origins": [PAGE, "http://other.example"]})
    async with serving(settings, credential_life=LIFE) as instance:
        by_body = await make_ticket(rest, origin=PAGE)
        by_header = await make_ticket(rest, headers={"origin": PAGE})
        for ticket in (by_body, by_header):
            assert await refusal_of(instance, ticket) == NOT_VALID
            assert await refusal_of(instance, ticket, origin="http://other.example") == NOT_VALID
            async with using(instance, ticket, origin=PAGE):  # the refused attempts did not use it
                pass
            assert await refusal_of(instance, ticket, origin=PAGE) == NOT_VALID
        async with using(instance, await make_ticket(rest), origin=PAGE):
            pass


async def test_ticket_of_a_revoked_token_is_refused_and_its_socket_ends_with_the_token(
    settings: Settings, rest: RestServer
) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        token = make_token(role="admin", jti="t1")
        unused = await make_ticket(rest, token)
        async with using(instance, await make_ticket(rest, token)) as client:
            await instance.revocations.revoke(ADMIN, token_id="t1")
            with pytest.raises(ConnectionClosed):
                await client.socket.recv()
            assert (client.socket.close_code, client.socket.close_reason) == (4501, "revoked")
        assert await refusal_of(instance, unused) == (401, "The credential of this connection has ended")


async def test_ticket_has_only_the_sessions_and_the_role_that_were_requested(
    settings: Settings, rest: RestServer
) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        one, other = await instance.create(), await instance.create()
        ticket = await make_ticket(rest, session_ids=[one], role="viewer")
        async with using(instance, ticket) as client:
            assert (await client.request("SUBSCRIBE", session_id=one))["type"] == "STATE_SYNC"
            assert (await client.request("SUBSCRIBE", session_id=other))["code"] == "SESSION_NOT_FOUND"
            answer = await client.request("COMMAND", session_id=one, command="start")
            assert answer["code"] == "FORBIDDEN"
        async with using(instance, await make_ticket(rest, session_ids=[one])) as client:
            assert (await client.request("COMMAND", session_id=one, command="start"))["type"] == "ACK"
            assert (await client.request("COMMAND", session_id=one, command="delete"))["code"] == "FORBIDDEN"
            assert (await client.request("SUBSCRIBE", session_id=other))["code"] == "SESSION_NOT_FOUND"


async def test_refresh_does_not_lift_the_limits_of_the_ticket(settings: Settings, rest: RestServer) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        one, other = await instance.create(), await instance.create()
        ticket = await make_ticket(rest, session_ids=[one], role="viewer")
        async with using(instance, ticket) as client:
            for role in ("admin", "controller"):
                token = make_token(role=role, grants=[{"sessions": ["*"]}])
                assert (await client.request("REFRESH", token=token))["type"] == "AUTHENTICATED"
                assert (await client.request("SUBSCRIBE", session_id=one))["type"] == "STATE_SYNC"
                assert (await client.request("SUBSCRIBE", session_id=other))["code"] == "SESSION_NOT_FOUND"
                answer = await client.request("COMMAND", session_id=one, command="start")
                assert answer["code"] == "FORBIDDEN"
        async with using(instance, await make_ticket(rest, session_ids=[one])) as client:
            token = make_token(role="viewer", grants=[{"sessions": ["*"]}])
            assert (await client.request("REFRESH", token=token))["type"] == "AUTHENTICATED"
            answer = await client.request("COMMAND", session_id=one, command="start")
            assert answer["code"] == "FORBIDDEN", "a token with fewer rights narrows further"


async def test_socket_of_a_limited_ticket_ends_its_subscription_with_the_label_of_its_grant(
    settings: Settings, rest: RestServer
) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        session_id = await instance.create()
        await set_labels(instance, session_id, cup="spring")
        token = make_token(role="viewer", grants=[{"sessions": ["label:cup=spring"]}])
        async with using(instance, await make_ticket(rest, token, session_ids=[session_id])) as client:
            assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
            await set_labels(instance, session_id, cup=None)
            assert await receive_end_of_subscription(client) == (session_id, "FORBIDDEN")


async def test_tickets_of_the_earlier_release_are_used_and_it_can_use_those_of_this_release(
    settings: Settings, rest: RestServer
) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        one, other = await instance.create(), await instance.create()
        keys, pipe = instance.parts.store.keys, instance.parts.pipe
        text = await make_ticket(rest, session_ids=[one], role="viewer")
        key = keys.ticket(hashlib.sha256(text.encode()).hexdigest())
        stored = orjson.loads(await pipe.call("GET", key))
        # The earlier release reads these two members only. Its principal has no narrowing.
        earlier = {"principal": stored["principal"], "origin": stored["origin"]}
        del earlier["principal"]["narrowing"]
        assert earlier["principal"]["role"] == "viewer"
        assert [each["session_ids"] for each in earlier["principal"]["grants"]] == [[one]]
        assert not any(each["all_sessions"] or each["labels"] for each in earlier["principal"]["grants"])
        await pipe.call("SET", key, orjson.dumps(earlier), "EX", 30)
        async with using(instance, text) as client:
            assert (await client.request("SUBSCRIBE", session_id=one))["type"] == "STATE_SYNC"
            assert (await client.request("SUBSCRIBE", session_id=other))["code"] == "SESSION_NOT_FOUND"


@pytest.mark.parametrize("stored", [b"{}", b"[]", b"null", b'{"principal": 1, "origin": null}', b"\xff"])
async def test_invalid_ticket_in_redis_counts_as_no_ticket(settings: Settings, stored: bytes) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        key = instance.parts.store.keys.ticket(hashlib.sha256(b"text").hexdigest())
        await instance.parts.pipe.call("SET", key, stored, "EX", 30)
        assert await refusal_of(instance, "text") == NOT_VALID


async def test_ticket_never_has_more_rights_than_its_caller(settings: Settings, rest: RestServer) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        own, foreign = await instance.create(), await instance.create()
        token = make_token(role="viewer", grants=[{"sessions": [own]}])
        answers = [
            await rest.client.post("/v1/tickets", json=body, headers=bearer(token))
            for body in ({"role": "controller"}, {"session_ids": [foreign]}, {"role": "admin"}, {"ttl_s": 301})
        ]
        assert [(each.status_code, each.json()["error"]["code"]) for each in answers] == [
            (403, "FORBIDDEN"),
            (404, "SESSION_NOT_FOUND"),
            (400, "VALIDATION_ERROR"),
            (400, "VALIDATION_ERROR"),
        ]
        async with using(instance, await make_ticket(rest, token)) as client:
            assert (await client.request("SUBSCRIBE", session_id=own))["type"] == "STATE_SYNC"
            answer = await client.request("COMMAND", session_id=own, command="start")
            assert answer["code"] == "FORBIDDEN"


async def test_v2_client_connects_with_a_ticket_and_a_bad_one_is_closed_with_1008(
    settings: Settings, rest: RestServer
) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        session_id = await instance.create()
        ticket = await make_ticket(rest)
        async with watching(instance, f"{session_id}&ticket={ticket}") as client:
            assert (await receive(client))["type"] == "CONNECTED"
        async with watching(instance, f"{session_id}&ticket={ticket}") as client:
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert (client.close_code, client.close_reason) == (1008, "Unauthorized")


async def test_ticket_beside_a_token_is_refused(settings: Settings, rest: RestServer) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        headers = bearer(make_token(role="admin"))
        found = await refusal_of(instance, await make_ticket(rest), additional_headers=headers)
        assert found == (401, "The request has two different credentials")


async def test_without_authentication_tickets_are_403_and_name_the_setting(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/tickets", json={})
    assert (answer.status_code, "SYNCKAIROS_AUTH" in answer.json()["error"]["message"]) == (403, True)
