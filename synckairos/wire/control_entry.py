"""Entries of the control channel as JSON: revocations, disconnections, changes of signing keys, tenants and members.

Other releases can write other kinds of entries. Such an entry is kept and copied, and has no effect.
"""

from hashlib import sha256
from typing import Literal

import orjson
from msgspec import Struct

from synckairos.frozen_replace import replace

_KEY_ADDED, _KEY_REMOVED = "signing_key_added", "signing_key_removed"
_TENANT_CHANGED = "tenant_changed"
_MEMBERS_CHANGED = "members_changed"

MAX_ENTRY_BYTES = 4_096
"""Maximum bytes of one entry."""


class Revocation(Struct, frozen=True, kw_only=True):
    """A revocation of the credentials of one tenant that one selector names.

    Exactly one of `token_id`, `subject`, `group`, `credential` and `is_for_all` is set. `subject` and `is_for_all`
    select credentials that were issued before `issued_before_ms`, and credentials without an instant of issue. The
    other selectors ignore the instant of issue. The revocation has no effect before `effective_at_ms`. It is not needed
    after `until_ms`, because all selected credentials have then expired. Instants are in ms since the Unix epoch.
    """

    entry_id: str
    tenant: str
    at_ms: int
    effective_at_ms: int
    until_ms: int
    issued_before_ms: int
    actor: str
    token_id: str | None = None
    subject: str | None = None
    group: str | None = None
    credential: str | None = None
    is_for_all: bool = False

    def render(self) -> bytes:
        """Return the entry as JSON."""
        members = {
            "kind": "revocation",
            "id": self.entry_id,
            "tenant": self.tenant,
            "at": self.at_ms,
            "effective_at": self.effective_at_ms,
            "until": self.until_ms,
            "issued_before": self.issued_before_ms,
            "actor": self.actor,
            "jti": self.token_id,
            "subject": self.subject,
            "grp": self.group,
            "credential": self.credential,
            "all": self.is_for_all or None,
        }
        return orjson.dumps({name: value for name, value in members.items() if value is not None})

    def below(self, credential_id: str) -> "Revocation":
        """Return the revocation of a stored credential that ends because this revocation selects one above it.

        All revocations that this one leads to give the same entry for a credential, so that a chain of links has one
        entry for each link, also if it is announced twice.
        """
        return replace(
            self,
            entry_id=sha256(f"{self.tenant} {credential_id} {self.effective_at_ms}".encode()).hexdigest()[:16],
            token_id=None,
            subject=None,
            group=None,
            credential=credential_id,
            is_for_all=False,
        )


class Disconnection(Struct, frozen=True, kw_only=True):
    """An order to close all present sockets and streams of one subject. It revokes no credential."""

    entry_id: str
    tenant: str
    at_ms: int
    until_ms: int
    subject: str

    def render(self) -> bytes:
        """Return the entry as JSON."""
        members = {"kind": "disconnection", "id": self.entry_id, "tenant": self.tenant, "at": self.at_ms}
        return orjson.dumps({**members, "until": self.until_ms, "subject": self.subject})


class SigningKeyChange(Struct, frozen=True, kw_only=True):
    """A signing key of the tenant was added, or removed if `is_removal` is True. Postgres has the key itself.

    The entry depends only on the key, so that the same change is one entry, also if it is announced twice.
    """

    signing_key_id: str
    tenant: str
    at_ms: int
    until_ms: int
    is_removal: bool

    def render(self) -> bytes:
        """Return the entry as JSON."""
        kind = _KEY_REMOVED if self.is_removal else _KEY_ADDED
        members = {"kind": kind, "id": self.signing_key_id, "tenant": self.tenant, "at": self.at_ms}
        return orjson.dumps({**members, "until": self.until_ms})


