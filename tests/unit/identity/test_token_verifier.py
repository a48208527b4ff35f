"""Verification of tokens: keys, headers, claims, and the text of each refusal."""

import base64
import json
from typing import Any

import jwt
import pytest
from msgspec.structs import replace

from synckairos.config import BadSettings, Settings
from synckairos.errors import SyncKairosError, Unauthorized
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.identity.verification_key import VerificationKey, parse_jwk, parse_public_key
from synckairos.identity.verified_tokens import VerifiedTokens
from synckairos.principal import ALL_SESSIONS, CredentialLife, Principal, SessionGrant
from tests.principals import make_principal
from tests.tokens import SECRET, SigningKey, claims_at, sign_with_secret, signing_key

NOW_MS = 1_800_000_000_000
NOW_S = NOW_MS // 1000
SESSION_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def verifier_of(**settings: Any) -> TokenVerifier:
    return TokenVerifier.from_settings(Settings(auth="required", **{"jwt_secret": SECRET, **settings}))


async def refusal_of(token: str, verifier: TokenVerifier | None = None) -> SyncKairosError:
    verifier = verifier or verifier_of()
    with pytest.raises(SyncKairosError) as caught:
        await verifier.verify(token, NOW_MS)
    assert verifier.cached_token_count == 0
    return caught.value


