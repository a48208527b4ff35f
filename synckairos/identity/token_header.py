"""Header of a token, with the checks that need no signature."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from jwt.api_jws import PyJWS
from jwt.exceptions import PyJWTError
from msgspec import Struct

from synckairos.errors import Unauthorized
from synckairos.identity.verification_key import ALGORITHMS, Algorithm

MAX_TOKEN_BYTES = 7_900
"""Maximum bytes of a token. An AUTH frame of 8,000 bytes can contain it."""

REFUSED_MEMBERS = ("crit", "jku", "x5u", "x5c", "jwk")
"""Header members that refuse a token: extensions, and keys that the token brings with it."""

TYPES = ("jwt", "at+jwt")
"""Values of `typ` that are accepted, in lower case."""

_COMPACT_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")

JWS = PyJWS(algorithms=ALGORITHMS)
"""The verifier of signatures. It knows only the algorithms of this product."""


class TokenHeader(Struct, frozen=True):
    """The algorithm and the key id (`kid`) of a token. None of it is verified."""

    algorithm: Algorithm
    key_id: str | None


def read_header(token: str) -> TokenHeader:
    """Return the header of a token.

    Raises: Unauthorized if the token is refused without a check of its signature.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthorized(f"The token is longer than {MAX_TOKEN_BYTES:,} bytes")
    if not _is_compact_form(token):
        raise Unauthorized("The token is not a JSON Web Token")
    try:
        header = JWS.get_unverified_header(token)
    except PyJWTError:
        raise Unauthorized("The token is not a JSON Web Token") from None
    for name in REFUSED_MEMBERS:
        if name in header:
            raise Unauthorized(f"The header of the token has {name}, which is not allowed")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        raise Unauthorized("The typ of the token is neither JWT nor at+jwt")
    algorithm, key_id = header.get("alg"), header.get("kid")
    for each in ALGORITHMS:
        if algorithm == each:
            return TokenHeader(each, key_id)
    raise Unauthorized(f"The algorithm of the token is none of {', '.join(ALGORITHMS)}")


def _is_compact_form(token: str) -> bool:
    """Return whether a text has the compact form of RFC 7515: three parts of base64url without padding.

    The signature must be the canonical encoding of its bytes. PyJWT also accepts `=` at its end, other characters
    between, and other values of its unused bits. One token would then have many texts, each with an entry in the cache
    of verified tokens.
    """
    if not _COMPACT_FORM.fullmatch(token):
        return False
    signature = token.rpartition(".")[2]
    try:
        decoded = urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    except ValueError:
        return False
    return urlsafe_b64encode(decoded).rstrip(b"=") == signature.encode()
