"""Keys that verify tokens. Each key fixes the algorithm of the tokens that it verifies.

A token never selects the algorithm of a key. So a public key of RSA can never serve as the secret of HS256.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal, get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from jwt import PyJWK
from jwt.exceptions import PyJWTError

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]

ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)

MIN_SECRET_BYTES = 32
"""Minimum bytes of a secret of HS256: the size of its hash (RFC 7518, section 3.2)."""

MIN_RSA_BITS = 2_048
"""Minimum bits of an RSA key (RFC 7518, section 3.3)."""

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

Material = bytes | PublicKey


class VerificationKey:
    """A key that verifies tokens.

    - `key_id`: the `kid` by which tokens name this key. None: the key has no id.
    - `issuer`: the only issuer whose tokens this key verifies. None: the key does not restrict the issuer.
    - `tenants`: the tenants that tokens of this key are allowed to name. None: all tenants.
    - `name`: the name by which `RetiredKeys` knows this key, unique among all keys. None: the key stays as long as the
      process runs.
    - `is_retired`: the key verifies no more tokens, and tokens that it verified before are no longer accepted.
    """

    __slots__ = ("algorithm", "is_retired", "issuer", "key_id", "material", "name", "tenants")

    def __init__(
        self,
        algorithm: Algorithm,
        material: Material,
        *,
        key_id: str | None = None,
        issuer: str | None = None,
        tenants: frozenset[str] | None = None,
        name: str | None = None,
    ) -> None:
        self.algorithm = algorithm
        self.material = material
        self.key_id = key_id
        self.issuer = issuer
        self.tenants = tenants
        self.name = name
        self.is_retired = False


def algorithm_of(key: object) -> Algorithm:
    """Return the algorithm of the signatures that a public key verifies.

    Raises: ValueError, whose text begins with "should", if the type or the size of the key is not supported.
    """
    match key:
        case RSAPublicKey():
            if key.key_size < MIN_RSA_BITS:
                raise ValueError(f"should have at least {MIN_RSA_BITS:,} bits, not {key.key_size:,}")
            return "RS256"
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return "ES256"
        case Ed25519PublicKey():
            return "EdDSA"
        case _:
            raise ValueError("should be an RSA, P-256 or Ed25519 key")


def parse_secret(text: str) -> VerificationKey:
    """Return the key of HS256 with this secret.

    Raises: ValueError, whose text begins with "should", if the secret is too short or is a public key.
    """
    secret = text.encode()
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"should have at least {MIN_SECRET_BYTES} bytes, not {len(secret)}")
    if b"-----BEGIN " in secret:
        raise ValueError("should be a secret, not a key in PEM; SYNCKAIROS_JWT_PUBLIC_KEY takes public keys")
    return VerificationKey("HS256", secret)


def parse_public_key(pem: str) -> VerificationKey:
    """Return the key of a public key in PEM. `\\n` in the text also stands for a line break.

    Raises: ValueError, whose text begins with "should".
    """
    try:
        key = load_pem_public_key(pem.replace("\\n", "\n").encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("should be a public key in PEM, which begins with -----BEGIN PUBLIC KEY-----") from None
    algorithm = algorithm_of(key)
    assert isinstance(key, PublicKey)
    return VerificationKey(algorithm, key)


def parse_jwk(
    jwk: Mapping[str, Any], issuer: str | None = None, tenants: frozenset[str] | None = None, source: str = ""
) -> VerificationKey | None:
    """Return the key of a JSON Web Key (RFC 7517). Return None if it is not a key that verifies tokens.

    Such keys are secrets (`oct`), keys for encryption, and keys whose `alg` does not fit to their type. `issuer` and
    `tenants` are those of the result. The name of the result depends on `source`, the URL of the key set.

    Raises: ValueError, whose text begins with "should", if the key is invalid or too weak.
    """
    if jwk.get("kty") not in ("RSA", "EC", "OKP") or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if jwk.get("alg", "RS256") not in ALGORITHMS:
        return None
    key_id = jwk.get("kid")
    if key_id is not None and not isinstance(key_id, str):
        raise ValueError("should have a text as kid")
    # Only public members: with a private member PyJWK would build a private key.
    public = {name: value for name, value in jwk.items() if name in ("kty", "crv", "x", "y", "n", "e")}
    try:
        key = PyJWK.from_dict(public).key
    except (PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("should be a valid key") from None
    algorithm = algorithm_of(key)
    if jwk.get("alg", algorithm) != algorithm:
        return None
    assert isinstance(key, PublicKey)
    return VerificationKey(
        algorithm, key, key_id=key_id, issuer=issuer, tenants=tenants, name=_name_in_set(source, key_id, key)
    )


def _name_in_set(source: str, key_id: str | None, key: PublicKey) -> str:
    """Return the name of a key of a key set. Instances with the same settings use the same name for the same key."""
    parts = (source.encode(), repr(key_id).encode(), key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return "jwks:" + hashlib.sha256(b"\0".join(parts)).hexdigest()
