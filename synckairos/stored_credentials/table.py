"""The table of stored credentials in Postgres: adds, reads, rotates and ends credentials."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import orjson
from msgspec import Struct

from synckairos.errors import CredentialNotFound, IdempotencyKeyReused, TooManyCredentials, Unauthorized
from synckairos.history.page_cursor import parse_cursor, render_cursor
from synckairos.history.records import Page
from synckairos.identity.secret_text import SecretText, make_secret_text
from synckairos.identity.token_claims import parse_grants
from synckairos.postgres.access import Access, cross_tenant_access, tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.time_limits import TimeLimitedTransactions
from synckairos.postgres.transaction import Row, Transaction
from synckairos.principal import Kind, Role, SessionGrant
from synckairos.telemetry.invalid_data import PARSE_ERRORS, report_invalid_data
from synckairos.wire.control_entry import Revocation
from synckairos.wire.instants import datetime_to_ms

MAX_CREDENTIALS = 1_000
"""Maximum number of credentials of one kind in a tenant that have not ended, except links.

For session tokens it is the number of those that were made with the same API key.
"""

MAX_LINKS = 10_000
"""Maximum number of links in a tenant that have not ended."""

OVERLAP_MS = 86_400_000
"""Milliseconds for which the previous secret stays valid after a rotation."""

CredentialKind = Literal["key", "operator", "link", "login", "session"]
"""Kinds of stored credentials.