def encode(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


async def test_complete_token_gives_its_principal() -> None:
    token = sign_with_secret(
        claims_at(
            NOW_MS,
            role="participant",
            participant_id=SESSION_ID.upper(),
            grants=[
                {"sessions": [SESSION_ID.upper(), "label:tournament=spring=1"], "role": "viewer"},
                {"sessions": ["*"]},
            ],
            jti="t1",
            grp="class-7",
        )
    )
    assert await verifier_of().verify(token, NOW_MS) == Principal(
        kind="user",
        tenant="default",
        subject="alice",
        role="participant",
        address="",
        participant_id=SESSION_ID,
        grants=(
            SessionGrant(
                session_ids=frozenset({SESSION_ID}),
                labels=frozenset({("tournament", "spring=1")}),
                all_sessions=False,
                role="viewer",
            ),
            ALL_SESSIONS,
        ),
        life=CredentialLife(
            expires_at_ms=NOW_MS + 600_000, issued_at_ms=NOW_MS, token_id="t1", group="class-7", verified_by=None
        ),
        narrowing=None,
        members=None,
        is_operator=False,
    )


async def test_token_without_optional_claims_is_a_controller_without_grants() -> None:
    token = sign_with_secret({"sub": SESSION_ID.upper(), "aud": ["other", "synckairos"], "exp": NOW_S + 0.5})
    assert await verifier_of().verify(token, NOW_MS) == make_principal(
        "controller",
        SESSION_ID.upper(),
        participant_id=SESSION_ID,
        grants=(),
        life=CredentialLife(expires_at_ms=NOW_MS + 500, issued_at_ms=None, token_id=None, group=None, verified_by=None),
    )


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("key_id", ["any", None])
async def test_public_key_of_the_settings_verifies_tokens_with_and_without_key_id(
    algorithm: str, key_id: str | None
) -> None:
    key = signing_key(algorithm)
    verifier = verifier_of(jwt_public_key=key.pem.replace("\n", "\\n"))
    assert (await verifier.verify(key.sign(claims_at(NOW_MS), kid=key_id), NOW_MS)).subject == "alice"


class KeysInMemory:
    """Signing keys of tenants that an instance has read completely."""

    is_complete = True

    def __init__(self, *keys: VerificationKey) -> None:
        self.keys = keys

    async def catch_up(self) -> bool:
        return True


def key_of_tenant(key: SigningKey, tenant: str) -> VerificationKey:
    material = parse_public_key(key.pem).material
    return VerificationKey("ES256", material, key_id=f"of {tenant}", tenants=frozenset((tenant,)), name=tenant)


async def test_keys_of_other_tenants_do_not_make_a_key_id_necessary() -> None:
    keys = {tenant: signing_key("ES256") for tenant in ("default", "acme", "other")}
    verifier = verifier_of()
    verifier.use_tenant_keys(KeysInMemory(*(key_of_tenant(key, tenant) for tenant, key in keys.items())))
    for tenant, key in keys.items():
        token = key.sign(claims_at(NOW_MS, tenant=tenant), kid=None)
        assert (await verifier.verify(token, NOW_MS)).tenant == tenant
    assert (await verifier.verify(keys["default"].sign(claims_at(NOW_MS), kid=None), NOW_MS)).tenant == "default"


async def test_a_second_key_of_the_tenant_makes_the_key_id_necessary() -> None:
    first, second = signing_key("ES256"), signing_key("ES256")
    verifier = verifier_of()
    verifier.use_tenant_keys(KeysInMemory(key_of_tenant(first, "acme"), key_of_tenant(second, "acme")))
    error = await refusal_of(first.sign(claims_at(NOW_MS, tenant="acme"), kid=None), verifier)
    assert error.message == "The signature of the token is not from an accepted key"


@pytest.mark.parametrize("claimed", ["other", None], ids=["another tenant", "no tenant"])
async def test_key_of_a_tenant_verifies_no_token_of_another_tenant(claimed: str | None) -> None:
    key = signing_key("ES256")
    verifier = verifier_of()
    verifier.use_tenant_keys(KeysInMemory(key_of_tenant(key, "acme")))
    error = await refusal_of(key.sign(claims_at(NOW_MS, tenant=claimed), kid=None), verifier)
    assert error.message == "The signature of the token is not from an accepted key"


async def test_keys_of_tenants_do_not_exclude_the_key_of_the_settings() -> None:
    own = signing_key("ES256")
    verifier = verifier_of(jwt_public_key=own.pem)
    verifier.use_tenant_keys(KeysInMemory(key_of_tenant(signing_key("ES256"), "acme")))
    assert (await verifier.verify(own.sign(claims_at(NOW_MS), kid=None), NOW_MS)).tenant == "default"
    assert (await verifier.verify(own.sign(claims_at(NOW_MS, tenant="other"), kid=None), NOW_MS)).tenant == "other"


@pytest.mark.parametrize("payload", ["AAAA", "W10", "eyJ0ZW5hbnQiOiA3fQ"], ids=["no JSON", "a list", "no text"])
async def test_unreadable_tenant_of_a_token_without_key_id_is_refused(payload: str) -> None:
    verifier = verifier_of()
    verifier.use_tenant_keys(KeysInMemory(key_of_tenant(signing_key("ES256"), "acme")))
    await refusal_of(f"{encode({'alg': 'ES256'})}.{payload}.AAAA", verifier)


async def test_both_secrets_verify_tokens_during_a_change() -> None:
    old = "the secret before, also 32 bytes or more"
    verifier = verifier_of(jwt_secret_previous=old)
    for secret in (SECRET, old):
        assert (await verifier.verify(sign_with_secret(claims_at(NOW_MS), secret), NOW_MS)).subject == "alice"
    error = await refusal_of(sign_with_secret(claims_at(NOW_MS), old))
    assert error.message == "The signature of the token is not from an accepted key"


async def test_claims_with_mapped_names_are_read() -> None:
    name = "https://id.example.org/"
    fields = ("tenant", "role", "grants", "participant_id", "grp")
    verifier = verifier_of(**{f"jwt_claim_{field}": name + field for field in fields})
    claims = claims_at(NOW_MS, role=17, grants=17, participant_id=17, grp=17, tenant=17)
    mapped = {"tenant": "default", "role": "admin", "grants": [], "participant_id": SESSION_ID, "grp": "g"}
    token = sign_with_secret({**claims, **{name + each: value for each, value in mapped.items()}})
    found = await verifier.verify(token, NOW_MS)
    assert (found.role, found.participant_id, found.life and found.life.group) == ("admin", SESSION_ID, "g")


# -- refusals without a check of the signature ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"alg": "none"}, "The algorithm of the token is none of HS256, RS256, ES256, EdDSA"),
        ({"alg": "None"}, "The algorithm of the token is none of HS256, RS256, ES256, EdDSA"),
        ({"alg": "HS512"}, "The algorithm of the token is none of HS256, RS256, ES256, EdDSA"),
        ({"alg": ["HS256"]}, "The algorithm of the token is none of HS256, RS256, ES256, EdDSA"),
        ({}, "The algorithm of the token is none of HS256, RS256, ES256, EdDSA"),
        ({"alg": "HS256", "jku": "https://evil.example"}, "The header of the token has jku, which is not allowed"),
        ({"alg": "HS256", "x5u": "https://evil.example"}, "The header of the token has x5u, which is not allowed"),
        ({"alg": "HS256", "x5c": []}, "The header of the token has x5c, which is not allowed"),
        ({"alg": "HS256", "jwk": {}}, "The header of the token has jwk, which is not allowed"),
        ({"alg": "HS256", "typ": "secevent+jwt"}, "The typ of the token is neither JWT nor at+jwt"),
        ({"alg": "HS256", "typ": 1}, "The typ of the token is neither JWT nor at+jwt"),
        ({"alg": "HS256", "kid": 7}, "The token is not a JSON Web Token"),
        ({"alg": "HS256", "crit": ["exp"]}, "The token is not a JSON Web Token"),
        ([], "The token is not a JSON Web Token"),
    ],
)
async def test_bad_header_is_refused_before_the_signature(header: object, message: str) -> None:
    error = await refusal_of(f"{encode(header)}.{encode(claims_at(NOW_MS))}.AAAA")
    assert (type(error), error.code, error.status, error.message) == (Unauthorized, "UNAUTHORIZED", 401, message)


