"""Tokens of issuers with a key set: rotation, outages, bad answers, and floods of unknown key ids."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from synckairos.config import Settings
from synckairos.config.value_types import JwksSource
from synckairos.errors import KeysUnavailable, Unauthorized
from synckairos.identity.jwks_fetch import JwksFetchFailed, fetch_jwks
from synckairos.identity.jwks_keys import JwksKeys
from synckairos.identity.retired_keys import RetiredKeys
from synckairos.identity.token_claims import ClaimRules
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.identity.verification_key import parse_secret
from tests.certificates import create_certificates
from tests.integration.identity.jwks_server import JwksServer, serving_jwks
from tests.tokens import SECRET, SigningKey, claims_at, sign_with_secret, signing_key

NOW_MS = 1_800_000_000_000
FIRST, SECOND = signing_key("ES256", "first"), signing_key("RS256", "second")
UNKNOWN_KEY = r"^The signature of the token is not from an accepted key$"


@pytest.fixture
async def server() -> AsyncIterator[JwksServer]:
    async with serving_jwks() as opened:
        opened.publish(FIRST)
        yield opened


class Clock:
    """A clock in seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Issuer:
    """A verifier with one key set, and the clock of this key set."""

    def __init__(self, server: JwksServer, **source: Any) -> None:
        self.clock = Clock()
        self.retired = RetiredKeys(max_credential_life_s=86_400, clock=self.clock)
        self.ended: list[str] = []
        self.retired.add_listener(self.ended.append)
        self.keys = JwksKeys(JwksSource(url=server.url, **source), self.retired, clock=self.clock)
        rules = ClaimRules.from_settings(Settings())
        self.verifier = TokenVerifier([parse_secret(SECRET)], [], [self.keys], rules)

    async def subject_of(self, token: str) -> str:
        return (await self.verifier.verify(token, NOW_MS)).subject


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_token_of_a_key_of_the_set_is_accepted_with_and_without_key_id(
    server: JwksServer, algorithm: str
) -> None:
    key = signing_key(algorithm)
    server.publish(key)
    issuer = Issuer(server)
    assert await issuer.keys.refresh()
    for key_id in (key.key_id, None):
        assert await issuer.subject_of(key.sign(claims_at(NOW_MS), kid=key_id)) == "alice"


async def test_token_without_key_id_is_refused_if_two_keys_have_its_algorithm(server: JwksServer) -> None:
    server.publish(FIRST, signing_key("ES256", "other"))
    issuer = Issuer(server)
    await issuer.keys.refresh()
    with pytest.raises(Unauthorized, match=UNKNOWN_KEY):
        await issuer.verifier.verify(FIRST.sign(claims_at(NOW_MS), kid=None), NOW_MS)


async def test_new_key_is_fetched_once_and_a_gone_key_ends_its_cached_tokens(server: JwksServer) -> None:
    issuer = Issuer(server)
    old, new = FIRST.sign(claims_at(NOW_MS)), SECOND.sign(claims_at(NOW_MS, sub="bob"))
    assert await issuer.subject_of(old) == "alice"
    assert issuer.verifier.find_cached(old, NOW_MS) is not None
    server.publish(SECOND)
    issuer.clock.now_s += 30
    assert await issuer.subject_of(new) == "bob"
    assert server.requests == 2
    assert issuer.verifier.find_cached(old, NOW_MS) is None
    with pytest.raises(Unauthorized, match=UNKNOWN_KEY):
        await issuer.verifier.verify(old, NOW_MS)


async def test_key_that_is_replaced_under_its_key_id_ends_its_cached_tokens(server: JwksServer) -> None:
    issuer = Issuer(server)
    new_key = SigningKey("ES256", signing_key("ES256", "another").key, FIRST.key_id)
    old, new = FIRST.sign(claims_at(NOW_MS)), new_key.sign(claims_at(NOW_MS, sub="bob"))
    assert await issuer.subject_of(old) == "alice"
    server.publish(new_key)
    assert await issuer.keys.refresh()
    assert issuer.verifier.find_cached(old, NOW_MS) is None
    with pytest.raises(Unauthorized, match=UNKNOWN_KEY):
        await issuer.verifier.verify(old, NOW_MS)
    assert await issuer.subject_of(new) == "bob"


