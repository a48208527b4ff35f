"""The rows of a session that a caller sees: all rows, or the row of one participant.

In `individual` the time of a participant does not concern the other participants. A caller below the role `controller`
sees only the row of the participant as which it acts, whatever it requests. A caller that acts as no participant sees
no row.
"""

from synckairos.errors import Forbidden, ParticipantNotFound, StoreUnavailable
from synckairos.principal import Principal, includes_role
from synckairos.wire.document_scan import extract_labels, is_individual
from synckairos.wire.participant_view import NO_PARTICIPANT, has_row, render_participant_view


def find_only_row(principal: Principal, session_id: str, document: bytes, requested: str | None = None) -> str | None:
    """Return the id of the only participant whose row a caller gets. Return None if the caller gets all rows.

    `document` is the document of the session, and `requested` the participant that the caller requests, None for all.
    The result is `NO_PARTICIPANT` if the caller gets no row.

    Raises:
        Forbidden: The caller requests a row that it does not see.
        ParticipantNotFound: The session does not have the requested participant.
    """
    limit = find_row_limit(principal, session_id, document)
    if limit is not None:
        if requested not in (None, limit):
            raise Forbidden("Only controllers see the rows of other participants in an individual session; omit only")
        return limit
    if requested is not None and not has_row(document, requested):
        raise ParticipantNotFound(requested)
    return requested


def find_row_limit(principal: Principal, session_id: str, document: bytes) -> str | None:
    """Return the id of the only participant whose row a caller is allowed to see, None if it sees all rows.

    The result is `NO_PARTICIPANT` if the caller sees no row. If the member rows that decide are unknown, the caller is
    limited to the row of its own participant.
    """
    if not is_individual(document) or principal.role == "admin":
        return None
    labels = extract_labels(document).items() if principal.depends_on_labels else ()
    try:
        role = principal.role_on(session_id, labels)
    except StoreUnavailable:
        role = None
    if role is not None and includes_role(role, "controller"):
        return None
    return principal.participant_id or NO_PARTICIPANT


def limit_document(principal: Principal, session_id: str, document: bytes) -> bytes:
    """Return the document of a session as a caller sees it."""
    only = find_row_limit(principal, session_id, document)
    return document if only is None else render_participant_view(document, only)
