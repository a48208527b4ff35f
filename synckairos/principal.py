"""Who asks. Every request carries a principal, every event its actor; authentication only decides which one."""

from dataclasses import dataclass
from typing import Literal, get_args

from synckairos.fast_dataclass import fast_dataclass

Role = Literal["viewer", "participant", "controller", "admin"]
"""From the least to the highest: each may what those before it may."""

_ROLES: tuple[Role, ...] = get_args(Role)


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Principal:
    """Someone who asks: `subject` is a participant id where one is known, `address` the peer's IP address."""

    subject: str | None = None
    role: Role = "admin"
    tenant: str | None = None
    address: str = ""

    def may(self, role: Role) -> bool:
        """Tell whether its role is `role` or a higher one."""
        return _ROLES.index(self.role) >= _ROLES.index(role)

    @property
    def actor(self) -> str:
        """Return the name the audit trail keeps."""
        return self.subject or "anonymous"

    def scoped(self, command_id: str) -> str:
        """Return a command id as this one's own: somebody else may use the same."""
        return f"{self.tenant or ''}:{self.subject or ''}:{command_id}"


TIMEKEEPER = Principal(subject="timekeeper")
"""The clock itself, when it brings about what fell due."""
