"""Keys and tokens for tests of authentication."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

SECRET = "a secret of the tests, 32 bytes or more"

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


@dataclass(frozen=True)
class SigningKey:
    """A private key with its algorithm and its key id."""

    algorithm: str
    key: PrivateKey
    key_id: str

    @property
    def pem(self) -> str:
        public = self.key.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def jwk(self) -> dict[str, Any]:
        public: Any = self.key.public_key()
        of: Any = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}[self.algorithm]
        return {**json.loads(of.to_jwk(public)), "kid": self.key_id, "use": "sig", "key_ops": ["verify"]}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """Sign a token that names this key. A header member that is None is left out."""
        given = {"kid": self.key_id, **header}
        return jwt.encode(
            claims, self.key, algorithm=self.algorithm, headers={k: v for k, v in given.items() if v is not None}
        )


@cache
def signing_key(algorithm: str, key_id: str = "k1", *, rsa_bits: int = 2_048) -> SigningKey:
    """Return a key, the same for equal arguments, because RSA keys take long to make."""
    if algorithm == "RS256":
        return SigningKey(algorithm, generate_rsa_key(65_537, rsa_bits), key_id)
    key = generate_ec_key(SECP256R1()) if algorithm == "ES256" else Ed25519PrivateKey.generate()
    return SigningKey(algorithm, key, key_id)


def claims_at(now_ms: int, **changes: Any) -> dict[str, Any]:
    """Return the claims of a valid token for alice. A claim that is None is left out."""
    now_s = now_ms // 1000
    claims = {"sub": "alice", "aud": "synckairos", "iat": now_s, "exp": now_s + 600, "role": "viewer", **changes}
    return {name: value for name, value in claims.items() if value is not None}


def sign_with_secret(claims: dict[str, Any], secret: str = SECRET, **header: Any) -> str:
    """Sign a token with HS256."""
    return jwt.encode(claims, secret, algorithm="HS256", headers=header)