async def test_critical_extension_that_the_library_knows_is_refused() -> None:
    error = await refusal_of(f"{encode({'alg': 'HS256', 'crit': ['b64'], 'b64': False})}..AAAA")
    assert error.message == "The header of the token has crit, which is not allowed"


@pytest.mark.parametrize(
    "token", ["", "x", "a.b", "a.b.c", "....", "e30.e30.e30", "\x00.\xff.é", "\ud800.a.b", "[" * 7_900]
)
async def test_text_that_is_no_token_is_refused(token: str) -> None:
    assert (await refusal_of(token)).status == 401


def texts_of_one_token() -> list[str]:
    """Return texts that decode to the same bytes as a valid token."""
    token = sign_with_secret(claims_at(NOW_MS))
    header, payload, signature = token.split(".")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # The last letter of 32 bytes has two unused bits.
    unused_bits = letters[letters.index(signature[-1]) ^ 1]
    standard = signature.replace("-", "+").replace("_", "/")
    return [
        *(token + end for end in ("=", "==", "====", "=A", "\n", "*", ".")),
        f"{header}.{payload}.{signature[:5]}!{signature[5:]}",
        f"{header}.{payload}.{signature[:-1]}{unused_bits}",
        *([f"{header}.{payload}.{standard}"] if standard != signature else []),
        f"{header}=.{payload}.{signature}",
        f"{header}.{payload}=.{signature}",
        f" {token}",
    ]


@pytest.mark.parametrize("text", texts_of_one_token())
async def test_other_text_of_a_valid_token_is_refused_and_has_no_cache_entry(text: str) -> None:
    assert (await refusal_of(text)).message == "The token is not a JSON Web Token"


async def test_deeply_nested_header_and_claims_are_refused() -> None:
    deep = base64.urlsafe_b64encode(b"[" * 4_000).rstrip(b"=").decode()
    assert (await refusal_of(f"{deep}.e30.AAAA")).message == "The token is not a JSON Web Token"
    token = jwt.api_jws.PyJWS().encode(b"[" * 4_000, SECRET.encode(), algorithm="HS256")
    assert (await refusal_of(token)).message == "The claims of the token are not a JSON object"


async def test_longest_token_is_accepted_and_a_longer_token_is_refused() -> None:
    def sized(length: int) -> str:
        return sign_with_secret(claims_at(NOW_MS, pad="x" * length))

    longest = max((sized(length) for length in range(5_600, 5_800)), key=lambda each: len(each) * (len(each) <= 7_900))
    assert 7_890 < len(longest) <= 7_900
    assert (await verifier_of().verify(longest, NOW_MS)).subject == "alice"
    for token in (sized(5_900), sized(100_000)):
        assert (await refusal_of(token)).message == "The token is longer than 7,900 bytes"


# -- refusals because of keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_secret", [True, False])
async def test_public_key_used_as_secret_is_refused(has_secret: bool) -> None:
    key = signing_key("RS256")
    verifier = verifier_of(jwt_public_key=key.pem, **({} if has_secret else {"jwt_secret": None}))
    parts = f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{encode(claims_at(NOW_MS))}"
    forged = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(parts.encode(), key.pem.encode())
    token = f"{parts}.{base64.urlsafe_b64encode(forged).rstrip(b'=').decode()}"
    assert (await refusal_of(token, verifier)).message == "The signature of the token is not from an accepted key"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_token_of_an_algorithm_without_a_key_is_refused(algorithm: str) -> None:
    error = await refusal_of(signing_key(algorithm).sign(claims_at(NOW_MS)))
    assert error.message == "The signature of the token is not from an accepted key"


