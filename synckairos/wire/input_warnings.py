"""Warnings: accepted input that has no effect, with the path to each JSON member.

Warnings follow from the request body alone, so a replay has the same warnings. Warnings have the same form as faults.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from synckairos.clock.creation import MODES_WITH_OWN_BUDGETS
from synckairos.clock.overdue import ADVANCE_EVENTS
from synckairos.wire.body_parser import unknown_members
from synckairos.wire.command_bodies.shared_members import CommandBody, V2CommandBody
from synckairos.wire.creation_body import V2_UNREAD_MEMBERS, CreateSession, Participant
from synckairos.wire.field_types import StrictModel
from synckairos.wire.simulation_body import SimulationBody
from synckairos.wire.validation_faults import Fault, Path, fault

MAX_WARNINGS = 200
"""Maximum number of warnings in one response. A creation of 1,000 participants can have more warnings."""


CLOCK_SETTINGS = (
    "max_time_ms", "on_timeout", "warnings_ms", "extend_on_switch_ms", "extend_window_ms", "extend_by",
    "max_extension_ms", "max_extensions", "pause_budget", "switch_while_paused", "between_turns", "close_when_all_done",
)  # fmt: skip
"""JSON members of a `count_up` creation that only a running clock uses."""


def request_warnings(body: StrictModel, value: Any) -> list[Fault]:
    """Return the warnings of a valid request, at most `MAX_WARNINGS`. If more are left out, a last item states that.

    `value` has the JSON values of the request, and `body` is the model that was parsed from `value`.
    """
    if not value:
        return []
    found = list(islice(_warnings(body, value), MAX_WARNINGS + 1))
    if len(found) > MAX_WARNINGS:
        found[MAX_WARNINGS:] = [fault((), f"more warnings follow; this list has the first {MAX_WARNINGS}")]
    return found


def command_args_warnings(model: type[CommandBody], args: dict[str, Any]) -> Iterator[Fault]:
    """Yield the warnings of the valid arguments of a command. `model` is the model of the command's body."""
    if issubclass(model, V2CommandBody):
        for name in unknown_members(model, args):
            yield fault((name,), "unknown member; it has no effect")


def _warnings(body: StrictModel, value: Any) -> Iterator[Fault]:
    match body:
        case CommandBody():
            yield from command_args_warnings(type(body), value)
        case CreateSession():
            yield from _Creation(body, value).warnings()
        case SimulationBody():
            yield from _under(("session",), request_warnings(body.session, value["session"]))
            for at, timed in enumerate(body.commands):
                args = value["commands"][at].get("args", {})
                yield from _under(("commands", at, "args"), request_warnings(timed.args, args))
                if args.get("exclusive"):
                    yield fault(("commands", at, "args", "exclusive"), "no effect: a simulation has one session")
                if timed.args.on_behalf_of is not None:
                    yield fault(("commands", at, "args", "on_behalf_of"), "no effect: a simulation has no callers")


def _under(path: Path, found: list[Fault]) -> Iterator[Fault]:
    """Yield the warnings in `found`, which concern a part of the body, with `path` before each of their paths."""
    for each in found:
        yield fault((*path, each["path"]) if each["path"] else path, each["message"])