`key` is an API key, `operator` is the key of an operator. `link` is a link to a session, `login` is a link for the
sign-in of an administrator: both are only redeemed. `session` is a session token, which a link or an API key gives.
"""

_REDEEMED: tuple[CredentialKind, ...] = ("link", "login")

_MAX_SEQUENCE = 2**62
"""A number that is larger than each `sequence`."""

_PAGE_SIZE = 200
"""Number of credentials that `read_all` reads in one query."""

_ROLES: tuple[Role, ...] = get_args(Role)


class NewCredential(Struct, frozen=True, kw_only=True):
    """A credential to add. Its id and its secret are made when it is added.

    - `principal_kind` and `subject`: the kind and the subject of its principal. If `subject` is None, it is the id.
    - `grants`: the sessions that the bearer can reach, as in the claim `grants` of a token.
    - `parent_id`: the credential with which it ends, None without a parent.
    - `expires_at_ms`: ms since the Unix epoch, None if it has no expiry. The expiry of its parent is its latest expiry.
    - `session_id` and `max_uses`: the session of a link, and how many times a link can be redeemed.
    - `idle_s`, `ends_at_ms` and `issued_at_ms` of a session token: seconds after its last use at which it expires, its
      latest expiry, and the instant at which its parent was made.
    - `request_id` and `request_fingerprint` identify a repeated request; None without them.
    """

    tenant: str
    kind: CredentialKind
    principal_kind: Kind
    subject: str | None
    label: str | None
    role: Role
    grants: Sequence[Mapping[str, Any]]
    participant_id: str | None
    parent_id: str | None
    expires_at_ms: int | None
    created_by: str
    request_id: str | None
    request_fingerprint: str | None
    session_id: str | None = None
    max_uses: int | None = None
    idle_s: int | None = None
    ends_at_ms: int | None = None
    issued_at_ms: int | None = None


class StoredCredential(Struct, frozen=True, kw_only=True):
    """A row. Instants are in ms since the Unix epoch, by the time of Redis. `sequence` orders lists.

    `grant_claims` are the grants as JSON values, and `grants` the same as objects. `uses` is the number of times that
    a link was redeemed. For the other fields see `NewCredential`.
    """

    credential_id: str
    sequence: int
    tenant: str
    kind: str
    principal_kind: Kind
    subject: str
    label: str | None
    role: Role
    grant_claims: list[dict[str, Any]]
    grants: tuple[SessionGrant, ...]
    participant_id: str | None
    parent_id: str | None
    created_at_ms: int
    created_by: str
    expires_at_ms: int | None
    last_used_at_ms: int | None
    session_id: str | None
    max_uses: int | None
    uses: int
    idle_s: int | None
    ends_at_ms: int | None
    issued_at_ms: int | None


class ValidCredential(Struct, frozen=True):
    """A credential that has not ended, with the SHA-256 of each secret that is valid."""

    credential: StoredCredential
    digests: tuple[bytes, ...]


class RedeemedLink(Struct, frozen=True):
    """A session token that a link gave, with its text. `session_id` is the session of the link, None for a sign-in."""

    credential: StoredCredential
    token: SecretText
    session_id: str | None


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

        Raises: TooManyCredentials if the tenant has the maximum number of them. IdempotencyKeyReused if another request
            used the same `request_id`. Unauthorized if its parent has ended.
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
                raise TooManyCredentials(new.kind, limit)
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
                    "max_uses": new.max_uses,
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

    async def read_link_session(self, tenant: str, link_id: str) -> str | None:
        """Return the session of a link, also of a link that has ended. None if the tenant has no such link."""
        rows = await self._run(tenant_access(tenant), "read_link_session", {"tenant": tenant, "credential_id": link_id})
        return rows[0][0] if rows else None

    async def redeem(
        self, link: SecretText, now_ms: int, *, link_idle_s: int, login_idle_s: int, login_s: int
    ) -> "RedeemedLink | None":
        """Count a use of the link with this text, and return a new session token. One round trip.

        Return None if there is no such link, or if it has ended, expired, or no use left. The token of a link to a
        session expires `link_idle_s` seconds after its last use, and with the link at the latest. The token of a link
        for a sign-in expires `login_idle_s` seconds after its last use, and after `login_s` seconds at the latest.
        """
        token = make_secret_text()
        values = {
            "link_id": link.credential_id,
            "link_hash": link.redemption_digest,
            "token_id": token.credential_id,
            "token_hash": token.digest,
            "now_ms": now_ms,
            "link_idle_s": link_idle_s,
            "login_idle_s": login_idle_s,
            "login_s": login_s,
        }
        rows = await self._run(cross_tenant_access(), "redeem", values)
        if not rows:
            return None
        *columns, session_id = rows[0]
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


async def _fetch(transaction: Transaction, name: str, values: Mapping[str, Any]) -> list[Row]:
    return await transaction.fetch(load_statements("credentials.sql", __package__)[name], values)


def parse_credential(row: Row | list[Any]) -> StoredCredential:
    """Return the credential of the columns of a row. Raises: Unauthorized or ValueError if a value is invalid."""
    credential_id, sequence, tenant, kind, principal_kind, subject, label, role, grants, *others = row
    participant_id, parent_id, created_at, created_by, expires_at, last_used_at, session_id, *others = others
    max_uses, uses, idle_s, ends_at, issued_at = others
    if role not in _ROLES or principal_kind not in ("key", "link"):
        raise ValueError("the role or the kind of a stored credential is unknown")
    return StoredCredential(
        credential_id=credential_id,
        sequence=sequence,
        tenant=tenant,
        kind=kind,
        principal_kind=principal_kind,
        subject=subject,
        label=label,
        role=role,
        grant_claims=grants,
        grants=parse_grants(grants),
        participant_id=participant_id,
        parent_id=parent_id,
        created_at_ms=datetime_to_ms(created_at),
        created_by=created_by,
        expires_at_ms=_ms_or_none(expires_at),
        last_used_at_ms=_ms_or_none(last_used_at),
        session_id=None if session_id is None else str(session_id),
        max_uses=max_uses,
        uses=uses,
        idle_s=idle_s,
        ends_at_ms=_ms_or_none(ends_at),
        issued_at_ms=_ms_or_none(issued_at),
    )


def _ms_or_none(at: datetime | None) -> int | None:
    return None if at is None else datetime_to_ms(at)
