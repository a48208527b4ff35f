"""REST routes of signing keys."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from synckairos.config import Settings
from synckairos.config.value_types import JwksSource
from synckairos.identity.public_key_input import parse_pem_input
from synckairos.identity.token_verifier import TokenVerifier
from tests.integration.authentication import authentication_settings
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.identity.jwks_server import serving_jwks
from tests.integration.rest_server import open_rest_server
from tests.integration.signing_keys.key_nodes import KeyNode, open_key_node, token_of, without_table
from tests.tokens import SigningKey, signing_key

PATH = "/v1/signing-keys"
ADMIN = as_caller("root")
FIRST, WEAK = signing_key("ES256", "first"), signing_key("RS256", rsa_bits=1_024)


@pytest.fixture
async def keys(settings: Settings) -> AsyncIterator[KeyNode]:
    async with open_key_node(settings, max_keys=3) as opened:
        yield opened


@pytest.fixture
async def client(settings: Settings, keys: KeyNode) -> AsyncIterator[httpx.AsyncClient]:
    async with open_rest_server(
        settings, verifier=keys.verifier, signing_keys=keys.keys, caller_identity=NamedCallers()
    ) as server:
        server.client.headers.update(ADMIN)
        yield server.client


async def add(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()["data"]
    assert answer.headers["location"] == f"{PATH}/{found['signing_key_id']}"
    return found


async def list_all(client: httpx.AsyncClient, limit: int = 200) -> list[dict[str, Any]]:
    """Return all keys, read page by page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get(f"{PATH}?limit={limit}{cursor and f'&cursor={cursor}'}")).json()
        found += page["data"]
        cursor = page["next_cursor"]
    return found


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def stored_texts(settings: Settings) -> str:
    """Return all rows of all tables that a request with a key can write to, as one text."""
    async with await psycopg.AsyncConnection.connect(settings.database_url) as database:
        tables = ("sync_signing_keys", "sync_access", "webhook_answers")
        rows = [await (await database.execute(f"SELECT t::text FROM {each} AS t")).fetchall() for each in tables]
    return repr(rows)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_token_of_an_added_key_is_accepted_until_the_key_is_removed(
    client: httpx.AsyncClient, keys: KeyNode, algorithm: str
) -> None:
    key = signing_key(algorithm, "k1")
    made = await add(client, kid="k1", pem=key.pem, issuer="https://id.example.org")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", made.pop("created_at"))
    assert made == {
        "signing_key_id": made["signing_key_id"],
        "kid": "k1",
        "algorithm": algorithm,
        "pem": key.pem,
        "issuer": "https://id.example.org",
        "created_by": "user:root",
    }
    token = token_of(key, iss="https://id.example.org")
    assert await keys.refusal_of(token) == ""
    for _ in range(2):
        removed = await client.delete(f"{PATH}/{made['signing_key_id']}")
        assert (removed.status_code, removed.content) == (204, b"")
    assert await keys.refusal_of(token) == "UNAUTHORIZED"
    again = await add(client, jwk=key.jwk)
    assert (again["kid"], again["pem"], "issuer" in again) == ("k1", key.pem, False)


async def test_keys_are_listed_newest_first_page_by_page(client: httpx.AsyncClient) -> None:
    made = [await add(client, jwk=signing_key("EdDSA", f"k{n}").jwk) for n in range(3)]
    assert await list_all(client, limit=2) == made[::-1]
    assert code_of(await client.get(PATH, params={"cursor": "x"})) == (400, "VALIDATION_ERROR")
    await client.delete(f"{PATH}/{made[1]['signing_key_id']}")
    assert await list_all(client) == [made[2], made[0]]


async def test_kid_that_is_in_use_and_a_fourth_key_are_409(client: httpx.AsyncClient) -> None:
    for n in range(3):
        await add(client, jwk=signing_key("EdDSA", f"k{n}").jwk)
    assert code_of(await client.post(PATH, json={"kid": "k1", "pem": FIRST.pem})) == (409, "SIGNING_KEY_EXISTS")
    refused = await client.post(PATH, json={"jwk": FIRST.jwk})
    assert code_of(refused) == (409, "TOO_MANY_SIGNING_KEYS")
    assert refused.json()["error"]["message"] == "At most 3 signing keys are allowed; remove one first"


