"""Formats of session tokens that API keys give: Pydantic models of responses."""

from pydantic import BaseModel, Field

from synckairos.wire.field_types import Omittable, StrictModel


class CreateSessionToken(StrictModel):
    """A request for a session token. It has no members: the API key of the request decides."""


class SessionTokenView(BaseModel):
    """A session token with the rights of the API key. `token` is absent in the replay of an answer."""

    token: Omittable[str] = Field(default=None, description="Token for requests and sockets. It cannot be read again")
    expires_in_ms: int = Field(description="Milliseconds until the token expires if it is not used")


class SessionTokenAnswer(BaseModel):
    data: SessionTokenView