async def test_rotation_while_tokens_are_verified_accepts_the_new_key_and_keeps_no_token_of_the_old_key(
    server: JwksServer,
) -> None:
    issuer = Issuer(server)
    assert await issuer.keys.refresh()
    server.publish(SECOND)
    server.may_answer.clear()
    new = [SECOND.sign(claims_at(NOW_MS, jti=f"new{n}")) for n in range(10)]
    old = [FIRST.sign(claims_at(NOW_MS, jti=f"old{n}")) for n in range(10)]
    waiting = [asyncio.create_task(issuer.subject_of(each)) for each in new]  # all need the set that is on its way
    await server.wait_until_asked(2)
    assert [await issuer.subject_of(each) for each in old] == ["alice"] * 10
    server.may_answer.set()
    assert await asyncio.gather(*waiting) == ["alice"] * 10
    assert [issuer.verifier.find_cached(each, NOW_MS) for each in old] == [None] * 10
    for each in old:
        with pytest.raises(Unauthorized, match=UNKNOWN_KEY):
            await issuer.verifier.verify(each, NOW_MS)
    assert server.requests == 2


async def test_set_that_ends_early_replaces_nothing(server: JwksServer) -> None:
    issuer = Issuer(server)
    token = FIRST.sign(claims_at(NOW_MS))
    assert await issuer.subject_of(token) == "alice"
    server.publish(SECOND)
    server.sent_bytes = 40
    assert not await issuer.keys.refresh()
    assert issuer.verifier.find_cached(token, NOW_MS) is not None
    server.sent_bytes = None
    assert await issuer.keys.refresh()
    assert issuer.verifier.find_cached(token, NOW_MS) is None


async def test_key_that_stays_in_the_set_keeps_its_cached_tokens(server: JwksServer) -> None:
    issuer = Issuer(server)
    token = FIRST.sign(claims_at(NOW_MS))
    await issuer.subject_of(token)
    server.publish(FIRST, SECOND)
    assert await issuer.keys.refresh()
    assert issuer.verifier.find_cached(token, NOW_MS) is not None


async def test_key_that_is_still_gone_after_30_seconds_is_retired_and_one_that_returns_is_restored(
    server: JwksServer,
) -> None:
    issuer = Issuer(server)
    await issuer.subject_of(FIRST.sign(claims_at(NOW_MS)))
    (name,) = [key.name for key in issuer.keys.keys]
    server.publish(SECOND)
    for wait_s, ended in ((0, []), (29, []), (1, [name]), (30, [name])):
        issuer.clock.now_s += wait_s
        assert await issuer.keys.refresh()
        assert issuer.ended == ended
    assert name in issuer.retired
    server.publish(FIRST, SECOND)
    assert await issuer.keys.refresh()
    assert name not in issuer.retired


async def test_key_that_is_gone_for_less_than_30_seconds_is_not_retired(server: JwksServer) -> None:
    """Issuers with several servers can answer with an older set for some seconds."""
    issuer = Issuer(server)
    for published in ((FIRST,), (SECOND,), (FIRST, SECOND), (SECOND,), (FIRST, SECOND)):
        server.publish(*published)
        assert await issuer.keys.refresh()
        issuer.clock.now_s += 29
    assert issuer.ended == []


async def test_key_keeps_its_name_if_other_members_change_and_gets_another_one_with_another_id_or_material(
    server: JwksServer,
) -> None:
    names = []
    other_id = SigningKey("ES256", FIRST.key, "other")
    other_key = SigningKey("ES256", signing_key("ES256", "another").key, FIRST.key_id)
    for jwk in (FIRST.jwk, {**FIRST.jwk, "x5t": "abc"}, other_id.jwk, other_key.jwk):
        server.publish(others=[jwk])
        issuer = Issuer(server)
        assert await issuer.keys.refresh()
        names += [key.name for key in issuer.keys.keys]
    assert names[0] == names[1]
    assert len(set(names)) == 3


async def test_expired_set_retires_no_name(server: JwksServer) -> None:
    """The issuer is down, and removed no key."""
    issuer = Issuer(server)
    assert await issuer.keys.refresh()
    issuer.clock.now_s += 86_400
    assert not issuer.keys.is_loaded
    assert await issuer.keys.refresh()
    assert issuer.ended == []


