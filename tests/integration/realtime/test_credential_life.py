"""The life of a credential on open sockets: sign-in, refresh, expiry, revocation and maximum age."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from synckairos.config import Settings
from synckairos.errors import Unauthorized
from synckairos.principal import CredentialLife
from synckairos.realtime import sign_in
from synckairos.realtime.session_update import SessionUpdate
from synckairos.store.shared_connection import RedisCommand
from tests.integration.authentication import bearer, make_token
from tests.integration.parts import open_parts
from tests.integration.realtime.instances import (
    SHORT_REALTIME,
    CredentialLifeOptions,
    Instance,
    receive,
    receive_presence,
    serving,
    watching,
)
from tests.integration.realtime.v3_client import V3, V3Client
from tests.principals import make_principal
from tests.waiting import eventually

ADMIN = make_principal("admin", "root")
LIFE = CredentialLifeOptions()
EXPIRED = CredentialLife(expires_at_ms=1, issued_at_ms=None, token_id=None, group=None, verified_by=None)


def in_seconds(seconds: float) -> float:
    return time.time() + seconds


@asynccontextmanager
async def signed_in(instance: Instance, token: str = "") -> AsyncIterator[V3Client]:
    """Connect a v3 client with a token in its header, and receive AUTHENTICATED."""
    token = token or make_token(role="admin")
    async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=bearer(token)) as socket:
        client = V3Client(socket)
        first = await client.receive()
        assert first["type"] == "AUTHENTICATED"
        assert first["expires_in_ms"] > 0
        yield client


@asynccontextmanager
async def anonymous(instance: Instance) -> AsyncIterator[V3Client]:
    async with connect(instance.ws_url, subprotocols=[V3], proxy=None) as socket:
        yield V3Client(socket)


async def end_of(socket: ClientConnection) -> tuple[int | None, str | None, list[str]]:
    """Wait for the end of a connection. Return its close code, its reason, and the types of the messages before."""
    types: list[str] = []
    with suppress(ConnectionClosed):
        while True:
            types.append((await receive(socket))["type"])
    return socket.close_code, socket.close_reason, [each for each in types if each != "AUTHENTICATED"]


class HeldTrip:
    """Holds the round trip to Redis with this number of those that name the session, until `may_continue` is set."""

    def __init__(self, instance: Instance, monkeypatch: pytest.MonkeyPatch, session_id: str, *, number: int) -> None:
        self.is_reached, self.may_continue = asyncio.Event(), asyncio.Event()
        numbers = itertools.count(1)
        call_many = instance.parts.pipe.call_many

        async def call_held(commands: Iterable[RedisCommand]) -> list[Any]:
            sent = list(commands)
            names_session = any(session_id in str(argument) for command in sent for argument in command)
            if names_session and next(numbers) == number:
                self.is_reached.set()
                await self.may_continue.wait()
            return await call_many(sent)

        monkeypatch.setattr(instance.parts.pipe, "call_many", call_held)


async def test_expiry_warns_and_closes_with_4005_in_v3_and_1008_in_v2(settings: Settings) -> None:
    life = CredentialLifeOptions(warn_before_s=25)
    async with serving(settings, credential_life=life) as instance:
        session_id = await instance.create()
        token = make_token(role="admin", exp=in_seconds(1.5))
        async with (
            signed_in(instance, token) as client,
            watching(instance, session_id, additional_headers=bearer(token)) as v2_client,
        ):
            assert await end_of(client.socket) == (4005, "token_expired", ["REAUTH"])
            assert await end_of(v2_client) == (1008, "token_expired", ["CONNECTED", "STATE_SYNC"])
        assert instance.hub.credential_ends.holder_count == 0


async def test_refresh_renews_the_credential_and_the_old_one_ends_nothing(settings: Settings) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        session_id = await instance.create()
        async with signed_in(instance, make_token(role="admin", exp=in_seconds(1.0), jti="old")) as client:
            answer = await client.request("REFRESH", token=make_token(role="admin", jti="new"))
            assert (answer["type"], answer["expires_in_ms"] > 60_000) == ("AUTHENTICATED", True)
            await instance.revocations.revoke(ADMIN, token_id="old")
            assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
            await instance.revocations.revoke(ADMIN, token_id="new")
            assert (await end_of(client.socket))[:2] == (4501, "revoked")


async def test_refresh_that_fails_verification_changes_nothing(settings: Settings) -> None:
    async with serving(settings, credential_life=LIFE) as instance, signed_in(instance) as client:
        for bad in ("a.b.c", make_token(role="admin", exp=in_seconds(-100)), make_token(role="admin", aud="other")):
            answer = await client.request("REFRESH", token=bad)
            assert (answer["type"], answer["code"]) == ("ERROR", "UNAUTHORIZED")
        session_id = await instance.create()
        assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"


async def test_refresh_with_another_identity_is_closed_with_4501(settings: Settings) -> None:
    async with serving(settings, credential_life=LIFE) as instance, signed_in(instance) as client:
        await client.send("REFRESH", id="r", token=make_token(role="admin", sub="bob"))
        assert await end_of(client.socket) == (4501, "identity changed", [])


async def test_second_refresh_within_the_interval_is_refused(settings: Settings) -> None:
    life = CredentialLifeOptions(refresh_interval_s=60)
    async with serving(settings, credential_life=life) as instance, signed_in(instance) as client:
        token = make_token(role="admin")
        assert (await client.request("REFRESH", token=token))["type"] == "AUTHENTICATED"
        assert (await client.request("REFRESH", token=token))["code"] == "RATE_LIMIT_EXCEEDED"


async def test_refresh_with_fewer_grants_ends_the_subscription_that_it_no_longer_reaches(settings: Settings) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        kept, lost = await instance.create(), await instance.create()
        wide = make_token(role="viewer", grants=[{"sessions": [kept, lost]}])
        async with signed_in(instance, wide) as client:
            for session_id in (kept, lost):
                assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
            narrow = make_token(role="viewer", grants=[{"sessions": [kept]}])
            assert (await client.request("REFRESH", token=narrow))["type"] == "AUTHENTICATED"
            ended = await client.receive()
            assert (ended["type"], ended["session_id"], ended["code"]) == ("UNSUBSCRIBED", lost, "FORBIDDEN")
            (connection,) = instance.connections
            assert list(connection.subscriptions) == [kept]


async def test_refresh_changes_the_role_and_the_participant_of_presence_on_each_instance(settings: Settings) -> None:
    person = str(uuid4())
    timings = replace(SHORT_REALTIME, presence_round_s=0.05)
    async with (
        serving(settings, credential_life=LIFE, realtime_timings=timings) as here,
        serving(settings, credential_life=LIFE, realtime_timings=timings) as there,
    ):
        session_id = await here.create()
        async with (
            signed_in(here, make_token(role="viewer", grants=[{"sessions": [session_id]}])) as client,
            signed_in(there) as watcher,
        ):
            for each in (client, watcher):
                await each.request("SUBSCRIBE", session_id=session_id)
            for role, participant_id in (("viewer", None), ("participant", person), ("controller", None)):
                if role != "viewer":
                    claims = {"role": role, "participant_id": participant_id, "grants": [{"sessions": [session_id]}]}
                    assert (await client.request("REFRESH", token=make_token(**claims)))["type"] == "AUTHENTICATED"
                for each in (client, watcher):
                    while (shown := await receive_presence(each.socket, 2))["roles"] != {"admin": 1, role: 1}:
                        pass
                    assert shown["participants"] == [each for each in (participant_id,) if each is not None]
            await client.request("UNSUBSCRIBE", session_id=session_id)
            assert (await receive_presence(watcher.socket, 1))["roles"] == {"admin": 1}


@pytest.mark.parametrize("keeps_reach", [True, False])
async def test_refresh_during_a_subscription_decides_about_its_answer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, keeps_reach: bool
) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        session_id = await instance.create()
        hub, may_read, reads = instance.hub, asyncio.Event(), asyncio.Event()
        read_current = hub.read_current

        async def delayed(requested: str) -> SessionUpdate | None:
            reads.set()
            await may_read.wait()
            return await read_current(requested)

        async with signed_in(instance, make_token(role="viewer", grants=[{"sessions": [session_id]}])) as client:
            monkeypatch.setattr(hub, "read_current", delayed)
            await client.send("SUBSCRIBE", id="s", session_id=session_id)
            await reads.wait()
            reached = session_id if keeps_reach else str(uuid4())
            token = make_token(role="participant", participant_id=str(uuid4()), grants=[{"sessions": [reached]}])
            assert (await client.request("REFRESH", token=token))["type"] == "AUTHENTICATED"
            if keeps_reach:
                may_read.set()
                assert (await client.receive())["type"] == "STATE_SYNC"
                assert (await receive_presence(client.socket, 1))["roles"] == {"participant": 1}
            else:
                assert (await client.receive())["type"] == "UNSUBSCRIBED"
                may_read.set()
                answer = await client.receive()
                assert (answer["reply_to"], answer["code"]) == ("s", "SESSION_NOT_FOUND")
                assert (await end_of(client.socket))[0] == 4504


async def test_auth_is_answered_and_before_it_only_auth_and_ping_are_allowed(settings: Settings) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        session_id = await instance.create()
        async with anonymous(instance) as client:
            assert (await client.request("PING", t0=0))["type"] == "PONG"
            for kind, members in (
                ("SUBSCRIBE", {"session_id": session_id}),
                ("COMMAND", {"session_id": session_id, "command": "start"}),
                ("REFRESH", {"token": make_token(role="admin")}),
            ):
                answer = await client.request(kind, **members)
                assert (answer["code"], answer["message"]) == ("UNAUTHORIZED", "Send AUTH first")
            answer = await client.request("AUTH", token=make_token(role="admin"))
            assert (answer["type"], answer["expires_in_ms"] > 0) == ("AUTHENTICATED", True)
            assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
            assert (await client.request("AUTH", token=make_token(role="admin")))["code"] == "FORBIDDEN"
            await instance.revocations.revoke(ADMIN, subject="alice", issued_before_ms=4_000_000_000_000)
            assert (await end_of(client.socket))[:2] == (4501, "revoked")


async def test_failed_auth_is_answered_and_closed_with_4501(settings: Settings) -> None:
    async with serving(settings, credential_life=LIFE) as instance, anonymous(instance) as client:
        await client.send("AUTH", id="a", token="a.b.c")
        assert await end_of(client.socket) == (4501, "unauthorized", ["ERROR"])


async def test_socket_without_auth_is_closed_after_the_time_limit(settings: Settings) -> None:
    life = CredentialLifeOptions(auth_timeout_s=0.1)
    async with serving(settings, credential_life=life) as instance, anonymous(instance) as client:
        assert await end_of(client.socket) == (4501, "unauthorized", [])


async def test_number_of_sockets_of_an_address_that_wait_for_auth_is_bounded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "MAX_WAITING", 2)
    async with serving(settings, credential_life=LIFE) as instance, anonymous(instance), anonymous(instance) as second:
        with pytest.raises(InvalidStatus) as refused:
            async with anonymous(instance):
                pass
        assert (refused.value.response.status_code, refused.value.response.headers["retry-after"]) == (503, "5")
        await second.request("AUTH", token=make_token(role="admin"))
        async with anonymous(instance) as third:
            assert (await third.request("PING", t0=0))["type"] == "PONG"
            await third.socket.close()

            async def has_left() -> bool:
                return len(instance.connections) == 2

            await eventually(has_left)
            async with anonymous(instance):
                pass


@pytest.mark.parametrize("size", [8_000, 60_000])
async def test_auth_above_8000_characters_is_too_large(settings: Settings, size: int) -> None:
    async with serving(settings, credential_life=LIFE) as instance, anonymous(instance) as client:
        await client.send("AUTH", token="x" * size)
        assert (await client.receive())["code"] == "PAYLOAD_TOO_LARGE"


@pytest.mark.parametrize("selector", [{"token_id": "t1"}, {"group": "g1"}, {"subject": "alice"}, {"is_for_all": True}])
async def test_revocation_closes_the_sockets_on_each_instance(settings: Settings, selector: dict[str, Any]) -> None:
    if "token_id" not in selector and "group" not in selector:
        selector = {**selector, "issued_before_ms": 4_000_000_000_000}
    token = make_token(role="admin", jti="t1", grp="g1")
    async with (
        serving(settings, credential_life=LIFE) as here,
        serving(settings, credential_life=LIFE) as there,
        signed_in(here, token) as near,
        signed_in(there, token) as far,
        watching(there, await there.create(), additional_headers=bearer(token)) as v2_client,
    ):
        await here.revocations.revoke(ADMIN, **selector)
        assert await end_of(near.socket) == (4501, "revoked", [])
        assert await end_of(far.socket) == (4501, "revoked", [])
        assert (await end_of(v2_client))[:2] == (1008, "revoked")
        with pytest.raises(InvalidStatus) as refused:
            async with signed_in(there, token):
                pass
        assert refused.value.response.status_code == 401


async def test_revocation_spares_other_tokens(settings: Settings) -> None:
    token = make_token(role="admin", jti="t2")
    async with serving(settings, credential_life=LIFE) as instance, signed_in(instance, token) as client:
        await instance.revocations.revoke(ADMIN, token_id="t1")
        assert (await client.request("PING", t0=0))["type"] == "PONG"


async def test_revocation_with_a_margin_requests_a_refresh_first(settings: Settings) -> None:
    token = make_token(role="admin", jti="t1")
    async with (
        serving(settings, credential_life=LIFE) as instance,
        signed_in(instance, token) as renewed,
        signed_in(instance, token) as lazy,
    ):
        await instance.revocations.revoke(ADMIN, token_id="t1", margin_s=1)
        warning = await renewed.receive()
        assert (warning["type"], 0 < warning["within_ms"] <= 1_100) == ("REAUTH", True)
        assert (await renewed.request("REFRESH", token=make_token(role="admin")))["type"] == "AUTHENTICATED"
        assert await end_of(lazy.socket) == (4501, "revoked", ["REAUTH"])
        assert (await renewed.request("PING", t0=0))["type"] == "PONG"


async def test_disconnection_closes_the_sockets_of_a_subject_and_revokes_nothing(settings: Settings) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        token = make_token(role="admin")
        async with (
            signed_in(instance, token) as client,
            signed_in(instance, make_token(sub="bob", role="admin")) as bob,
        ):
            await instance.revocations.disconnect(ADMIN, "alice")
            assert await end_of(client.socket) == (4000, "disconnected", [])
            assert (await bob.request("PING", t0=0))["type"] == "PONG"
        async with signed_in(instance, token):
            pass


async def test_socket_of_the_maximum_age_is_closed_with_4000(settings: Settings) -> None:
    life = CredentialLifeOptions(max_age_s=0.2)
    async with serving(settings, credential_life=life) as instance, signed_in(instance) as client:
        assert await end_of(client.socket) == (4000, "maximum age", [])


async def test_command_of_a_revoked_token_is_not_executed(settings: Settings) -> None:
    """The revocation is known and the socket is not closed yet, as between two turns of the event loop."""
    async with serving(settings, credential_life=LIFE) as instance:
        session_id = await instance.create()
        async with signed_in(instance, make_token(role="admin", jti="t1")) as client:
            (connection,) = instance.connections
            instance.hub.credential_ends.remove(connection)
            await instance.revocations.revoke(ADMIN, token_id="t1")
            answer = await client.request("COMMAND", session_id=session_id, command="start")
            assert (answer["type"], answer["code"]) == ("ERROR", "UNAUTHORIZED")
            assert (await instance.sessions.read(ADMIN, session_id)).snapshot.version == 1


@pytest.mark.parametrize("trip", ["load", "commit"])
async def test_command_during_a_revocation_is_executed_and_the_commands_after_it_are_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, trip: str
) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        session_id = await instance.create()
        async with signed_in(instance, make_token(role="admin", jti="t1")) as client:
            held = HeldTrip(instance, monkeypatch, session_id, number=1 if trip == "load" else 2)
            for verb in ("start", "pause", "complete"):
                await client.send("COMMAND", id=verb, session_id=session_id, command=verb)
            await held.is_reached.wait()
            await instance.revocations.revoke(ADMIN, token_id="t1")
            assert await end_of(client.socket) == (4501, "revoked", [])
            held.may_continue.set()

            async def is_started() -> bool:
                return (await instance.sessions.read(ADMIN, session_id)).snapshot.version > 1

            await eventually(is_started)
        await instance.wait_until_unused()
    async with open_parts(settings) as parts:  # the instance has ended with all of its tasks
        assert (await parts.sessions.read(ADMIN, session_id)).session.status == "running"


async def test_refresh_and_auth_are_403_while_authentication_is_off(settings: Settings) -> None:
    async with serving(settings) as instance, anonymous(instance) as client:
        for kind in ("AUTH", "REFRESH"):
            answer = await client.request(kind, token="x")
            assert (answer["code"], "SYNCKAIROS_AUTH" in answer["message"]) == ("FORBIDDEN", True)


async def test_ended_holders_leave_no_items_in_memory(settings: Settings) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        ends = instance.hub.credential_ends
        for _ in range(20):
            async with signed_in(instance):
                pass
        await instance.wait_until_unused()
        assert ends.holder_count == 0
        with pytest.raises(Unauthorized):
            ends.require_valid(make_principal("viewer", life=EXPIRED))
