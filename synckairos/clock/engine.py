"""The rules: `apply` turns a state, a command and an instant into transitions.

What is overdue comes first, each link of the chain effective at its own deadline, then the command. Pure: no I/O, no
clock read, no ids made. The status table below is the whole life of a session; a missing entry is the refusal.
"""

from dataclasses import dataclass, replace

from synckairos.clock import membership, turns
from synckairos.clock.adjusting import adjust
from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Cancel,
    Command,
    Complete,
    Delete,
    Expire,
    PauseFor,
    Precondition,
    RemoveParticipant,
    Resume,
    Start,
    Switch,
    UpdateMetadata,
)
from synckairos.clock.merge import merge_patch
from synckairos.clock.model import (
    TIMEOUT_REASON,
    EventType,
    OnTimeout,
    Pause,
    Session,
    Status,
    Transition,
)
from synckairos.clock.timing import Due, next_due, settle, to_zero_ms
from synckairos.clock.turns import close, event, step
from synckairos.errors import InvalidTransition, PreconditionFailed, SyncKairosError, VersionConflict

ALLOWED: dict[type[Command], frozenset[Status]] = {
    Start: frozenset({Status.PENDING}),
    Switch: frozenset({Status.RUNNING, Status.PAUSED}),
    PauseFor: frozenset({Status.RUNNING, Status.PAUSED}),
    Resume: frozenset({Status.PAUSED}),
    Complete: frozenset({Status.PENDING, Status.RUNNING, Status.PAUSED}),
    Cancel: frozenset({Status.PENDING, Status.RUNNING, Status.PAUSED}),
    Adjust: frozenset({Status.PENDING, Status.RUNNING, Status.PAUSED}),
    AddParticipant: frozenset({Status.PENDING, Status.RUNNING, Status.PAUSED}),
    RemoveParticipant: frozenset({Status.PENDING, Status.RUNNING, Status.PAUSED}),
    UpdateMetadata: frozenset(Status),
    Delete: frozenset(Status),
    Expire: frozenset(Status),
}
"""Which command fits which status. `switch` on a paused session needs a timeout pause besides (`turns.switch`)."""

MAX_LINKS = 64
"""Overdue links in one decision: a longer chain is committed piece by piece, so that no commit grows without bound."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a command: what fell due before it, what it brings about itself, what that makes due at once.

    `refusal` says why the command was refused, where it was; the links stand all the same. `expired_participant_id` is
    whose time ran out on the way. `more` says that the chain of overdue links is longer than one decision carries:
    commit these and decide again.
    """

    links: tuple[Transition, ...] = ()
    own: tuple[Transition, ...] = ()
    later: tuple[Transition, ...] = ()
    refusal: SyncKairosError | None = None
    expired_participant_id: str | None = None
    more: bool = False

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """All of them in the order in which they take effect."""
        return (*self.links, *self.own, *self.later)


def apply(state: Session, command: Command, now_ms: int, precondition: Precondition | None = None) -> Decision:
    """Decide a command at an instant.

    `now_ms` before the state's last transition counts as that transition: time never runs backwards. Checks come in
    the order final status, version, then what the command itself needs. A refused command still carries the links
    that fell due. Never raises and never mutates `state`.
    """
    now_ms = max(now_ms, state.updated_at_ms)
    links = _overdue(state, now_ms)
    reached = links[-1].state if links else state
    if len(links) == MAX_LINKS:
        return Decision(tuple(links), more=True)
    timed_out = _timed_out(state, links)
    try:
        _check(reached, command, precondition)
        if isinstance(command, Switch) and timed_out is not None and _is_consumed(state, reached, command):
            done: list[Transition] = []
        else:
            done = _decide(reached, command, now_ms)
    except SyncKairosError as refusal:
        return Decision(tuple(links), refusal=refusal, expired_participant_id=timed_out)
    after = done[-1].state if done else reached
    later = _overdue(after, now_ms) if done else []
    expired = timed_out or _timed_out(after, later)
    return Decision(tuple(links), tuple(done), tuple(later), expired_participant_id=expired)


def _check(state: Session, command: Command, precondition: Precondition | None) -> None:
    """Refuse by status, then by version."""
    if state.status not in ALLOWED[type(command)]:
        raise InvalidTransition(f"A session that is {state.status} can't {_verb(command)}")
    if precondition is None:
        return
    if precondition.etag is not None and precondition.etag != (state.version, state.epoch):
        raise PreconditionFailed(f"The session is at version {state.version} of epoch {state.epoch}")
    if precondition.version is not None and precondition.version != state.version:
        raise VersionConflict(precondition.version, state.version)


def _is_consumed(before: Session, reached: Session, command: Switch) -> bool:
    """Tell whether a switch was meant for the turn that just ran out, so that it passes nobody else's turn."""
    if reached.status.is_final:
        return False
    if command.current_participant_id is None:
        return True
    was, now = before.active_participant, reached.active_participant
    if now is not None and command.current_participant_id == now.participant_id:
        return reached.status is Status.PAUSED
    return was is not None and command.current_participant_id == was.participant_id


def _timed_out(before: Session, links: list[Transition]) -> str | None:
    """Return whose clock ran out first among these links."""
    state = before
    for link in links:
        if link.event.type in TIMEOUTS or (link.event.type is EventType.SESSION_PAUSED and _at_zero(link.state)):
            active = state.active_participant
            return None if active is None else active.participant_id
        state = link.state
    return None


TIMEOUTS = frozenset(
    {
        EventType.PARTICIPANT_EXPIRED,
        EventType.GROUP_EXPIRED,
        EventType.CYCLE_EXPIRED,
        EventType.SESSION_EXPIRED,
    }
)


def _at_zero(state: Session) -> bool:
    return any(pause.reason == TIMEOUT_REASON for pause in state.pauses)


