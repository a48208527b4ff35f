"""Cache of verified tokens, so that a token's signature is checked only once.

The cache has the SHA-256 of each token instead of its text. It has only tokens that were accepted.
"""

from hashlib import sha256

from synckairos.identity.verification_key import VerificationKey
from synckairos.principal import Principal

MAX_TOKENS = 50_000
"""Maximum number of cached tokens. Beyond that, the token that was used least recently is dropped."""


class VerifiedTokens:
    """The principals of verified tokens. A token stays until its expiry, or until its key is retired."""

    def __init__(self, max_tokens: int = MAX_TOKENS) -> None:
        self._max_tokens = max_tokens
        self._found: dict[bytes, tuple[int, VerificationKey, Principal]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def find(self, token: str, now_ms: int) -> Principal | None:
        """Return the principal of a token that was added before.

        Return None if it is not cached, has expired or lost its key.

        `now_ms` is the time of Redis in ms since the Unix epoch.
        """
        digest = _digest(token)
        entry = self._found.pop(digest, None)
        if entry is None:
            return None
        expires_at_ms, key, principal = entry
        if now_ms >= expires_at_ms or key.is_retired:
            return None
        self._found[digest] = entry  # now the newest entry
        return principal

    def add(self, token: str, key: VerificationKey, principal: Principal) -> None:
        """Add a verified token. `key` is the key that verified it."""
        assert principal.life is not None
        assert principal.life.expires_at_ms is not None
        self._found[_digest(token)] = (principal.life.expires_at_ms, key, principal)
        if len(self._found) > self._max_tokens:
            del self._found[next(iter(self._found))]


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="surrogatepass")).digest()