async def test_kid_of_a_key_set_is_409_and_503_before_the_set_was_fetched(settings: Settings) -> None:
    async with serving_jwks() as issuer:
        issuer.publish(FIRST)
        with_set = authentication_settings(settings.model_copy(update={"jwks": [JwksSource(url=issuer.url)]}))
        verifier = TokenVerifier.from_settings(with_set)
        async with (
            open_key_node(settings, verifier=verifier) as keys,
            open_rest_server(
                settings, verifier=verifier, signing_keys=keys.keys, caller_identity=NamedCallers()
            ) as server,
        ):
            server.client.headers.update(ADMIN)
            body = {"kid": FIRST.key_id, "pem": signing_key("EdDSA").pem}
            assert code_of(await server.client.post(PATH, json=body)) == (503, "KEYS_UNAVAILABLE")
            await verifier.fetch_key_sets()
            assert code_of(await server.client.post(PATH, json=body)) == (409, "SIGNING_KEY_EXISTS")
            await add(server.client, kid="other", pem=body["pem"])


async def test_repeated_request_is_answered_byte_for_byte(client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "r1"}
    body = {"jwk": FIRST.jwk}
    answers = await asyncio.gather(*(client.post(PATH, json=body, headers=key) for _ in range(4)))
    assert {(each.status_code, each.content, each.headers["location"]) for each in answers} == {
        (201, answers[0].content, answers[0].headers["location"])
    }
    assert sorted(each.headers.get("idempotency-replayed", "") for each in answers) == ["", "true", "true", "true"]
    other = {"jwk": signing_key("RS256", "other").jwk}
    assert code_of(await client.post(PATH, json=other, headers=key)) == (422, "IDEMPOTENCY_KEY_REUSED")
    bob = await client.post(PATH, json=other, headers={**key, **as_caller("bob")})
    assert (bob.status_code, "idempotency-replayed" in bob.headers) == (201, False)


def private_bodies() -> list[tuple[dict[str, Any], str]]:
    """Return bodies with private keys or secrets, and a part of each that must not be stored or logged."""
    bodies: list[tuple[dict[str, Any], str]] = []
    for algorithm in ("RS256", "ES256", "EdDSA"):
        key = signing_key(algorithm).key
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        bodies.append(({"kid": "k1", "pem": pem}, pem.splitlines()[1]))
        bodies.append(({"kid": "k1", "pem": signing_key(algorithm).pem + pem, "unknown": pem}, pem.splitlines()[1]))
        bodies.append(({"jwk": {**signing_key(algorithm).jwk, "d": "private-part"}}, "private-part"))
    bodies.append(({"kid": "k1", "jwk": {"kty": "oct", "k": "private-part"}}, "private-part"))
    bodies.append(({"kid": "private-part " * 30, "pem": FIRST.pem}, "private-part"))
    bodies.append(({"kid": "k1", "pem": {"key": "private-part"}}, "private-part"))
    bodies.append(({"kid": "k1", "private-part": FIRST.pem[:0], "pem": "private-part"}, "private-part value"))
    return bodies


