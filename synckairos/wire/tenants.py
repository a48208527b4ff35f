"""Formats of tenants: Pydantic models of requests and responses."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from synckairos.wire.field_types import Omittable, ShortText, StrictModel
from synckairos.wire.query_parameters import PageQuery
from synckairos.wire.session_view import Instant

MAX_ORIGINS = 100
"""Maximum number of origins of a tenant."""

MAX_COUNT = 1_000_000_000
"""Largest value of a limit that counts sessions, sockets, requests, presses or simulations."""

Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        description="Name of the tenant: lower-case letters, digits, dots, hyphens and underscores, with a letter or "
        "digit first",
    ),
]
MAX_ARCHIVE_BYTES = 1 << 53
"""Largest value of the limit of bytes in archives. Larger numbers are not exact in all JSON parsers."""

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Percent = Annotated[int, Field(ge=1, le=100)]
Bytes = Annotated[int, Field(ge=0, le=MAX_ARCHIVE_BYTES)]
TenantOrigins = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=255)]],
    Field(
        max_length=MAX_ORIGINS,
        description="Origins of the tenant's web pages, such as https://app.example.org. They replace the origins of "
        "the setting for this tenant",
    ),
]


class TenantLimitChanges(StrictModel):
    """Limits of a tenant to change. Absent limits stay unchanged. Null sets the default of a limit again."""

    live_sessions: Count | None = None
    sockets: Count | None = None
    sockets_per_subject: Count | None = None
    requests_per_min: Count | None = None
    presses_per_s: Count | None = None
    simulations_per_min: Count | None = None
    outbox_share: Percent | None = None
    archive_bytes: Bytes | None = None


class CreateTenant(StrictModel):
    """A tenant to create. Limits that are absent have their defaults."""

    tenant: Name
    description: ShortText = ""
    limits: Omittable[TenantLimitChanges] = None
    origins: Omittable[TenantOrigins] = None


class PatchTenant(StrictModel):
    """The members of a tenant to change. Absent members stay unchanged.

    Null in place of `origins` lets the origins of the setting hold again.
    """

    description: Omittable[ShortText] = None
    limits: Omittable[TenantLimitChanges] = None
    origins: TenantOrigins | None = None


class TenantsQuery(PageQuery):
    """The query for the tenants, newest first."""


class TenantLimitsView(BaseModel):
    """The limits of a tenant with the defaults. Null: no limit."""

    live_sessions: int | None = Field(description="Sessions that have not ended")
    sockets: int | None = Field(description="Open sockets, event streams and live tails on each instance")
    sockets_per_subject: int | None = Field(description="The same for one subject of the tenant")
    requests_per_min: int | None = Field(description="REST requests and socket commands a minute on each instance")
    presses_per_s: int | None = Field(description="Presses a second on each instance")
    simulations_per_min: int | None = Field(description="Simulations a minute on each instance")
    outbox_share: int | None = Field(description="Percent of the outbox that the versions of the tenant may fill")
    archive_bytes: int | None = Field(description="Bytes of archives")


class TenantView(BaseModel):
    """A tenant. The name of a deleted tenant stays refused."""

    tenant: str = Field(description="Name of the tenant")
    status: Literal["active", "suspended", "deleting", "deleted"] = Field(
        description="Status of the tenant. Credentials are accepted only if it is `active`"
    )
    description: str
    limits: TenantLimitsView
    origins: list[str] | None = Field(description="Origins of the tenant's web pages; null: those of the setting")
    created_at: Instant
    created_by: str = Field(description="The caller that created the tenant, as the audit names actors")
    updated_at: Instant


class TenantAnswer(BaseModel):
    data: TenantView


class TenantPage(BaseModel):
    data: list[TenantView]
    next_cursor: str | None
