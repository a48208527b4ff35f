"""Pydantic models of responses. OpenAPI is generated from the models, and tests validate rendered responses with them.

The models render nothing. `session_view.py` has the models of a session's document.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from synckairos.clock.transition import EventType
from synckairos.wire.creation_body import SyncModeName
from synckairos.wire.session_view import (
    Id,
    Instant,
    Ms,
    ParticipantView,
    ReceiptView,
    SessionView,
    StatusName,
)

EventTypeName = Annotated[str, WithJsonSchema({"type": "string", "enum": [str(each) for each in EventType]})]


class WarningView(BaseModel):
    """A part without effect in an accepted request."""

    path: str = Field(description="Path to the JSON member, with dots; empty for the whole body")
    message: str = Field(description="Reason why the member has no effect")


Warnings = Annotated[
    list[WarningView], Field(description="Parts of the body that have no effect; absent if there are none")
]


class StoppedErrorView(BaseModel):
    """The refusal of the completion of one session."""

    code: str
    message: str


class StoppedSessionView(BaseModel):
    """A session that an exclusive start completed, with its version, or with the error of the completion."""

    session_id: Id
    version: int = 0
    error: StoppedErrorView | None = None


class SessionAnswer(BaseModel):
    data: SessionView
    stopped: list[StoppedSessionView] = Field(
        default=[], description="Sessions that a `start` with `exclusive` completed; absent for all other commands"
    )
    warnings: Warnings = Field(default_factory=list)


class SwitchView(BaseModel):
    """The result of a switch: the JSON members of the session that a switch changes."""

    session_id: Id
    active_participant_id: Id | None
    cycle_started_at: Instant | None
    participants: list[ParticipantView]
    status: StatusName
    version: int
    expired_participant_id: Id = Field(
        default="", description="The participant whose time ran out with this command; absent if no time ran out"
    )
    lag_receipt: ReceiptView = Field(default_factory=ReceiptView)


class SwitchAnswer(BaseModel):
    data: SwitchView
    warnings: Warnings = Field(default_factory=list)


class SessionPage(BaseModel):
    data: list[SessionView]
    next_cursor: str | None


class ChargeView(BaseModel):
    """The time that an event adds to the used time of one participant. It begins at `from` and ends before `to`."""

    participant_id: Id
    from_: Instant = Field(alias="from")
    to: Instant


class EventView(BaseModel):
    """One event of the audit trail. Members without a value are absent.

    `time_used_ms` and `time_remaining_ms` are the times after the event.
    """

    epoch: str
    version: int
    event_type: EventTypeName
    participant_id: Id = ""
    group_id: Id = ""
    actor: str = Field(default="", description="Actor that caused the event; absent below the role `controller`")
    occurred_at: Instant
    time_used_ms: Ms = 0
    time_remaining_ms: Ms = 0
    state: SessionView | None = Field(
        default=None, description="The session after the event; only if the query has `snapshots`"
    )
    role: str = Field(
        default="",
        description="Role of the actor on the session; absent if it had no credential, and below the role `controller`",
    )
    on_behalf_of: Id = Field(
        default="",
        description="Participant for which the actor acted; absent if there is none, and below the role `controller`",
    )
    charges: list[ChargeView] = Field(
        default=[],
        description="Times that the event charges, one for each participant, several only for recorded times; absent if"
        " it charges no time, and for events of earlier releases until their charges are filled in",
    )
    command_id: str = Field(
        default="",
        description="Command id that the actor gave; only in the last event of the command, and absent below the role "
        "`controller`",
    )
    participant_ids: list[Id] = Field(
        default=[], description="Participants that the event concerns; absent unless there are several"
    )


class EventPage(BaseModel):
    data: list[EventView]
    next_cursor: str | None


class ArchiveView(BaseModel):
    """A session's archive. The role of the caller determines which members are present."""

    session_id: Id
    version: int
    epoch: str
    archived_at: Instant = Field(description="Instant when the archive was written")
    event_count: int = Field(description="Number of events in the archive")
    session: SessionView
    events: list[EventView] = Field(
        default=[], description="Events of the session; only for roles that the server's settings allow"
    )
    path: str = Field(default="", description="Path in cold storage; only for admins")
    size_bytes: int = Field(default=0, description="Size in bytes; only for admins")
    checksum: str = Field(default="", description="SHA-256 of the archive; only for admins")


