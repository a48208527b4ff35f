"""The facts of earlier versions that some commands need, for tests that apply commands to the engine directly."""

from dataclasses import dataclass, field

from synckairos.clock.begin_turn import is_held
from synckairos.clock.charges import charges_in_effect
from synckairos.clock.commands import Amend, Command, Reopen, Undo
from synckairos.clock.earlier_turns import RestoredTurn
from synckairos.clock.model import Session
from synckairos.clock.recorded_times import find_breaks
from synckairos.clock.reopen import find_ended_turn
from synckairos.clock.transition import Event, Transition
from synckairos.clock.undo import TurnStack, find_restored_turn
from synckairos.frozen_replace import replace


@dataclass(slots=True)
class Past:
    """All versions of a session so far."""

    states: dict[int, Session]
    events: list[Event] = field(default_factory=list)
    before_end: Session | None = None
    _turns: TurnStack = field(default_factory=TurnStack)

    def add(self, before: Session, transition: Transition) -> None:
        """Add the next version. `before` is the state of the version before."""
        if not before.status.is_final:
            self.before_end = before
        self.states[transition.state.version] = transition.state
        self.events.append(transition.event)
        self._turns.add_transition(transition)

    def with_facts(self, command: Command, state: Session) -> Command:
        """Return a command with the facts that it needs. `state` is the newest version.

        These are the turn in which the session ended, the measured breaks, or the turn to restore.
        """
        if isinstance(command, Undo):
            restored = self._turns.find_restored_turn(state, command)
            assert restored == self._find_by_versions(state, command.turns)
            return replace(command, restored=restored)
        if isinstance(command, Amend) and state.started_at_ms is not None and state.completed_at_ms is not None:
            breaks = find_breaks(state.started_at_ms, state.completed_at_ms, charges_in_effect(self.events))
            return replace(command, breaks_before=breaks)
        if not isinstance(command, Reopen) or self.before_end is None or not state.status.is_final:
            return command
        return replace(command, turn=find_ended_turn(self.before_end, state))

    def _find_by_versions(self, current: Session, turns: int) -> RestoredTurn | None:
        """Return the turn to restore as the server finds it: by `began_version` of earlier versions."""
        began, next_began = current.turn.began_version, current.version
        for _ in range(turns - is_held(current)):
            if began is None:
                return None
            next_began = began
            began = self.states[began - 1].turn.began_version
        return None if began is None else find_restored_turn(current, self.states[began], self.states[next_began])
