"""Authentication of the WebSocket handshake, in both dialects."""

from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from synckairos.config import Settings
from tests.integration.authentication import bearer, make_authenticator, make_token
from tests.integration.realtime.instances import Instance, receive, serving, watching
from tests.integration.realtime.v3_client import V3, V3Client

INVALID = 'Bearer realm="synckairos", error="invalid_token"'


def connecting(instance: Instance, *tokens: str, headers: dict[str, str] | None = None) -> connect:
    """Return a v3 connection that offers each of `tokens` in a subprotocol."""
    offered: list[Any] = [*(f"synckairos.bearer.{each}" for each in tokens), V3]
    return connect(instance.ws_url, subprotocols=offered, proxy=None, additional_headers=headers)


async def refusal_of(connection: connect) -> tuple[int, str, str | None]:
    with pytest.raises(InvalidStatus) as caught:
        async with connection:
            pass
    response = caught.value.response
    return response.status_code, response.body.decode(), response.headers.get("www-authenticate")


async def test_token_of_a_header_or_a_subprotocol_is_accepted_and_never_echoed(settings: Settings) -> None:
    async with serving(settings, authenticator=make_authenticator(settings)) as instance:
        token = make_token(role="admin")
        for connection in (
            connecting(instance, headers=bearer(token)),
            connecting(instance, token),
            connecting(instance, token, headers=bearer(token)),
        ):
            async with connection as socket:
                assert (await V3Client(socket).request("PING", t0=0))["type"] == "PONG"
                assert socket.subprotocol == "synckairos.v3"
                assert socket.response is not None
                assert token not in str(socket.response.headers)


async def test_bad_and_contradicting_tokens_of_a_handshake_are_401(settings: Settings) -> None:
    async with serving(settings, authenticator=make_authenticator(settings)) as instance:
        first, second = make_token(), make_token(jti="other")
        assert await refusal_of(connecting(instance, "a.b.c")) == (401, "The token is not a JSON Web Token", INVALID)
        two = (401, "The request has two different credentials", INVALID)
        assert await refusal_of(connecting(instance, first, second)) == two
        assert await refusal_of(connecting(instance, first, headers=bearer(second))) == two
        assert not instance.hub.connections


async def test_v2_client_without_a_good_token_is_accepted_and_closed_with_1008(settings: Settings) -> None:
    async with serving(settings, authenticator=make_authenticator(settings)) as instance:
        session_id = await instance.create()
        for options in ({}, {"additional_headers": bearer("a.b.c")}):
            async with watching(instance, session_id, **options) as client:
                with pytest.raises(ConnectionClosed):
                    await client.recv()
                assert (client.close_code, client.close_reason) == (1008, "Unauthorized")
        good = bearer(make_token(role="admin"))
        async with watching(instance, session_id, additional_headers=good) as client:
            assert (await receive(client))["type"] == "CONNECTED"


async def test_v2_client_cannot_send_its_token_in_a_subprotocol(settings: Settings) -> None:
    async with serving(settings, authenticator=make_authenticator(settings)) as instance:
        offered: list[Any] = [f"synckairos.bearer.{make_token(role='admin')}", "mine"]
        async with watching(instance, await instance.create(), subprotocols=offered) as client:
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert (client.subprotocol, client.close_code) == ("mine", 1008)


async def test_handshake_with_a_token_over_plain_http_of_a_proxy_is_400(settings: Settings) -> None:
    settings = settings.model_copy(update={"trusted_proxies": ["127.0.0.1"]})
    async with serving(settings, authenticator=make_authenticator(settings)) as instance:
        token = make_token(role="admin")
        status, text, _ = await refusal_of(connecting(instance, token, headers={"x-forwarded-for": "192.0.2.7"}))
        assert (status, "SYNCKAIROS_TRUSTED_PROXIES" in text) == (400, True)
        secure = {"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https"}
        async with connecting(instance, token, headers=secure) as socket:
            assert (await V3Client(socket).request("PING", t0=0))["type"] == "PONG"


async def test_refused_handshakes_of_one_address_are_limited(settings: Settings) -> None:
    async with serving(settings, authenticator=make_authenticator(settings)) as instance:
        found = [(await refusal_of(connecting(instance, f"a.{n}.c")))[0] for n in range(64)]
        assert (found[:60], found[-1]) == ([401] * 60, 429)
