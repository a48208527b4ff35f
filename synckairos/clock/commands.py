"""Commands to a session as frozen values.

`wire` checks the shape of each command. `engine` checks each command against the state of the session.
"""

from typing import Any

from msgspec import Struct, field

from synckairos.clock.audience_display import AnnouncementTone, ScreenMode
from synckairos.clock.clock_systems import ClockSystem
from synckairos.clock.earlier_turns import EndedTurn, RestoredTurn, UndoCharge
from synckairos.clock.individual_clock import FULL_FACTOR
from synckairos.clock.model import Break, ExtendBy, OnTimeout, RestRule, SyncMode
from synckairos.clock.plan_item import PlanItem
from synckairos.frozen_replace import replace


class NewParticipant(Struct, frozen=True):
    """The data of a participant to add.

    If `index` is None, a creation uses the position in `Create.participants`, and a join uses the greatest index plus
    1. If `total_time_ms` is None, the mode implies the budget. If `clock` is None, the participant uses the session's
    clock system. `counts_byoyomi` selects the rule of the lag account (`open_lag_account`). It is False only for a
    replay of old event rows. `time_factor` is the factor of the participant's time in `individual`, in hundredths.
    """

    participant_id: str
    index: int | None = None
    total_time_ms: int | None = None
    display_name: str | None = None
    group_id: str | None = None
    clock: ClockSystem | None = None
    counts_byoyomi: bool = True
    time_factor: int = FULL_FACTOR


class NewGroup(Struct, frozen=True):
    """The data of a group to create.

    If `total_time_ms` is None, the budget is the sum of the budgets of the group's participants.
    """

    group_id: str
    total_time_ms: int | None = None


class RecordedTimes(Struct, frozen=True):
    """The times of a session that a caller states. All instants are in ms since the Unix epoch.

    The breaks are in order, inside of the session, and do not overlap (`recorded_times.py` checks this).
    """

    started_at_ms: int
    completed_at_ms: int
    breaks: tuple[Break, ...] = ()


class Create(Struct, frozen=True):
    """Create a pending session, or a completed session if `recorded` has its times.

    `creation.create` replaces a None in `clock`, `on_timeout`, or a budget by the value that the mode implies. In
    `per_cycle` it does so for `max_cycles`. A None in `extend_on_switch_ms` or `pause_budget` turns the feature off. If
    `active_participant_id` is None, the first participant in index order gets the first turn. `edition` is the edition
    of the clock's rules, 1 or 2. If `starts_at_ms` is None, the session does not start by itself. If `ends_at_ms` is
    None, the session has a budget. `plan` has the items of a `per_cycle` session with a plan, which has neither
    `time_per_cycle_ms` nor `max_cycles`.
    """

    sync_mode: SyncMode
    participants: tuple[NewParticipant, ...] = ()
    groups: tuple[NewGroup, ...] = ()
    total_time_ms: int | None = None
    time_per_cycle_ms: int | None = None
    increment_ms: int | None = None
    max_time_ms: int | None = None
    max_cycles: int | None = None
    clock: ClockSystem | None = None
    on_timeout: OnTimeout | None = None
    warnings_ms: tuple[int, ...] = ()
    extend_on_switch_ms: int | None = None
    pause_budget: int | None = None
    lag_compensation: bool = False
    extend_window_ms: int | None = None
    extend_by: ExtendBy | None = None
    max_extension_ms: int | None = None
    max_extensions: int | None = None
    switch_while_paused: bool = False
    holds_between_turns: bool = False
    initial_ms: int | None = None
    active_participant_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    edition: int = 2
    starts_at_ms: int | None = None
    ends_at_ms: int | None = None
    closes_when_all_done: bool = False
    free_first_turn_ms: int | None = None
    rest: RestRule | None = None
    recorded: RecordedTimes | None = None
    plan: tuple[PlanItem, ...] = ()


class Start(Struct, frozen=True):
    """Start a pending session, and its first turn.

    In `individual`, start the waiting clocks of `participant_ids`, or of the group `group_id`, or all. Other modes do
    not allow these two fields. If `is_exclusive`, the caller must first complete the other running sessions of the
    participant. The engine knows only one session, and ignores this field.
    """

    participant_ids: tuple[str, ...] | None = None
    group_id: str | None = None
    is_exclusive: bool = False


