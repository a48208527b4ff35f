"""Rows of stored credentials: new ones, those of the table, and the results of verifications and redemptions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, get_args

from msgspec import Struct

from synckairos.identity.secret_text import SecretText
from synckairos.identity.token_claims import parse_grants
from synckairos.postgres.transaction import Row
from synckairos.principal import Kind, Role, SessionGrant
from synckairos.stored_credentials.page_tenants import PageTenants
from synckairos.wire.instants import datetime_to_ms

CredentialKind = Literal["key", "operator", "link", "login", "session"]
"""Kinds of stored credentials.

`key` is an API key, `operator` is the key of an operator. `link` is a link to a session, `login` is a link for the
sign-in of an administrator: both are only redeemed. `session` is a session token, which a link or an API key gives.
"""

_ROLES: tuple[Role, ...] = get_args(Role)


class NewCredential(Struct, frozen=True, kw_only=True):
    """A credential to add. Its id and its secret are made when it is added.

    - `principal_kind` and `subject`: the kind and the subject of its principal. If `subject` is None, it is the id.
    - `grants`: the sessions that the bearer can reach, as in the claim `grants` of a token.
    - `parent_id`: the credential with which it ends, None without a parent.
    - `expires_at_ms`: ms since the Unix epoch, None if it has no expiry. The expiry of its parent is its latest expiry.
    - `session_id` and `max_uses`: the session of a link, and how many times a link can be redeemed. If
      `has_default_max_uses` is True, the uses that a link above it has left are the maximum.
    - `max_of_creator`: the maximum number of valid links that `created_by` has made, None without this maximum.
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
    request_id: str | None = None
    request_fingerprint: str | None = None
    session_id: str | None = None
    max_uses: int | None = None
    has_default_max_uses: bool = False
    max_of_creator: int | None = None
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


class RefusedLink(Struct, frozen=True):
    """A valid link that was not redeemed, because its tenant or the page of the request is not accepted."""

    tenant: str


class RedemptionRules(Struct, frozen=True):
    """The rules by which a redemption accepts the tenant of a link. The tenant must also be active in Postgres.

    - `requires_registration`: only links of registered tenants and of the default tenant can be redeemed.
    - `page`: the tenants that accept the page of the request, None if all do.
    """

    requires_registration: bool
    page: PageTenants | None


class RedeemedLink(Struct, frozen=True):
    """A session token that a link gave, with its text. `session_id` is the session of the link, None for a sign-in."""

    credential: StoredCredential
    token: SecretText
    session_id: str | None


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
