"""Members and field types that the bodies of several commands have."""

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from synckairos.clock.commands import Command, VersionPrecondition
from synckairos.clock.join_leave import MAX_PARTICIPANTS
from synckairos.wire.field_types import (
    MAX_DURATION_MS,
    SECOND_MS,
    ExpectedTurn,
    ExpectedVersion,
    Omittable,
    RepresentedParticipantId,
    StrictModel,
    Uuid,
)
from synckairos.wire.plan_body import MainTimeMs


def _not_zero(value: int) -> int:
    if value == 0:
        raise PydanticCustomError("zero", "should not be 0")
    return value


def _zero_or_a_second(budget_ms: int) -> int:
    if 0 < budget_ms < SECOND_MS:
        raise PydanticCustomError("budget", "should be 0 or at least {least}", {"least": SECOND_MS})
    return budget_ms


def _each_once(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise PydanticCustomError("twice", "should name each participant only once")
    return values


DeltaMs = Annotated[
    int,
    Field(ge=-MAX_DURATION_MS, le=MAX_DURATION_MS, json_schema_extra={"not": {"const": 0}}),
    AfterValidator(_not_zero),
]


ParticipantIds = Annotated[
    list[Uuid],
    Field(min_length=1, max_length=MAX_PARTICIPANTS, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_each_once),
]


FirstBudgetMs = Annotated[MainTimeMs, AfterValidator(_zero_or_a_second)]


class CommandBody(StrictModel):
    """The JSON members that every command has."""

    expected_version: Omittable[ExpectedVersion] = None
    expected_turn: Omittable[ExpectedTurn] = None
    on_behalf_of: Omittable[RepresentedParticipantId] = None

    def to_command(self) -> Command:
        """Return the command as a value of `clock`.

        The members of `to_precondition` and the member `on_behalf_of` are not part of this value.
        """
        raise NotImplementedError

    def to_precondition(self, etags: tuple[tuple[int, str], ...] = ()) -> VersionPrecondition | None:
        """Return the precondition: the expected version, the expected turn and `etags`, pairs of version and epoch.

        Return None if all three are absent.
        """
        if self.expected_version is None and self.expected_turn is None and not etags:
            return None
        return VersionPrecondition(self.expected_version, etags, self.expected_turn)


class V2CommandBody(CommandBody):
    """Body of a command that v2 has. v2 ignores unknown members of these bodies, so its clients can send any members.

    This server also ignores unknown members, and the response has a warning for each (`input_warnings.py`). The stored
    arguments do not contain unknown members.
    """

    model_config = ConfigDict(extra="ignore")


class IndividualTargets(StrictModel):
    """The participants whose clocks a command changes in `individual`: the named ones, those of a group, or all.

    Other modes do not allow these members.
    """

    participant_ids: Omittable[ParticipantIds] = None
    group_id: Omittable[Uuid] = None

    @property
    def target_ids(self) -> tuple[str, ...] | None:
        """The named participants, None if the command names none."""
        return None if self.participant_ids is None else tuple(self.participant_ids)
