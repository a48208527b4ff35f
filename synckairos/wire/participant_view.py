"""Views of a session with the row of one participant alone: the document, and merge patches between two versions.

In a view, `participants` has only the row of its participant, and `groups` is empty. In `individual`, the members of
the session that follow from all rows have the values of this row, so that the view shows nothing about the others.
"""

from typing import Any

import orjson

from synckairos.wire.document_scan import is_individual
from synckairos.wire.document_split import DocumentParts

Json = dict[str, Any]

NO_PARTICIPANT = ""
"""Id of a view without a row, for clients that see none."""

MEMBERS_OF_ROW: Json = {"total_time_ms": 0, "time_used_ms": 0, "time_remaining_ms": None, "deadline_at": None}
"""Members of a session in `individual` that a view takes from its row, with their values in a view without a row."""


def render_participant_view(document: bytes, participant_id: str) -> bytes:
    """Return the document with only the row of this participant, without rows if it has no such row.

    Only the row and the members of the session are parsed, and only in `individual`.
    """
    begin, between, end = DocumentParts.find_lists(document)
    row = DocumentParts.find_row(document, participant_id, begin, between)
    view = b"%b%b%b%b" % (document[:begin], row, b'],"groups":[', document[end:])
    if not is_individual(document):
        return view
    members: Json = orjson.loads(view)
    values: Json = members["participants"][0] if members["participants"] else {}
    return orjson.dumps(members | {name: values.get(name, unset) for name, unset in MEMBERS_OF_ROW.items()})


def has_row(document: bytes, participant_id: str) -> bool:
    """Return whether a document has the row of a participant, without parsing the document."""
    begin, between, _ = DocumentParts.find_lists(document)
    return bool(DocumentParts.find_row(document, participant_id, begin, between))


def changes_row(patch: Json, participant_id: str) -> bool:
    """Return whether a merge patch of the whole document changes the row of a participant."""
    return participant_id in patch.get("participants", ())


def limit_patch(patch: Json, participant_id: str, document: bytes) -> Json:
    """Return the merge patch between two views from the merge patch between their documents.

    `document` is the document of one of the two versions. `patch` is not changed. For all participants whose rows the
    patch does not change, the result is the same.
    """
    limited = {name: value for name, value in patch.items() if name not in ("participants", "groups")}
    individual = is_individual(document)
    if individual:
        for name in MEMBERS_OF_ROW:
            limited.pop(name, None)
    if not changes_row(patch, participant_id):
        return limited
    row: Json | None = patch["participants"][participant_id]
    if individual:
        # A removed row has the values of a view without a row. In a merge patch null removes a member.
        limited |= MEMBERS_OF_ROW if row is None else {name: row[name] for name in MEMBERS_OF_ROW if name in row}
    return limited | {"participants": {participant_id: row}}