class Switch(Struct, frozen=True):
    """End the current turn and begin the next turn, as a press on a chess clock does.

    If `current_participant_id` is given and this participant does not have the turn, the switch is refused. This guards
    against a late press. If `next_participant_id` is None, the next participant in the rotation gets the turn.

    `lag_ms` is the network delay in the turn as the client claims it, in ms, None without a claim. `measured_lag_ms` is
    the delay that the server measured, None without a measurement. Only sessions with lag compensation use these two
    fields. If `hold` is True, the session is paused between the two turns. `item_id` is the plan item of the next turn.
    If it is None, the next turn has the next item of the plan.
    """

    next_participant_id: str | None = None
    current_participant_id: str | None = None
    lag_ms: int | None = None
    measured_lag_ms: int | None = None
    hold: bool = False
    item_id: str | None = None


class Done(Struct, frozen=True):
    """Mark a participant as done in the current turn. The turn goes on, unless the session's rules end it."""

    participant_id: str


class Finish(Struct, frozen=True):
    """End the clocks of `participant_ids`, or of the group `group_id`, or all, before their zero.

    Only `individual` has this command.
    """

    participant_ids: tuple[str, ...] | None = None
    group_id: str | None = None


class Pause(Struct, frozen=True):
    """Pause the session for a reason. If `max_ms` (> 0) is given, the reason ends by itself `max_ms` later.

    `actor` is the actor that pauses the session. `with_actor` sets this field. `taken_by` names the participant to
    which the pause belongs, and is stored instead of the actor. It is None if the pause belongs to no participant. In
    `individual`, the command pauses the clocks of `participant_ids`, or of the group `group_id`, or all. Other modes do
    not allow these two fields.
    """

    reason: str = "manual"
    max_ms: int | None = None
    actor: str = "anonymous"
    taken_by: str | None = None
    participant_ids: tuple[str, ...] | None = None
    group_id: str | None = None


class Resume(Struct, frozen=True):
    """End the pause reason `reason` of the session. If `reason` is None, end all pause reasons of the session.

    If `taken_by` is given, the command ends only pauses that `taken_by` took. The session runs again only if no pause
    reason is left. In `individual`, the command ends pauses of the clocks of `participant_ids`, or of the group
    `group_id`, or of all clocks. Other modes do not allow these two fields.
    """

    reason: str | None = None
    taken_by: str | None = None
    participant_ids: tuple[str, ...] | None = None
    group_id: str | None = None


class Complete(Struct, frozen=True):
    """End the session as completed."""


class Cancel(Struct, frozen=True):
    """End the session as cancelled."""


class Adjust(Struct, frozen=True):
    """Add `delta_ms` to budgets. A negative `delta_ms` subtracts time.

    Without `participant_ids` and `group_id`, the command changes all budgets of the session. In `per_participant`,
    `group_id` selects the participants of that group, and both fields together select the named participants in the
    group. `per_group` allows only `group_id`. `individual` allows both fields. The other modes allow neither field. If
    `scaled` is True, `delta_ms` is multiplied by the time factor of each participant; only `individual` allows it.
    """

    delta_ms: int
    participant_ids: tuple[str, ...] | None = None
    group_id: str | None = None
    scaled: bool = False


class AddParticipant(Struct, frozen=True):
    """Add a participant to a session that has not ended."""

    participant: NewParticipant


class RemoveParticipant(Struct, frozen=True):
    """Remove a participant from a session that has not ended."""

    participant_id: str


class UpdateParticipant(Struct, frozen=True):
    """Change the budget, the clock system or the display name of a participant in one version.

    `total_time_ms` is the new initial budget in ms, and `clock` the new clock system of the participant. Both can be
    changed only before the end of the first turn of the participant, and in `individual` while its clock waits. A None
    in `total_time_ms`, `clock` or `display_name` leaves the value unchanged. If `removes_display_name` is True, the
    participant has no display name any more.
    """

    participant_id: str
    total_time_ms: int | None = None
    clock: ClockSystem | None = None
    display_name: str | None = None
    removes_display_name: bool = False


class UpdateMetadata(Struct, frozen=True):
    """Merge `patch` into the metadata by RFC 7396: null removes a JSON member, objects merge, other values replace."""

    patch: dict[str, Any]


