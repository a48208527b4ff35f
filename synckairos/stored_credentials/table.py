"""The table of stored credentials in Postgres: adds, reads, rotates and ends credentials."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from synckairos.errors import (
    CredentialNotFound,
    IdempotencyKeyReused,
    TooManyCredentials,
    Unauthorized,
    ValidationFailed,
)
from synckairos.history.page_cursor import parse_cursor, render_cursor
from synckairos.history.records import Page
from synckairos.identity.secret_text import SecretText, make_secret_text
from synckairos.postgres.access import Access, cross_tenant_access, tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.time_limits import TimeLimitedTransactions
from synckairos.postgres.transaction import Row, Transaction
from synckairos.principal import LABEL_PREFIX
from synckairos.stored_credentials.records import (
    CredentialKind,
    NewCredential,
    RedeemedLink,
    RedemptionRules,
    RefusedLink,
    StoredCredential,
    ValidCredential,
    parse_credential,
)
from synckairos.telemetry.invalid_data import PARSE_ERRORS, report_invalid_data
from synckairos.wire.control_entry import Revocation

MAX_CREDENTIALS = 1_000
"""Maximum number of credentials of one kind in a tenant that have not ended, except links.

For session tokens it is the number of those that were made with the same API key.
"""

MAX_LINKS_BELOW_LINK = 100
"""Maximum number of valid links that the bearers of one link, and of the links below it, have made."""

MAX_LINKS = 10_000
"""Maximum number of links in a tenant that have not ended."""

OVERLAP_MS = 86_400_000
"""Milliseconds for which the previous secret stays valid after a rotation."""

_REDEEMED: tuple[CredentialKind, ...] = ("link", "login")

_MAX_SEQUENCE = 2**62
"""A number that is larger than each `sequence`."""

_PAGE_SIZE = 200
"""Number of credentials that `read_all` reads in one query."""


class CredentialTable:
    """Access to the table `sync_credentials` in Postgres.

    `now_ms` is always the time of Redis in ms since the Unix epoch.

    All methods raise StoreUnavailable if Postgres is unreachable, too slow or not migrated.
    """

    def __init__(
        self, pool: PostgresPool, *, max_credentials: int = MAX_CREDENTIALS, max_links: int = MAX_LINKS
    ) -> None:
        self._transactions = TimeLimitedTransactions(pool)
        self._max_credentials = max_credentials
        self._max_links = max_links

    async def add(self, new: NewCredential, now_ms: int) -> tuple[StoredCredential, SecretText | None]:
        """Add a credential in one transaction. Return it and its secret, which is nowhere else.

        If an equal request added it before, return it with None in place of the secret.

        Raises: TooManyCredentials if the tenant has the maximum number of them, or if the creator or the link above it
            has the maximum number of links. IdempotencyKeyReused if another request used the same `request_id`.
            Unauthorized if its parent has ended. ValidationFailed if a link above it has fewer uses left.
        """
        secret = make_secret_text()
        limit = self._max_links if new.kind == "link" else self._max_credentials

        async def run(transaction: Transaction) -> tuple[StoredCredential, SecretText | None]:
            values: dict[str, Any] = {"tenant": new.tenant, "kind": new.kind, "request_id": new.request_id}
            values |= {"now_ms": now_ms, "parent_id": new.parent_id}
            await _fetch(transaction, "lock_tenant", values)
            if new.request_id is not None and (rows := await _fetch(transaction, "find_request", values)):
                *columns, fingerprint = rows[0]
                if fingerprint != new.request_fingerprint:
                    raise IdempotencyKeyReused
                return parse_credential(columns), None
            if new.parent_id is not None and not await _fetch(transaction, "lock_parent", values):
                raise Unauthorized("The credential has ended")
            await _fetch(transaction, "delete_ended", values)
            ((count,),) = await _fetch(transaction, "count", values)
            if count >= limit:
                raise TooManyCredentials(new.kind, limit, "one API key" if new.kind == "session" else "the tenant")
            max_uses = await _check_creator(transaction, new, values)
            (row,) = await _fetch(
                transaction,
                "add",
                {
                    **values,
                    "credential_id": secret.credential_id,
                    "secret_hash": secret.redemption_digest if new.kind in _REDEEMED else secret.digest,
                    "principal_kind": new.principal_kind,
                    "subject": new.subject or secret.credential_id,
                    "label": new.label,
                    "role": new.role,
                    "grants": orjson.dumps(new.grants).decode(),
                    "participant_id": new.participant_id,
                    "created_by": new.created_by,
                    "expires_at_ms": new.expires_at_ms,
                    "request_fingerprint": new.request_fingerprint,
                    "session_id": new.session_id,
                    "max_uses": max_uses,
                    "idle_s": new.idle_s,
                    "ends_at_ms": new.ends_at_ms,
                    "issued_at_ms": new.issued_at_ms,
                },
            )
            return parse_credential(row), secret

        return await self._transactions.transact(tenant_access(new.tenant), run)

    async def read_page(
        self, tenant: str, kind: CredentialKind, now_ms: int, *, cursor: str | None, limit: int
    ) -> Page[StoredCredential]:
        """Return a page of at most `limit` valid credentials of one kind in a tenant, newest first.

        `cursor` is the `next_cursor` of the previous page; None for the first page.

        Raises: ValidationFailed if the cursor is invalid.
        """
        (before,) = parse_cursor(cursor, int) if cursor else (_MAX_SEQUENCE,)
        values = {"tenant": tenant, "kind": kind, "now_ms": now_ms, "before": before, "limit": limit + 1}
        return await self._read_page(tenant, "read_page", values, limit)

    async def read_links(
        self, tenant: str, session_id: str, now_ms: int, *, cursor: str | None, limit: int
    ) -> Page[StoredCredential]:
        """Return a page of at most `limit` valid links to a session, newest first. `cursor` is as in `read_page`.

        Raises: ValidationFailed if the cursor is invalid.
        """
        (before,) = parse_cursor(cursor, int) if cursor else (_MAX_SEQUENCE,)
        values = {"tenant": tenant, "session_id": session_id, "now_ms": now_ms, "before": before, "limit": limit + 1}
        return await self._read_page(tenant, "read_links_of_session", values, limit)

    async def _read_page(self, tenant: str, name: str, values: Mapping[str, Any], limit: int) -> Page[StoredCredential]:
        rows = await self._run(tenant_access(tenant), name, values)
        items = tuple(parse_credential(row) for row in rows[:limit])
        return Page(items, render_cursor(items[-1].sequence) if len(rows) > limit else None)

    async def read_all(self, tenant: str, kind: CredentialKind, now_ms: int) -> list[StoredCredential]:
        """Return all valid credentials of one kind in a tenant, newest first. One query for each page."""
        found: list[StoredCredential] = []
        cursor: str | None = None
        while True:
            page = await self.read_page(tenant, kind, now_ms, cursor=cursor, limit=_PAGE_SIZE)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    async def names_label(self, tenant: str, labels: Collection[tuple[str, str]]) -> bool:
        """Return whether a grant of a valid API key of the tenant names one of these labels (pairs of key and value).

        An API key counts for some minutes longer than it is valid.
        """
        resources = [f"{LABEL_PREFIX}{key}={value}" for key, value in labels]
        ((found,),) = await self._run(
            tenant_access(tenant), "names_resource", {"tenant": tenant, "resources": resources}
        )
        return found is True

    async def read_link_session(self, tenant: str, link_id: str) -> str | None:
        """Return the session of a link, also of a link that has ended. None if the tenant has no such link."""
        rows = await self._run(tenant_access(tenant), "read_link_session", {"tenant": tenant, "credential_id": link_id})
        return rows[0][0] if rows else None

    async def redeem(
        self,
        link: SecretText,
        rules: RedemptionRules,
        now_ms: int,
        *,
        link_idle_s: int,
        sign_in_idle_s: int,
        sign_in_life_s: int,
    ) -> RedeemedLink | RefusedLink | None:
        """Count a use of the link with this text, and return a new session token. One round trip.

        Return None if there is no such link, or if it has ended, expired, or no use left. Return the refused link
        without a count if `rules` do not accept its tenant. The token of a link to a session expires `link_idle_s`
        seconds after its last use, and with the link at the latest. The token of a link for a sign-in expires
        `sign_in_idle_s` seconds after its last use, and after `sign_in_life_s` seconds at the latest.
        """
        token = make_secret_text()
        values = {
            "link_id": link.credential_id,
            "link_hash": link.redemption_digest,
            "token_id": token.credential_id,
            "token_hash": token.digest,
            "now_ms": now_ms,
            "link_idle_s": link_idle_s,
            "sign_in_idle_s": sign_in_idle_s,
            "sign_in_life_s": sign_in_life_s,
            "requires_registration": rules.requires_registration,
            "page_tenants": None if rules.page is None else sorted(rules.page.tenants),
            "are_allowed": rules.page is not None and rules.page.are_allowed,
        }
        rows = await self._run(cross_tenant_access(), "redeem", values)
        if not rows:
            return None
        tenant, *columns, session_id = rows[0]
        if columns[0] is None:
            return RefusedLink(tenant)
        return RedeemedLink(parse_credential(columns), token, session_id)

    async def read_valid(self, credential_ids: Sequence[str], now_ms: int) -> dict[str, ValidCredential]:
        """Return the credentials of these ids that have not ended, of all tenants, by id. One round trip.

        Invalid rows are reported and left out.
        """
        rows = await self._run(
            cross_tenant_access(), "read_valid", {"credential_ids": [*credential_ids], "now_ms": now_ms}
        )
        found = {}
        for *columns, current, previous in rows:
            try:
                credential = parse_credential(columns)
                digests = tuple(bytes(each) for each in (current, previous) if each is not None)
            except (*PARSE_ERRORS, Unauthorized) as fault:
                report_invalid_data("sync_credentials", fault)
            else:
                found[credential.credential_id] = ValidCredential(credential, digests)
        return found

    async def set_last_used(self, used_at_ms: Mapping[str, int]) -> None:
        """Store the last use of credentials, by their ids. A use also moves the expiry of a session token."""
        ids = sorted(used_at_ms)
        values = {"credential_ids": ids, "used_at_ms": [used_at_ms[each] for each in ids]}
        await self._run(cross_tenant_access(), "set_last_used", values)

    async def rotate(
        self, tenant: str, kind: CredentialKind, credential_id: str, now_ms: int, *, request_id: str | None
    ) -> SecretText | None:
        """Give a credential a new secret, and return it. The secret before stays valid for `OVERLAP_MS`.

        If the last rotation had the same `request_id`, nothing changes and the result is None. A secret that was valid
        because of an earlier rotation ends.

        Raises: CredentialNotFound if the tenant has no such credential that is valid.
        """
        secret = make_secret_text(credential_id)

        async def run(transaction: Transaction) -> SecretText | None:
            values = {"tenant": tenant, "kind": kind, "credential_id": credential_id, "now_ms": now_ms}
            rows = await _fetch(transaction, "find_rotation", values)
            if not rows:
                raise CredentialNotFound(kind)
            if request_id is not None and rows[0][0] == request_id:
                return None
            new = {"request_id": request_id, "secret_hash": secret.digest, "overlap_ms": OVERLAP_MS}
            await _fetch(transaction, "rotate", values | new)
            return secret

        return await self._transactions.transact(tenant_access(tenant), run)

    async def end(self, tenant: str, kind: CredentialKind, credential_id: str, now_ms: int) -> list[str]:
        """End a credential and all credentials below it. Return the ids to announce as revoked credentials.

        The first is its own id. They include credentials that had ended before. Session tokens below a credential are
        not included, because a revocation of the credential that made them covers them. The list is empty if the tenant
        has no such credential.
        """
        values = {"tenant": tenant, "kind": kind, "credential_id": credential_id, "now_ms": now_ms}
        rows = await self._run(tenant_access(tenant), "end", values)
        found = [ended_id for ended_id, of_kind in rows if of_kind != "session" or ended_id == credential_id]
        # Credentials below it can be many, so their announcements must not delay that of the credential itself.
        return sorted(found, key=lambda ended_id: ended_id != credential_id)

    async def end_revoked(self, revocations: Sequence[Revocation]) -> list[Revocation]:
        """End the stored credentials that revocations select, and all credentials below them.

        They end at the instants at which the revocations take effect. Return the revocations of the API keys and links
        below the selected credentials, which must be announced to all instances. They are the same at each call.
        """
        values = {
            "tenants": [each.tenant for each in revocations],
            "credentials": [each.credential for each in revocations],
            "subjects": [each.subject for each in revocations],
            "are_for_all": [each.is_for_all for each in revocations],
            "issued_before_ms": [each.issued_before_ms for each in revocations],
            "effective_at_ms": [each.effective_at_ms for each in revocations],
            "token_ids": [each.token_id for each in revocations],
        }
        rows = await self._run(cross_tenant_access(), "end_revoked", values)
        return [revocations[number - 1].below(credential_id) for number, credential_id in rows]

    async def _run(self, access: Access, name: str, values: Mapping[str, Any]) -> list[Row]:
        return await self._transactions.fetch(access, load_statements("credentials.sql", __package__)[name], values)


async def _check_creator(transaction: Transaction, new: NewCredential, values: Mapping[str, Any]) -> int | None:
    """Return the maximum number of uses of a new link. Return None for other credentials.

    Raises: TooManyCredentials, ValidationFailed.
    """
    if new.kind != "link" or new.max_uses is None or new.max_of_creator is None:
        return new.max_uses
    rows = await _fetch(transaction, "count_links_of_creator", {**values, "created_by": new.created_by})
    of_creator, below, uses_left = rows[0]
    if of_creator >= new.max_of_creator:
        raise TooManyCredentials("link", new.max_of_creator, "one caller")
    if uses_left is None:
        return new.max_uses  # the creator is no link
    if below >= MAX_LINKS_BELOW_LINK:
        raise TooManyCredentials("link", MAX_LINKS_BELOW_LINK, "the bearers of one link")
    if new.max_uses > uses_left and (uses_left < 1 or not new.has_default_max_uses):
        raise ValidationFailed.at_path("max_uses", f"should be at most {uses_left}, the uses left of your own link")
    return min(new.max_uses, int(uses_left))


async def _fetch(transaction: Transaction, name: str, values: Mapping[str, Any]) -> list[Row]:
    return await transaction.fetch(load_statements("credentials.sql", __package__)[name], values)
