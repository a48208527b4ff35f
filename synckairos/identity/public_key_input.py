"""Public keys that callers send: strict parsing of PEM and JSON Web Keys.

A private key or a secret is refused. No error text contains a part of the input.
"""

import re
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from jwt import PyJWK
from jwt.exceptions import PyJWTError
from msgspec import Struct

from synckairos.identity.verification_key import ALGORITHMS, Algorithm, PublicKey, algorithm_of

MAX_RSA_BITS = 8_192
"""Maximum bits of an RSA key. Larger keys make each check of a signature expensive."""

MAX_EXPONENT_BITS = 33
"""Maximum bits of the public exponent of an RSA key. Usual exponents have 17 bits."""

MAX_MEMBER_CHARACTERS = 2_000
"""Maximum characters of a number in a JSON Web Key. An RSA key of the maximum size has 1,366."""

_PEM_BLOCK = re.compile(r"\s*-----BEGIN ([A-Z0-9 ]+)-----[A-Za-z0-9+/=\s]+-----END \1-----\s*")
_PEM_PUBLIC_TYPES = ("PUBLIC KEY", "RSA PUBLIC KEY")

_PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv")
"""Members of JSON Web Keys with secret values (RFC 7518, RFC 9964)."""

_PRIVATE = "should be a public key. It has a private key or a secret, which is no longer secret now: replace it"


class PublicKeyInput(Struct, frozen=True):
    """A public key: the algorithm that it fixes, and its text in PEM (SubjectPublicKeyInfo)."""

    algorithm: Algorithm
    pem: str


def parse_pem_input(text: str) -> PublicKeyInput:
    """Return the public key in a PEM text, which must have exactly one block.

    Raises: ValueError, whose text begins with "should", if it is no public key of a supported type and size.
    """
    if "PRIVATE" in text:
        raise ValueError(_PRIVATE)
    block = _PEM_BLOCK.fullmatch(text)
    if block is None or block[1] not in _PEM_PUBLIC_TYPES:
        raise ValueError("should be one public key in PEM, which begins with -----BEGIN PUBLIC KEY-----")
    try:
        key = load_pem_public_key(text.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("should be a valid public key in PEM") from None
    return _check(key)


def parse_jwk_input(jwk: Mapping[str, Any]) -> PublicKeyInput:
    """Return the public key in a JSON Web Key (RFC 7517).

    Raises: ValueError, whose text begins with "should", if it is no public key of a supported type and size, or if its
        use is not the check of signatures.
    """
    kind = jwk.get("kty")
    if kind == "oct" or any(name in jwk for name in _PRIVATE_MEMBERS):
        raise ValueError(_PRIVATE)
    if kind not in ("RSA", "EC", "OKP"):
        raise ValueError("should have RSA, EC or OKP as kty")
    if jwk.get("use", "sig") != "sig":
        raise ValueError("should have sig as use, or no use")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or operations != ["verify"]:
        raise ValueError('should have ["verify"] as key_ops, or no key_ops')
    if jwk.get("alg", ALGORITHMS[1]) not in ALGORITHMS[1:]:
        raise ValueError(f"should have one of {', '.join(ALGORITHMS[1:])} as alg, or no alg")
    members = {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in jwk}
    if not all(isinstance(each, str) and len(each) <= MAX_MEMBER_CHARACTERS for each in members.values()):
        raise ValueError("should be a valid JSON Web Key")
    try:
        key = PyJWK.from_dict(members).key
    except (PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("should be a valid JSON Web Key") from None
    found = _check(key)
    if jwk.get("alg", found.algorithm) != found.algorithm:
        raise ValueError(f"should have {found.algorithm} as alg, or no alg")
    return found


def _check(key: object) -> PublicKeyInput:
    algorithm = algorithm_of(key)
    assert isinstance(key, PublicKey)
    if isinstance(key, RSAPublicKey):
        if key.key_size > MAX_RSA_BITS:
            raise ValueError(f"should have at most {MAX_RSA_BITS:,} bits, not {key.key_size:,}")
        if key.public_numbers().e.bit_length() > MAX_EXPONENT_BITS:
            raise ValueError(f"should have a public exponent of at most {MAX_EXPONENT_BITS} bits")
    return PublicKeyInput(algorithm, key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
