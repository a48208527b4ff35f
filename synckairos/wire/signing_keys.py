"""Formats of signing keys: Pydantic models of requests and responses."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from synckairos.wire.field_types import Omittable, StrictModel
from synckairos.wire.query_parameters import PageQuery
from synckairos.wire.session_view import Id, Instant

MAX_KEY_CHARACTERS = 8_000
"""Maximum characters of a key in PEM."""

MAX_JWK_MEMBERS = 20

KeyId = Annotated[
    str,
    Field(min_length=1, max_length=255, pattern=r"^[!-~]+\z", description="Key id (`kid`) in the header of its tokens"),
]
Issuer = Annotated[
    str, Field(min_length=1, max_length=255, description="The only `iss` of its tokens. Default: each issuer")
]
Pem = Annotated[
    str, Field(min_length=1, max_length=MAX_KEY_CHARACTERS, description="The public key in PEM, `BEGIN PUBLIC KEY`")
]
Jwk = Annotated[
    dict[str, Any],
    Field(
        max_length=MAX_JWK_MEMBERS,
        description="The public key as a JSON Web Key (RFC 7517) of RSA, P-256 or Ed25519, without private members",
    ),
]


class CreateSigningKey(StrictModel):
    """A public key to add: exactly one of `pem` and `jwk`. `kid` can be absent if the `jwk` has a `kid`."""

    kid: Omittable[KeyId] = None
    pem: Omittable[Pem] = None
    jwk: Omittable[Jwk] = None
    issuer: Omittable[Issuer] = None

    @model_validator(mode="after")
    def _check_one_key(self) -> "CreateSigningKey":
        if (self.pem is None) == (self.jwk is None):
            raise PydanticCustomError("key", "should have exactly one of pem, jwk")
        return self


class SigningKeysQuery(PageQuery):
    """The query for the signing keys of the tenant, newest first."""


class SigningKeyView(BaseModel):
    """A signing key: a public key that verifies tokens of the tenant."""

    signing_key_id: Id
    kid: str = Field(description="Key id in the header of its tokens")
    algorithm: str = Field(description="The only algorithm of its tokens: RS256, ES256 or EdDSA")
    pem: str = Field(description="The public key in PEM")
    issuer: Omittable[str] = None
    created_at: Instant
    created_by: str = Field(description="The caller that added the key, as the audit names actors")


class SigningKeyAnswer(BaseModel):
    data: SigningKeyView


class SigningKeyPage(BaseModel):
    data: list[SigningKeyView]
    next_cursor: str | None