class _Creation:
    """The warnings of one creation. They follow the rules of `clock/creation.py` and `CreateSession.to_create`."""

    def __init__(self, body: CreateSession, value: dict[str, Any]) -> None:
        self.body = body
        self.value = value
        self.mode = body.sync_mode
        self.group_budgets = {group.group_id: group.total_time_ms for group in body.groups}
        self.listed_group = {member: group.group_id for group in body.groups for member in group.members or ()}
        self.has_per_move = body.clock is not None and body.clock.per_move is not None

    def warnings(self) -> Iterator[Fault]:
        for name in V2_UNREAD_MEMBERS:
            if self.value.get(name, ...) is None:
                yield fault((name,), "null has no effect; omit this member")
        yield from self._participant_budgets()
        yield from self._group_budgets()
        yield from self._session_times()
        yield from self._timeout()
        if self.body.auto_advance is not None:
            yield fault(("auto_advance",), "no effect; use on_timeout")
        yield from self._action_on_timeout()
        if self.body.recorded is not None:
            for name in self._clock_settings():
                yield fault((name,), "no effect in a recorded session: no clock runs")

    # -- budgets ------------------------------------------------------------------------------------------------------

    def _participant_budgets(self) -> Iterator[Fault]:
        for at, participant in enumerate(self.body.participants):
            if participant.total_time_ms and (text := self._unused_budget(participant)) is not None:
                yield fault(("participants", at, "total_time_ms"), text)

    def _unused_budget(self, participant: Participant) -> str | None:
        """Return the reason why a participant's own budget has no effect.

        None if the budget has an effect, or if it is equal to the budget of each cycle in `per_cycle`.
        """
        match self.mode:
            case "global":
                return "no effect in global: one budget serves the whole session"
            case "count_up":
                return "no effect in count_up: only max_time_ms of the session limits the time"
            case "per_cycle" if self.body.plan is not None:
                return "no effect in per_cycle: the items of the plan have their own times"
            case "per_cycle":
                cycle_ms = self.body.time_per_cycle_ms or self.body.total_time_ms
                is_same = participant.total_time_ms == cycle_ms
                return None if is_same else "no effect in per_cycle: each cycle has the session's time_per_cycle_ms"
            case "per_group":
                if self.has_per_move:
                    return "no effect with per_move: each turn has move_ms"
                has_budget = self.group_budgets.get(self._group_id(participant)) is not None
                return "no effect: the group has its own total_time_ms" if has_budget else None
            case _:
                clock = participant.clock or self.body.clock
                is_per_move = clock is not None and clock.per_move is not None
                return "no effect with per_move: each turn has move_ms" if is_per_move else None

    def _group_id(self, participant: Participant) -> str:
        return participant.group_id or self.listed_group.get(participant.participant_id, "")

    def _group_budgets(self) -> Iterator[Fault]:
        for at, group in enumerate(self.body.groups):
            if group.total_time_ms is None:
                continue
            if self.mode != "per_group":
                yield fault(("groups", at, "total_time_ms"), f"no effect in {self.mode}: no group has a clock")
            elif self.has_per_move:
                yield fault(("groups", at, "total_time_ms"), "no effect with per_move: each turn has move_ms")

    # -- members of the session ---------------------------------------------------------------------------------------

    def _session_times(self) -> Iterator[Fault]:
        body, mode = self.body, self.mode
        if body.total_time_ms is not None and (text := self._unused_total()) is not None:
            yield fault(("total_time_ms",), text)
        if body.time_per_cycle_ms is not None:
            if mode == "global":
                if body.total_time_ms not in (None, body.time_per_cycle_ms):
                    yield fault(("time_per_cycle_ms",), "no effect: total_time_ms is the session's budget")
            elif mode != "per_cycle":
                yield fault(("time_per_cycle_ms",), f"no effect in {mode}: only per_cycle has cycles")
        if body.increment_ms and mode not in MODES_WITH_OWN_BUDGETS:
            yield fault(("increment_ms",), f"no effect in {mode}: only per_participant and per_group add increments")
        if body.max_time_ms is not None and mode != "count_up":
            yield fault(("max_time_ms",), f"no effect in {mode}: only count_up has a maximum")

    def _unused_total(self) -> str | None:
        """Return the reason why the session's `total_time_ms` has no effect, None if there is no warning.

        v2 requires this member in each mode. So there is no warning if its value is equal to the budgets that take
        effect.
        """
        body = self.body
        match self.mode:
            case "per_participant" | "individual":
                budgets = [each.total_time_ms for each in body.participants]
                is_unused = None not in budgets and body.total_time_ms != sum(each or 0 for each in budgets)
                return "no effect: each participant has its own total_time_ms" if is_unused else None
            case "per_cycle" if body.plan is not None:
                is_unused = body.total_time_ms != sum(item.time_ms for item in body.plan)
                return "no effect: the items of the plan have their own times" if is_unused else None
            case "per_cycle":
                is_unused = body.time_per_cycle_ms not in (None, body.total_time_ms)
                return "no effect: time_per_cycle_ms is the budget of each cycle" if is_unused else None
            case "per_group":
                is_unused = body.total_time_ms != self._sum_of_groups()
                return "no effect in per_group: the budgets belong to the groups" if is_unused else None
            case "count_up":
                is_unused = body.total_time_ms != body.max_time_ms
                return "no effect in count_up: only max_time_ms limits the time" if is_unused else None
            case _:
                return None

    def _sum_of_groups(self) -> int:
        own = sum(each or 0 for each in self.group_budgets.values())
        members = (each for each in self.body.participants if self.group_budgets.get(self._group_id(each)) is None)
        return own + sum(each.total_time_ms or 0 for each in members)

    # -- timeouts -----------------------------------------------------------------------------------------------------

    def _timeout(self) -> Iterator[Fault]:
        on_timeout = self.body.on_timeout
        if self.mode == "count_up" and self.body.max_time_ms is None:
            if on_timeout not in (None, "expire"):
                yield fault(("on_timeout",), "no effect without max_time_ms: the clock reaches no zero")
            if self.body.warnings_ms:
                yield fault(("warnings_ms",), "no effect without max_time_ms: the clock reaches no threshold")
        elif on_timeout == "advance" and self.mode not in ADVANCE_EVENTS:
            yield fault(("on_timeout",), f"advance has the effect of expire in {self.mode}: no turn can follow")

    def _clock_settings(self) -> Iterator[str]:
        """Yield the name of each given setting that only a running clock uses, except those with another warning."""
        for name in CLOCK_SETTINGS:
            is_warned = self.body.max_time_ms is None and name in ("on_timeout", "warnings_ms")
            if self.value.get(name) and not is_warned:
                yield name

    def _action_on_timeout(self) -> Iterator[Fault]:
        action = self.body.action_on_timeout
        if action is None:
            return
        if self.body.on_timeout is not None:
            yield fault(("action_on_timeout",), "no effect: on_timeout wins")
            return
        if self.body.timeout_action() is None:
            yield fault(("action_on_timeout", "type"), f"{action.type} has no effect in {self.mode}: use on_timeout")
        for name in unknown_members(type(action), self.value["action_on_timeout"]):
            yield fault(("action_on_timeout", name), "unknown member; it has no effect")
