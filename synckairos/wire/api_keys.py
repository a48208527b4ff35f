"""Formats of API keys: Pydantic models of requests and responses."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from synckairos.wire.field_types import InstantText, Omittable, ShortText, StrictModel, Uuid
from synckairos.wire.grants import MAX_GRANTS, Grant
from synckairos.wire.query_parameters import PageQuery
from synckairos.wire.session_view import Instant

KeyRole = Literal["viewer", "participant", "controller", "admin"]
KEY_ID_PATTERN = "[0-9A-Za-z]{12}"
"""Regular expression of the id of a stored credential."""

KeyId = Annotated[str, Field(pattern=rf"^{KEY_ID_PATTERN}\z", description="Id of the API key. Rotations keep it")]


class CreateApiKey(StrictModel):
    """An API key to make. Its role is the highest role that the bearer can have on a session.

    A key with the role `admin` reaches all sessions of the tenant. The other roles need `grants`. A key with the role
    `participant` acts as the participant `participant_id`. Without `expires_at`, the key has no expiry.
    """

    role: KeyRole
    label: Omittable[Annotated[ShortText, Field(min_length=1)]] = None
    grants: Annotated[list[Grant], Field(max_length=MAX_GRANTS)] = Field(default_factory=list)
    participant_id: Omittable[Uuid] = None
    expires_at: Omittable[InstantText] = None

    @model_validator(mode="after")
    def _check_role(self) -> Self:
        if self.role == "participant" and self.participant_id is None:
            raise PydanticCustomError("participant", "needs participant_id for the role participant")
        return self


class ApiKeysQuery(PageQuery):
    """The query for the API keys of the tenant, newest first."""


class ApiKeyView(BaseModel):
    """An API key without its secret."""

    key_id: KeyId
    role: str = Field(description="Highest role of the bearer on any session")
    label: Omittable[str] = None
    grants: list[Grant]
    participant_id: Omittable[str] = None
    created_at: Instant
    created_by: str = Field(description="The caller that made the key, as the audit names actors")
    expires_at: Omittable[Instant] = None
    last_used_at: Omittable[Instant] = Field(default=None, description="Late by up to a minute. Absent before a use")


class ApiKeySecret(BaseModel):
    """The id and the text of a key. `key` is absent in the replay of an answer."""

    key_id: KeyId
    key: Omittable[str] = Field(default=None, description="The key. It cannot be read again")


class ApiKeySecretAnswer(BaseModel):
    data: ApiKeySecret


class ApiKeyPage(BaseModel):
    data: list[ApiKeyView]
    next_cursor: str | None