async def test_changed_claims_and_cut_signature_are_refused() -> None:
    token = sign_with_secret(claims_at(NOW_MS))
    head, _, signature = token.split(".")
    for forged in (f"{head}.{encode(claims_at(NOW_MS, role='admin'))}.{signature}", token[:-4], f"{token}AAAA"):
        assert (await refusal_of(forged)).status == 401


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"jwt_secret": None}, "SYNCKAIROS_AUTH: required needs a key that verifies tokens: set JWT_SECRET, "),
        ({"jwt_secret": "short"}, "JWT_SECRET: should have at least 32 bytes, not 5"),
        ({"jwt_secret_previous": "short"}, "JWT_SECRET_PREVIOUS: should have at least 32 bytes, not 5"),
        ({"jwt_secret": signing_key("ES256").pem}, "JWT_SECRET: should be a secret, not a key in PEM"),
        ({"jwt_public_key": "x"}, "SYNCKAIROS_JWT_PUBLIC_KEY: should be a public key in PEM"),
        (
            {"jwt_public_key": signing_key("RS256", rsa_bits=1_024).pem},
            "SYNCKAIROS_JWT_PUBLIC_KEY: should have at least 2,048 bits, not 1,024",
        ),
    ],
)
def test_bad_keys_of_the_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSettings) as caught:
        verifier_of(**fields)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "oct", "k": "AAAA"},
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": 1},
        {"alg": "RS512"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"kty": None},
    ],
)
def test_key_of_a_set_that_verifies_no_tokens_is_ignored(change: dict[str, Any]) -> None:
    assert parse_jwk({**signing_key("ES256").jwk, **change}) is None


@pytest.mark.parametrize(
    "jwk",
    [
        signing_key("RS256", rsa_bits=1_024).jwk,
        {**signing_key("ES256").jwk, "x": "AAAA"},
        {**signing_key("ES256").jwk, "x": 1},
        {**signing_key("ES256").jwk, "kid": 1},
        {"kty": "EC", "crv": "P-384"},
        {"kty": "RSA"},
    ],
)
def test_invalid_or_weak_key_of_a_set_is_refused(jwk: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^should "):
        parse_jwk(jwk)


# -- refusals because of claims ---------------------------------------------------------------------------------------

SUB = "The sub of the token is not 1 to 128 visible ASCII characters"
ROLE = "The role of the token is none of viewer, participant, controller, admin"
GRANT = 'A grant of the token is not an object of "sessions" and "role"'
GRANTED = 'A session of a grant is not a UUID, "label:<key>=<value>" or "*"'


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exp": None}, "The token has no exp"),
        ({"exp": NOW_S - 30}, "The token has expired"),
        ({"exp": NOW_S + 86_431}, "The exp of the token is more than 86,400 s ahead"),
        ({"exp": 10**300}, "The exp of the token is out of range"),
        ({"exp": -1}, "The exp of the token is out of range"),
        ({"exp": str(NOW_S + 9)}, "The exp of the token is not a number of seconds"),
        ({"exp": True}, "The exp of the token is not a number of seconds"),
        ({"nbf": NOW_S + 31}, "The token is not valid yet (nbf)"),
        ({"nbf": "x"}, "The nbf of the token is not a number of seconds"),
        ({"iat": NOW_S + 31}, "The token was issued in the future (iat)"),
        ({"aud": None}, "The token is for another audience (aud)"),
        ({"aud": "other"}, "The token is for another audience (aud)"),
        ({"aud": ["other"]}, "The token is for another audience (aud)"),
        ({"aud": {"synckairos": 1}}, "The token is for another audience (aud)"),
        ({"iss": 1}, "The iss of the token is not a text"),
        ({"sub": None}, SUB),
        ({"sub": ""}, SUB),
        ({"sub": "a" * 129}, SUB),
        ({"sub": "a b"}, SUB),
        ({"sub": "é"}, SUB),
        ({"sub": "a\n"}, SUB),
        *(
            ({"sub": each}, "The sub of the token is reserved")
            for each in ("key:1", "link:1:2", "timekeeper", "anonymous")
        ),
        ({"role": "operator"}, ROLE),
        ({"role": "Admin"}, ROLE),
        ({"role": ["admin"]}, ROLE),
        ({"participant_id": "alice"}, "The participant id of the token is not a UUID"),
        ({"jti": 7}, "The jti of the token is not 1 to 128 visible ASCII characters"),
        ({"grp": "a b"}, "The grp of the token is not 1 to 128 visible ASCII characters"),
        ({"tenant": ""}, "The tenant of the token is not a valid name"),
        ({"tenant": "A"}, "The tenant of the token is not a valid name"),
        ({"tenant": "a\n"}, "The tenant of the token is not a valid name"),
        ({"grants": {}}, "The grants of the token are not a list"),
        ({"grants": [{"sessions": ["*"]}] * 65}, "The token has more than 64 grants"),
        ({"grants": ["*"]}, GRANT),
        ({"grants": [{"sessions": ["*"], "roles": "viewer"}]}, GRANT),
        ({"grants": [{"role": "viewer"}]}, "The sessions of a grant are not a list of texts"),
        ({"grants": [{"sessions": []}]}, "The sessions of a grant are not a list of texts"),
        ({"grants": [{"sessions": "*"}]}, "The sessions of a grant are not a list of texts"),
        *(
            ({"grants": [{"sessions": [each]}]}, GRANTED)
            for each in (1, "", "all", "label:", "label:a", "label:A=b", "label:a=", f"{SESSION_ID}0", SESSION_ID[:-1])
        ),
        *(
            (
                {"grants": [{"sessions": ["*"], "role": each}]},
                "The role of a grant is none of viewer, participant, controller",
            )
            for each in ("admin", "operator", None)
        ),
    ],
)
async def test_claim_that_is_not_accepted_is_refused(changes: dict[str, Any], message: str) -> None:
    claims = claims_at(NOW_MS, **{name: value for name, value in changes.items() if value is not None})
    for name in changes:
        if changes[name] is None:
            claims.pop(name, None)
    error = await refusal_of(jwt.api_jws.PyJWS().encode(json.dumps(claims).encode(), SECRET.encode(), "HS256"))
    assert (type(error), error.message) == (Unauthorized, message)


