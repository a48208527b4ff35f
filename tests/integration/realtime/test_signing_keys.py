"""Open sockets end when the key that verified their token is removed, on each instance and in both dialects."""

from collections.abc import AsyncIterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from synckairos.config import Settings
from synckairos.config.value_types import JwksSource
from synckairos.store.tickets import TicketStore
from tests.integration.authentication import bearer, make_authenticator, make_token
from tests.integration.identity.jwks_server import serving_jwks
from tests.integration.realtime.instances import CredentialLifeOptions, Instance, serving, watching
from tests.integration.realtime.test_credential_life import HeldTrip, end_of, signed_in
from tests.integration.realtime.test_tickets import make_ticket, refusal_of, using
from tests.integration.rest_server import RestServer, open_rest_server
from tests.integration.revocations.nodes import ADMIN, until
from tests.integration.signing_keys.key_nodes import new_key, token_of
from tests.tokens import signing_key
from tests.waiting import eventually

LIFE = CredentialLifeOptions()
KEY, OTHER = signing_key("ES256", "first"), signing_key("EdDSA", "other")


async def add_key(instance: Instance, *others: Instance) -> str:
    """Add KEY through `instance` and wait until the other instances have it. Return its id."""
    made, _ = await instance.keys.add(new_key(KEY))
    for other in others:
        await until(lambda other=other: any(each.name == made.signing_key_id for each in other.keys.keys))  # type: ignore[misc]
    return made.signing_key_id


async def test_removed_key_closes_its_sockets_on_each_instance_and_spares_others(settings: Settings) -> None:
    async with serving(settings, credential_life=LIFE) as here, serving(settings, credential_life=LIFE) as there:
        key_id = await add_key(here, there)
        token = token_of(KEY, role="admin")
        async with (
            signed_in(here, token) as near,
            signed_in(there, token) as far,
            watching(there, await there.create(), additional_headers=bearer(token)) as v2_client,
            signed_in(there, make_token(role="admin")) as of_secret,
        ):
            await here.keys.remove(ADMIN, key_id)
            assert await end_of(near.socket) == (4501, "revoked", [])
            assert await end_of(far.socket) == (4501, "revoked", [])
            assert (await end_of(v2_client))[:2] == (1008, "revoked")
            assert (await of_secret.request("PING", t0=0))["type"] == "PONG"
            for instance in (here, there):
                with pytest.raises(InvalidStatus) as refused:
                    async with signed_in(instance, token):
                        pass
                assert refused.value.response.status_code == 401


async def test_socket_that_was_renewed_with_a_token_of_another_key_stays_open(settings: Settings) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        key_id = await add_key(instance)
        async with signed_in(instance, token_of(KEY, role="admin")) as client:
            assert (await client.request("REFRESH", token=make_token(role="admin")))["type"] == "AUTHENTICATED"
            await instance.keys.remove(ADMIN, key_id)
            assert (await client.request("PING", t0=0))["type"] == "PONG"
            again = await client.request("REFRESH", token=token_of(KEY, role="admin"))
            assert (again["type"], again["code"]) == ("ERROR", "UNAUTHORIZED")


async def test_command_of_a_removed_key_is_not_executed(settings: Settings) -> None:
    """The key is removed and the socket is not closed yet, as between two turns of the event loop."""
    async with serving(settings, credential_life=LIFE) as instance:
        session_id = await instance.create()
        key_id = await add_key(instance)
        async with signed_in(instance, token_of(KEY, role="admin")) as client:
            (connection,) = instance.connections
            instance.hub.credential_ends.remove(connection)
            await instance.keys.remove(ADMIN, key_id)
            answer = await client.request("COMMAND", session_id=session_id, command="start")
            assert (answer["type"], answer["code"]) == ("ERROR", "UNAUTHORIZED")
            assert (await instance.sessions.read(ADMIN, session_id)).snapshot.version == 1


async def test_command_during_a_removal_is_executed_and_the_commands_after_it_are_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        session_id = await instance.create()
        key_id = await add_key(instance)
        async with signed_in(instance, token_of(KEY, role="admin")) as client:
            held = HeldTrip(instance, monkeypatch, session_id, number=2)
            for verb in ("start", "pause", "complete"):
                await client.send("COMMAND", id=verb, session_id=session_id, command=verb)
            await held.is_reached.wait()
            await instance.keys.remove(ADMIN, key_id)
            assert await end_of(client.socket) == (4501, "revoked", [])
            held.may_continue.set()

            async def is_started() -> bool:
                return (await instance.sessions.read(ADMIN, session_id)).snapshot.version > 1

            await eventually(is_started)
            assert (await instance.sessions.read(ADMIN, session_id)).snapshot.version == 2


@pytest.fixture
async def rest(settings: Settings) -> AsyncIterator[RestServer]:
    async with serving(settings, credential_life=LIFE) as instance, open_rest_server(settings) as plain:
        tickets = TicketStore(plain.parts.pipe, plain.parts.store.keys)
        authenticator = make_authenticator(settings, instance.verifier)
        async with open_rest_server(settings, authenticator=authenticator, tickets=tickets) as opened:
            yield opened


async def test_ticket_of_a_removed_key_is_refused_and_its_socket_ends(settings: Settings, rest: RestServer) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        key_id = await add_key(instance)
        token = token_of(KEY, role="admin")

        async def is_known() -> bool:
            answer: httpx.Response = await rest.client.get("/v1/me", headers=bearer(token))
            return answer.is_success

        await eventually(is_known)
        unused = await make_ticket(rest, token)
        async with using(instance, await make_ticket(rest, token)) as client:
            await instance.keys.remove(ADMIN, key_id)
            assert await end_of(client.socket) == (4501, "revoked", [])
        assert await refusal_of(instance, unused) == (401, "The credential of this connection has ended")


async def test_key_that_is_gone_from_its_set_closes_its_sockets(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synckairos.identity.jwks_keys.CONFIRM_S", 0.0)
    async with serving_jwks() as issuer:
        issuer.publish(KEY, OTHER)
        with_set = settings.model_copy(update={"jwks": [JwksSource(url=issuer.url)]})
        async with (
            serving(with_set, credential_life=LIFE) as instance,
            signed_in(instance, token_of(KEY, role="admin")) as client,
            signed_in(instance, token_of(OTHER, role="admin")) as other,
        ):
            issuer.publish(OTHER)
            await instance.verifier.fetch_key_sets()
            assert await end_of(client.socket) == (4501, "revoked", [])
            assert (await other.request("PING", t0=0))["type"] == "PONG"
