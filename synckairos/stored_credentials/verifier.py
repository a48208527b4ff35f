"""Verifier of stored credentials: the principal of an API key or a session token, from a cache or from Postgres.

The first request with a credential costs one query, and later ones cost none. The end of a credential arrives on the
control channel as a revocation, which takes effect at once, also while Postgres is unavailable. Every `REFRESH_S`
seconds all cached credentials are read again in one query.

Each use of a session token moves its expiry: in the cache at once, in Postgres at the next of these reads.
"""

import asyncio
import time
from collections.abc import Sequence
from hmac import compare_digest

from msgspec import Struct

from synckairos.errors import StoreUnavailable, Unauthorized
from synckairos.frozen_replace import replace
from synckairos.identity.secret_text import SecretText, parse_secret_text
from synckairos.principal import CredentialLife, Principal
from synckairos.revocations.channel import ControlChannel
from synckairos.revocations.revocation_set import revocation_covers
from synckairos.stored_credentials.records import (
    RedeemedLink,
    RedemptionRules,
    RefusedLink,
    StoredCredential,
    ValidCredential,
)
from synckairos.stored_credentials.session_tokens import LINK_IDLE_S, SIGN_IN_IDLE_S, SIGN_IN_LIFE_S
from synckairos.stored_credentials.table import CredentialTable
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

EXTEND_MS = 60_000
"""Milliseconds by which a use moves the expiry of a cached session token at least. Closer uses do not move it."""

REFUSED = "The API key or session token is not valid"
"""Text of the refusal of an unknown, ended or wrong credential. It is the same for all of them."""

LINK_REFUSED = "The link is not valid, or it was used up"
"""Text of the refusal of an unknown, ended, revoked or used-up link. It is the same for all of them."""

logger = log.get_logger(__name__)


class _CacheEntry(Struct):
    """A credential that was verified. Instants are in seconds by `time.monotonic()`.

    `idle_ms` and `ends_at_ms` are as in `StoredCredential`: the expiry of a session token depends on them.
    """

    credential_id: str
    principal: Principal
    idle_ms: int | None
    ends_at_ms: int | None
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
        _extend(entry, now_ms)
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
        if found.credential.kind in ("link", "login"):
            raise Unauthorized(REFUSED)  # they are only redeemed
        if found.credential.kind == "operator":
            # Operators are few, and no revocation of a tenant ends their keys. So each request reads the key.
            return Principal.operator(secret.credential_id, "")
        entry = _entry_of(found.credential, now_ms)
        if self._ends_seen == ends_seen:
            self._add(secret, entry)
        return entry.principal

    async def redeem(self, text: str, rules: RedemptionRules, now_ms: int) -> RedeemedLink | RefusedLink:
        """Count a use of a link, and return a new session token, which is cached. One query.

        Return the refused link without a count if `rules` do not accept its tenant. `now_ms` is as in `verify`.

        Raises: Unauthorized if the link is unknown, ended, revoked or used up. StoreUnavailable.
        """
        secret = parse_secret_text(text)
        if secret is None:
            raise Unauthorized(LINK_REFUSED)
        self._channel.require_current()
        ends_seen = self._ends_seen
        found = await self._table.redeem(
            secret, rules, now_ms, link_idle_s=LINK_IDLE_S, sign_in_idle_s=SIGN_IN_IDLE_S, sign_in_life_s=SIGN_IN_LIFE_S
        )
        if isinstance(found, RefusedLink):
            return found
        # A revocation can be known here before the worker has ended the link in Postgres.
        if found is None or self._channel.is_revoked(principal_of(found.credential)):
            raise Unauthorized(LINK_REFUSED)
        if self._ends_seen == ends_seen:
            self._add(found.token, _entry_of(found.credential, now_ms))
        return found

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
        try:
            now_ms = await self._channel.read_time_ms()
            await self._store_uses([each for each in self._cached.values() if not each.is_use_stored], now_ms)
            self._drop_unused()
            entries = list(self._cached.items())
            for start in range(0, len(entries), BATCH):
                await self._refresh_batch(dict(entries[start : start + BATCH]), now_ms)
        except StoreUnavailable as fault:
            self._drop_unused()
            logger.debug("stored credentials not read", cause=fault.code)

    def _drop_unused(self) -> None:
        now_s = time.monotonic()
        for digest in [each for each, entry in self._cached.items() if now_s - entry.used_s > KEEP_UNUSED_S]:
            del self._cached[digest]

    async def _refresh_batch(self, entries: dict[bytes, _CacheEntry], now_ms: int) -> None:
        read_s = time.monotonic()
        found = await self._table.read_valid(sorted({each.credential_id for each in entries.values()}), now_ms)
        for digest, entry in entries.items():
            valid = found.get(entry.credential_id)
            if valid is None or not _has_secret(valid, digest):
                self._cached.pop(digest, None)
                continue
            entry.principal, entry.checked_s = principal_of(valid.credential), read_s
            if not entry.is_use_stored:
                _extend(entry, now_ms)

    async def _store_uses(self, entries: Sequence[_CacheEntry], now_ms: int) -> None:
        """Store the last uses of credentials before they are read, because a use moves the expiry of a session token.

        Raises: StoreUnavailable. The uses are then stored later.
        """
        now_s = time.monotonic()
        for start in range(0, len(entries), BATCH):
            batch = entries[start : start + BATCH]
            used_at_ms: dict[str, int] = {}
            for entry in batch:
                at_ms = now_ms - int((now_s - entry.used_s) * 1000)
                used_at_ms[entry.credential_id] = max(at_ms, used_at_ms.get(entry.credential_id, 0))
                entry.is_use_stored = True  # a use during the query sets it to False again
            try:
                await self._table.set_last_used(used_at_ms)
            except StoreUnavailable:
                for entry in batch:
                    entry.is_use_stored = False
                raise

    def _add(self, secret: SecretText, entry: _CacheEntry) -> None:
        self._cached[secret.digest] = entry
        if len(self._cached) > MAX_CACHED:
            del self._cached[next(iter(self._cached))]

    def _apply(self, entry: EffectiveEntry) -> None:
        """Drop the cached credentials that a revocation selects."""
        if not isinstance(entry, Revocation) or entry.group is not None:
            return  # stored credentials have no group
        self._ends_seen += 1
        if entry.token_id is not None:  # tokens are revoked often, so only ids are compared
            for digest in [each for each, held in self._cached.items() if held.credential_id == entry.token_id]:
                del self._cached[digest]
            return
        for digest in [each for each, held in self._cached.items() if revocation_covers(entry, held.principal)]:
            del self._cached[digest]


