"""Principals: the authenticated identities of callers.

Every request has a principal, and every event names its actor.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Literal, Protocol, get_args

from msgspec import Struct

from synckairos.frozen_replace import replace

Role = Literal["viewer", "participant", "controller", "admin"]
"""Roles of callers, from the lowest to the highest. Each role includes the rights of all lower roles."""

Kind = Literal["user", "key", "link", "timekeeper", "anonymous"]
"""Kinds of principals. `user`, `key` and `link` are callers with a credential.

`anonymous` is a caller without a credential, which includes the command line. `timekeeper` is the server itself.
"""

DEFAULT_TENANT = "default"
"""Tenant of all data while there is no authentication."""

_ROLES: tuple[Role, ...] = get_args(Role)
_TENANT_LENGTH = re.compile("([0-9]+):")
_KIND_IN_SCOPE = re.compile(f"[0-9]+:(?:{'|'.join(get_args(Kind))})[0-9]+:")


LABEL_PREFIX = "label:"
"""Begin of a resource of grants and members that names all sessions with a label. Key, `=` and value come after it."""


def parse_resource_label(resource: str) -> tuple[str, str] | None:
    """Return the key and the value of the label that a resource names. Return None if it names a session."""
    if not resource.startswith(LABEL_PREFIX):
        return None
    key, _, value = resource.removeprefix(LABEL_PREFIX).partition("=")
    return key, value


class SessionGrant(Struct, frozen=True, kw_only=True):
    """A statement of a credential: the bearer has a role on some sessions.

    The grant matches a session if `all_sessions` is True, if `session_ids` contains the id of the session (lower-case
    UUID), or if the session has one of `labels` (key and value). If `role` is None, the grant gives the role of the
    credential. No grant gives the role `admin`.
    """

    session_ids: frozenset[str]
    labels: frozenset[tuple[str, str]]
    all_sessions: bool
    role: Role | None


ALL_SESSIONS = SessionGrant(session_ids=frozenset(), labels=frozenset(), all_sessions=True, role=None)
"""Grant on all sessions of the tenant, with the role of the credential."""


class CredentialLife(Struct, frozen=True, kw_only=True):
    """What ends a credential: its expiry, and the names under which a revocation can select it.

    `token_id`, `group` and `issued_at_ms` are the claims `jti`, `grp` and `iat`, None if the token does not have them.
    Instants are in ms since the Unix epoch, by the time of Redis. `verified_by` is the name of the key that verified
    the token. It is None if the key cannot be retired while the instance runs. `expires_at_ms` is None for a stored
    credential without an expiry.
    """

    expires_at_ms: int | None
    issued_at_ms: int | None
    token_id: str | None
    group: str | None
    verified_by: str | None


class Narrowing(Struct, frozen=True, kw_only=True):
    """Limits of a ticket on the rights of the credential behind it. They hold as long as the socket of the ticket.

    - `role`: the highest role on any session, None for the role of the credential.
    - `session_ids`: the only sessions (lower-case UUIDs), None for all sessions of the credential. With `session_ids`
      the highest role is `controller`, because the role `admin` is not limited to sessions.
    """

    role: Role | None
    session_ids: frozenset[str] | None


class MemberRights(Protocol):
    """The member rows of one subject, as this instance knows them. They change while principals refer to them."""

    @property
    def is_current(self) -> bool:
        """Return whether the rows are known, and no change was announced since they were read."""

    @property
    def rows(self) -> Mapping[str, Role] | None:
        """Return the role by resource: a session id, or `label:<key>=<value>`. None if the rows are unknown."""

    @property
    def changes(self) -> int:
        """Return the number of changes of the rows that were announced to this instance."""

    @property
    def has_labels(self) -> bool:
        """Return whether a known row names a label."""

    async def load(self) -> None:
        """Read the rows, unless they are current. Without an answer of the stores, the rows are unknown afterwards."""

    def role_on(self, session_id: str, labels: Collection[tuple[str, str]]) -> Role | None:
        """Return the highest role that a row gives on a session, None if no row names the session.

        `labels` are the labels of the session as pairs of key and value.

        Raises: StoreUnavailable if the rows are unknown.
        """

    def known_role_on(self, session_id: str) -> Role | None:
        """Return the highest role that a row with this session id gives. None without such a row, or if unknown."""

    def controls_label(self, label: tuple[str, str]) -> bool:
        """Return whether a row gives the role `controller` on all sessions with a label.

        Raises: StoreUnavailable if the rows are unknown.
        """


class Principal(Struct, frozen=True, kw_only=True):
    """The identity and the rights of a caller. No field has a default, so that no right is given by omission.

    - `subject`: the name of the principal within its kind and its tenant.
    - `role`: the highest role that the principal can have on a session. `role_on` returns the role on one session.
    - `address`: the peer's IPv4 address, or the /64 network of the peer's IPv6 address. It is empty for principals
      without a connection.
    - `participant_id`: the participant (lower-case UUID) as which a principal with the role `participant` acts. None if
      the principal is no participant.
    - `grants`: the sessions that the principal can reach. Principals with the role `admin` reach all sessions of their
      tenant without a grant.
    - `life`: the expiry and the names of the credential. None for principals without a credential.
    - `narrowing`: the limits of the ticket that opened the socket of the principal, None without limits.
    - `members`: the member rows of the subject, which give roles beside `grants`. None if no row can concern the
      principal: it has a credential without rows, the role `admin`, or no credential.
    - `is_operator`: whether the principal administers tenants. An operator has no rights in a tenant, so it has the
      role `viewer` and no grants.
    """

    kind: Kind
    tenant: str
    subject: str
    role: Role
    address: str
    participant_id: str | None
    grants: tuple[SessionGrant, ...]
    life: CredentialLife | None
    narrowing: Narrowing | None
    members: MemberRights | None
    is_operator: bool

    @classmethod
    def anonymous_admin(cls, address: str = "") -> "Principal":
        """Return the principal of a caller without a credential. It always has the role `admin`.

        Use this principal only if authentication is off.
        """
        return cls._without_credential("anonymous", "anonymous", address)

    @classmethod
    def without_rights(cls, address: str) -> "Principal":
        """Return the principal of a caller without a valid credential while authentication is on. It has no rights."""
        return cls(
            kind="anonymous",
            tenant=DEFAULT_TENANT,
            subject="anonymous",
            role="viewer",
            address=address,
            participant_id=None,
            grants=(),
            life=None,
            narrowing=None,
            members=None,
            is_operator=False,
        )

    @classmethod
    def operator(cls, key_id: str, address: str) -> "Principal":
        """Return the principal of an operator with the key `key_id`."""
        return cls(
            kind="key",
            tenant=DEFAULT_TENANT,
            subject=key_id,
            role="viewer",
            address=address,
            participant_id=None,
            grants=(),
            life=None,
            narrowing=None,
            members=None,
            is_operator=True,
        )

    @classmethod
    def timekeeper(cls, tenant: str = DEFAULT_TENANT) -> "Principal":
        """Return the principal of overdue transitions in the sessions of a tenant."""
        return cls._without_credential("timekeeper", "timekeeper", "", tenant)

    @classmethod
    def importer(cls, subject: str, tenant: str = DEFAULT_TENANT) -> "Principal":
        """Return the principal of a command of the command line. `subject` is its name in the audit and in lists.

        It has the kind `anonymous` and the role `admin` in `tenant`.
        """
        return cls._without_credential("anonymous", subject, "", tenant)

    @classmethod
    def _without_credential(cls, kind: Kind, subject: str, address: str, tenant: str = DEFAULT_TENANT) -> "Principal":
        return cls(
            kind=kind,
            tenant=tenant,
            subject=subject,
            role="admin",
            address=address,
            participant_id=None,
            grants=(),
            life=None,
            narrowing=None,
            members=None,
            is_operator=False,
        )

    def has_role(self, role: Role) -> bool:
        """Return whether the highest role of the caller is `role` or a higher role."""
        return includes_role(self.role, role)

    def role_on(self, session_id: str, labels: Collection[tuple[str, str]]) -> Role | None:
        """Return the role of the principal on a session of its tenant, None if the principal cannot reach the session.

        The role is the lower of `role` and the highest role that a matching grant or member row gives. `labels` are the
        labels of the session as pairs of key and value.

        Raises: StoreUnavailable if the role depends on member rows that are unknown. `missing_members` says before
            which calls they must be read.
        """
        granted = self.granted_role_on(session_id, labels)
        if granted == self.role or self.members is None or not self._is_in_narrowing(session_id):
            return granted
        return self._limited_role([granted, self.members.role_on(session_id, labels)])

    def granted_role_on(self, session_id: str, labels: Collection[tuple[str, str]]) -> Role | None:
        """Return the role on a session as `role_on`, but without the roles that member rows give."""
        if not self._is_in_narrowing(session_id):
            return None
        if self.role == "admin":
            return "admin"
        return self._limited_role(
            [
                grant.role or self.role
                for grant in self.grants
                if grant.all_sessions or session_id in grant.session_ids or not grant.labels.isdisjoint(labels)
            ]
        )

    def known_role_on(self, session_id: str) -> Role | None:
        """Return the role on a session without the roles that its labels give. Unknown member rows give no role."""
        granted = self.granted_role_on(session_id, ())
        if granted == self.role or self.members is None or not self._is_in_narrowing(session_id):
            return granted
        return self._limited_role([granted, self.members.known_role_on(session_id)])

    def missing_members(self, session_id: str, labels: Collection[tuple[str, str]] | None) -> MemberRights | None:
        """Return the member rows that must be read before `role_on` can decide about a session, None if it can.

        `labels` None means that the labels of the session are not known yet. If a grant names a label, no row is
        missing then: with the labels, the grant possibly decides alone.
        """
        if self.members is None or self.members.is_current or (labels is None and self._has_label_grants):
            return None
        is_decided = self.granted_role_on(session_id, labels or ()) == self.role
        return None if is_decided or not self._is_in_narrowing(session_id) else self.members

    def _is_in_narrowing(self, session_id: str) -> bool:
        only = None if self.narrowing is None else self.narrowing.session_ids
        return only is None or session_id in only

    def _limited_role(self, roles: Iterable[Role | None]) -> Role | None:
        """Return the highest of `roles`, or the role of the principal if this is lower. None if there is no role."""
        found = highest_role(roles)
        return None if found is None else min(self.role, found, key=_ROLES.index)

    def narrowed(self, narrowing: Narrowing | None) -> "Principal":
        """Return the principal with the limits of a ticket. None sets no limits.

        Use this also for the principal of each later credential of the same socket.
        """
        if narrowing is None:
            return self
        role, grants = self.role, self.grants
        if role == "admin":
            grants = (ALL_SESSIONS,)
            role = "admin" if narrowing.session_ids is None else "controller"
        if narrowing.role is not None:
            role = min(role, narrowing.role, key=_ROLES.index)
        return replace(self, role=role, grants=grants, narrowing=narrowing)

    @property
    def member_changes(self) -> int:
        """Return the number of announced changes of the member rows; 0 if no row can concern the principal."""
        return 0 if self.members is None else self.members.changes

    @property
    def depends_on_labels(self) -> bool:
        """Return whether the role on a session can depend on the labels of the session.

        Unknown member rows count as rows without labels.
        """
        if self.role == "admin":
            return False
        return self._has_label_grants or (self.members is not None and self.members.has_labels)

    @property
    def _has_label_grants(self) -> bool:
        return any(grant.labels for grant in self.grants)

    @property
    def actor(self) -> str:
        """Return the name of the actor that the audit records.

        A caller with a credential is `<kind>:<subject>`. No kind contains a colon, so the first colon ends the kind.
        The actors `anonymous` and `timekeeper` and the names of imports have no colon.
        """
        if self.kind in ("anonymous", "timekeeper"):
            return self.subject
        return f"{self.kind}:{self.subject}"

    @property
    def limited_client_id(self) -> str:
        """Return the client id that rate limits count: the address for anonymous callers, else the principal."""
        return self.address if self.kind == "anonymous" else self._scope()

    def qualify_command_id(self, command_id: str) -> str:
        """Return the command id in the scope of this principal. Other principals can use the same command id.

        The result is the name of an idempotency record. For anonymous callers the result is the command id itself, as
        in earlier releases. For all other principals it is the length-prefixed scope, a space and the command id. A
        command id consists of visible ASCII characters without spaces, so no two principals with a credential have
        equal results.
        """
        return command_id if self.kind == "anonymous" else f"{self._scope()} {command_id}"

    def qualify_request_id(self, command_id: str) -> str:
        """Return the command id of a request that concerns no stored session, in the scope of this principal.

        Two colons precede the result of `qualify_command_id`, as in earlier releases.
        """
        return f"::{self.qualify_command_id(command_id)}"

    def _scope(self) -> str:
        """Return tenant, kind and subject, each after its length and a colon, so that the text is unambiguous."""
        return "".join(f"{len(part)}:{part}" for part in (self.tenant, self.kind, self.subject))


@lru_cache(maxsize=20_000)
def tenant_of_client(client_id: str) -> str | None:
    """Return the tenant of a client by its `Principal.limited_client_id`, None for the address of a client.

    An address never has this form: after a length and a tenant, it has no kind of a principal.
    """
    match = _TENANT_LENGTH.match(client_id)
    if match is None:
        return None
    end = match.end() + int(match[1])
    kind = _KIND_IN_SCOPE.match(client_id, end)
    return None if kind is None else client_id[match.end() : end]


def highest_role(roles: Iterable[Role | None]) -> Role | None:
    """Return the highest of `roles`, None if there is no role."""
    return max((each for each in roles if each is not None), key=_ROLES.index, default=None)


def includes_role(role: Role, wanted: Role) -> bool:
    """Return whether `role` includes the rights of `wanted`: it is the same role or a higher role."""
    return _ROLES.index(role) >= _ROLES.index(wanted)


TIMEKEEPER = Principal.timekeeper()
"""The principal of overdue transitions in the default tenant."""


def timekeeper_of(tenant: str) -> Principal:
    """Return the principal of overdue transitions in the sessions of a tenant."""
    return TIMEKEEPER if tenant == DEFAULT_TENANT else Principal.timekeeper(tenant)
