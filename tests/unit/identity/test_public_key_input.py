"""Public keys that callers send: what is accepted, and the text of each refusal, which has no part of the input."""

import json
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from synckairos.identity.public_key_input import MAX_EXPONENT_BITS, MAX_RSA_BITS, parse_jwk_input, parse_pem_input
from synckairos.identity.verification_key import parse_public_key
from tests.tokens import signing_key

ALGORITHMS = ("RS256", "ES256", "EdDSA")
PRIVATE = "should be a public key. It has a private key or a secret, which is no longer secret now: replace it"
NOT_ONE_PEM = "should be one public key in PEM, which begins with -----BEGIN PUBLIC KEY-----"
NOT_A_JWK = "should be a valid JSON Web Key"
WRONG_KIND = "should be an RSA, P-256 or Ed25519 key"


def pem_of(key: Any) -> str:
    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def private_pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    pem: bytes = key.private_bytes(Encoding.PEM, form, NoEncryption())
    return pem.decode()


def private_jwk(algorithm: str) -> dict[str, Any]:
    of: Any = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}[algorithm]
    found: dict[str, Any] = json.loads(of.to_jwk(signing_key(algorithm).key))
    return found


def rsa_numbers(bits: int, exponent: int = 65_537) -> RSAPublicNumbers:
    """Return a public key of this size. It has no private key, because large keys take long to make."""
    return RSAPublicNumbers(exponent, 2 ** (bits - 1) + 1)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_public_key_fixes_its_algorithm_and_both_formats_give_the_same_text(algorithm: str) -> None:
    key = signing_key(algorithm)
    found = parse_pem_input(f"\n {key.pem}\n")
    assert (found.algorithm, found.pem) == (algorithm, key.pem)
    assert parse_jwk_input(key.jwk) == parse_jwk_input({**key.jwk, "alg": algorithm, "x5t": "ignored"}) == found
    assert parse_public_key(found.pem).algorithm == algorithm


def test_pkcs1_public_key_is_accepted() -> None:
    key: Any = signing_key("RS256").key.public_key()
    assert parse_pem_input(key.public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode()).pem == signing_key("RS256").pem


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_private_key_is_refused(algorithm: str) -> None:
    key = signing_key(algorithm)
    formats = [PrivateFormat.PKCS8, PrivateFormat.OpenSSH]
    formats += [] if algorithm == "EdDSA" else [PrivateFormat.TraditionalOpenSSL]
    for text in [private_pem(key.key, each) for each in formats]:
        for sent in (text, key.pem + text, text + key.pem, text.replace("\n", "\\n")):
            with pytest.raises(ValueError, match=rf"^{PRIVATE}$"):
                parse_pem_input(sent)
    with pytest.raises(ValueError, match=rf"^{PRIVATE}$"):
        parse_jwk_input(private_jwk(algorithm))


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "oct"},
        *({**signing_key("RS256").jwk, name: "AQAB"} for name in ("d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv")),
    ],
)
def test_secret_and_private_members_of_a_jwk_are_refused(jwk: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^{PRIVATE}$"):
        parse_jwk_input(jwk)


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        ("", NOT_ONE_PEM),
        ("secret", NOT_ONE_PEM),
        (signing_key("ES256").pem * 2, NOT_ONE_PEM),
        (signing_key("ES256").pem + "secret", NOT_ONE_PEM),
        (signing_key("ES256").pem.replace("PUBLIC KEY", "CERTIFICATE"), NOT_ONE_PEM),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "should be a valid public key in PEM"),
        (pem_of(ec.generate_private_key(ec.SECP384R1()).public_key()), WRONG_KIND),
        (pem_of(ec.generate_private_key(ec.SECP256K1()).public_key()), WRONG_KIND),
        (pem_of(ed448.Ed448PrivateKey.generate().public_key()), WRONG_KIND),
        (pem_of(dsa.generate_private_key(1_024).public_key()), WRONG_KIND),
        (signing_key("RS256", rsa_bits=1_024).pem, "should have at least 2,048 bits, not 1,024"),
        (
            pem_of(rsa_numbers(MAX_RSA_BITS + 8).public_key()),
            f"should have at most {MAX_RSA_BITS:,} bits, not {MAX_RSA_BITS + 8:,}",
        ),
        (
            pem_of(rsa_numbers(2_048, 2**MAX_EXPONENT_BITS + 1).public_key()),
            f"should have a public exponent of at most {MAX_EXPONENT_BITS} bits",
        ),
    ],
)
def test_unsupported_pem_is_refused(pem: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}$") as caught:
        parse_pem_input(pem)
    assert caught.value.__cause__ is None


def test_largest_rsa_key_is_accepted_in_both_formats() -> None:
    numbers = rsa_numbers(MAX_RSA_BITS, 2**MAX_EXPONENT_BITS - 1)
    assert isinstance(numbers.public_key(), rsa.RSAPublicKey)
    jwk = json.loads(RSAAlgorithm.to_jwk(numbers.public_key()))
    assert parse_jwk_input(jwk) == parse_pem_input(pem_of(numbers.public_key()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kty": None}, "should have RSA, EC or OKP as kty"),
        ({"kty": ["EC"]}, "should have RSA, EC or OKP as kty"),
        ({"use": "enc"}, "should have sig as use, or no use"),
        ({"key_ops": ["sign", "verify"]}, 'should have ["verify"] as key_ops, or no key_ops'),
        ({"key_ops": "verify"}, 'should have ["verify"] as key_ops, or no key_ops'),
        ({"alg": "HS256"}, "should have one of RS256, ES256, EdDSA as alg, or no alg"),
        ({"alg": ["ES256"]}, "should have one of RS256, ES256, EdDSA as alg, or no alg"),
        ({"alg": "RS256"}, "should have ES256 as alg, or no alg"),
        ({"crv": "P-384"}, NOT_A_JWK),
        ({"crv": "secp256k1"}, NOT_A_JWK),
        ({"x": "AAAA"}, NOT_A_JWK),
        ({"x": 1}, NOT_A_JWK),
        ({"x": "A" * 2_001}, NOT_A_JWK),
        ({"x": signing_key("ES256").jwk["y"]}, NOT_A_JWK),
    ],
)
def test_unsupported_jwk_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}$") as caught:
        parse_jwk_input({**signing_key("ES256").jwk, **change})
    assert caught.value.__cause__ is None