async def test_flood_of_unknown_key_ids_fetches_once_in_30_seconds(server: JwksServer) -> None:
    issuer = Issuer(server)
    await issuer.keys.refresh()
    for _ in range(2):
        for n in range(20):
            with pytest.raises(Unauthorized, match=UNKNOWN_KEY):
                await issuer.verifier.verify(FIRST.sign(claims_at(NOW_MS), kid=f"k{n}"), NOW_MS)
        issuer.clock.now_s += 30
    assert server.requests == 3
    assert issuer.verifier.cached_token_count == 0


async def test_unknown_key_ids_at_once_wait_for_one_fetch(server: JwksServer) -> None:
    issuer = Issuer(server)
    server.may_answer.clear()
    waiting = [asyncio.create_task(issuer.subject_of(FIRST.sign(claims_at(NOW_MS, jti=f"t{n}")))) for n in range(20)]
    await server.wait_until_asked()
    waiting[0].cancel()  # a caller that leaves does not end the fetch of the others
    server.may_answer.set()
    assert await asyncio.gather(*waiting[1:]) == ["alice"] * 19
    assert server.requests == 1


async def test_key_that_is_published_while_a_fetch_runs_is_found(
    server: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = Issuer(server)
    server.may_answer.clear()
    running = asyncio.create_task(issuer.keys.refresh())
    await server.wait_until_asked()
    server.publish(FIRST, SECOND)
    join_fetch, joins = issuer.keys.refresh_for_unknown_key, asyncio.Event()

    async def join() -> bool:
        joins.set()
        return await join_fetch()

    monkeypatch.setattr(issuer.keys, "refresh_for_unknown_key", join)
    verified = asyncio.create_task(issuer.subject_of(SECOND.sign(claims_at(NOW_MS))))
    await joins.wait()  # the verification now waits for the running fetch, whose answer has only the first key
    server.may_answer.set()
    assert await verified == "alice"
    assert await running
    assert server.requests == 2


async def test_token_is_503_before_the_first_fetch_and_a_token_of_the_secret_is_not(server: JwksServer) -> None:
    server.status = "500 Internal Server Error"
    issuer = Issuer(server)
    for key_id in ("first", None):
        with pytest.raises(KeysUnavailable) as caught:
            await issuer.verifier.verify(FIRST.sign(claims_at(NOW_MS), kid=key_id), NOW_MS)
        assert (caught.value.status, caught.value.code) == (503, "KEYS_UNAVAILABLE")
    assert await issuer.subject_of(sign_with_secret(claims_at(NOW_MS))) == "alice"
    with pytest.raises(Unauthorized):
        await issuer.verifier.verify(sign_with_secret(claims_at(NOW_MS), "x" * 32, kid="first"), NOW_MS)


async def test_last_good_set_serves_for_24_hours_of_an_outage(server: JwksServer) -> None:
    issuer = Issuer(server)
    token, other = FIRST.sign(claims_at(NOW_MS)), FIRST.sign(claims_at(NOW_MS, jti="2"))
    assert await issuer.keys.refresh()
    server.status = "503 Service Unavailable"
    issuer.clock.now_s += 86_399
    assert not await issuer.keys.refresh()
    assert await issuer.subject_of(token) == "alice"
    with pytest.raises(KeysUnavailable):  # the issuer may have published this key in the meantime
        await issuer.verifier.verify(SECOND.sign(claims_at(NOW_MS)), NOW_MS)
    issuer.clock.now_s += 1
    for each in (other, token):
        with pytest.raises(KeysUnavailable):
            await issuer.verifier.verify(each, NOW_MS)
    server.status = "200 OK"
    assert await issuer.keys.refresh()
    assert await issuer.subject_of(other) == "alice"


async def test_background_loop_fetches_at_its_start(server: JwksServer) -> None:
    issuer = Issuer(server)
    running = asyncio.create_task(issuer.verifier.run_background_loop())
    async with asyncio.timeout(10):
        while not issuer.keys.is_loaded:
            await asyncio.wait([running], timeout=0.01)
    running.cancel()
    assert await issuer.subject_of(FIRST.sign(claims_at(NOW_MS), kid=None)) == "alice"


async def test_keys_of_an_issuer_are_fixed_to_its_name_and_its_tenants(server: JwksServer) -> None:
    issuer = Issuer(server, issuer="https://id.example.org", tenants=["default", "school-b"])
    good = claims_at(NOW_MS, iss="https://id.example.org")
    assert await issuer.subject_of(FIRST.sign(good)) == "alice"
    with pytest.raises(Unauthorized, match=r"^The issuer of the token \(iss\) is not accepted$"):
        await issuer.verifier.verify(FIRST.sign(claims_at(NOW_MS, iss="https://evil.example.org")), NOW_MS)
    with pytest.raises(Unauthorized, match=r"^The key of the token may not name this tenant$"):
        await issuer.verifier.verify(FIRST.sign({**good, "tenant": "school-c"}), NOW_MS)
    only = Issuer(server, tenants=["school-b"])
    assert (await only.verifier.verify(FIRST.sign(claims_at(NOW_MS)), NOW_MS)).tenant == "school-b"


async def test_secrets_encryption_keys_and_weak_keys_of_a_set_are_not_used(server: JwksServer) -> None:
    weak = signing_key("RS256", "weak", rsa_bits=1_024)
    secret = {"kty": "oct", "k": "YSBzZWNyZXQgb2YgdGhlIHRlc3RzLCAzMiBieXRlcyE", "kid": "secret"}
    server.publish(FIRST, weak, others=[secret, {**SECOND.jwk, "use": "enc"}, {"kty": "RSA"}, {}])
    issuer = Issuer(server)
    assert await issuer.keys.refresh()
    assert [key.key_id for key in issuer.keys.keys] == ["first"]
    with pytest.warns(Warning, match="below the minimum"):
        token = weak.sign(claims_at(NOW_MS))
    for each in (token, sign_with_secret(claims_at(NOW_MS), "a secret of the tests, 32 bytes!", kid="secret")):
        with pytest.raises(Unauthorized, match=UNKNOWN_KEY):
            await issuer.verifier.verify(each, NOW_MS)


# -- answers of a key set ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"status": "404 Not Found"}, "the answer has status 404, not 200"),
        ({"status": "302 Found", "headers": ["Location: /other"]}, "the answer has status 302, not 200"),
        ({"headers": ["Content-Encoding: gzip"]}, "the answer is compressed"),
        ({"body": b" " * ((1 << 20) + 1)}, "the answer is larger than 1,048,576 bytes"),
        ({"body": b"<html>"}, "the answer is not JSON"),
        ({"body": b"[" * 100_000}, "the answer is not JSON"),
        ({"body": b"[]"}, 'the answer has no list of objects "keys"'),
        ({"body": b'{"keys": {}}'}, 'the answer has no list of objects "keys"'),
        ({"body": b'{"keys": [1]}'}, 'the answer has no list of objects "keys"'),
        ({"body": json.dumps({"keys": [{}] * 101}).encode()}, "the answer has 101 keys, more than 100"),
    ],
)
async def test_bad_answer_is_refused(server: JwksServer, answer: dict[str, Any], message: str) -> None:
    for name, value in answer.items():
        setattr(server, name, value)
    with pytest.raises(JwksFetchFailed) as caught:
        await fetch_jwks(server.url)
    assert caught.value.message == message
    assert server.requests == 1


async def test_server_that_does_not_answer_in_time_or_is_down_is_refused(server: JwksServer) -> None:
    server.may_answer.clear()
    with pytest.raises(JwksFetchFailed, match=r"^no complete answer within 0\.1 s$|^no answer: ReadTimeout$"):
        await fetch_jwks(server.url, timeout_s=0.1)
    async with serving_jwks() as other:
        pass
    with pytest.raises(JwksFetchFailed, match=r"^no answer: ConnectError$"):
        await fetch_jwks(other.url)


async def test_certificate_of_the_server_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = create_certificates(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.server, files.server_key)
    async with serving_jwks(tls) as server:
        server.publish(FIRST)
        with pytest.raises(JwksFetchFailed, match=r"^no answer: ConnectError$"):
            await fetch_jwks(server.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
        assert [key["kid"] for key in await fetch_jwks(server.url)] == ["first"]
        failing = partial(fetch_jwks, server.url.replace("127.0.0.1", "127.0.0.2"), 0.5)
        with pytest.raises(JwksFetchFailed):
            await failing()
