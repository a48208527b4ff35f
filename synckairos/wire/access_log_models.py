"""Formats of the access log: Pydantic models of its query and its responses."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from synckairos.wire.field_types import Omittable
from synckairos.wire.query_parameters import PageQuery
from synckairos.wire.session_view import Instant

EntryName = Annotated[
    Literal["act", "refusal"],
    Field(description="`act`: an administrative act. `refusal`: refused requests of one address in one minute"),
]


class AccessQuery(PageQuery):
    """The query for the access log, newest entries first."""

    entry: Omittable[EntryName] = None


class AccessView(BaseModel):
    """An entry of the access log. An act has the caller and the action, a refusal has the reason and a number."""

    access_id: int
    entry: EntryName
    at: Instant = Field(description="Instant of the act, or begin of the minute of the refusals")
    kind: str | None = Field(description="Kind of the caller: user, key or link; null for refusals")
    subject: str | None = Field(description="Name of the caller within its kind; null for refusals")
    role: str | None = Field(description="Highest role of the caller; null for refusals")
    address: str = Field(description="IPv4 address or IPv6 /64 network of the client; empty if it is not known")
    action: str | None = Field(description="HTTP method and route, such as `DELETE /v1/webhooks/:wid`")
    target: str | None = Field(
        description="Ids of the objects, separated by spaces: those in the path, or that of a new object. For a "
        "disconnection or a member, the subject. For several members, their number"
    )
    status: int | None = Field(description="HTTP status of the answer; null for refusals")
    reason: str | None = Field(description="Error code of the refusals, such as `UNAUTHORIZED`; null for acts")
    count: int = Field(description="Number of refused requests; 1 for an act")


class AccessPage(BaseModel):
    data: list[AccessView]
    next_cursor: str | None
