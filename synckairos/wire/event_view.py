"""Events for watchers that get the row of one participant alone: without the participants and charges of others."""

from synckairos.clock.transition import EventType
from synckairos.frozen_replace import replace
from synckairos.wire.feed_message import FeedMessage


def concerns(message: FeedMessage, participant_id: str) -> bool:
    """Return whether an event names a participant, or charges time to it."""
    return _names(message, participant_id) or any(each.participant_id == participant_id for each in message.charges)


def limit_event(message: FeedMessage, participant_id: str) -> FeedMessage | None:
    """Return an event as a watcher sees it that gets the row of this participant alone.

    Return None if the event concerns only the clocks of other participants.
    """
    is_named = _names(message, participant_id)
    names_others = message.participant_id is not None or bool(message.participant_ids)
    if names_others and not is_named and _is_of_participants(message.event_type):
        return None
    return replace(
        message,
        participant_id=message.participant_id if message.participant_id == participant_id else None,
        participant_ids=(participant_id,) if participant_id in message.participant_ids else (),
        charges=tuple(each for each in message.charges if each.participant_id == participant_id),
    )


def _names(message: FeedMessage, participant_id: str) -> bool:
    return message.participant_id == participant_id or participant_id in message.participant_ids


def _is_of_participants(event_type: EventType) -> bool:
    """Return whether an event concerns only the participants that it names, and not the whole session."""
    return event_type.startswith("participant_") or event_type in (EventType.TIME_WARNING, EventType.OVERTIME_STARTED)
