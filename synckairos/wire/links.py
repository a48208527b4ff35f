"""Formats of links: Pydantic models of requests and responses."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from synckairos.wire.api_keys import KEY_ID_PATTERN
from synckairos.wire.field_types import InstantText, Omittable, ShortText, StrictModel, Uuid
from synckairos.wire.query_parameters import PageQuery
from synckairos.wire.session_view import Instant

MAX_USES = 100_000
"""Maximum number of times that a link can be redeemed. It is the default too."""

MAX_SECRET_CHARACTERS = 200
"""Maximum number of characters of a secret that is read."""

LinkId = Annotated[str, Field(pattern=rf"^{KEY_ID_PATTERN}\z", description="Id of the link")]
LinkRole = Literal["viewer", "participant", "controller"]
SessionId = Annotated[Uuid, Field(description="Session that the link opens")]


class CreateLink(StrictModel):
    """A link to make. `role` is the role on the session, at most that of the caller.

    A link with the role `participant` acts as the participant `participant_id`. Without `expires_at`, the link expires
    after 24 hours. `max_uses` is how many devices can use it.
    """

    session_id: SessionId
    role: LinkRole
    participant_id: Omittable[Uuid] = None
    expires_at: Omittable[InstantText] = None
    max_uses: Annotated[int, Field(ge=1, le=MAX_USES)] = MAX_USES
    label: Omittable[Annotated[ShortText, Field(min_length=1)]] = None

    @model_validator(mode="after")
    def _check_role(self) -> Self:
        if self.role == "participant" and self.participant_id is None:
            raise PydanticCustomError("participant", "needs participant_id for the role participant")
        return self


class LinksQuery(PageQuery):
    """The query for the valid links, newest first. Only the role `admin` lists the links of all sessions."""

    session_id: Omittable[Annotated[Uuid, Field(description="Only links to this session")]] = None


class RedeemLink(StrictModel):
    """The secret of a link, from the fragment of its URL."""

    secret: Annotated[str, Field(min_length=1, max_length=MAX_SECRET_CHARACTERS)]


class LinkView(BaseModel):
    """A link without its secret."""

    link_id: LinkId
    session_id: SessionId
    role: LinkRole
    participant_id: Omittable[str] = None
    label: Omittable[str] = None
    max_uses: int
    uses: int = Field(description="How many times the link was redeemed")
    created_at: Instant
    created_by: str = Field(description="The caller that made the link, as the audit names actors")
    expires_at: Instant
    last_used_at: Omittable[Instant] = Field(default=None, description="Last redemption. Absent before a use")


class LinkSecret(BaseModel):
    """The id, the secret and the URL of a link. `secret` and `url` are absent in the replay of an answer."""

    link_id: LinkId
    secret: Omittable[str] = Field(default=None, description="The secret. It cannot be read again")
    url: Omittable[str] = Field(default=None, description="URL of the page for the role. The secret is in its fragment")


class LinkSecretAnswer(BaseModel):
    data: LinkSecret


class LinkPage(BaseModel):
    data: list[LinkView]
    next_cursor: str | None


class RedeemedLinkView(BaseModel):
    """A session token. A link for a sign-in has the role `admin` and no session."""

    token: str = Field(description="Token for requests, sockets and event streams. It cannot be read again")
    expires_in_ms: int = Field(description="Milliseconds until the token expires if it is not used")
    session_id: Omittable[str] = None
    role: Literal["viewer", "participant", "controller", "admin"]
    participant_id: Omittable[str] = None


class RedeemedLinkAnswer(BaseModel):
    data: RedeemedLinkView
