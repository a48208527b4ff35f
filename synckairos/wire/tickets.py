"""Formats of tickets: Pydantic models of the request and the response."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from synckairos.wire.field_types import Omittable, StrictModel, Uuid
from synckairos.wire.session_view import Instant

SessionIds = Annotated[
    list[Uuid],
    Field(min_length=1, max_length=64, description="Sessions that the socket can reach. Default: those of the caller"),
]
TicketRole = Annotated[
    Literal["viewer", "participant", "controller"],
    Field(description="Highest role of the socket, at most the role of the caller. Default: the role of the caller"),
]
Origin = Annotated[
    str,
    Field(
        pattern=r"^https?://[!-~]{1,300}\z",
        description="Origin of the page that opens the socket. Default: the header `Origin` of this request, else none",
    ),
]
TicketTtl = Annotated[int, Field(ge=1, le=300, description="Seconds in which the ticket can be used. Default: 30")]


class CreateTicket(StrictModel):
    """The rights of a ticket. A ticket never has more rights than its caller."""

    session_ids: Omittable[SessionIds] = None
    role: Omittable[TicketRole] = None
    origin: Omittable[Origin] = None
    ttl_s: TicketTtl = 30


class TicketView(BaseModel):
    """A ticket for one socket: `GET /ws?ticket=<ticket>`."""

    ticket: str
    expires_at: Instant = Field(description="Instant until which the ticket can be used")


class TicketAnswer(BaseModel):
    data: TicketView
