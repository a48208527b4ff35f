"""Import of a session from another product. The session continues under an epoch and a version of this product."""

from synckairos.clock.make_transition import make_session_event
from synckairos.clock.model import EventType, Session, Transition
from synckairos.frozen_replace import replace


def import_session(state: Session, epoch: str, version: int, not_before_ms: int) -> Transition:
    """Return the first transition of an imported session: `state` with `epoch` and `version`.

    The transition takes effect at the instant of the last transition in the other product, but not before
    `not_before_ms`. So no clock loses or gains time. A deadline that has passed in the meantime keeps its instant.
    """
    at_ms = max(state.updated_at_ms, not_before_ms)
    imported = replace(state, epoch=epoch, version=version, updated_at_ms=at_ms)
    return Transition(make_session_event(EventType.SESSION_IMPORTED, imported, at_ms), imported)