class TenantChange(Struct, frozen=True, kw_only=True):
    """A tenant was created or changed. `is_open` is whether its credentials are accepted. Postgres has the tenant.

    `revision` orders the changes of one tenant. The entry depends only on the row of the tenant, so that the same
    change is one entry, also if it is announced twice.
    """

    tenant: str
    revision: int
    is_open: bool
    at_ms: int
    until_ms: int

    def render(self) -> bytes:
        """Return the entry as JSON."""
        members = {"kind": _TENANT_CHANGED, "tenant": self.tenant, "revision": self.revision, "open": self.is_open}
        return orjson.dumps({**members, "at": self.at_ms, "until": self.until_ms})


class MembersChange(Struct, frozen=True, kw_only=True):
    """Members of a tenant were changed. Postgres has the members.

    `revision` is the number of the change in the tenant, or of the last change before it if it changed no row.
    `subjects` are the subjects whose members were changed, None for all subjects of the tenant.
    """

    tenant: str
    revision: int
    subjects: tuple[str, ...] | None
    at_ms: int
    until_ms: int

    def render(self) -> bytes:
        """Return the entry as JSON."""
        members = {"kind": _MEMBERS_CHANGED, "tenant": self.tenant, "revision": self.revision}
        subjects = {} if self.subjects is None else {"subjects": self.subjects}
        return orjson.dumps({**members, **subjects, "at": self.at_ms, "until": self.until_ms})


class UnknownEntry(Struct, frozen=True, kw_only=True):
    """An entry of a kind that this release does not know."""

    kind: str
    until_ms: int


EffectiveEntry = Revocation | Disconnection | SigningKeyChange | TenantChange | MembersChange
"""An entry of a kind that this release knows."""

ControlEntry = EffectiveEntry | UnknownEntry
SelectorName = Literal["jti", "subject", "grp", "credential", "all"]


def parse_control_entry(text: bytes) -> ControlEntry:
    """Parse an entry of the control channel.

    Raises: one of `PARSE_ERRORS` if the text is not an entry.
    """
    if len(text) > MAX_ENTRY_BYTES:
        raise ValueError("the entry is too long")
    members = orjson.loads(text)
    kind, until_ms = _text(members["kind"]), _integer(members["until"])
    if kind == "revocation":
        found = Revocation(
            entry_id=_text(members["id"]),
            tenant=_text(members["tenant"]),
            at_ms=_integer(members["at"]),
            effective_at_ms=_integer(members["effective_at"]),
            until_ms=until_ms,
            issued_before_ms=_integer(members["issued_before"]),
            actor=_text(members["actor"]),
            token_id=_optional_text(members.get("jti")),
            subject=_optional_text(members.get("subject")),
            group=_optional_text(members.get("grp")),
            credential=_optional_text(members.get("credential")),
            is_for_all=members.get("all") is True,
        )
        selectors = (found.token_id, found.subject, found.group, found.credential)
        if sum(each is not None for each in selectors) + found.is_for_all != 1:
            raise ValueError("a revocation has exactly one selector")
        return found
    if kind == "disconnection":
        return Disconnection(
            entry_id=_text(members["id"]),
            tenant=_text(members["tenant"]),
            at_ms=_integer(members["at"]),
            until_ms=until_ms,
            subject=_text(members["subject"]),
        )
    if kind in (_KEY_ADDED, _KEY_REMOVED):
        return SigningKeyChange(
            signing_key_id=_text(members["id"]),
            tenant=_text(members["tenant"]),
            at_ms=_integer(members["at"]),
            until_ms=until_ms,
            is_removal=kind == _KEY_REMOVED,
        )
    if kind == _TENANT_CHANGED:
        return TenantChange(
            tenant=_text(members["tenant"]),
            revision=_integer(members["revision"]),
            is_open=members["open"] is True,
            at_ms=_integer(members["at"]),
            until_ms=until_ms,
        )
    if kind == _MEMBERS_CHANGED:
        subjects = members.get("subjects")
        return MembersChange(
            tenant=_text(members["tenant"]),
            revision=_integer(members["revision"]),
            subjects=None if subjects is None else tuple(map(_text, _list(subjects))),
            at_ms=_integer(members["at"]),
            until_ms=until_ms,
        )
    return UnknownEntry(kind=kind, until_ms=until_ms)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("should be a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("should be a text")
    return value


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("should be a whole number")
    return value
