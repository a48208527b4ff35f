"""Kinds of background jobs, and models of their parameters."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from synckairos.config import LONGEST_S
from synckairos.config.value_types import TENANT_NAME
from synckairos.errors import ValidationFailed
from synckairos.wire.body_parser import parse_body
from synckairos.wire.field_types import Omittable, StrictModel, Uuid
from synckairos.wire.instants import parse_instant_ms

JobKind = Literal["archive", "export", "retention", "reconcile-members", "delete-tenant"]

RECONCILE_MEMBERS: JobKind = "reconcile-members"
"""Type of the jobs that reconcile the members of their tenant. It also identifies equal jobs of a tenant."""

JOB_KINDS: tuple[JobKind, ...] = get_args(JobKind)

DELETE_TENANT: JobKind = "delete-tenant"
"""Type of the jobs that delete all data of a tenant. They belong to the default tenant, because the rows of the deleted
tenant are deleted."""


def _check_instant(text: str) -> str:
    try:
        parse_instant_ms(text)
    except (ValueError, OverflowError) as fault:
        raise PydanticCustomError("instant", "should be an instant with a time zone") from fault
    return text


InstantText = Annotated[str, AfterValidator(_check_instant)]
SecondsSinceEnd = Annotated[int, Field(ge=0, le=LONGEST_S)]


class SessionSelectionParams(StrictModel):
    """Parameters of archive and retention jobs.

    If `session_id` is None, the job works on all sessions that ended at least `after_s` seconds ago. Otherwise it works
    on this session only. An archive job for one session ignores `after_s`. A retention job for one session fails if the
    session ended less than `after_s` seconds ago.
    """

    session_id: Uuid | None = None
    after_s: SecondsSinceEnd = 0


class ExportParams(StrictModel):
    """Parameters of an export job.

    The events from `from` (included) to `to` (excluded) are exported in the file format `format`. If `snapshots` is
    True, each event has the document of its version.
    """

    from_: InstantText = Field(alias="from")
    to: InstantText
    format: Literal["ndjson", "csv"] = "ndjson"
    snapshots: bool = False

    @field_validator("to")
    @classmethod
    def _after_from(cls, to: str, others: ValidationInfo) -> str:
        if "from_" in others.data and parse_instant_ms(to) <= parse_instant_ms(others.data["from_"]):
            raise PydanticCustomError("span", "should be later than from")
        return to

    @property
    def time_range(self) -> tuple[datetime, datetime]:
        """Return the instants `from` and `to` as datetimes."""
        return datetime.fromisoformat(self.from_), datetime.fromisoformat(self.to)


class ReconcileMembersParams(StrictModel):
    """Parameters of a job that reconciles the members of its tenant with their source.

    `max_removed_percent` is the maximum share of the members that may be removed, in percent; None means the setting.
    `scheduled_for` is the instant of the schedule that enqueued the job; None if the job was requested on demand.
    """

    max_removed_percent: Omittable[Annotated[int, Field(ge=0, le=100)]] = None
    scheduled_for: Omittable[InstantText] = None


class DeleteTenantParams(StrictModel):
    """Parameter of a job that deletes a tenant: its name. An operator must have requested the deletion."""

    tenant: str = Field(pattern=f"^(?:{TENANT_NAME})$")


JobParams = SessionSelectionParams | ExportParams | ReconcileMembersParams | DeleteTenantParams


def parse_job_params(type_: str, params: Mapping[str, Any]) -> JobParams:
    """Parse the parameters of a job of type `type_`.

    Raises: ValidationFailed if the type is unknown or a parameter is invalid.
    """
    match type_:
        case "archive" | "retention":
            return parse_body(SessionSelectionParams, dict(params))
        case "export":
            return parse_body(ExportParams, dict(params))
        case "reconcile-members":
            return parse_body(ReconcileMembersParams, dict(params))
        case "delete-tenant":
            return parse_body(DeleteTenantParams, dict(params))
        case _:
            raise ValidationFailed.at_path("type", f"should be one of {', '.join(JOB_KINDS)}")
