"""Import of a session from another product. The session continues under an epoch and a version of this product."""

from synckairos.clock.make_transition import make_session_event
from synckairos.clock.model import Session
from synckairos.clock.transition import EventType, Transition
from synckairos.frozen_replace import replace


def import_session(state: Session, epoch: str, version: int, not_before_ms: int) -> Transition:
    """Return the first transition of an imported session: `state` with `epoch` and `version`.

    The instant of the transition is the later of `not_before_ms` and the instant of the last transition in the other
    product. The anchor stays, so no clock loses or gains time. A deadline that has passed in the meantime keeps its
    instant. The event has no charges (None), because only the version in the other product tells what it charges.
    """
    at_ms = max(state.updated_at_ms, not_before_ms)
    imported = replace(state, epoch=epoch, version=version, updated_at_ms=at_ms)
    event = make_session_event(EventType.SESSION_IMPORTED, imported, at_ms)
    return Transition(replace(event, charges=None), imported)