class ArchiveAnswer(BaseModel):
    data: ArchiveView


class ParticipationView(BaseModel):
    """A session in the list of one participant's sessions."""

    session_id: Id
    sync_mode: SyncModeName
    status: StatusName
    started_at: Instant | None
    completed_at: Instant | None
    time_used_ms: Ms
    paused_ms: Ms
    cycle_count: int
    metadata: dict[str, Any]
    synced: bool = Field(description="Whether Postgres has the newest version of the session")


class ParticipationPage(BaseModel):
    data: list[ParticipationView]
    next_cursor: str | None


class TimeBucket(BaseModel):
    """The sum of the times of a participant in one bucket: a session, a day, a week or a month."""

    bucket: str = Field(description="Session id, day, week or month")
    key: str | None = Field(
        default=None, description="Value of the metadata member that `group_by` names; only with `group_by`"
    )
    time_used_ms: Ms
    session_count: int


class TimeBuckets(BaseModel):
    data: list[TimeBucket]


class HoursRow(BaseModel):
    """The sum of used times in one bucket. With `group_by=label.<key>`, it also has a member `label.<key>`."""

    model_config = ConfigDict(extra="allow")

    bucket: str = Field(description="Session id, day, week or month")
    participant_id: Id = Field(default="", description="Only with `group_by=participant`")
    time_used_ms: Ms
    session_count: int


class HoursPage(BaseModel):
    data: list[HoursRow]
    next_cursor: str | None


class SimulatedChargeView(BaseModel):
    """The time that an event adds to the used time of one participant, in ms since the creation of the session."""

    participant_id: Id
    from_ms: Ms
    to_ms: Ms


class TimelineRow(BaseModel):
    """One event of the simulation, or one refused command with the code of the refusal and the reason."""

    at_ms: Ms
    event_type: EventTypeName = ""
    version: int = 0
    participant_id: Id = ""
    refused: str = ""
    message: str = ""
    charges: list[SimulatedChargeView] = Field(
        default=[], description="Times that the event charges; absent if it charges no time"
    )
    participant_ids: list[Id] = Field(
        default=[], description="Participants that the event concerns; absent unless there are several"
    )


class Timeline(BaseModel):
    """The result of a simulation: its events and refused commands, and the session at the end."""

    timeline: list[TimelineRow]
    final: SessionView


class SimulationAnswer(BaseModel):
    data: Timeline
    warnings: Warnings = Field(default_factory=list)


class TimeView(BaseModel):
    """The time of Redis, and the version of the server."""

    timestamp_ms: int = Field(description="Time of Redis in ms since the Unix epoch")
    server_version: str = Field(description="Version of the server")
    drift_tolerance_ms: Literal[50]


class Health(BaseModel):
    """The response of a running process. It does not say whether the process is ready."""

    status: Literal["ok"] = Field(description="Always `ok`")


class Readiness(BaseModel):
    """The readiness of the instance to serve requests."""

    status: Literal["ready", "degraded", "not_ready"] = Field(description="Readiness of the instance")
    reason: str = Field(
        default="",
        description="Reason why the instance is degraded or not ready. If authentication is on, only requests with the "
        "metrics token get it",
    )


class FaultView(BaseModel):
    """One fault of a refused request."""

    path: str = Field(description="Path to the JSON member, with dots; empty for the whole body")
    message: str = Field(description="Description of the fault")


class ErrorView(BaseModel):
    """The error in the form that v2 clients read."""

    code: str
    message: str
    details: Any = Field(default=None, description="For VALIDATION_ERROR: all faults, as `[{path, message}]`")
    retry_after_seconds: int = Field(
        default=1, description="Seconds to wait before the next request; only for RATE_LIMIT_EXCEEDED"
    )


class Problem(BaseModel):
    """Problem details (RFC 9457), with the JSON member `error` of v2."""

    type: str = Field(description="Always `about:blank`")
    title: str = Field(description="Reason phrase of the HTTP status")
    status: int
    detail: str = Field(description="Description of the error for people; its text can change")
    error: ErrorView
