"""Conversion of SyncKairos v2 sessions to sessions of this product, from the JSON in v2's Redis and v2's audit.

v2 charges every turn to the participant, in every mode, and `total_time_ms` of a participant is the remaining time.
This module converts these facts to the budgets of this product. The converted session has the same budgets as a session
of this product after the same creation and the same commands.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from synckairos.clock.active_pause import ActivePause
from synckairos.clock.clock_systems import Fischer, SuddenDeath
from synckairos.clock.creation import MODES_WITH_OWN_BUDGETS
from synckairos.clock.join_leave import MAX_PARTICIPANTS
from synckairos.clock.model import (
    MAX_CYCLES,
    TURN_MODES,
    CurrentTurn,
    Group,
    OnTimeout,
    Participant,
    Rules,
    Session,
    Status,
    SyncMode,
)
from synckairos.frozen_replace import replace
from synckairos.wire.field_types import metadata_fault, parse_uuid
from synckairos.wire.instants import parse_instant_ms

V2_GENERATION = "000000000002"
"""The generation in the epochs of sessions from v2's audit.

It sorts before the generation of every store, because those generations begin with the second of the store's creation.
So the tables derived in Postgres prefer every other epoch.
"""

IMPORT_COMMAND = "import-v2"
"""The command in audit rows that come from v2.

If a row has `args`, it comes from v2's Redis and can be replayed. If a row has no `args`, it comes from v2's audit.
"""

V2_ACTOR = "v2"
"""The actor in rows that come from v2's audit. v2 does not record the actor of a change."""

_PAUSE_REASON = "manual"
_MAX_INTEGER = 2**53 - 1


class V2StateMalformed(ValueError):
    """A v2 state that cannot be converted to a session. The message names the JSON member and the fault."""


def epoch_of_v2_session(created_at_ms: int) -> str:
    """Return the epoch of a session in v2's audit that was created at `created_at_ms`."""
    digest = hashlib.blake2b(b"%d" % created_at_ms, digest_size=4).hexdigest()
    return V2_GENERATION + digest


def is_v2_epoch(epoch: str) -> bool:
    """Return whether an epoch belongs to a session from v2's audit."""
    return epoch.startswith(V2_GENERATION)


def parse_v2_session(state: Any) -> Session:
    """Return the session that a v2 state describes, under an empty epoch.

    `version` is the version in v2. `updated_at_ms` is the instant of the last transition in v2. If a clock runs, this
    is the anchor, because in v2 every change of a session with a running clock moves the anchor. A running clock keeps
    its reading to the millisecond.

    Raises:
        V2StateMalformed: a JSON member is missing or malformed, or this product refuses an id.
    """
    if not isinstance(state, dict):
        raise V2StateMalformed("the state is not a JSON object")
    return _StateParser(_Members(state, "")).parse()


class _Members:
    """The JSON members of one v2 object. Each member is checked when it is read."""

    def __init__(self, values: Mapping[str, Any], path: str) -> None:
        self._values = values
        self._path = path

    def text(self, name: str) -> str:
        value = self._values.get(name)
        if not isinstance(value, str):
            raise self.fault(name, "should be a string")
        return value

    def uuid(self, name: str) -> str:
        try:
            return parse_uuid(self.text(name))
        except V2StateMalformed:
            raise
        except ValueError as fault:
            raise self.fault(name, str(fault)) from None

    def optional_uuid(self, name: str) -> str | None:
        return None if self._values.get(name) is None else self.uuid(name)

    def integer(self, name: str, least: int = 0) -> int:
        value = self._values.get(name)
        # JavaScript has one type of number, so 1e3 and 1000.0 are integers.
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MAX_INTEGER:
            raise self.fault(name, f"should be an integer from {least}")
        return value

    def optional_integer(self, name: str) -> int | None:
        return None if self._values.get(name) is None else self.integer(name)

    def used_ms(self, name: str) -> int:
        """Return the used time in the member `name` in ms, 0 if the value is below 0.

        v2's instances measure elapsed time by their own clocks, so their sum can be below 0.
        """
        return max(0, self.integer(name, -_MAX_INTEGER))

    def flag(self, name: str) -> bool:
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise self.fault(name, "should be true or false")
        return value

    def instant_ms(self, name: str) -> int:
        try:
            return parse_instant_ms(self.text(name))
        except V2StateMalformed:
            raise
        except (ValueError, OverflowError) as fault:
            raise self.fault(name, f"should be an instant: {fault}") from None

    def optional_instant_ms(self, name: str) -> int | None:
        return None if self._values.get(name) is None else self.instant_ms(name)

    def objects(self, name: str) -> list["_Members"]:
        values = self._values.get(name)
        if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
            raise self.fault(name, "should be an array of objects")
        return [_Members(each, f"{self._path}{name}.{at}.") for at, each in enumerate(values)]

    def metadata(self) -> dict[str, Any]:
        """Return the metadata, empty if there is none.

        v2 accepts metadata and drops it, but a fork of v2 can store it.
        """
        value = self._values.get("metadata")
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.fault("metadata", "should be an object")
        if (found := metadata_fault(value)) is not None:
            raise self.fault("metadata", found)
        return value

    def fault(self, name: str, text: str) -> V2StateMalformed:
        return V2StateMalformed(f"{self._path}{name}: {text}")


