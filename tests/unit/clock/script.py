"""Scripts of commands, such as `0 start; 10 switch; 70 time`, and the lines of text that result from them.

Times are in seconds after the creation. Participants have the names A, B, C … and a budget of one minute each. `A/x` is
participant A in group x. Commands: `start switch switch>C switch@A switch! pause pause:tea pause:tea+5 resume
resume:tea complete cancel adjust+5 adjust-5:A,B adjust+5:/x join:D join:D#1 leave:A merge:{…} delete time`. `switch!`
has a hold. `update:start+30` and `update:end+90` set an instant, `update:start-` removes the start.
`reopen+30:A` adds 30 seconds to A. `done:A` marks A as done. `amend:10-50/20-30,35-40` sets the start, the end and the
breaks; `amend:10-` sets only the start, and `amend:-/` removes the breaks. `switch#x` goes to the plan item x.
`plan:x=5 y/B=10` sets a plan of an item x of 5 seconds and an item y of 10 seconds for B. In `individual`, ` [A,B]` or
` [/x]` at the end of `start`, `pause`, `resume`, `finish` and `adjust` names participants or a group. `adjust*5` is
scaled, and `A=30*1.5` has the factor 1.5. `join:D-` has no budget.
`undo` undoes one turn, and `undo2:mover` two turns with the charge `mover`.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from synckairos.clock import engine
from synckairos.clock.charges import charges_in_effect
from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Amend,
    Cancel,
    Command,
    Complete,
    Create,
    Delete,
    Done,
    Expire,
    Finish,
    NewGroup,
    NewParticipant,
    Pause,
    RemoveParticipant,
    Reopen,
    Resume,
    SetPlan,
    Start,
    Switch,
    Undo,
    UpdateMetadata,
    UpdateSession,
    VersionPrecondition,
)
from synckairos.clock.creation import create
from synckairos.clock.earlier_turns import EndedTurn, UndoCharge
from synckairos.clock.individual.row_clock import individual_clock
from synckairos.clock.individual_clock import FULL_FACTOR
from synckairos.clock.model import Break, OnTimeout, Session, SyncMode
from synckairos.clock.plan_item import ItemStatus, PlanItem
from synckairos.clock.recorded_times import find_breaks
from synckairos.clock.reopen import find_ended_turn
from synckairos.clock.timing import find_group_index, session_remaining_ms
from synckairos.clock.transition import EventType, Transition
from synckairos.clock.undo import TurnStack
from synckairos.frozen_replace import replace

T0 = 1_750_000_000_000
MINUTE = 60_000


def spec(mode: str, people: str = "A B C", on_timeout: str | None = None, **fields: Any) -> Create:
    """Return a creation. `people` lists the participants: `A/x` is in group x, `A=30` has a budget of 30 seconds.

    The default of each budget that the mode needs is one minute. `fields` sets other fields of the creation.
    """
    sync_mode = SyncMode(mode)
    participants = []
    for word in people.split():
        match = re.fullmatch(r"(\w)(?:/(\w))?(?:=(\d+))?(?:\*([\d.]+))?", word)
        assert match is not None, word
        name, group, seconds, factor = match.groups()
        budget_ms = int(seconds) * 1000 if seconds is not None else None
        hundredths = FULL_FACTOR if factor is None else round(float(factor) * FULL_FACTOR)
        participants.append(NewParticipant(name, None, budget_ms, group_id=group, time_factor=hundredths))
    defaults: dict[str, Any] = {}
    match sync_mode:
        case SyncMode.INDIVIDUAL if "ends_at_ms" in fields:
            pass
        case SyncMode.PER_PARTICIPANT | SyncMode.GLOBAL | SyncMode.INDIVIDUAL:
            defaults = {"total_time_ms": MINUTE}
        case SyncMode.PER_CYCLE if "plan" not in fields:
            defaults = {"time_per_cycle_ms": MINUTE}
        case SyncMode.COUNT_UP:
            defaults = {"max_time_ms": MINUTE}
        case SyncMode.PER_GROUP:
            names = dict.fromkeys(p.group_id for p in participants if p.group_id is not None)
            defaults = {"groups": tuple(NewGroup(name, MINUTE) for name in names)}
    timeout = None if on_timeout is None else OnTimeout(on_timeout)
    return Create(sync_mode, tuple(participants), on_timeout=timeout, **(defaults | fields))


def items(text: str) -> tuple[PlanItem, ...]:
    """Return the items of a plan, such as `x=5 y/B=10`: `y/B=10` is the item y of B with 10 seconds.

    `x=5!4!1` is an item with warnings at 4 seconds and at 1 second.
    """
    plan = []
    for word in text.split():
        match = re.fullmatch(r"(\w+)(?:/(\w))?=([\d.]+)((?:![\d.]+)*)", word)
        assert match is not None, word
        item_id, participant_id, seconds, warnings = match.groups()
        warnings_ms = tuple(round(float(each) * 1000) for each in warnings.split("!")[1:])
        plan.append(
            PlanItem(item_id, round(float(seconds) * 1000), None, participant_id, warnings_ms if warnings else None)
        )
    return tuple(plan)


def open_session(creation: Create, at_ms: int = T0) -> Session:
    return create(creation, "s", "e", at_ms).state


@dataclass(slots=True)
class Played:
    """The result of a script: all transitions, and one line for each transition and each refusal."""

    state: Session
    lines: list[str] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    decision: engine.CommandDecision = field(default_factory=engine.CommandDecision)
    turns: TurnStack = field(default_factory=TurnStack)

    @property
    def out_of_time_id(self) -> str | None:
        """Return the participant that had the turn when the session expired."""
        ends = (each.event for each in self.transitions if each.event.type is EventType.SESSION_EXPIRED)
        return next((event.participant_id for event in ends), None)

    def do(
        self, at_ms: int, command: Command, precondition: VersionPrecondition | None = None
    ) -> engine.CommandDecision:
        """Apply a command. If one decision cannot hold all overdue transitions, decide again."""
        while True:
            before = self.state
            if isinstance(command, Reopen) and before.status.is_final:
                command = replace(command, turn=self.ended_turn)
            if isinstance(command, Amend) and before.status.is_final and before.started_at_ms is not None:
                command = replace(command, breaks_before=self.measured_breaks)
            if isinstance(command, Undo):
                command = replace(command, restored=self.turns.find_restored_turn(before, command))
            self.decision = engine.apply(before, command, at_ms, precondition, self.out_of_time_id)
            for transition in self.decision.all_transitions:
                assert transition.state.version == self.state.version + 1
                assert transition.state.updated_at_ms >= self.state.updated_at_ms
                assert transition.state.updated_at_ms == transition.event.at_ms
                self.state = transition.state
                self.transitions.append(transition)
                self.turns.add_transition(transition)
                self.lines.append(_line(transition))
            if not self.decision.has_more_overdue:
                break
        if self.decision.refusal is not None:
            self.lines.append(f"{_at(at_ms)} !{self.decision.refusal.code}")
        if self.decision.expired_participant_id is not None:
            self.lines.append(f"{_at(at_ms)} consumed by {self.decision.expired_participant_id}")
        return self.decision

    @property
    def ended_turn(self) -> EndedTurn | None:
        """Return the turn in which the session ended, None if the script has no version before the end."""
        states = [transition.state for transition in self.transitions]
        before = next((state for state in reversed(states) if not state.status.is_final), None)
        return None if before is None else find_ended_turn(before, self.state)

    @property
    def measured_breaks(self) -> tuple[Break, ...]:
        """Return the breaks of the ended session, as they follow from its charges."""
        charges = charges_in_effect(transition.event for transition in self.transitions)
        return find_breaks(self.state.started_at_ms or 0, self.state.completed_at_ms or 0, charges)

    @property
    def face(self) -> str:
        """Return the status and the clocks, such as `running A 50 *B 60 C 0x`.

        In `individual`, the result also has the status of each clock: `running, A waiting 50, B running 60`. Values are
        in seconds. `*` marks the active participant or group, `x` marks an expired participant or group. If the session
        has its own budget, only that budget is shown, with the active participant.
        """
        s = self.state
        words = [
            f"{'*' * (at == s.active_position)}{p.participant_id} {_seconds(p.remaining_ms)}{'x' * p.has_expired}"
            for at, p in enumerate(s.participants)
            if s.rules.sync_mode is SyncMode.PER_PARTICIPANT
        ]
        if s.rules.sync_mode is SyncMode.INDIVIDUAL:
            words = [
                f"{p.participant_id} {individual_clock(p).status} {_seconds(p.remaining_ms)}" for p in s.participants
            ]
            return ", ".join([s.status, *words])
        if s.rules.sync_mode is SyncMode.PER_GROUP:
            active = None if s.active_participant is None else s.active_participant.group_id
            words = [
                f"{'*' if g.group_id == active else ''}{g.group_id} {_seconds(g.remaining_ms)}{'x' * g.has_expired}"
                for g in s.groups
            ]
        if (left_ms := session_remaining_ms(s)) is not None:
            active = "-" if s.active_participant is None else s.active_participant.participant_id
            words = [f"*{active} {_seconds(left_ms)}"]
        return " ".join([s.status, *words])

    @property
    def plan(self) -> str:
        """Return the items with their used seconds, such as `x+ 5 y* 2 z 0`: x is done, and y runs."""
        marks = {ItemStatus.PENDING: "", ItemStatus.RUNNING: "*", ItemStatus.DONE: "+"}
        return " ".join(f"{item.item_id}{marks[item.status]} {_seconds(item.used_ms)}" for item in self.state.plan)

    @property
    def used(self) -> str:
        """Return the seconds that each participant has used, such as `A 10 B 20`."""
        return " ".join(f"{p.participant_id} {_seconds(p.used_ms)}" for p in self.state.participants)

    def remaining(self, name: str) -> float:
        """Return the remaining seconds of a participant, or of a group (`/x`), at the last transition."""
        if name.startswith("/"):
            at = find_group_index(self.state, name[1:])
            assert at is not None
            return self.state.groups[at].remaining_ms / 1000
        return next(p.remaining_ms for p in self.state.participants if p.participant_id == name) / 1000


def play(creation: Create, script: str, at_ms: int = T0) -> Played:
    played = Played(open_session(creation, at_ms))
    for line in filter(None, map(str.strip, script.split(";"))):
        at, _, text = line.partition(" ")
        played.do(at_ms + round(float(at) * 1000), command(text))
    return played


def play_plan(plan: str, script: str, on_timeout: str | None = None, people: str = "A B", **fields: object) -> Played:
    """Play a script in a session with a plan (`items`)."""
    return play(spec("per_cycle", people, on_timeout, plan=items(plan), **fields), script)


def command(text: str) -> Command:
    """Parse one command of a script."""
    if (match := re.fullmatch(r"(.*) \[(.*)\]", text)) is not None:
        targeted = command(match[1])
        assert isinstance(targeted, (Start, Pause, Resume, Finish, Adjust))
        names = match[2]
        if names.startswith("/"):
            return replace(targeted, group_id=names[1:])
        return replace(targeted, participant_ids=tuple(names.split(",")))
    verb, _, rest = text.partition(":")
    if verb.startswith("adjust*"):
        return Adjust(round(float(verb.removeprefix("adjust*")) * 1000), scaled=True)
    if verb.startswith("adjust"):
        delta_ms = round(float(verb.removeprefix("adjust")) * 1000)
        if rest.startswith("/"):
            return Adjust(delta_ms, group_id=rest[1:])
        return Adjust(delta_ms, tuple(rest.split(",")) if rest else None)
    if verb.startswith("switch"):
        guard = re.search(r"@(\w)", verb)
        following = re.search(r">(\w)", verb)
        item = re.search(r"#(\w+)", verb)
        participants = (following and following[1], guard and guard[1])
        return Switch(*participants, hold=verb.endswith("!"), item_id=item and item[1])
    if verb.startswith("reopen"):
        seconds = verb.removeprefix("reopen")
        return Reopen(round(float(seconds) * 1000) if seconds else None, tuple(rest.split(",")) if rest else None)
    if verb.startswith("undo"):
        return Undo(int(verb.removeprefix("undo") or 1), UndoCharge(rest or "nobody"))
    match verb:
        case "pause":
            reason, _, seconds = rest.partition("+")
            return Pause(reason or "manual", round(float(seconds) * 1000) if seconds else None)
        case "resume":
            return Resume(rest or None)
        case "join":
            match = re.fullmatch(r"(\w)(?:/(\w))?(?:#(\d+))?(-)?", rest)
            assert match is not None
            name, group, place, has_no_budget = match.groups()
            budget_ms = None if has_no_budget else MINUTE
            return AddParticipant(NewParticipant(name, int(place) if place else None, budget_ms, group_id=group))
        case "done":
            return Done(rest)
        case "amend":
            return _amend(rest)
        case "plan":
            return SetPlan(items(rest))
        case "leave":
            return RemoveParticipant(rest)
        case "update":
            return _update(rest)
        case "merge":
            return UpdateMetadata(json.loads(rest))
    plain: dict[str, Command] = {
        "start": Start(),
        "finish": Finish(),
        "complete": Complete(),
        "cancel": Cancel(),
        "delete": Delete(),
        "time": Expire(),
    }
    return plain[verb]


def _update(text: str) -> UpdateSession:
    """Parse the instants of an update, such as `start+30,end+90`, in seconds after the creation."""
    words = text.split(",")
    times = {name: T0 + round(float(at) * 1000) for name, _, at in (word.partition("+") for word in words) if at}
    return UpdateSession({}, None, times.get("start"), times.get("end"), "start-" in words)


def _amend(text: str) -> Amend:
    """Parse the times of an amendment, such as `10-50/20-30`, in seconds after the creation."""
    span, has_breaks, breaks = text.partition("/")
    started_ms, completed_ms = _span(span)
    given = tuple(Break(*map(_required, _span(each))) for each in breaks.split(",") if each) if has_breaks else None
    return Amend(None, started_ms, completed_ms, given)


def _span(text: str) -> tuple[int | None, int | None]:
    begin, _, end = text.partition("-")
    return (
        T0 + round(float(begin) * 1000) if begin else None,
        T0 + round(float(end) * 1000) if end else None,
    )


def _required(at_ms: int | None) -> int:
    assert at_ms is not None
    return at_ms


def _line(transition: Transition) -> str:
    event = transition.event
    about = event.participant_id or ",".join(event.participant_ids) or (f"/{event.group_id}" if event.group_id else "")
    return f"{_at(event.at_ms)} {event.type.removeprefix('session_')} {about}".rstrip()


def _at(at_ms: int) -> str:
    return _seconds(at_ms - T0)


def _seconds(ms: int) -> str:
    return f"{ms / 1000:g}"
