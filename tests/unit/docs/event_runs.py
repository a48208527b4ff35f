"""Sessions played by the engine, so that tests know every event and the command that produces it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from synckairos.clock import creation, engine
from synckairos.clock.commands import Amend, Expire, Reopen, Undo
from synckairos.clock.importing import import_session
from synckairos.clock.model import Session, SyncMode
from synckairos.clock.recover_lost_session import recover_session
from synckairos.clock.reopen import find_ended_turn
from synckairos.clock.transition import Transition
from synckairos.clock.undo import TurnStack
from synckairos.frozen_replace import replace
from synckairos.wire.body_parser import parse_body, parse_command
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.outbox_entry import CommitCause

SESSION = "0198c0de-0000-7000-8000-000000000001"
A = "0198c0de-0000-7000-8000-00000000000a"
B = "0198c0de-0000-7000-8000-00000000000b"
LATE = "0198c0de-0000-7000-8000-00000000000c"
RED = "0198c0de-0000-7000-8000-0000000000f1"
BLUE = "0198c0de-0000-7000-8000-0000000000f2"
EPOCH = "5f3a9c0e71d2b846"
NEXT_EPOCH = "a07c44d19be2f635"
T0 = 1_769_860_800_000
"""2026-01-31T12:00:00.000Z, the creation of every session here."""

Json = dict[str, Any]
Step = tuple[int, str, Json]
"""Milliseconds after the creation, the command as the audit names it, and its arguments."""

PAIR: list[Json] = [{"participant_id": A}, {"participant_id": B}]
BODIES: dict[str, Json] = {
    "per_participant": {"participants": PAIR, "total_time_ms": 60_000},
    "per_cycle": {"participants": PAIR, "time_per_cycle_ms": 60_000, "max_cycles": 2},
    "per_group": {
        "participants": [{"participant_id": A, "group_id": RED}, {"participant_id": B, "group_id": BLUE}],
        "groups": [{"group_id": RED, "total_time_ms": 60_000}, {"group_id": BLUE, "total_time_ms": 60_000}],
    },
    "global": {"participants": PAIR, "total_time_ms": 60_000},
    "count_up": {"participants": PAIR, "max_time_ms": 60_000},
    "individual": {"participants": PAIR, "total_time_ms": 60_000},
}
"""The body of a creation for each mode."""


@dataclass(frozen=True, slots=True)
class Produced:
    """A transition and its cause, as the service commits them."""

    transition: Transition
    cause: CommitCause

    @property
    def event_type(self) -> str:
        return str(self.transition.event.type)


def created(mode: str, **fields: Any) -> Produced:
    """Create a session of a mode. A field that is None removes the member from the body."""
    given = {"sync_mode": mode, **BODIES[mode], **fields}
    body = {name: value for name, value in given.items() if value is not None}
    transition = creation.create(parse_body(CreateSession, body).to_create(), SESSION, EPOCH, T0)
    return Produced(transition, CommitCause("anonymous", "create", body))


def produced_by(state: Session, step: Step, earlier: Sequence[Produced] = ()) -> Iterator[Produced]:
    """Yield what one step produces: overdue transitions, the command's own, and those due at once.

    `earlier` has all earlier transitions of the session.
    """
    at_ms, verb, args = step
    overdue = CommitCause("timekeeper", "expire")
    if verb == "recover":
        yield Produced(recover_session(state, NEXT_EPOCH, T0 + at_ms), CommitCause("recovery", "recover"))
        return
    if verb == "import-v2":
        yield Produced(import_session(state, NEXT_EPOCH, state.version + 1, 0), CommitCause("import-v2", "import-v2"))
        return
    command = Expire() if verb == "expire" else parse_command(verb, args).to_command()
    if isinstance(command, Amend) and command.breaks is None:
        command = replace(command, breaks_before=())
    takes_turns, before_end = state.rules.sync_mode is not SyncMode.INDIVIDUAL, newest_unfinished(earlier)
    if isinstance(command, Reopen) and before_end is not None and state.status.is_final and takes_turns:
        command = replace(command, turn=find_ended_turn(before_end, state))
    if isinstance(command, Undo):
        turns = TurnStack()
        for each in earlier:
            turns.add_transition(each.transition)
        command = replace(command, restored=turns.find_restored_turn(state, command))
    decision = engine.apply(state, command, T0 + at_ms)
    yield from (Produced(each, overdue) for each in decision.overdue)
    yield from (Produced(each, CommitCause("anonymous", verb, args or None)) for each in decision.own)
    yield from (Produced(each, overdue) for each in decision.follow_up)


def newest_unfinished(produced: Sequence[Produced]) -> Session | None:
    """Return the newest state that is not final, None if there is none."""
    states = (each.transition.state for each in reversed(produced))
    return next((state for state in states if not state.status.is_final), None)


def play(mode: str, steps: Sequence[Step], **fields: Any) -> list[Produced]:
    """Play a session and return everything that it produced, its creation first."""
    produced = [created(mode, **fields)]
    for step in steps:
        produced += produced_by(produced[-1].transition.state, step, tuple(produced))
    return produced
