"""Sessions of SyncKairos v2 as sessions of this product, from the JSON that v2 keeps in Redis and in its audit.

v2 charges every turn to the participant, whatever the mode; `total_time_ms` of a participant is its remaining time.
This module maps these facts to the budgets of this product: a creation and the same commands give the same budgets.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from synckairos.clock.clock_systems import Fischer, SuddenDeath
from synckairos.clock.creation import MODES_WITH_OWN_BUDGETS
from synckairos.clock.join_leave import MAX_PARTICIPANTS
from synckairos.clock.model import (
    MAX_CYCLES,
    Group,
    OnTimeout,
    Participant,
    PauseReason,
    Rules,
    Session,
    Status,
    SyncMode,
    TurnProgress,
)
from synckairos.frozen_replace import replace
from synckairos.wire.field_types import metadata_fault, parse_uuid
from synckairos.wire.instants import parse_instant

V2_GENERATION = "000000000002"
"""The generation of the epochs of v2's audit. It is older than every generation of a store, which begins with its
second of creation, so the projections of Postgres prefer every other epoch."""

IMPORT_COMMAND = "import-v2"
"""The command of audit rows that come from v2. With `args` they come from v2's Redis and can be replayed. Without, they
come from v2's audit."""

V2_ACTOR = "v2"
"""The actor of the rows that come from v2's audit. v2 does not record who caused a change."""

_PAUSE_REASON = "manual"
_MAX_INTEGER = 2**53 - 1


class V2StateMalformed(ValueError):
    """A state of v2 cannot be a session. The message names the member and the fault."""


def v2_epoch(created_at_ms: int) -> str:
    """Return the epoch of a session in v2's audit that was created at this instant."""
    digest = hashlib.blake2b(b"%d" % created_at_ms, digest_size=4).hexdigest()
    return V2_GENERATION + digest


def is_v2_epoch(epoch: str) -> bool:
    """Return whether an epoch is one of v2's audit."""
    return epoch.startswith(V2_GENERATION)


def parse_v2_session(state: Any) -> Session:
    """Return the session that a state of v2 describes: its clock to the millisecond, under an empty epoch.

    `version` is v2's. `updated_at_ms` is the instant of v2's last transition: the anchor if a clock runs, because every
    change of v2 that leaves a clock running moves the anchor.

    Raises:
        V2StateMalformed: a member is missing or malformed, or this product refuses an id.
    """
    if not isinstance(state, dict):
        raise V2StateMalformed("the state is not a JSON object")
    return _StateParser(_Members(state, "")).parse()


class _Members:
    """The members of one object of v2, each checked when it is read."""

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
        # JavaScript has one kind of number: 1e3 and 1000.0 are integers.
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MAX_INTEGER:
            raise self.fault(name, f"should be an integer from {least}")
        return value

    def optional_integer(self, name: str) -> int | None:
        return None if self._values.get(name) is None else self.integer(name)

    def used_ms(self, name: str) -> int:
        """Return a sum of elapsed times. v2's instances measured them by their own clocks: below 0 is 0."""
        return max(0, self.integer(name, -_MAX_INTEGER))

    def flag(self, name: str) -> bool:
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise self.fault(name, "should be true or false")
        return value

    def instant_ms(self, name: str) -> int:
        try:
            return parse_instant(self.text(name))
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
        """Return the metadata. v2 accepted it and dropped it; a fork of v2 may keep it."""
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
    """One state of v2."""

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
            turn=TurnProgress(cycles=self._cycles),
            pauses=(PauseReason(_PAUSE_REASON, updated_ms, paused_by=V2_ACTOR),) if is_paused else (),
            anchor_ms=anchor_ms,
            started_at_ms=state.optional_instant_ms("session_started_at"),
            completed_at_ms=completed_ms,
            metadata=state.metadata(),
        )

    def _parse_mode(self) -> SyncMode:
        text = self._state.text("sync_mode")
        if text not in tuple(SyncMode):
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
            # v2 requires total_time_ms in every mode: if it alone is given, it is the time of a cycle.
            time_per_cycle_ms=(cycle_ms or state.integer("total_time_ms")) if is_per_cycle else cycle_ms,
            max_time_ms=state.optional_integer("max_time_ms"),
            # v2 has no limit: as many cycles as a new session may have are still to come.
            max_cycles=self._cycles + MAX_CYCLES if is_per_cycle else None,
        )

    def _completed_at_ms(self) -> int | None:
        if not self._status.is_final:
            return None
        completed_ms = self._state.optional_instant_ms("session_completed_at")
        return self._state.instant_ms("updated_at") if completed_ms is None else completed_ms

    def _updated_at_ms(self, created_ms: int, anchor_ms: int | None, completed_ms: int | None) -> int:
        """Return the instant of the last transition. `updated_at` comes a few ms later: v2 sets it when it saves."""
        if anchor_ms is not None:
            return max(created_ms, anchor_ms)
        if completed_ms is not None:
            return max(created_ms, completed_ms)
        updated_ms = self._state.instant_ms("updated_at")
        return created_ms if self._status is Status.PENDING else max(created_ms, updated_ms)

    # -- participants -------------------------------------------------------------------------------------------------

    def _parse_participants(self) -> list[Participant]:
        """Return the participants as v2 has them: `remaining_ms` is what v2 charges turns to."""
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
        # v2 rotates in the order of the array and ignores the index; this product rotates in the order of the index.
        indexes = [participant.index for participant in participants]
        if indexes == sorted(set(indexes)):
            return participants
        return [replace(participant, index=at) for at, participant in enumerate(participants)]

    def _own_group(self, participant_id: str) -> str | None:
        """Return the group of a participant without one: v2 gives it a budget of its own, also in `per_group`."""
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
        """Return the groups in order of their first member, each with the sums of its members."""
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
        """Return the session's own budget as of the last transition, None if the mode has none."""
        match self._mode:
            case SyncMode.GLOBAL:
                return max(0, self._state.integer("total_time_ms") - self._used_ms)
            case SyncMode.COUNT_UP:
                return None if rules.max_time_ms is None else max(0, rules.max_time_ms - self._used_ms)
            case SyncMode.PER_CYCLE:
                # v2 does not record how much of a paused cycle had passed: the cycle starts again.
                return rules.time_per_cycle_ms
            case _:
                return None
