"""Formats of reconciliations of members: Pydantic models of requests and responses."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from synckairos.wire.field_types import Omittable, StrictModel
from synckairos.wire.query_parameters import PageQuery
from synckairos.wire.session_view import Instant

JOB_ID_PATTERN = r"[1-9][0-9]{0,17}"
"""Regular expression of the id of a job in a path."""


class RequestReconciliation(StrictModel):
    """A reconciliation of the members of the tenant with their source, on demand."""

    max_removed_percent: Omittable[
        Annotated[
            int,
            Field(
                ge=0,
                le=100,
                description="Maximum share of the members that may be removed, in percent. Default: the setting of the "
                "workers. A larger value confirms a large removal",
            ),
        ]
    ] = None


class ReconciliationsQuery(PageQuery):
    """The query for the reconciliations of the tenant, newest first."""


class ReconciliationView(BaseModel):
    """A reconciliation of the members of the tenant. It is a background job."""

    job_id: int
    status: Literal["queued", "running", "done", "failed"]
    attempts: int = Field(description="Number of attempts, also those that did not end")
    max_removed_percent: Omittable[int] = None
    scheduled_for: Omittable[Instant] = Field(None, description="Instant of the nightly schedule, absent on demand")
    created_at: Instant
    finished_at: Omittable[Instant] = Field(None, description="Instant at which the last attempt ended")
    report: Omittable[dict[str, Any]] = Field(
        None,
        description="Numbers of rows: `rows`, `repeated`, `added`, `changed`, `removed`, `unchanged`. If the source "
        "was refused, it has `refused` with the reason, and can have `faults` with lines",
    )
    error: Omittable[str] = Field(None, description="Text of the fault of the last attempt")


class ReconciliationAnswer(BaseModel):
    data: ReconciliationView


class ReconciliationPage(BaseModel):
    data: list[ReconciliationView]
    next_cursor: str | None
