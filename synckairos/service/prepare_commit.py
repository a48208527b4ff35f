"""Preparation of commits: builds versions from the transitions of `clock`, and the commit that the store executes.

The module sends no command to a store.
"""

import secrets
from collections.abc import Iterable, Sequence

from msgspec import Struct

from synckairos.clock.model import Session
from synckairos.clock.transition import Transition
from synckairos.clock.upcoming_event import next_upcoming_event
from synckairos.errors import SyncKairosError
from synckairos.session_names import bare_id
from synckairos.store.commit_script import Commit, NewVersion
from synckairos.store.stored_session import StoredSession
from synckairos.telemetry.tracing import VersionId
from synckairos.wire.feed_message import DocumentChange, FeedMessage
from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.outbox_entry import CommitCause, render_event
from synckairos.wire.rendered_session import RenderedSession
from synckairos.wire.snapshot import SessionSnapshot

MAX_ATTEMPTS = 500
"""Maximum number of attempts of one command. After that the command fails with a 503.

Each attempt lost a race, which means that another command succeeded.
"""

TAG_BYTES = 8


def traced_version(session_name: str, snapshot: SessionSnapshot) -> VersionId:
    """Return the id of a committed version for its trace."""
    return VersionId(bare_id(session_name), snapshot.epoch, snapshot.version)


class RecordedOutcome(Struct, frozen=True):
    """The outcome of a command with a command id, for the idempotency record.

    `refusal` is None if the command was accepted.
    """

    command_id: str
    fingerprint: str
    refusal: SyncKairosError | None = None
    expired_participant_id: str | None = None

    def render_record(self, snapshot: SessionSnapshot) -> bytes:
        """Render the idempotency record, which has the epoch and version of `snapshot`.

        If the command was accepted, `snapshot` must be the session after the command. If it was refused, `snapshot`
        must be the version on which it was refused.
        """
        if self.refusal is not None:
            return IdempotencyRecord.from_refusal(self.fingerprint, *snapshot.epoch_and_version, self.refusal).render()
        return IdempotencyRecord(self.fingerprint, *snapshot.epoch_and_version, self.expired_participant_id).render()


class PreparedCommit(Struct, frozen=True):
    """A commit to execute, and the session that Redis will have after the commit has succeeded (`stored`)."""

    commit: Commit
    stored: StoredSession

    @property
    def has_nothing_to_write(self) -> bool:
        """Return whether the commit has neither a new version nor an idempotency record."""
        return not self.commit.versions and not self.commit.record


def prepare_commit(
    session_name: str,
    base: StoredSession | None,
    versions: Sequence[NewVersion],
    after: Session,
    *,
    outcome: RecordedOutcome | None = None,
    by_time: bool = False,
) -> PreparedCommit:
    """Prepare the commit of `versions` that lead from the stored session `base` to the state `after`.

    `session_name` is the name of the session in its tenant.
    If `base` is None, Redis must not have the session, and `versions` must not be empty. `outcome` is stored as an
    idempotency record, None for no record. `by_time` must be True only if all versions are overdue transitions.
    """
    due_ms = next_transition_at_ms(after)
    if versions:
        snapshot = versions[-1].message.snapshot
        is_same_epoch = base is not None and base.snapshot.epoch == snapshot.epoch
        stored = StoredSession(snapshot, due_ms, base.audited_version if base is not None and is_same_epoch else None)
    else:
        assert base is not None
        stored = base
    commit = Commit(
        session_name=session_name,
        base=None if base is None else base.snapshot,
        versions=versions,
        status=after.status,
        due_ms=due_ms,
        live_since_ms=created_at_if_live_ms(after),
        command_id=None if outcome is None else outcome.command_id,
        record=b"" if outcome is None else outcome.render_record(stored.snapshot),
        by_time=by_time,
    )
    return PreparedCommit(commit, stored)


def build_versions(
    transitions: Iterable[Transition], causes: Iterable[CommitCause], before: RenderedSession, tag: str
) -> tuple[list[NewVersion], RenderedSession]:
    """Build the new versions of consecutive transitions. Return the versions and the session after the last transition.

    `before` is the session before the first transition, and `tag` is the tag of the document of `before`.
    """
    versions: list[NewVersion] = []
    for transition, cause in zip(transitions, causes, strict=True):
        before = before.render_next(transition.state)
        versions.append(build_version(transition, cause, before, tag))
        tag = versions[-1].message.snapshot.tag
    return versions, before


def build_version(
    transition: Transition, cause: CommitCause, after: RenderedSession | None = None, base_tag: str = ""
) -> NewVersion:
    """Build the new version of one transition, with a new random tag.

    `after` is the rendered session after the transition. If `after` is None, this function renders the session. The
    splices of `after` apply to the document with the tag `base_tag`. If `base_tag` is empty, the version has the whole
    document instead of splices.
    """
    after = after or RenderedSession.render(transition.state)
    change = DocumentChange(base_tag, after.splices, after.patch) if base_tag and after.splices else None
    message = FeedMessage.from_transition(
        transition, after.document, secrets.token_hex(TAG_BYTES), change, is_by_time=cause.is_time
    )
    return NewVersion(render_event(transition, cause), message)


def next_transition_at_ms(state: Session) -> int | None:
    """Return the instant of the commit of the session's next transition by time, ms since the Unix epoch.

    It is the instant of the transition itself, or the end of its grace at the flag. None if there is no transition.
    """
    due = next_upcoming_event(state)
    return None if due is None else due.committed_at_ms


def created_at_if_live_ms(state: Session) -> int | None:
    """Return the creation instant of the session in ms since the Unix epoch. None if it has ended or was deleted."""
    return None if state.deleted or state.status.is_final else state.rules.created_at_ms
