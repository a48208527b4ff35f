"""Tokens that are refused, at each place where a caller can send one: exact answers, and nothing changes.

`tests/unit/identity/test_token_verifier.py` has more kinds of bad claims and keys.
"""

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from synckairos.config import Settings
from synckairos.config.value_types import JwksSource
from synckairos.identity.token_verifier import TokenVerifier
from tests.integration.authentication import authentication_settings, bearer, make_authenticator, now_ms
from tests.integration.identity.jwks_server import serving_jwks
from tests.integration.realtime.instances import Instance, serving, watching
from tests.integration.realtime.v3_client import V3, V3Client
from tests.integration.rest_server import RestServer, chess_body, open_rest_server
from tests.tokens import claims_at, sign_with_secret, signing_key

ISSUER = "https://id.example.org"
PUBLIC, FOREIGN = signing_key("RS256", "own"), signing_key("RS256", "foreign")
CHALLENGE = 'Bearer realm="synckairos", error="invalid_token"'
SIGNATURE = "The signature of the token is not from an accepted key"


def claims(**changes: Any) -> dict[str, Any]:
    return claims_at(now_ms(), iss=ISSUER, role="admin", **changes)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed_with_public_key() -> str:
    """Return a token whose HMAC has the public RSA key as its secret."""
    parts = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(claims())}"
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(parts.encode(), PUBLIC.pem.encode())
    return f"{parts}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def in_seconds(seconds: int) -> int:
    return now_ms() // 1000 + seconds


BAD_TOKENS: dict[str, tuple[Callable[[], str], str]] = {
    "public key as secret": (signed_with_public_key, SIGNATURE),
    "algorithm none": (
        lambda: f"{encoded({'alg': 'none'})}.{encoded(claims())}.",
        "The algorithm of the token is none of HS256, RS256, ES256, EdDSA",
    ),
    "embedded key": (
        lambda: FOREIGN.sign(claims(), jwk=FOREIGN.jwk),
        "The header of the token has jwk, which is not allowed",
    ),
    "URL of a key": (
        lambda: FOREIGN.sign(claims(), jku="https://evil.example"),
        "The header of the token has jku, which is not allowed",
    ),
    "key id without a key": (lambda: FOREIGN.sign(claims()), SIGNATURE),
    "key id of another key": (lambda: FOREIGN.sign(claims(), kid="own"), SIGNATURE),
    "another secret": (lambda: sign_with_secret(claims(), "another secret, with 32 bytes or more"), SIGNATURE),
    "expired": (lambda: sign_with_secret(claims(exp=in_seconds(-31))), "The token has expired"),
    "not valid yet": (lambda: sign_with_secret(claims(nbf=in_seconds(90))), "The token is not valid yet (nbf)"),
    "expiry far in the future": (
        lambda: sign_with_secret(claims(exp=in_seconds(86_400 * 366))),
        "The exp of the token is more than 86,400 s ahead",
    ),
    "expiry beyond all years": (
        lambda: sign_with_secret(claims(exp=10**18)),
        "The exp of the token is out of range",
    ),
    "another audience": (lambda: sign_with_secret(claims(aud="other")), "The token is for another audience (aud)"),
    "another issuer": (
        lambda: sign_with_secret({**claims(), "iss": "https://evil.example"}),
        "The issuer of the token (iss) is not accepted",
    ),
}


@dataclass(frozen=True, slots=True)
class Doors:
    """A REST application and an instance for sockets, on the same stores, with one verifier of tokens."""

    rest: RestServer
    instance: Instance
    verifier: TokenVerifier

    async def create_by_rest(self, token: str) -> tuple[int, str, str, str | None]:
        answer = await self.rest.client.post("/v1/sessions", json=chess_body(), headers=bearer(token))
        error = answer.json()["error"]
        return answer.status_code, error["code"], error["message"], answer.headers.get("www-authenticate")

    async def handshake(self, token: str) -> tuple[int, str, str | None]:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(self.instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=bearer(token)):
                pass
        response = refused.value.response
        return response.status_code, response.body.decode(), response.headers.get("www-authenticate")

    async def v2_handshake(self, token: str, session_id: str) -> tuple[int | None, str | None]:
        async with watching(self.instance, session_id, additional_headers=bearer(token)) as client:
            with pytest.raises(ConnectionClosed):
                await client.recv()
            return client.close_code, client.close_reason

    async def auth(self, token: str) -> tuple[str, str, int | None, str | None]:
        """Send AUTH. Return code and message of the ERROR, and code and reason of the close."""
        async with connect(self.instance.ws_url, subprotocols=[V3], proxy=None) as socket:
            answer = await V3Client(socket).request("AUTH", token=token)
            await socket.wait_closed()
            return answer["code"], answer["message"], socket.close_code, socket.close_reason

    async def stored_keys(self) -> set[bytes]:
        """Return the keys of the test in Redis without those of idle instances."""
        keys = self.rest.parts.store.keys
        found: list[bytes] = await self.rest.parts.pipe.call("KEYS", f"{keys.prefix}:*")
        return {key for key in found if b"presence" not in key}


