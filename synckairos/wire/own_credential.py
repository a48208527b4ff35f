"""Format of the description of a caller: Pydantic models of the query and the response."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from synckairos.wire.field_types import Omittable, StrictModel, Uuid

CallerKind = Literal["user", "key", "link", "anonymous"]
CallerRole = Literal["viewer", "participant", "controller", "admin"]
SessionId = Annotated[Uuid, Field(description="Session for which `session_role` is calculated")]


class OwnCredentialQuery(StrictModel):
    """The query for the description of the caller."""

    session_id: Omittable[SessionId] = None


class OwnCredentialView(BaseModel):
    """The caller of this request."""

    kind: CallerKind = Field(description="Kind of the credential. `anonymous` while authentication is off")
    tenant: str
    subject: str = Field(description="Name of the caller: the claim `sub` of a token")
    role: CallerRole = Field(description="Highest role of the caller on any session")
    participant_id: str | None = Field(description="Participant as which the caller acts, null if it is none")
    expires_in_ms: int | None = Field(
        description="Milliseconds until the credential expires, null if it does not expire, or without a credential"
    )
    session_role: CallerRole | None = Field(
        description="Role of the caller on the session of the query. It does not say whether the session exists. "
        "Null if the caller cannot reach the session, or if the query has no session",
    )


class OwnCredentialAnswer(BaseModel):
    data: OwnCredentialView