async def test_private_key_is_400_and_is_neither_stored_nor_logged_nor_returned(
    client: httpx.AsyncClient, keys: KeyNode, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    for n, (body, private) in enumerate(private_bodies()):
        answer = await client.post(PATH, json=body, headers={"idempotency-key": f"r{n}"})
        assert code_of(answer) == (400, "VALIDATION_ERROR"), body
        assert private not in answer.text
        assert private not in await stored_texts(settings)
        logged = capfd.readouterr()
        assert private not in logged.out + logged.err
    assert await list_all(client) == []
    assert [name async for name in _redis_values(keys) if b"private-part" in name] == []


async def _redis_values(keys: KeyNode) -> AsyncIterator[bytes]:
    for name in await keys.node.pipe.call("KEYS", f"{keys.node.keys.prefix}*"):
        yield name
        yield await keys.node.pipe.call("DUMP", name)


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        ({}, "", "should have exactly one of pem, jwk"),
        ({"kid": "a", "pem": FIRST.pem, "jwk": FIRST.jwk}, "", "should have exactly one of pem, jwk"),
        ({"pem": FIRST.pem}, "kid", "is required, because the key has no kid"),
        ({"jwk": {**FIRST.jwk, "kid": "a b"}}, "jwk.kid", "should be 1 to 255 visible ASCII characters"),
        ({"jwk": {**FIRST.jwk, "kid": ["a"]}}, "jwk.kid", "should be 1 to 255 visible ASCII characters"),
        ({"kid": "b", "jwk": FIRST.jwk}, "kid", "should be equal to the kid of the jwk, or absent"),
        ({"kid": "a", "pem": "x" * 8_001}, "pem", "should have at most 8000 characters"),
        ({"kid": "a", "jwk": {f"m{n}": n for n in range(21)}}, "jwk", "should have at most 20 items"),
        ({"kid": "a", "pem": WEAK.pem}, "pem", "should have at least 2,048 bits, not 1,024"),
        ({"kid": "a", "jwk": {"kty": "EC"}}, "jwk", "should be a valid JSON Web Key"),
    ],
)
async def test_invalid_body_is_400_with_the_fault(
    client: httpx.AsyncClient, body: dict[str, Any], path: str, message: str
) -> None:
    answer = await client.post(PATH, json=body)
    assert code_of(answer) == (400, "VALIDATION_ERROR")
    assert answer.json()["error"]["details"] == [{"path": path, "message": message}]


async def test_huge_body_is_refused_before_it_is_parsed_as_a_key(client: httpx.AsyncClient) -> None:
    assert (await client.post(PATH, json={"kid": "a", "pem": "x" * (1 << 20)})).status_code == 413
    jwk = {**signing_key("RS256").jwk, "n": "A" * 500_000}
    assert code_of(await client.post(PATH, json={"jwk": jwk})) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("role", ["viewer", "participant", "controller"])
async def test_only_admins_manage_keys(client: httpx.AsyncClient, role: Any) -> None:
    made = await add(client, jwk=FIRST.jwk)
    caller = as_caller("bob", role)
    answers = [
        await client.post(PATH, json={"jwk": FIRST.jwk}, headers=caller),
        await client.get(PATH, headers=caller),
        await client.delete(f"{PATH}/{made['signing_key_id']}", headers=caller),
    ]
    assert [code_of(each) for each in answers] == [(403, "FORBIDDEN")] * 3
    assert await list_all(client) == [made]


async def test_without_authentication_each_route_is_403_and_names_the_setting(settings: Settings) -> None:
    async with open_rest_server(settings) as server:
        answers = [
            await server.client.post(PATH, json={"jwk": FIRST.jwk}),
            await server.client.get(PATH),
            await server.client.delete(f"{PATH}/00000000-0000-4000-8000-000000000000"),
        ]
    assert [each.status_code for each in answers] == [403] * 3
    assert all("SYNCKAIROS_AUTH" in each.json()["error"]["message"] for each in answers)


async def test_without_postgres_each_route_is_503(client: httpx.AsyncClient, settings: Settings) -> None:
    async with without_table(settings):
        answers = [
            await client.post(PATH, json={"jwk": FIRST.jwk}),
            await client.get(PATH),
            await client.delete(f"{PATH}/00000000-0000-4000-8000-000000000000"),
        ]
    assert [each.status_code for each in answers] == [503] * 3


async def test_stored_text_is_that_of_the_parsed_key(client: httpx.AsyncClient, settings: Settings) -> None:
    """Only the key is stored, without any other text that was sent with it."""
    padded = FIRST.pem.replace("\n", " \n")
    made = await add(client, kid="a", pem=padded)
    assert made["pem"] == parse_pem_input(padded).pem == FIRST.pem
    other = await add(client, jwk={**SigningKey("ES256", FIRST.key, "b").jwk, "comment": "never stored"})
    assert other["pem"] == FIRST.pem
    assert "never stored" not in await stored_texts(settings)
    assert orjson.loads(orjson.dumps(other))["kid"] == "b"
