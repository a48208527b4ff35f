"""Tokens of the client, with a server that requires authentication."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from synckairos.config import Settings
from synckairos_client import Client, SessionNotFound, Unauthorized
from tests.integration.authentication import make_authenticator, make_token, now_ms
from tests.integration.realtime.instances import CredentialLifeOptions, Instance, serving
from tests.waiting import eventually


@pytest.fixture
async def guarded(settings: Settings) -> AsyncIterator[Instance]:
    async with serving(settings, authenticator=make_authenticator(settings)) as instance:
        yield instance


async def watch_briefly(client: Client, session_id: str) -> None:
    async with client.watch(session_id):
        pass


async def test_client_with_a_token_watches_and_commands(guarded: Instance) -> None:
    session_id = await guarded.create()
    token = make_token(role="controller", grants=[{"sessions": [session_id]}])
    other = await guarded.create()
    async with Client(guarded.ws_url, token=token) as client, client.watch(session_id) as session:
        assert (await session.command("start")).version == 2
        with pytest.raises(SessionNotFound):
            await watch_briefly(client, other)


async def test_client_with_a_bad_token_ends(guarded: Instance) -> None:
    session_id = await guarded.create()
    async with Client(guarded.ws_url, token="bad") as client:
        with pytest.raises(Unauthorized, match="refused the token"):
            await watch_briefly(client, session_id)


async def test_function_is_called_again_after_a_refused_token_or_an_error(guarded: Instance) -> None:
    session_id = await guarded.create()
    good = make_token(role="admin")
    results: list[str | Exception] = [OSError("away"), "expired", good]

    async def get_token() -> str:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    client = Client(guarded.ws_url, get_token=get_token)
    async with asyncio.timeout(20), client, client.watch(session_id) as session:
        assert session.state.session_id == session_id
    assert results == []


async def test_function_that_returns_refused_tokens_ends_the_client(guarded: Instance) -> None:
    session_id, calls = await guarded.create(), 0

    async def get_token() -> str:
        nonlocal calls
        calls += 1
        return "bad"

    async with asyncio.timeout(20), Client(guarded.ws_url, get_token=get_token) as client:
        with pytest.raises(Unauthorized):
            await client.command(session_id, "start")
    assert calls == 2


def test_token_and_function_together_are_refused() -> None:
    async def get_token() -> str:
        return ""

    with pytest.raises(ValueError, match="not both"):
        Client("ws://127.0.0.1/ws", token="x", get_token=get_token)


async def test_client_sends_a_fresh_token_on_the_open_connection_before_the_old_one_ends(settings: Settings) -> None:
    options = CredentialLifeOptions(warn_before_s=25)
    async with serving(settings, credential_life=options) as instance:
        session_id = await instance.create()
        lives_s = [20, 3_600]

        async def get_token() -> str:
            return make_token(role="admin", exp=time.time() + lives_s.pop(0))

        client = Client(instance.ws_url, get_token=get_token)
        async with asyncio.timeout(20), client, client.watch(session_id):
            (connection,) = instance.connections

            async def has_long_life() -> bool:
                life = connection.principal.life
                return life is not None and (life.expires_at_ms or 0) > now_ms() + 60_000

            await eventually(has_long_life)
            assert (await client.command(session_id, "start")).version == 2
            assert instance.connections == [connection]
        assert lives_s == []