class _StateParser:
    """Parser of one v2 state."""

    def __init__(self, state: _Members) -> None:
        self._state = state
        self._mode = self._parse_mode()
        self._status = self._parse_status()
        self._participants = self._parse_participants()
        self._used_ms = sum(participant.used_ms for participant in self._participants)
        self._cycles = sum(participant.cycle_count for participant in self._participants)

    def parse(self) -> Session:
        state = self._state
        rules = self._parse_rules()
        anchor_ms = state.instant_ms("cycle_started_at") if self._status is Status.RUNNING else None
        completed_ms = self._completed_at_ms()
        updated_ms = self._updated_at_ms(rules.created_at_ms, anchor_ms, completed_ms)
        is_paused = self._status is Status.PAUSED
        return Session(
            rules=rules,
            epoch="",
            version=state.integer("version", 1),
            status=self._status,
            updated_at_ms=updated_ms,
            participants=self._own_participants(),
            groups=self._groups(),
            active_position=self._active_position(),
            used_ms=self._used_ms,
            remaining_ms=self._session_remaining_ms(rules),
            turn=CurrentTurn(cycles=self._cycles),
            pauses=(ActivePause(_PAUSE_REASON, updated_ms, paused_by=V2_ACTOR),) if is_paused else (),
            anchor_ms=anchor_ms,
            started_at_ms=state.optional_instant_ms("session_started_at"),
            completed_at_ms=completed_ms,
            metadata=state.metadata(),
        )

    def _parse_mode(self) -> SyncMode:
        text = self._state.text("sync_mode")
        if text not in TURN_MODES:
            raise self._state.fault("sync_mode", f"unknown mode {text!r}")
        return SyncMode(text)

    def _parse_status(self) -> Status:
        text = self._state.text("status")
        if text not in tuple(Status):
            raise self._state.fault("status", f"unknown status {text!r}")
        return Status(text)

    def _parse_rules(self) -> Rules:
        state, mode = self._state, self._mode
        increment_ms = state.optional_integer("increment_ms")
        is_per_cycle = mode is SyncMode.PER_CYCLE
        cycle_ms = state.optional_integer("time_per_cycle_ms")
        return Rules(
            session_id=state.uuid("session_id"),
            sync_mode=mode,
            on_timeout=OnTimeout.ADVANCE if is_per_cycle else OnTimeout.EXPIRE,
            created_at_ms=state.instant_ms("created_at"),
            clock=Fischer(increment_ms) if increment_ms and mode in MODES_WITH_OWN_BUDGETS else SuddenDeath(),
            increment_ms=increment_ms,
            # v2 requires total_time_ms in every mode. If no other time is given, total_time_ms is the time of a cycle.
            time_per_cycle_ms=(cycle_ms or state.integer("total_time_ms")) if is_per_cycle else cycle_ms,
            max_time_ms=state.optional_integer("max_time_ms"),
            # v2 has no maximum number of cycles. So the session gets as many further cycles as a new session can have.
            max_cycles=self._cycles + MAX_CYCLES if is_per_cycle else None,
        )

    def _completed_at_ms(self) -> int | None:
        if not self._status.is_final:
            return None
        completed_ms = self._state.optional_instant_ms("session_completed_at")
        return self._state.instant_ms("updated_at") if completed_ms is None else completed_ms

    def _updated_at_ms(self, created_ms: int, anchor_ms: int | None, completed_ms: int | None) -> int:
        """Return the instant of the last transition: the anchor, the completion, or the creation of a pending session.

        For a paused session it is `updated_at`, which v2 sets a few ms after the transition, when it saves the session.
        The result is not before the creation.
        """
        if anchor_ms is not None:
            return max(created_ms, anchor_ms)
        if completed_ms is not None:
            return max(created_ms, completed_ms)
        updated_ms = self._state.instant_ms("updated_at")
        return created_ms if self._status is Status.PENDING else max(created_ms, updated_ms)

    # -- participants -------------------------------------------------------------------------------------------------

    def _parse_participants(self) -> list[Participant]:
        """Return the participants with the values of v2: `remaining_ms` is the budget that v2 charges turns to."""
        members = self._state.objects("participants")
        if len(members) > MAX_PARTICIPANTS:
            raise self._state.fault("participants", f"should be at most {MAX_PARTICIPANTS}")
        found: dict[str, Participant] = {}
        for each in members:
            participant_id = each.uuid("participant_id")
            if participant_id in found:
                raise each.fault("participant_id", "this participant is named twice")
            found[participant_id] = Participant(
                participant_id=participant_id,
                index=each.integer("participant_index"),
                remaining_ms=each.integer("total_time_ms"),
                used_ms=each.used_ms("time_used_ms"),
                cycle_count=each.integer("cycle_count"),
                has_expired=each.flag("has_expired"),
                group_id=each.optional_uuid("group_id") or self._own_group(participant_id),
            )
        participants = list(found.values())
        # In v2 the order of turns is the order of the array, and the index is ignored. In this product it is the index
        # order.
        indexes = [participant.index for participant in participants]
        if indexes == sorted(set(indexes)):
            return participants
        return [replace(participant, index=at) for at, participant in enumerate(participants)]

    def _own_group(self, participant_id: str) -> str | None:
        """Return the id of the group for a participant without a group, None if the mode needs no group.

        v2 gives such a participant its own budget, even in `per_group`.
        """
        return participant_id if self._mode is SyncMode.PER_GROUP else None

    def _own_participants(self) -> tuple[Participant, ...]:
        if self._mode is not SyncMode.PER_CYCLE:
            return tuple(self._participants)
        return tuple(replace(participant, remaining_ms=0) for participant in self._participants)

    def _active_position(self) -> int | None:
        if self._status.is_final:
            return None
        active_id = self._state.optional_uuid("active_participant_id")
        if active_id is None:
            if self._status is not Status.PENDING and self._participants:
                raise self._state.fault("active_participant_id", f"required while the session is {self._status}")
            return None
        for at, participant in enumerate(self._participants):
            if participant.participant_id == active_id:
                return at
        raise self._state.fault("active_participant_id", "should be one of the participants")

    def _groups(self) -> tuple[Group, ...]:
        """Return the groups in the order of their first participants.

        The remaining and used times of a group are the sums of the times of its participants.
        """
        members: dict[str, list[Participant]] = {}
        for participant in self._participants:
            if participant.group_id is not None:
                members.setdefault(participant.group_id, []).append(participant)
        return tuple(
            Group(
                group_id=group_id,
                remaining_ms=sum(each.remaining_ms for each in group),
                used_ms=sum(each.used_ms for each in group),
                has_expired=self._mode is SyncMode.PER_GROUP and all(each.has_expired for each in group),
            )
            for group_id, group in members.items()
        )

    def _session_remaining_ms(self, rules: Rules) -> int | None:
        """Return the session's own budget at the last transition in ms. In `per_cycle` it is the full time of a cycle.

        None if the budgets belong to participants or groups, or if a `count_up` session has no maximum.
        """
        match self._mode:
            case SyncMode.GLOBAL:
                return max(0, self._state.integer("total_time_ms") - self._used_ms)
            case SyncMode.COUNT_UP:
                return None if rules.max_time_ms is None else max(0, rules.max_time_ms - self._used_ms)
            case SyncMode.PER_CYCLE:
                # v2 does not store the used time of a paused cycle. So the cycle starts again.
                return rules.time_per_cycle_ms
            case _:
                return None
