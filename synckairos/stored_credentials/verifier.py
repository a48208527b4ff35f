"""Verifier of stored credentials: the principal of an API key, from a cache or from Postgres.

The first request with a credential costs one query, and later ones cost none. The end of a credential arrives on the
control channel as a revocation, which takes effect at once, also while Postgres is unavailable. Every `REFRESH_S`
seconds all cached credentials are read again in one query.
"""

import asyncio
import time
from hmac import compare_digest

from msgspec import Struct

from synckairos.errors import StoreUnavailable, Unauthorized
from synckairos.identity.secret_text import SecretText, parse_secret_text
from synckairos.principal import CredentialLife, Principal
from synckairos.revocations.channel import ControlChannel
from synckairos.revocations.revocation_set import revocation_covers
from synckairos.stored_credentials.table import CredentialTable, StoredCredential, ValidCredential
from synckairos.telemetry import log
from synckairos.wire.control_entry import EffectiveEntry, Revocation

MAX_CACHED = 50_000
"""Maximum number of cached credentials. Beyond that, the one that was used least recently is dropped."""

REFRESH_S = 30.0
"""Seconds between two reads of all cached credentials."""

KEEP_UNCHECKED_S = 3_600.0
"""Seconds for which a cached credential is accepted while Postgres is unavailable."""

KEEP_UNUSED_S = 600.0
"""Seconds after its last use at which a credential leaves the cache."""

BATCH = 1_000
"""Maximum number of credentials that one query reads."""

REFUSED = "The API key is not valid"
"""Text of the refusal of an unknown, ended or wrong credential. It is the same for all of them."""

logger = log.get_logger(__name__)


class _CacheEntry(Struct):
    """A credential that was verified. Instants are in seconds by `time.monotonic()`."""

    credential_id: str
    principal: Principal
    checked_s: float
    used_s: float
    is_use_stored: bool


class CredentialVerifier:
    """Verifies stored credentials of all tenants. The principals of verified credentials are kept in a cache."""

    def __init__(self, table: CredentialTable, channel: ControlChannel, *, refresh_s: float = REFRESH_S) -> None:
        """Create a verifier. Call this before the first load of `channel`, so that no revocation is missed.

        `refresh_s` is the number of seconds between two reads of all cached credentials.
        """
        self._table = table
        self._channel = channel
        self._refresh_s = refresh_s
        self._cached: dict[bytes, _CacheEntry] = {}
        self._ends_seen = 0
        """Number of revocations that have arrived. A credential that was read before the last one is not cached."""
        channel.add_listener(self._apply)

    @property
    def cached_count(self) -> int:
        """Return the number of credentials in the cache."""
        return len(self._cached)

    def find_cached(self, text: str, now_ms: int) -> Principal | None:
        """Return the principal of a credential that was verified before. Return None if it must be verified.

        `now_ms` is the time of Redis in ms since the Unix epoch. Credentials that have expired at this instant are not
        found.
        """
        secret = parse_secret_text(text)
        if secret is None:
            return None
        entry = self._cached.pop(secret.digest, None)
        if entry is None:
            return None
        now_s, life = time.monotonic(), entry.principal.life
        assert life is not None
        if life.expires_at_ms is not None and now_ms >= life.expires_at_ms:
            return None
        if now_s - entry.checked_s > KEEP_UNCHECKED_S:
            return None
        entry.used_s, entry.is_use_stored = now_s, False
        self._cached[secret.digest] = entry  # now the newest entry
        return entry.principal

    async def verify(self, text: str, now_ms: int) -> Principal:
        """Verify a credential and return its principal. The address of the principal is empty. At most one query.

        `now_ms` is the time of Redis in ms since the Unix epoch.

        Raises: Unauthorized. StoreUnavailable if Postgres is needed and unavailable.
        """
        if (cached := self.find_cached(text, now_ms)) is not None:
            return cached
        secret = parse_secret_text(text)
        if secret is None:
            raise Unauthorized(REFUSED)
        ends_seen = self._ends_seen
        found = (await self._table.read_valid([secret.credential_id], now_ms)).get(secret.credential_id)
        if found is None or not _has_secret(found, secret.digest):
            raise Unauthorized(REFUSED)
        if found.credential.kind == "operator":
            # Operators are few, and no revocation of a tenant ends their keys. So each request reads the key.
            return Principal.operator(secret.credential_id, "")
        principal = principal_of(found.credential)
        if self._ends_seen == ends_seen:
            self._add(secret, principal)
        return principal

    async def run(self) -> None:
        """Read the cached credentials every `refresh_s` seconds, until cancelled."""
        while True:
            await asyncio.sleep(self._refresh_s)
            await self.refresh()

    async def refresh(self) -> None:
        """Read all cached credentials again, and drop those that have ended or are not used any more.

        Store the last use of each of them. If Postgres is unavailable, all stay. If the revocations are not known, the
        cache becomes empty, because an end can have been missed.
        """
        if not self._channel.is_current:
            self._cached.clear()
            return
        now_s = time.monotonic()
        for digest in [each for each, entry in self._cached.items() if now_s - entry.used_s > KEEP_UNUSED_S]:
            del self._cached[digest]
        entries = list(self._cached.items())
        try:
            now_ms = await self._channel.read_time_ms()
            for start in range(0, len(entries), BATCH):
                await self._refresh_batch(dict(entries[start : start + BATCH]), now_ms)
        except StoreUnavailable as fault:
            logger.debug("stored credentials not read", cause=fault.code)

    async def _refresh_batch(self, entries: dict[bytes, _CacheEntry], now_ms: int) -> None:
        read_s = time.monotonic()
        found = await self._table.read_valid(sorted({each.credential_id for each in entries.values()}), now_ms)
        used = set()
        for digest, entry in entries.items():
            valid = found.get(entry.credential_id)
            if valid is None or not _has_secret(valid, digest):
                self._cached.pop(digest, None)
                continue
            entry.principal, entry.checked_s = principal_of(valid.credential), read_s
            if not entry.is_use_stored:
                entry.is_use_stored = True
                used.add(entry.credential_id)
        if used:
            await self._table.set_last_used(sorted(used), now_ms)

    def _add(self, secret: SecretText, principal: Principal) -> None:
        now_s = time.monotonic()
        self._cached[secret.digest] = _CacheEntry(secret.credential_id, principal, now_s, now_s, is_use_stored=False)
        if len(self._cached) > MAX_CACHED:
            del self._cached[next(iter(self._cached))]

    def _apply(self, entry: EffectiveEntry) -> None:
        """Drop the cached credentials that a revocation selects."""
        if not isinstance(entry, Revocation) or entry.token_id is not None or entry.group is not None:
            return  # stored credentials have neither a `jti` nor a group
        self._ends_seen += 1
        for digest in [each for each, held in self._cached.items() if revocation_covers(entry, held.principal)]:
            del self._cached[digest]


def _has_secret(valid: ValidCredential, digest: bytes) -> bool:
    return any(compare_digest(each, digest) for each in valid.digests)


def principal_of(credential: StoredCredential) -> Principal:
    """Return the principal of the bearer of a credential. Its address is empty."""
    return Principal(
        kind=credential.principal_kind,
        tenant=credential.tenant,
        subject=credential.subject,
        role=credential.role,
        address="",
        participant_id=credential.participant_id,
        grants=credential.grants,
        life=CredentialLife(
            expires_at_ms=credential.expires_at_ms,
            issued_at_ms=credential.created_at_ms,
            token_id=None,
            group=None,
            verified_by=None,
        ),
        narrowing=None,
        is_operator=False,
    )
