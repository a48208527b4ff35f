"""Principals: the authenticated identities of callers.

Every request has a principal, and every event names its actor.
"""

from typing import Literal, get_args

from msgspec import Struct

Role = Literal["viewer", "participant", "controller", "admin"]
"""Roles of callers, from the lowest to the highest. Each role includes the rights of all lower roles."""

Kind = Literal["user", "key", "link", "timekeeper", "anonymous"]
"""Kinds of principals. `user`, `key` and `link` are callers with a credential.

`anonymous` is a caller without a credential, which includes the command line. `timekeeper` is the server itself.
"""

DEFAULT_TENANT = "default"
"""Tenant of all data while there is no authentication."""

_ROLES: tuple[Role, ...] = get_args(Role)


class Principal(Struct, frozen=True, kw_only=True):
    """The identity of a caller. No field has a default, so that no right is given by omission.

    `subject` is the name of the principal within its kind and its tenant. `address` is the peer's IPv4 address, or the
    /64 network of the peer's IPv6 address. It is empty for principals without a connection.
    """

    kind: Kind
    tenant: str
    subject: str
    role: Role
    address: str

    @classmethod
    def anonymous(cls, address: str = "") -> "Principal":
        """Return the principal of a caller without a credential. It always has the role `admin`.

        Use this principal only if authentication is off.
        """
        return cls(kind="anonymous", tenant=DEFAULT_TENANT, subject="anonymous", role="admin", address=address)

    @classmethod
    def timekeeper(cls) -> "Principal":
        """Return the principal of overdue transitions."""
        return cls(kind="timekeeper", tenant=DEFAULT_TENANT, subject="timekeeper", role="admin", address="")

    @classmethod
    def importer(cls, subject: str) -> "Principal":
        """Return the principal of an import from the command line. `subject` is the name of the import.

        It has the kind `anonymous` and the role `admin`.
        """
        return cls(kind="anonymous", tenant=DEFAULT_TENANT, subject=subject, role="admin", address="")

    def has_role(self, role: Role) -> bool:
        """Return whether the caller has this role or a higher role."""
        return _ROLES.index(self.role) >= _ROLES.index(role)

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


TIMEKEEPER = Principal.timekeeper()
"""The principal of overdue transitions."""
