"""The token of monitoring programs: a fixed secret that only opens `/metrics` and the reasons of `/ready`.

It is no JSON Web Token. A scrape therefore needs no token that expires, and no store.
"""

from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest

from synckairos.errors import InsecureTransport, Unauthorized
from synckairos.identity.credentials import Scope, find_token


class MetricsToken:
    """The token of the setting `metrics_token`, with the check whether a request has it."""

    def __init__(self, token: str, is_secure: Callable[[Scope], bool]) -> None:
        """Create the check for a token. Only the SHA-256 of the token is kept.

        `is_secure` returns whether no other machine can have read a request on its way.
        """
        self._digest = sha256(token.encode()).digest()
        self._is_secure = is_secure

    def accepts(self, scope: Scope) -> bool:
        """Return whether an HTTP request has this token. A request with another credential, or without one, has not.

        Raises: InsecureTransport if the token came over plain HTTP from another machine.
        """
        try:
            token = find_token(scope, in_subprotocols=False)
        except Unauthorized:
            return False
        # Compare digests, so that the duration tells nothing about the token, not even its length.
        sent = sha256((token or "").encode(errors="surrogatepass")).digest()
        if token is None or not compare_digest(sent, self._digest):
            return False
        if not self._is_secure(scope):
            raise InsecureTransport
        return True
