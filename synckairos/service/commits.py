"""What to commit: the clock's transitions as the store takes them, and what it then holds. Asks nobody."""

import secrets
from collections.abc import Iterable, Sequence

from synckairos.clock.model import Session, Transition
from synckairos.clock.timing import next_due_event
from synckairos.store.commit_script import Commit, NewVersion
from synckairos.store.stored_session import StoredSession
from synckairos.wire.feed_message import DocumentChange, FeedMessage
from synckairos.wire.outbox_entry import Cause, render_event
from synckairos.wire.rendered_session import RenderedSession

MAX_ATTEMPTS = 500
"""Lost races in a row after which a command gives up with a 503; each loss means that somebody else got through."""

TAG_BYTES = 8


def due_at_ms(state: Session) -> int | None:
    """Return the instant at which time itself acts next, None where it doesn't any more."""
    due = next_due_event(state)
    return None if due is None else due.at_ms


def build_version(
    transition: Transition, cause: Cause, after: RenderedSession | None = None, base: str = ""
) -> NewVersion:
    """Return what to commit for a transition: `after` it, rendered, on the version whose tag is `base`."""
    after = after or RenderedSession.render(transition.state)
    change = DocumentChange(base, after.splices, after.patch) if base and after.splices else None
    message = FeedMessage.from_transition(transition, after.document, secrets.token_hex(TAG_BYTES), change)
    return NewVersion(render_event(transition, cause), message)


def build_versions(
    transitions: Iterable[Transition], causes: Iterable[Cause], before: RenderedSession, tag: str
) -> tuple[list[NewVersion], RenderedSession]:
    """Return what to commit for transitions on the version `before`, tagged `tag`, and the last one rendered."""
    steps: list[NewVersion] = []
    for transition, cause in zip(transitions, causes, strict=True):
        before = before.render_next(transition.state)
        steps.append(build_version(transition, cause, before, tag))
        tag = steps[-1].message.snapshot.tag
    return steps, before


def stored_after(base: StoredSession | None, steps: Sequence[NewVersion], after: Session) -> StoredSession:
    """Return what Redis holds once these steps are committed on top of `base`."""
    if not steps:
        assert base is not None
        return base
    last = steps[-1].message.snapshot
    audited = base.audited_version if base is not None and base.snapshot.epoch == last.epoch else None
    return StoredSession(last, due_at_ms(after), audited)


def commit_of(
    after: Session,
    base: StoredSession | None,
    steps: Sequence[NewVersion],
    command_id: str | None = None,
    record: bytes = b"",
    *,
    by_time: bool = False,
) -> Commit:
    """Return the commit of steps that lead from `base` to the state `after`."""
    return Commit(
        session_id=after.session_id,
        base=None if base is None else base.snapshot,
        versions=steps,
        status=after.status,
        due_ms=due_at_ms(after),
        live_since_ms=live_since_ms(after),
        command_id=command_id,
        record=record,
        by_time=by_time,
    )


def live_since_ms(state: Session) -> int | None:
    """Return a session's creation instant, None where it is final or deleted."""
    return None if state.deleted or state.status.is_final else state.rules.created_at_ms
