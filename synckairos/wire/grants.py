"""Format of grants: the sessions that the bearer of a credential can reach, and the role on them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from synckairos.wire.field_types import Omittable, StrictModel

MAX_GRANTS = 64
"""Maximum number of grants of a credential."""

MAX_GRANT_SESSIONS = 100
"""Maximum number of session ids and labels in one grant of a stored credential."""

UUID_PATTERN = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
LABEL_PATTERN = r"label:([a-z0-9._-]{1,63})=([\s\S]{1,63})"
"""Regular expressions of a session id, and of all sessions with a label. They are valid in JSON Schema too."""

GrantedRole = Literal["viewer", "participant", "controller"]
GrantedSession = Annotated[
    str,
    Field(
        pattern=rf"^(\*|{UUID_PATTERN}|{LABEL_PATTERN})\z",
        description="A session id, `label:<key>=<value>` for all sessions with this label, or `*` for all sessions",
    ),
]


class Grant(StrictModel):
    """Sessions that the bearer can reach, and the role on them. Without `role`, it is the role of the credential."""

    sessions: Annotated[list[GrantedSession], Field(min_length=1, max_length=MAX_GRANT_SESSIONS)]
    role: Omittable[GrantedRole] = None


def grant_claims(grants: list[Grant]) -> list[dict[str, Any]]:
    """Return grants in the form of the claim `grants` of a token."""
    return [each.model_dump(exclude_none=True) for each in grants]
