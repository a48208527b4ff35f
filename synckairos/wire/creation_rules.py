"""Rules of a creation that concern several JSON members. They are checked even if single members are malformed.

The rules read the JSON values before validation by the models, so that one refusal lists all faults. A malformed member
counts as absent or as valid, so that no second fault is reported for the fault of that member.
"""

from collections.abc import Iterator
from typing import Any

from synckairos.clock.creation import MODES_WITH_OWN_BUDGETS
from synckairos.clock.join_leave import MAX_PARTICIPANTS
from synckairos.clock.model import OnTimeout, SyncMode
from synckairos.wire.clock_rules import clock_faults
from synckairos.wire.field_types import MAX_WARNINGS, SECOND_MS
from synckairos.wire.plan_body import MAX_PLAN_ITEMS, plan_faults
from synckairos.wire.session_json import EXTENSION_RULES
from synckairos.wire.unchecked_json import first_items, is_int, lower_text, objects_in
from synckairos.wire.validation_faults import Fault, fault

SHARED_BUDGET = ("global", "count_up")
TURN_SETTINGS = (
    *("switch_while_paused", "between_turns", "close_when_all_done", "active_participant_id", "active_group_id"),
)
"""JSON members that concern turns. In `individual` there are no turns."""
INDIVIDUAL_TIMEOUTS = ("expire", "overtime")
BUDGETLESS_CLOCKS = ("per_move",)
ZERO_MAIN_CLOCKS = ("byoyomi", "canadian", "per_move")
"""Clock systems that give each turn time even if the main time is 0."""


def creation_faults(value: Any) -> Iterator[Fault]:
    """Yield the faults in the body of a creation that concern several JSON members.

    Yield no fault if `value` is not an object, because the models report that fault.
    """
    if isinstance(value, dict):
        yield from _Creation(value).faults()