# -- what time does ---------------------------------------------------------------------------------------------------


def _overdue(state: Session, now_ms: int) -> list[Transition]:
    """Return what fell due up to `now_ms`, in order, each effective at its own instant; at most `MAX_LINKS`."""
    links: list[Transition] = []
    while len(links) < MAX_LINKS and (due := next_due(state)) is not None and due.at_ms <= now_ms:
        links.append(_link(state, due))
        state = links[-1].state
    return links


def _link(state: Session, due: Due) -> Transition:
    at_ms = max(due.at_ms, state.updated_at_ms)
    match due.kind:
        case "warning":
            turn = replace(state.turn, warned_ms=(*state.turn.warned_ms, due.warning_ms))
            warned = replace(step(state, at_ms), turn=turn)
            seen = event(EventType.TIME_WARNING, warned, at_ms)
            return Transition(replace(seen, remaining_ms=due.warning_ms), warned)
        case "lift":
            standing = tuple(pause for pause in state.pauses if pause.lifts_at_ms != due.at_ms)
            return _lift(state, standing, at_ms)
        case "timeout":
            return _time_out(settle(state, at_ms), at_ms)


def _time_out(state: Session, at_ms: int) -> Transition:
    """Bring about what `on_timeout` says, at the deadline itself."""
    state = turns.mark_expired(state)
    match state.rules.on_timeout:
        case OnTimeout.ADVANCE:
            return turns.advance(state, at_ms)
        case OnTimeout.PAUSE:
            paused = replace(
                step(state, at_ms),
                status=Status.PAUSED,
                anchor_ms=None,
                pauses=(*state.pauses, Pause(TIMEOUT_REASON, at_ms)),
            )
            return Transition(event(EventType.SESSION_PAUSED, paused, at_ms), paused)
        case _:
            return close(state, Status.EXPIRED, EventType.SESSION_EXPIRED, at_ms)


# -- what somebody asks -----------------------------------------------------------------------------------------------


def _decide(state: Session, command: Command, now_ms: int) -> list[Transition]:
    match command:
        case Start():
            return [turns.start(state, now_ms)]
        case Switch():
            return [turns.switch(state, command, now_ms)]
        case PauseFor():
            return [_pause(state, command, now_ms)]
        case Resume():
            return [_resume(state, command, now_ms)]
        case Complete():
            return [close(settle(state, now_ms), Status.COMPLETED, EventType.SESSION_COMPLETED, now_ms)]
        case Cancel():
            return [close(settle(state, now_ms), Status.CANCELLED, EventType.SESSION_CANCELLED, now_ms)]
        case Adjust():
            return [adjust(state, command, now_ms)]
        case AddParticipant():
            return [membership.add(state, command.participant, now_ms)]
        case RemoveParticipant():
            return membership.remove(state, command.participant_id, now_ms)
        case UpdateMetadata():
            return _update_metadata(state, command, now_ms)
        case Delete():
            return [_delete(state, now_ms)]
        case Expire():
            return []


def _pause(state: Session, command: PauseFor, now_ms: int) -> Transition:
    if any(pause.reason == command.reason for pause in state.pauses):
        raise InvalidTransition(f"The session is already paused for the reason {command.reason!r}")
    settled = settle(state, now_ms)
    paused = replace(
        step(settled, now_ms),
        status=Status.PAUSED,
        anchor_ms=None,
        pauses=(*settled.pauses, Pause(command.reason, now_ms, command.max_ms)),
    )
    return Transition(event(EventType.SESSION_PAUSED, paused, now_ms), paused)


def _resume(state: Session, command: Resume, now_ms: int) -> Transition:
    if command.reason is None:
        standing: tuple[Pause, ...] = ()
    else:
        standing = tuple(pause for pause in state.pauses if pause.reason != command.reason)
        if len(standing) == len(state.pauses):
            raise InvalidTransition(f"The session is paused, but not for the reason {command.reason!r}")
    if not standing and _at_zero(state):
        left_ms = to_zero_ms(state)
        if left_ms is not None and left_ms <= 0:
            raise InvalidTransition("The session is paused at zero: add time with adjust, or switch")
    return _lift(state, standing, now_ms)


def _lift(state: Session, standing: tuple[Pause, ...], at_ms: int) -> Transition:
    runs = not standing
    lifted = replace(
        step(state, at_ms),
        status=Status.RUNNING if runs else Status.PAUSED,
        anchor_ms=at_ms if runs else None,
        pauses=standing,
    )
    return Transition(event(EventType.SESSION_RESUMED, lifted, at_ms), lifted)


def _update_metadata(state: Session, command: UpdateMetadata, now_ms: int) -> list[Transition]:
    metadata = merge_patch(state.metadata, command.patch)
    if metadata == state.metadata:
        return []
    updated = replace(step(state, now_ms), metadata=metadata)
    return [Transition(event(EventType.METADATA_UPDATED, updated, now_ms), updated)]


def _delete(state: Session, now_ms: int) -> Transition:
    """Make the tombstone: a version like any other; what still lived counts as cancelled."""
    if state.status.is_final:
        gone = step(state, now_ms)
    else:
        gone = close(settle(state, now_ms), Status.CANCELLED, EventType.SESSION_CANCELLED, now_ms).state
    return Transition(event(EventType.SESSION_DELETED, gone, now_ms), replace(gone, deleted=True))


def _verb(command: Command) -> str:
    return {
        Start: "be started",
        Switch: "switch",
        PauseFor: "be paused",
        Resume: "be resumed",
        Complete: "be completed",
        Cancel: "be cancelled",
        Adjust: "be adjusted",
        AddParticipant: "take a participant",
        RemoveParticipant: "lose a participant",
    }.get(type(command), "do that")