@pytest.mark.parametrize("changes", [{"exp": NOW_S - 29}, {"nbf": NOW_S + 30}, {"iat": NOW_S + 30}])
async def test_instants_within_the_leeway_are_accepted(changes: dict[str, Any]) -> None:
    verifier = verifier_of()
    assert (await verifier.verify(sign_with_secret(claims_at(NOW_MS, **changes)), NOW_MS)).subject == "alice"
    assert verifier.cached_token_count == (0 if "exp" in changes else 1)


async def test_token_of_another_issuer_is_refused_if_issuers_are_set() -> None:
    verifier = verifier_of(jwt_issuers=["https://a.example"])
    accepted = sign_with_secret(claims_at(NOW_MS, iss="https://a.example"))
    assert (await verifier.verify(accepted, NOW_MS)).subject == "alice"
    for issuer in ("https://b.example", None):
        with pytest.raises(Unauthorized, match=r"^The issuer of the token \(iss\) is not accepted$"):
            await verifier.verify(sign_with_secret(claims_at(NOW_MS, iss=issuer)), NOW_MS)


async def test_tenant_of_the_token_or_of_the_settings_is_the_tenant_of_the_principal() -> None:
    token = sign_with_secret(claims_at(NOW_MS, tenant="school-b"))
    assert (await verifier_of().verify(token, NOW_MS)).tenant == "school-b"
    verifier = verifier_of(jwt_tenant="school-b")
    assert (await verifier.verify(sign_with_secret(claims_at(NOW_MS)), NOW_MS)).tenant == "school-b"


# -- cache ------------------------------------------------------------------------------------------------------------


async def test_cached_token_ends_at_its_expiry() -> None:
    verifier, token = verifier_of(), sign_with_secret(claims_at(NOW_MS, exp=NOW_S + 10))
    principal = await verifier.verify(token, NOW_MS)
    assert verifier.find_cached(token, NOW_MS + 9_999) is principal
    assert verifier.find_cached(token, NOW_MS + 10_000) is None
    assert verifier.cached_token_count == 0


def test_cache_drops_the_token_that_was_used_least_recently() -> None:
    life = CredentialLife(expires_at_ms=NOW_MS + 1, issued_at_ms=None, token_id=None, group=None, verified_by=None)
    cache, key, principal = VerifiedTokens(2), parse_public_key(signing_key("ES256").pem), make_principal("viewer")
    principal = replace(principal, life=life)
    cache.add("a", key, principal)
    cache.add("b", key, principal)
    assert cache.find("a", NOW_MS) is principal
    cache.add("c", key, principal)
    assert [cache.find(each, NOW_MS) for each in "abc"] == [principal, None, principal]
    assert len(cache) == 2


def test_cached_tokens_of_a_retired_key_end() -> None:
    life = CredentialLife(expires_at_ms=NOW_MS + 1, issued_at_ms=None, token_id=None, group=None, verified_by=None)
    cache, key = VerifiedTokens(), parse_public_key(signing_key("ES256").pem)
    cache.add("a", key, replace(make_principal("viewer"), life=life))
    key.is_retired = True
    assert cache.find("a", NOW_MS) is None
    assert len(cache) == 0
