"""Formats of background jobs and of set-aside audit entries: Pydantic models of requests and responses."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from synckairos.wire.field_types import Omittable, StrictModel
from synckairos.wire.query_parameters import Limit, PageQuery
from synckairos.wire.session_view import Instant

JobStatusName = Literal["queued", "running", "done", "failed"]


class JobsQuery(PageQuery):
    """The query for background jobs of all tenants, newest first."""

    status: Omittable[JobStatusName] = None
    type: Omittable[Annotated[str, Field(max_length=64, description="Kind of the jobs, such as `export`")]] = None


class JobView(BaseModel):
    """A background job."""

    job_id: int
    tenant: str = Field(description="Tenant of the data on which the job works")
    type: str = Field(description="Kind of the job, such as `export`")
    status: JobStatusName
    attempts: int = Field(description="Number of attempts, also those that did not end")
    params: dict[str, Any]
    result: Omittable[dict[str, Any]] = Field(
        None, description="Result of the job. While the job runs, it can have what the job has done so far"
    )
    error: Omittable[str] = Field(None, description="Text of the fault of the last attempt")
    created_at: Instant
    due_at: Instant = Field(description="Earliest instant of the next attempt")
    started_at: Omittable[Instant] = Field(None, description="Instant at which the last attempt began")
    finished_at: Omittable[Instant] = Field(None, description="Instant at which the last attempt ended")
    duration_ms: Omittable[int] = Field(None, description="Duration of the last attempt in ms")


class JobAnswer(BaseModel):
    data: JobView


class JobPage(BaseModel):
    data: list[JobView]
    next_cursor: str | None


class SetAsideQuery(StrictModel):
    """The query for set-aside audit entries, the oldest version first."""

    limit: Limit = 50


class SetAsideEntryView(BaseModel):
    """A version that Postgres rejected. It stays in Redis until a retry succeeds."""

    entry_id: str
    tenant: Omittable[str] = None
    session_id: Omittable[str] = Field(None, description="A text that is no UUID if the data of the entry are invalid")
    epoch: Omittable[str] = None
    version: Omittable[int] = None
    attempts: int
    first_failed_at: Instant
    error: str = Field(description="Text of the error of Postgres at the last attempt")


class SetAsideList(BaseModel):
    data: list[SetAsideEntryView]
    total: int = Field(description="Number of all set-aside entries")


class RetrySetAside(StrictModel):
    """The entries to retry."""

    entry_id: Omittable[
        Annotated[str, Field(pattern=r"^[0-9]{1,20}-[0-9]{1,20}$", description="One entry. Default: all entries")]
    ] = None


class RetriedEntries(BaseModel):
    retried: int = Field(description="Number of entries that a worker writes at its next sweep")


class RetriedEntriesAnswer(BaseModel):
    data: RetriedEntries
