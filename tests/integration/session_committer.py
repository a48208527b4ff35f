"""Commits of sessions at instants that a test chooses: real transitions, committed by the real script."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from synckairos.clock import creation, engine
from synckairos.clock.commands import Command, Create, NewParticipant
from synckairos.clock.model import OnTimeout, Session, SyncMode
from synckairos.clock.recover_lost_session import recover_session
from synckairos.clock.transition import Transition
from synckairos.clock.upcoming_event import next_upcoming_event
from synckairos.service.restore import CAUSED_BY_RECOVERY
from synckairos.store.commit_script import Commit, Committed, NewVersion
from synckairos.store.sessions import SessionStore
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.outbox_entry import CommitCause, render_event
from synckairos.wire.session_json import render_session
from synckairos.wire.snapshot import SessionSnapshot

ALICE = "aaaaaaaa-0000-4000-8000-000000000001"
BOB = "bbbbbbbb-0000-4000-8000-000000000002"
HOUR_MS = 3_600_000

ACTOR = "tester"
"""Actor of all versions that were not created by a recovery."""


def chess(budget_ms: int = HOUR_MS, **more: Any) -> Create:
    """Return the creation of a session of ALICE and BOB with `budget_ms` each; `more` are members of `Create`."""
    players = tuple(NewParticipant(participant_id, total_time_ms=budget_ms) for participant_id in (ALICE, BOB))
    return Create(SyncMode.PER_PARTICIPANT, players, on_timeout=OnTimeout.EXPIRE, **more)


@dataclass(slots=True)
class SessionLife:
    """The expected content of one session: its state, its stored snapshot, and its documents by version."""

    state: Session
    snapshot: SessionSnapshot
    documents: dict[int, bytes]

    @property
    def session_id(self) -> str:
        return self.state.session_id


class SessionCommitter:
    """Creates and changes sessions in a store, and returns what it committed."""

    def __init__(self, store: SessionStore) -> None:
        self.store = store

    async def create(
        self, spec: Create, at_ms: int, session_id: str | None = None, base: SessionSnapshot | None = None
    ) -> SessionLife:
        """Create a session. `base` is the tombstone that the session replaces."""
        created = creation.create(spec, session_id or str(uuid4()), uuid4().hex[:16], at_ms)
        life = SessionLife(created.state, base or SessionSnapshot("", 0, b""), {})
        await self._commit(life, [created], CommitCause(ACTOR, "create"), base)
        return life

    async def apply(
        self, life: SessionLife, command: Command, at_ms: int, command_id: str | None = None
    ) -> SessionLife:
        """Commit an accepted command with all overdue transitions. Change `life` and return it."""
        decision = engine.apply(life.state, command, at_ms)
        assert decision.refusal is None, decision.refusal
        name = type(command).__name__.lower()
        fingerprint = None if command_id is None else f"print of {command_id}"
        cause = CommitCause(ACTOR, name, {"at": at_ms}, command_id, fingerprint)
        await self._commit(life, list(decision.all_transitions), cause, life.snapshot)
        return life

    async def recover(self, life: SessionLife, epoch: str, at_ms: int) -> SessionLife:
        """Recover a session that the store lost, under a new epoch."""
        transition = recover_session(life.state, epoch, at_ms)
        after = SessionLife(transition.state, life.snapshot, {})
        await self._commit(after, [transition], CAUSED_BY_RECOVERY, None)
        return after

    async def _commit(
        self, life: SessionLife, transitions: list[Transition], cause: CommitCause, base: SessionSnapshot | None
    ) -> None:
        steps = []
        for transition in transitions:
            document = render_session(transition.state)
            life.documents[transition.state.version] = document
            message = FeedMessage.from_transition(transition, document, is_by_time=cause.is_time)
            steps.append(NewVersion(render_event(transition, cause), message))
        after = transitions[-1].state
        due = next_upcoming_event(after)
        outcome = await self.store.commit(
            Commit(
                session_name=after.session_id,
                base=base,
                versions=steps,
                status=after.status,
                due_ms=None if due is None else due.at_ms,
                live_since_ms=None if after.status.is_final else after.rules.created_at_ms,
            )
        )
        assert isinstance(outcome, Committed)
        life.state = after
        life.snapshot = SessionSnapshot(
            after.epoch, after.version, life.documents[after.version], deleted=after.deleted
        )