class UpdateSession(Struct, frozen=True):
    """Change settings of the session in one version.

    `labels` maps keys to new values; None removes the label. `metadata` is a merge patch (RFC 7396) of the metadata,
    None without a change. A None in `starts_at_ms` or `ends_at_ms` leaves the instant unchanged. If `removes_start` is
    True, the session has no `starts_at_ms` any more. `starts_at_ms` can be changed only while the session is pending,
    and `ends_at_ms` only in a session that was created with an end.
    """

    labels: dict[str, str | None] = field(default_factory=dict)
    metadata: dict[str, Any] | None = None
    starts_at_ms: int | None = None
    ends_at_ms: int | None = None
    removes_start: bool = False


class SetPlan(Struct, frozen=True):
    """Replace the plan of the session by `plan`. Items that have begun stay unchanged and in their order.

    Of each item, only the settings matter: its id, time, title, participant and warnings.
    """

    plan: tuple[PlanItem, ...]


class Announce(Struct, frozen=True):
    """Show `text` to the audience, or remove the announcement if `text` is None.

    The other fields are those of `Announcement`. `until_ms` is in ms since the Unix epoch.
    """

    text: str | None
    tone: AnnouncementTone = AnnouncementTone.INFO
    flashes: bool = False
    until_ms: int | None = None


class Screen(Struct, frozen=True):
    """Change what the screens of the audience show. If `mode` is None, they show the whole session."""

    mode: ScreenMode | None


class Reopen(Struct, frozen=True):
    """Continue an expired or completed session: it is paused in the turn in which it ended.

    `delta_ms` is the time to add: to the budgets of `participant_ids`, or without it to the budget that ran in this
    turn. In a session with an end, the new end is `delta_ms` from now. If time ran out, `delta_ms` is required and
    positive. The caller must give `turn`, because the state does not contain it (`reopen.find_ended_turn`). It is None
    if the caller has not found it yet, and in `individual`.
    """

    delta_ms: int | None = None
    participant_ids: tuple[str, ...] | None = None
    turn: EndedTurn | None = None


class Amend(Struct, frozen=True):
    """Replace the times of an ended `count_up` session with one participant.

    If `participant_id` is given, it must be that participant. Instants are in ms since the Unix epoch. A time that is
    None stays as it is. The caller must give `breaks_before`, the breaks that the clock measured, because the state
    does not contain them (`recorded_times.find_breaks`). It is None if the caller has not found them, or if they are
    not needed.
    """

    participant_id: str | None = None
    started_at_ms: int | None = None
    completed_at_ms: int | None = None
    breaks: tuple[Break, ...] | None = None
    breaks_before: tuple[Break, ...] | None = None


class Undo(Struct, frozen=True):
    """Take back the newest `turns` ended turns (1 to 100), and the turn that runs: an earlier turn begins again.

    The caller must give `restored`, because the state does not contain it (`undo.find_restored_turn`). It is None if
    the caller has not found it yet, or if the turns cannot be undone.
    """

    turns: int = 1
    charge: UndoCharge = UndoCharge.NO_PARTICIPANT
    restored: RestoredTurn | None = None


class Delete(Struct, frozen=True):
    """Delete the session: add a final version, the tombstone. A session that has not ended is also cancelled."""


class Expire(Struct, frozen=True):
    """Commit only the overdue transitions. The timekeeper and a read after a deadline send this command.

    A timeout is overdue only after its grace at the flag, unless `ignores_grace` is True. A replay of a timeout ignores
    the grace, because the event row has the instant of the deadline.
    """

    ignores_grace: bool = False


Command = (
    Start
    | Switch
    | Done
    | Finish
    | Pause
    | Resume
    | Complete
    | Cancel
    | Adjust
    | AddParticipant
    | RemoveParticipant
    | UpdateParticipant
    | UpdateMetadata
    | UpdateSession
    | SetPlan
    | Announce
    | Screen
    | Undo
    | Reopen
    | Amend
    | Delete
    | Expire
)


def with_actor(command: Command, actor: str) -> Command:
    """Return a copy of a `Pause` with the actor `actor`. Return any other command unchanged.

    Only pauses store their actor, because the pause budget counts the pauses of each actor.
    """
    return replace(command, actor=actor) if isinstance(command, Pause) else command


class VersionPrecondition(Struct, frozen=True):
    """The version and the turn of the session that the caller expects. Each condition that is set must hold.

    `version` comes from `expected_version`, None without this condition. `etags` come from `If-Match`. Each ETag is a
    version and an epoch, and the session must have both values of at least one ETag. Empty `etags` set no condition.
    `turn` is the turn number from `expected_turn`, None without this condition.
    """

    version: int | None = None
    etags: tuple[tuple[int, str], ...] = ()
    turn: int | None = None
