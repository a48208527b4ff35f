"""Principals: the identities of callers. Every request has one, and every event names its actor."""

from typing import Literal, get_args

from msgspec import Struct

Role = Literal["viewer", "participant", "controller", "admin"]
"""From the lowest role to the highest. Each role includes the rights of the roles before it."""

_ROLES: tuple[Role, ...] = get_args(Role)


class Principal(Struct, frozen=True):
    """The identity of a caller. `subject` is a participant id if it is known, `address` the IP address of the peer."""

    subject: str | None = None
    role: Role = "admin"
    tenant: str | None = None
    address: str = ""

    def has_role(self, role: Role) -> bool:
        """Tell whether the caller has this role or a higher one."""
        return _ROLES.index(self.role) >= _ROLES.index(role)

    @property
    def actor(self) -> str:
        """Return the name that the audit records."""
        return self.subject or "anonymous"

    def scope_command_id(self, command_id: str) -> str:
        """Return a command id that is unique to this principal, since another principal can use the same id."""
        return f"{self.tenant or ''}:{self.subject or ''}:{command_id}"


TIMEKEEPER = Principal(subject="timekeeper")
"""The actor of overdue transitions."""
