"""Rights of a connection to its subscriptions, checked again after its credential or its member rows have changed."""

from synckairos.errors import StoreUnavailable
from synckairos.realtime.presence import PresenceTracker, presence_identity
from synckairos.realtime.watcher_interface import Watcher


def apply_rights_to_subscriptions(connection: Watcher, presence: PresenceTracker) -> None:
    """Count the client under the role and participant of its credential for presence.

    End the subscriptions to sessions that the client does not reach any more. If the member rows that decide are
    unknown, end the subscription with an error after which the client can try again.
    """
    principal = connection.principal
    for session_id, subscription in tuple(connection.subscriptions.items()):
        latest = subscription.notified
        try:
            # Before the first state of the session, the reads of the SUBSCRIBE decide.
            role = principal.role_on(session_id, ()) if latest is None else latest.role_of(principal)
        except StoreUnavailable:
            if latest is not None:
                connection.end_undecided(subscription)
            continue
        if role is None and latest is None and principal.depends_on_labels:
            continue
        if role is None:
            connection.end_without_right(subscription)
        else:
            presence.change_identity(subscription, presence_identity(principal, role))
            if latest is not None:
                subscription.limit_rows(latest)
