"""Who asks. Every request carries a principal, every event its actor; authentication only decides which one."""

from dataclasses import dataclass
from typing import Literal

from synckairos.quick import quick

Role = Literal["viewer", "participant", "controller", "admin"]


@quick
@dataclass(frozen=True, slots=True)
class Principal:
    """Someone who asks: `subject` is a participant id where one is known, `address` the peer's IP address."""

    subject: str | None = None
    role: Role = "admin"
    tenant: str | None = None
    address: str = ""

    @property
    def actor(self) -> str:
        """Return the name the audit trail keeps."""
        return self.subject or "anonymous"


TIMEKEEPER = Principal(subject="timekeeper")
"""The clock itself, when it brings about what fell due."""