class _Creation:
    """The JSON values of one creation. Reading a malformed member raises no error."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value
        self.mode = value.get("sync_mode")
        self.participants = objects_in(MAX_PARTICIPANTS, value.get("participants"))
        self.groups = objects_in(MAX_PARTICIPANTS, value.get("groups"))
        self.ids = {lower_text(each.get("participant_id")) for _, each in self.participants}
        self.members = {
            lower_text(member): lower_text(group.get("group_id"))
            for _, group in self.groups
            for member in first_items(MAX_PARTICIPANTS, group.get("members"))
        }
        self.clock_name = self._clock_name(value.get("clock"))

    def faults(self) -> Iterator[Fault]:
        yield from self._participants()
        yield from self._groups()
        yield from self._first_turn()
        yield from self._budgets()
        yield from self._clocks()
        yield from self._timeout()
        if self.value.get("lag_compensation") is True:
            if self.mode not in ("per_participant", None):
                yield fault(("lag_compensation",), "only per_participant supports lag compensation")
            elif self.clock_name == "hourglass":
                # In an hourglass, time that is not charged to one participant would be taken from the other
                # participant.
                yield fault(("lag_compensation",), "an hourglass does not support lag compensation")
        if self.value.get("rest") is not None:
            if self.mode == "individual":
                yield fault(("rest",), "in individual there are no rest days")
            elif self.value.get("ends_at") is not None:
                yield fault(("rest",), "a session with ends_at has no rest days")
        if self.value.get("free_first_turn") is not None:
            if self.mode not in ("per_participant", None):
                yield fault(("free_first_turn",), "only per_participant supports a free first turn")
            elif self.clock_name == "hourglass":
                yield fault(("free_first_turn",), "an hourglass does not support a free first turn")
        yield from self._warnings()
        yield from self._end()
        yield from self._recorded()
        yield from self._plan()
        yield from self._individual()

    # -- participants -------------------------------------------------------------------------------------------------

    def _participants(self) -> Iterator[Fault]:
        given = self.value.get("participants", [])
        if isinstance(given, list) and not given and self.mode != "global" and not self.members:
            yield fault(("participants",), "at least one participant is required")
        seen: set[str | None] = set()
        places: set[int] = set()
        for at, each in self.participants:
            participant_id, place = lower_text(each.get("participant_id")), each.get("participant_index", at)
            if participant_id is not None and participant_id in seen:
                yield fault(("participants", at, "participant_id"), "this participant is named twice")
            seen.add(participant_id)
            if is_int(place) and place in places:
                yield fault(("participants", at, "participant_index"), "another participant has this index")
            if is_int(place):
                places.add(place)

    def _groups(self) -> Iterator[Fault]:
        seen: set[str | None] = set()
        member_of: dict[str | None, str | None] = {}
        for at, group in self.groups:
            group_id = lower_text(group.get("group_id"))
            if group_id is not None and group_id in seen:
                yield fault(("groups", at, "group_id"), "this group is named twice")
            seen.add(group_id)
            for place, each in enumerate(first_items(MAX_PARTICIPANTS, group.get("members"))):
                member = lower_text(each)
                if member is None:
                    continue
                if member in member_of:
                    yield fault(("groups", at, "members", place), "this participant is named as a member twice")
                elif self.participants and member not in self.ids:
                    yield fault(("groups", at, "members", place), "this member is not among the participants")
                member_of.setdefault(member, group_id)
        if len(member_of) > MAX_PARTICIPANTS:
            yield fault(("groups",), f"a session has at most {MAX_PARTICIPANTS} participants")
        for at, each in self.participants:
            own_group, listed = lower_text(each.get("group_id")), member_of.get(lower_text(each.get("participant_id")))
            if own_group is not None and listed is not None and own_group != listed:
                yield fault(("participants", at, "group_id"), "another group names this participant as its member")
            if self.mode == "per_group" and "group_id" not in each and listed is None:
                yield fault(("participants", at, "group_id"), "required in per_group")

    def _first_turn(self) -> Iterator[Fault]:
        known = self.ids | set(self.members)
        first = lower_text(self.value.get("active_participant_id"))
        if first is not None and first not in known:
            yield fault(("active_participant_id",), "should be one of the participants")
        group = lower_text(self.value.get("active_group_id"))
        if group is None:
            return
        in_group = {
            lower_text(each.get("participant_id")) for _, each in self.participants if self._group_id(each) == group
        }
        in_group |= {member for member, group_id in self.members.items() if group_id == group}
        if not in_group:
            yield fault(("active_group_id",), "should be the group of one of the participants")
        elif first is not None and first not in in_group:
            yield fault(("active_group_id",), "active_participant_id is in another group")

    def _group_id(self, participant: dict[str, Any]) -> str | None:
        return lower_text(participant.get("group_id")) or self.members.get(
            lower_text(participant.get("participant_id"))
        )

    # -- budgets ------------------------------------------------------------------------------------------------------

    def _budgets(self) -> Iterator[Fault]:
        yield from self._least_budgets()
        match self.mode:
            case "per_participant":
                if "total_time_ms" in self.value:
                    return
                for at, each in self.participants:
                    clock = self._clock_name(each.get("clock")) or self.clock_name
                    if "total_time_ms" not in each and clock not in BUDGETLESS_CLOCKS:
                        yield fault(
                            ("participants", at, "total_time_ms"),
                            "required in per_participant if the session has no total_time_ms",
                        )
            case "individual":
                yield from self._individual_budgets()
            case "per_cycle":
                if not {"time_per_cycle_ms", "total_time_ms", "plan"} & self.value.keys():
                    yield fault(("time_per_cycle_ms",), "required in per_cycle")
            case "global":
                if not {"total_time_ms", "time_per_cycle_ms", "ends_at"} & self.value.keys():
                    yield fault(("total_time_ms",), "required in global, unless ends_at is given")
            case "per_group":
                yield from self._group_budgets()
            case _:
                return

    def _least_budgets(self) -> Iterator[Fault]:
        """Yield a fault for each budget from 1 to 999 ms, and for each budget of 0 that no time follows.

        A budget of 0 is allowed if overtime follows, or with a clock system that gives time to each turn. A
        participant's budget of 0 is also allowed in `per_cycle`, which does not use it. The models refuse a budget
        below 0.
        """
        value, session_clock = self.value, self.value.get("clock")
        with_own_budgets = self.mode in MODES_WITH_OWN_BUDGETS
        yield from self._least_budget(("total_time_ms",), value, session_clock if with_own_budgets else None)
        yield from self._least_budget(("time_per_cycle_ms",), value, None)
        for at, group in self.groups:
            yield from self._least_budget(("groups", at, "total_time_ms"), group, session_clock)
        for at, each in self.participants:
            path = ("participants", at, "total_time_ms")
            if self.mode == "per_cycle" and each.get("total_time_ms") == 0:
                continue
            yield from self._least_budget(path, each, each.get("clock", session_clock))

    def _least_budget(self, path: tuple[str | int, ...], owner: dict[str, Any], clock: Any) -> Iterator[Fault]:
        budget = owner.get(str(path[-1]))
        if type(budget) is not int or not 0 <= budget < SECOND_MS:
            return
        if budget == 0 and (self.value.get("on_timeout") == "overtime" or self._gives_time_to_turns(clock)):
            return
        yield fault(path, f"should be at least {SECOND_MS}")

    def _gives_time_to_turns(self, clock: Any) -> bool:
        """Return whether a clock system gives time to each turn even if the main time is 0."""
        name = self._clock_name(clock)
        if name == "delay":
            settings = clock["delay"]
            delay_ms = settings.get("delay_ms") if isinstance(settings, dict) else None
            return type(delay_ms) is not int or delay_ms > 0
        if name == "stages":
            first = next((stage for _, stage in objects_in(1, clock["stages"])), {})
            return bool(first.get("delay_ms")) or (first.get("at_zero") is True and bool(first.get("add_ms")))
        return name in ZERO_MAIN_CLOCKS

    def _group_budgets(self) -> Iterator[Fault]:
        with_own = {lower_text(group.get("group_id")) for _, group in self.groups if "total_time_ms" in group}
        if self.clock_name in BUDGETLESS_CLOCKS:
            return
        by_members = {self._group_id(each) for _, each in self.participants if "total_time_ms" in each}
        reported: set[str | None] = set()
        for at, group in self.groups:
            group_id = lower_text(group.get("group_id"))
            if group_id is not None and group_id not in with_own | by_members:
                reported.add(group_id)
                yield fault(("groups", at, "total_time_ms"), "required if none of its participants has a budget")
        for at, each in self.participants:
            group_id = self._group_id(each)
            if group_id is not None and group_id not in with_own | by_members | reported:
                yield fault(("participants", at, "total_time_ms"), "required if its group has no budget")

    # -- clock systems ------------------------------------------------------------------------------------------------

    def _clock_name(self, clock: Any) -> str | None:
        return next(iter(clock)) if isinstance(clock, dict) and len(clock) == 1 else None

    def _clocks(self) -> Iterator[Fault]:
        clock = self.value.get("clock")
        yield from clock_faults(clock)
        if self.clock_name not in (None, "sudden_death") and self.mode not in (*MODES_WITH_OWN_BUDGETS, None):
            yield fault(("clock",), f"{self.clock_name} works only in per_participant and per_group")
        if self.clock_name == "hourglass":
            if self.mode != "per_participant":
                yield fault(("clock",), "an hourglass works only in per_participant")
            elif isinstance(self.value.get("participants"), list) and len(self.value["participants"]) != 2:
                yield fault(("participants",), "an hourglass needs exactly two participants")
        for at, each in self.participants:
            path = ("participants", at, "clock")
            yield from clock_faults(each.get("clock"), path)
            if "clock" in each and self.mode not in ("per_participant", None):
                yield fault(path, "participants can have their own clocks only in per_participant")
            name = self._clock_name(each.get("clock"))
            if name is not None and name != "hourglass" and self.clock_name == "hourglass":
                yield fault(path, "the session's clock is an hourglass, which both participants share")
            if name == "hourglass" and self.clock_name != "hourglass":
                yield fault(path, "both participants share an hourglass; set it as the session's clock")
        increment = self.value.get("increment_ms")
        if "increment_ms" in self.value and clock is not None:
            settings = clock.get("fischer") if isinstance(clock, dict) else None
            if not isinstance(settings, dict) or settings.get("increment_ms") != increment:
                yield fault(("increment_ms",), "contradicts clock; omit this member")

    # -- timeouts -----------------------------------------------------------------------------------------------------

    def _timeout(self) -> Iterator[Fault]:
        is_known_mode = self.mode in tuple(SyncMode)
        if is_known_mode and "max_cycles" in self.value and self.mode != "per_cycle":
            yield fault(("max_cycles",), "is allowed only in per_cycle")
        is_uncapped = self.mode == "count_up" and "max_time_ms" not in self.value
        if is_known_mode and "extend_on_switch_ms" in self.value and (self.mode not in SHARED_BUDGET or is_uncapped):
            yield fault(("extend_on_switch_ms",), "is allowed only in global, and in count_up with max_time_ms")

        initial_ms, max_ms = self.value.get("initial_ms"), self.value.get("max_time_ms")
        if is_known_mode and "initial_ms" in self.value and self.mode != "count_up":
            yield fault(("initial_ms",), "is allowed only in count_up")
        elif type(initial_ms) is int and type(max_ms) is int and initial_ms >= max_ms:
            yield fault(("initial_ms",), "should be less than max_time_ms")
        for name in EXTENSION_RULES:
            if name in self.value and "extend_on_switch_ms" not in self.value:
                yield fault((name,), "is allowed only with extend_on_switch_ms")

    def _end(self) -> Iterator[Fault]:
        """Yield the faults of an end that replaces the budget. The clock checks the instants against the present."""
        if "ends_at" not in self.value:
            return
        if self.mode in tuple(SyncMode) and self.mode not in ("global", "individual"):
            yield fault(("ends_at",), "is allowed only in global and individual")
            return
        for name in ("total_time_ms", "time_per_cycle_ms"):
            if name in self.value:
                yield fault((name,), "contradicts ends_at; omit one of them")
        if self.value.get("on_timeout") == "pause":
            yield fault(("on_timeout",), "with ends_at, only expire and overtime are possible")

    def _recorded(self) -> Iterator[Fault]:
        """Yield the faults of a session whose times are recorded. The clock checks the times themselves."""
        if "recorded" not in self.value:
            return
        if self.mode in tuple(SyncMode) and self.mode != "count_up":
            yield fault(("recorded",), "is allowed only in count_up")
        if len(self.value.get("participants") or self.members) > 1:
            yield fault(("recorded",), "is allowed only with one participant")
        if "starts_at" in self.value:
            yield fault(("starts_at",), "contradicts recorded; omit one of them")

    def _plan(self) -> Iterator[Fault]:
        if "plan" not in self.value:
            return
        if self.mode in tuple(SyncMode) and self.mode != "per_cycle":
            yield fault(("plan",), "is allowed only in per_cycle")
            return
        for name in ("time_per_cycle_ms", "max_cycles"):
            if name in self.value:
                yield fault((name,), "contradicts plan; omit one of them")
        yield from plan_faults(self.value["plan"])
        known, named = self.ids | set(self.members), False
        may_run_over = self.value.get("on_timeout") == "overtime"
        for at, item in objects_in(MAX_PLAN_ITEMS, self.value["plan"]):
            participant_id = lower_text(item.get("participant_id"))
            named = named or participant_id is not None
            if participant_id is not None and participant_id not in known:
                yield fault(("plan", at, "participant_id"), "should be one of the participants")
            yield from self._least_budget(("plan", at, "time_ms"), item, None)
            for place, each in enumerate(first_items(MAX_WARNINGS, item.get("warnings_ms"))):
                if type(each) is int and each <= 0 and not may_run_over:
                    path = ("plan", at, "warnings_ms", place)
                    yield fault(path, "should be at least 1 if on_timeout is not overtime")
        for name in ("active_participant_id", "active_group_id"):
            if named and self.value.get(name) is not None:
                yield fault((name,), "the items of the plan name the participants; omit this member")

    def _individual(self) -> Iterator[Fault]:
        """Yield the faults of members that `individual` does not have, and of members that only `individual` has."""
        if self.mode != "individual":
            for at, each in self.participants:
                if "time_factor" in each and self.mode in tuple(SyncMode):
                    yield fault(("participants", at, "time_factor"), "is allowed only in individual")
            return
        for name in TURN_SETTINGS:
            if self.value.get(name) not in (None, False):
                yield fault((name,), "is not allowed in individual, which has no turns")
        if self.value.get("on_timeout") in tuple(OnTimeout) and self.value["on_timeout"] not in INDIVIDUAL_TIMEOUTS:
            yield fault(("on_timeout",), "in individual, only expire and overtime are possible")

    def _individual_budgets(self) -> Iterator[Fault]:
        has_end, has_total = "ends_at" in self.value, "total_time_ms" in self.value
        for at, each in self.participants:
            if has_end and "total_time_ms" in each:
                yield fault(("participants", at, "total_time_ms"), "contradicts ends_at; omit one of them")
            elif not has_end and not has_total and "total_time_ms" not in each:
                yield fault(
                    ("participants", at, "total_time_ms"),
                    "required in individual if the session has neither total_time_ms nor ends_at",
                )

    def _warnings(self) -> Iterator[Fault]:
        seen: set[int] = set()
        may_run_over = self.value.get("on_timeout") == "overtime"
        for at, each in enumerate(first_items(MAX_WARNINGS, self.value.get("warnings_ms"))):
            if type(each) is not int:
                continue
            if each <= 0 and not may_run_over:
                yield fault(("warnings_ms", at), "should be at least 1 if on_timeout is not overtime")
            if each in seen:
                yield fault(("warnings_ms", at), "this threshold is named twice")
            seen.add(each)
