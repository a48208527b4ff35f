"""Simulation: a session and what is asked of it when, played through by the same engine. Nothing is stored.

Times are milliseconds from creation. Pure, as all of the clock is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from synckairos.clock import creation, engine
from synckairos.clock.commands import Command, Create, Expire, Precondition
from synckairos.clock.model import EventType, Session, Transition
from synckairos.errors import SessionNotFound, SyncKairosError, ValidationFailed

MAX_ROWS = 10_000
"""Rows a timeline may have."""


@dataclass(frozen=True, slots=True)
class TimedCommand:
    """A command `at_ms` after creation."""

    at_ms: int
    command: Command
    precondition: Precondition | None = None


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """What happened at an instant, or the code by which a command was refused then."""

    at_ms: int
    event_type: EventType | None = None
    version: int | None = None
    participant_id: str | None = None
    refusal_code: str | None = None


@dataclass(slots=True)
class Simulation:
    """A session being played through: `rows` so far, and the `state` they lead to."""

    rows: list[TimelineRow] = field(default_factory=list)
    state: Session | None = None

    def play(
        self, spec: Create, commands: Sequence[TimedCommand], until_ms: int, session_id: str, epoch: str = "simulation"
    ) -> Iterator[None]:
        """Play it through, yielding after each decision so that others may have the processor in between.

        Commands are taken in order of their instants. One at a deadline itself meets it: nobody noticed it before.
        Raises ValidationFailed where the timeline grows too long.
        """
        state = self._note(creation.create(spec, session_id, epoch, 0))
        for timed in sorted(commands, key=lambda each: each.at_ms):
            for reached in self._reach(state, timed.at_ms - 1):
                state = reached
                yield
            if state.deleted:
                self._refuse(timed.at_ms, SessionNotFound(session_id))
                continue
            decision = engine.apply(state, timed.command, timed.at_ms, timed.precondition)
            for transition in decision.transitions:
                state = self._note(transition)
            if decision.refusal is not None:
                self._refuse(timed.at_ms, decision.refusal)
            yield
        for _ in self._reach(state, until_ms):
            yield

    def _reach(self, state: Session, at_ms: int) -> Iterator[Session]:
        """Bring about what falls due up to an instant, yielding the state after each decision."""
        more = True
        while more:
            decision = engine.apply(state, Expire(), at_ms)
            for transition in decision.transitions:
                state = self._note(transition)
            more = decision.has_more_overdue
            yield state

    def _note(self, transition: Transition) -> Session:
        event, self.state = transition.event, transition.state
        self._add(TimelineRow(event.at_ms, event.type, transition.state.version, event.participant_id))
        return transition.state

    def _refuse(self, at_ms: int, refusal: SyncKairosError) -> None:
        self._add(TimelineRow(at_ms, refusal_code=refusal.code))

    def _add(self, row: TimelineRow) -> None:
        if len(self.rows) >= MAX_ROWS:
            raise ValidationFailed.at("until_ms", f"the timeline has more than {MAX_ROWS} rows: end it sooner")
        self.rows.append(row)


def simulate(spec: Create, commands: Sequence[TimedCommand], until_ms: int, session_id: str) -> Simulation:
    """Play a session through at once. Raises ValidationFailed where the timeline grows too long."""
    simulation = Simulation()
    for _ in simulation.play(spec, commands, until_ms, session_id):
        pass
    return simulation