def _has_secret(valid: ValidCredential, digest: bytes) -> bool:
    return any(compare_digest(each, digest) for each in valid.digests)


def _entry_of(credential: StoredCredential, now_ms: int) -> _CacheEntry:
    """Return the cache entry of a credential that is used at the instant `now_ms`."""
    now_s = time.monotonic()
    entry = _CacheEntry(
        credential_id=credential.credential_id,
        principal=principal_of(credential),
        idle_ms=None if credential.idle_s is None else credential.idle_s * 1000,
        ends_at_ms=credential.ends_at_ms,
        checked_s=now_s,
        used_s=now_s,
        is_use_stored=False,
    )
    _extend(entry, now_ms)
    return entry


def _extend(entry: _CacheEntry, now_ms: int) -> None:
    """Move the expiry of a session token that is used at the instant `now_ms`."""
    if entry.idle_ms is None or entry.ends_at_ms is None:
        return
    life = entry.principal.life
    assert life is not None
    expires_at_ms = min(entry.ends_at_ms, now_ms + entry.idle_ms)
    if life.expires_at_ms is None or expires_at_ms - life.expires_at_ms >= EXTEND_MS:
        entry.principal = replace(entry.principal, life=replace(life, expires_at_ms=expires_at_ms))


def principal_of(credential: StoredCredential) -> Principal:
    """Return the principal of the bearer of a credential. Its address is empty.

    The `token_id` of a session token is its id, so that it can be revoked without the credential that made it.
    """
    issued_at_ms = credential.created_at_ms if credential.issued_at_ms is None else credential.issued_at_ms
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
            issued_at_ms=issued_at_ms,
            token_id=credential.credential_id if credential.kind == "session" else None,
            group=None,
            verified_by=None,
        ),
        narrowing=None,
        members=None,
        is_operator=False,
    )
