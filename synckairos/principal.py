"""Principals: the authenticated identities of callers.

Every request has a principal, and every event names its actor.
"""

from typing import Literal, get_args

from msgspec import Struct

Role = Literal["viewer", "participant", "controller", "admin"]
"""Roles of callers, from the lowest to the highest. Each role includes the rights of all lower roles."""

_ROLES: tuple[Role, ...] = get_args(Role)


class Principal(Struct, frozen=True):
    """The identity of a caller.

    `subject` is a participant id, None if it is unknown. `address` is the peer's IP address.
    """

    subject: str | None = None
    role: Role = "admin"
    tenant: str | None = None
    address: str = ""

    def has_role(self, role: Role) -> bool:
        """Return whether the caller has this role or a higher role."""
        return _ROLES.index(self.role) >= _ROLES.index(role)

    @property
    def actor(self) -> str:
        """Return the name of the actor that the audit records."""
        return self.subject or "anonymous"

    @property
    def client(self) -> str:
        """Return the client that is counted by limits: the subject if it is known, else the IP address."""
        if self.subject is None:
            return self.address
        tenant = self.tenant or ""
        return f"{len(tenant)}:{tenant}:{self.subject}"

    def qualify_command_id(self, command_id: str) -> str:
        """Return the command id prefixed with this principal. Another principal can use the same command id."""
        return f"{self.tenant or ''}:{self.subject or ''}:{command_id}"


TIMEKEEPER = Principal(subject="timekeeper")
"""The principal of overdue transitions."""
