"""Simulation: the engine runs a session and its timed commands, and nothing is stored.

All times are milliseconds since the creation of the session. The module is pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from synckairos.clock import creation, engine
from synckairos.clock.charges import charges_in_effect
from synckairos.clock.commands import Amend, Command, Create, Expire, Reopen, Undo, VersionPrecondition
from synckairos.clock.model import Session, SyncMode
from synckairos.clock.plan_items import ran_out_of_time
from synckairos.clock.recorded_times import find_breaks, is_amendable
from synckairos.clock.reopen import find_ended_turn
from synckairos.clock.transition import Charge, Event, EventType, Transition
from synckairos.clock.undo import TurnStack
from synckairos.errors import SessionNotFound, SyncKairosError, ValidationFailed
from synckairos.frozen_replace import replace

MAX_ROWS = 10_000
"""Maximum number of rows of a timeline."""


class TimedCommand(Struct, frozen=True):
    """A command that is applied `at_ms` milliseconds after the creation of the session."""

    at_ms: int
    command: Command
    precondition: VersionPrecondition | None = None


class TimelineRow(Struct, frozen=True):
    """One row of a timeline: an event, or the code and the text of a refused command, with its instant.

    All instants are in ms since the creation of the session, also those in `charges`.
    """

    at_ms: int
    event_type: EventType | None = None
    version: int | None = None
    participant_id: str | None = None
    refusal_code: str | None = None
    refusal_message: str = ""
    charges: tuple[Charge, ...] = ()
    participant_ids: tuple[str, ...] = ()


@dataclass(slots=True)
class Simulation:
    """A running simulation: the timeline `rows` so far, and the newest `state`, None before the run."""

    rows: list[TimelineRow] = field(default_factory=list)
    state: Session | None = None
    created_at_ms: int = 0
    """Instant of the creation in ms since the Unix epoch. All other times of a simulation count from it."""

    _before_end: Session | None = None
    _events: list[Event] = field(default_factory=list)
    _turns: TurnStack = field(default_factory=TurnStack)
    out_of_time_id: str | None = None
    """The participant that had the turn when the session expired."""

    def run_stepwise(
        self, spec: Create, commands: Sequence[TimedCommand], until_ms: int, session_id: str, epoch: str = "simulation"
    ) -> Iterator[None]:
        """Run the simulation, and yield after each decision so that other tasks can run.

        Commands are applied in the order of their instants. Commands with the same instant keep their order in
        `commands`. If a deadline is at the instant of a command, the decision of that command has the timeout first and
        then the command. After the last command, all transitions that are due at or before `until_ms` follow.

        Raises: ValidationFailed if the timeline would have more than `MAX_ROWS` rows. `rows` then has the first
        `MAX_ROWS` rows.
        """
        began_ms = self.created_at_ms
        state = self._record(creation.create(spec, session_id, epoch, began_ms))
        for timed in sorted(commands, key=lambda each: each.at_ms):
            for reached in self._run_until(state, began_ms + timed.at_ms - 1):
                state = reached
                yield
            if state.deleted:
                self._record_refusal(timed.at_ms, SessionNotFound(session_id))
                continue
            now_ms = began_ms + timed.at_ms
            has_more = True
            while has_more:
                command = self._with_past_facts(timed.command)
                decision = engine.apply(state, command, now_ms, timed.precondition, self.out_of_time_id)
                for transition in decision.all_transitions:
                    state = self._record(transition)
                has_more = decision.has_more_overdue
            if decision.refusal is not None:
                self._record_refusal(timed.at_ms, decision.refusal)
            yield
        for _ in self._run_until(state, began_ms + until_ms):
            yield

    def _run_until(self, state: Session, at_ms: int) -> Iterator[Session]:
        """Apply all transitions that are due at or before `at_ms`, and yield the state after each decision."""
        has_more = True
        while has_more:
            decision = engine.apply(state, Expire(), at_ms)
            for transition in decision.all_transitions:
                state = self._record(transition)
            has_more = decision.has_more_overdue
            yield state

    def _with_past_facts(self, command: Command) -> Command:
        """Return a command with the facts that it needs from earlier versions. Return most commands unchanged.

        A `Reopen` needs the turn in which the session ended, an `Amend` the breaks that the clock measured, and an
        `Undo` the turn that it restores.
        """
        if isinstance(command, Undo) and self.state is not None:
            return replace(command, restored=self._turns.find_restored_turn(self.state, command))
        before, ended = self._before_end, self.state
        if isinstance(command, Amend):
            return self._with_breaks_before(command)
        if ended is not None and ended.rules.sync_mode is SyncMode.INDIVIDUAL:
            return command
        if not isinstance(command, Reopen) or before is None or ended is None or not ended.status.is_final:
            return command
        return replace(command, turn=find_ended_turn(before, ended))

    def _with_breaks_before(self, command: Amend) -> Amend:
        """Return an amendment with the breaks that the clock measured, unchanged if it does not need these breaks."""
        ended = self.state
        is_needed = ended is not None and command.breaks is None and ended.breaks is None and is_amendable(ended)
        if ended is None or not is_needed or ended.started_at_ms is None or ended.completed_at_ms is None:
            return command
        breaks = find_breaks(ended.started_at_ms, ended.completed_at_ms, charges_in_effect(self._events))
        return replace(command, breaks_before=breaks)

    def _record(self, transition: Transition) -> Session:
        if self.state is not None and not self.state.status.is_final:
            self._before_end = self.state
        event, self.state = transition.event, transition.state
        if event.charges or event.type in (EventType.SESSION_AMENDED, EventType.TURN_UNDONE):
            self._events.append(event)
        self._turns.add_transition(transition)
        if ran_out_of_time(self.state):
            self.out_of_time_id = event.participant_id
        began_ms = self.created_at_ms
        charges = tuple(
            Charge(each.participant_id, each.began_at_ms - began_ms, each.ended_at_ms - began_ms)
            for each in event.charges or ()
        )
        row = TimelineRow(event.at_ms - began_ms, event.type, transition.state.version, event.participant_id)
        self._add_row(replace(row, charges=charges, participant_ids=event.participant_ids))
        return transition.state

    def _record_refusal(self, at_ms: int, refusal: SyncKairosError) -> None:
        self._add_row(TimelineRow(at_ms, refusal_code=refusal.code, refusal_message=refusal.message))

    def _add_row(self, row: TimelineRow) -> None:
        if len(self.rows) >= MAX_ROWS:
            raise ValidationFailed.at_path(
                "until_ms", f"the timeline has more than {MAX_ROWS} rows; use an earlier end"
            )
        self.rows.append(row)


def simulate(
    spec: Create, commands: Sequence[TimedCommand], until_ms: int, session_id: str, created_at_ms: int = 0
) -> Simulation:
    """Run a whole simulation without interruption, and return it after its end.

    Raises: ValidationFailed if the timeline has more than `MAX_ROWS` rows.
    """
    simulation = Simulation(created_at_ms=created_at_ms)
    for _ in simulation.run_stepwise(spec, commands, until_ms, session_id):
        pass
    return simulation