async def open_doors(stack: AsyncExitStack, settings: Settings) -> Doors:
    verifier = TokenVerifier.from_settings(authentication_settings(settings))
    authenticator = make_authenticator(settings, verifier=verifier)
    rest = await stack.enter_async_context(open_rest_server(settings, authenticator=authenticator))
    instance = await stack.enter_async_context(serving(settings, authenticator=authenticator))
    return Doors(rest, instance, verifier)


@pytest.fixture
async def doors(settings: Settings) -> AsyncIterator[Doors]:
    given: dict[str, Any] = {"jwt_public_key": PUBLIC.pem, "jwt_issuers": [ISSUER]}
    async with AsyncExitStack() as stack:
        yield await open_doors(stack, Settings(**settings.model_dump(exclude_unset=True), **given))


@pytest.mark.parametrize("name", BAD_TOKENS)
async def test_bad_token_has_its_answer_at_each_door_and_changes_nothing(doors: Doors, name: str) -> None:
    make, message = BAD_TOKENS[name]
    session_id = await doors.instance.create()
    stored, token = await doors.stored_keys(), make()
    assert await doors.create_by_rest(token) == (401, "UNAUTHORIZED", message, CHALLENGE)
    assert await doors.handshake(token) == (401, message, CHALLENGE)
    assert await doors.v2_handshake(token, session_id) == (1008, "Unauthorized")
    assert await doors.auth(token) == ("UNAUTHORIZED", message, 4501, "unauthorized")
    good = sign_with_secret(claims())
    async with connect(doors.instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=bearer(good)) as socket:
        client = V3Client(socket)
        assert (await client.receive())["type"] == "AUTHENTICATED"
        refused = await client.request("REFRESH", token=token)
        assert (refused["code"], refused["message"]) == ("UNAUTHORIZED", message)
        assert (await client.request("SUBSCRIBE", session_id=session_id))["version"] == 1
    await doors.instance.wait_until_unused()
    assert doors.verifier.cached_token_count == 1, "only the good token is kept"
    assert await doors.stored_keys() == stored


async def test_token_with_100_kb_of_claims_is_refused_at_each_door(doors: Doors) -> None:
    token = sign_with_secret(claims(pad="x" * 100_000))
    stored = await doors.stored_keys()
    message = "The token is longer than 7,900 bytes"
    assert await doors.create_by_rest(token) == (401, "UNAUTHORIZED", message, CHALLENGE)
    options: list[dict[str, Any]] = [
        {"additional_headers": bearer(token)},
        {"subprotocols": [f"synckairos.bearer.{token}", V3]},
    ]
    for each in options:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(doors.instance.ws_url, **{"subprotocols": [V3], **each}, proxy=None):
                pass
        assert refused.value.response.status_code == 431
    async with connect(doors.instance.ws_url, subprotocols=[V3], proxy=None) as socket:
        await V3Client(socket).send("AUTH", token=token)
        await socket.wait_closed()
        assert socket.close_code == 4513
    await doors.instance.wait_until_unused()
    assert doors.verifier.cached_token_count == 0
    assert await doors.stored_keys() == stored


async def test_token_of_a_key_set_that_is_down_is_undecided_at_each_door(settings: Settings) -> None:
    async with serving_jwks() as key_set, AsyncExitStack() as stack:
        key_set.status = "503 Service Unavailable"
        jwks = [JwksSource(url=key_set.url)]
        doors = await open_doors(stack, Settings(**settings.model_dump(exclude_unset=True), jwks=jwks))
        token = FOREIGN.sign(claims())
        status, code, message, challenge = await doors.create_by_rest(token)
        assert (status, code, challenge) == (503, "KEYS_UNAVAILABLE", None)
        assert await doors.handshake(token) == (503, message, None)
        assert await doors.auth(token) == (
            "KEYS_UNAVAILABLE", message, 4000, "the credential cannot be checked now"
        )  # fmt: skip
        key_set.status = "200 OK"
        key_set.publish(FOREIGN)
        await doors.verifier.fetch_key_sets()
        answer = await doors.rest.client.get(f"/v1/sessions/{uuid4()}", headers=bearer(token))
        assert answer.status_code == 404
