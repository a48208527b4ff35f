"""Bodies of the commands that change labels, metadata, instants and recorded times of a session."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from synckairos.clock.commands import Amend, Command, UpdateMetadata, UpdateSession
from synckairos.frozen_replace import replace
from synckairos.wire.command_bodies.shared_members import CommandBody
from synckairos.wire.creation_body import BreakBodies, BreakBody
from synckairos.wire.field_types import InstantText, LabelChanges, Metadata, Omittable, ShortText, Uuid
from synckairos.wire.instants import parse_instant_ms


class MetadataBody(CommandBody):
    """Changes the metadata by a merge patch (RFC 7396): null removes a member, objects merge, other values replace."""

    metadata: Metadata

    def to_command(self) -> Command:
        return UpdateMetadata(self.metadata)


class SessionChangesBody(CommandBody):
    """Changes labels, metadata, and the instants of start and end, in one version. At least one change is required.

    Labels and metadata change by a merge patch (RFC 7396): null removes a member, objects merge, other values replace.
    `starts_at` can be changed only while the session is pending. Null removes it, so that only a command starts the
    session. `ends_at` can be changed in a session that was created with it.
    """

    labels: Omittable[LabelChanges] = None
    metadata: Omittable[Metadata] = None
    starts_at: InstantText | None = None
    ends_at: Omittable[InstantText] = None

    @model_validator(mode="after")
    def _require_a_change(self) -> Self:
        if not self._changes:
            raise PydanticCustomError("no_change", "should have `labels`, `metadata`, `starts_at` or `ends_at`")
        return self

    @property
    def _changes(self) -> set[str]:
        return self.model_fields_set & {"labels", "metadata", "starts_at", "ends_at"}

    def to_command(self) -> Command:
        return UpdateSession(
            self.labels or {},
            self.metadata,
            None if self.starts_at is None else parse_instant_ms(self.starts_at),
            None if self.ends_at is None else parse_instant_ms(self.ends_at),
            removes_start=self.starts_at is None and "starts_at" in self.model_fields_set,
        )


class PatchBody(SessionChangesBody):
    """Changes the session by a merge patch (RFC 7396): null removes a member, objects merge, other values replace.

    `starts_at` can be changed only while the session is pending, and `ends_at` only if the session was created with it.
    """

    @property
    def verb(self) -> str:
        """The command of the patch. A patch of the metadata alone keeps the command of earlier releases."""
        return "update_metadata" if self._changes == {"metadata"} else "update_session"

    def to_command(self) -> Command:
        if self.verb == "update_metadata":
            return UpdateMetadata(self.metadata or {})
        return super().to_command()


class AmendBody(CommandBody):
    """Replaces the times of an ended `count_up` session with one participant. Omitted times stay as they are.

    Without `breaks`, the session keeps the breaks that it had: its pauses, if the clock measured its times. Breaks are
    in order, inside of the session, and do not overlap. Only the audit uses `reason`.
    """

    participant_id: Omittable[Uuid] = None
    started_at: Omittable[InstantText] = None
    completed_at: Omittable[InstantText] = None
    breaks: Omittable[BreakBodies] = None
    reason: Omittable[Annotated[ShortText, Field(min_length=1)]] = None

    @model_validator(mode="after")
    def _require_a_time(self) -> Self:
        if not self.model_fields_set & {"started_at", "completed_at", "breaks"}:
            raise PydanticCustomError("no_change", "should have `started_at`, `completed_at` or `breaks`")
        return self

    def to_command(self) -> Amend:
        return Amend(
            self.participant_id,
            None if self.started_at is None else parse_instant_ms(self.started_at),
            None if self.completed_at is None else parse_instant_ms(self.completed_at),
            None if self.breaks is None else tuple(each.to_break() for each in self.breaks),
        )


class StoredAmendBody(AmendBody):
    """An amendment as the audit stores it. Clients cannot send `breaks_before`, which the server finds in the trail.

    They are the breaks that the clock measured.
    """

    breaks_before: Omittable[list[BreakBody]] = None

    def to_command(self) -> Amend:
        before = self.breaks_before
        return replace(
            super().to_command(), breaks_before=None if before is None else tuple(each.to_break() for each in before)
        )
