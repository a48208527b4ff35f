"""Documents of consecutive event rows of one session, built from the splices of the rows. Pure.

A query returns three columns for each row: `snapshot`, which is the document or the splices, `whole_version`, and
`bodies`. The function `sync_document` of Postgres builds the document of one row, and reads up to 64 rows for it. For
many rows of a session, this module reads each row once.
"""

from collections.abc import Sequence

from synckairos.wire.document_splices import apply_message_body


class RowDocuments:
    """Builder of the documents of rows. It has one document in memory: that of the row before."""

    def __init__(self) -> None:
        self._document: bytes | None = None

    def build_document(self, snapshot: bytes, whole_version: int | None, bodies: Sequence[bytes] | None) -> bytes:
        """Return the document of the next row of the query.

        `whole_version` is None if `snapshot` is the document. Otherwise `snapshot` has splices. If the row before in
        the query is not the version before of the same epoch, `bodies` has the snapshots of all rows from
        `whole_version` to the version before, in order. `bodies` is None for any other row.

        Raises: ValueError if a row is missing, or if splices are malformed or for a document of another length. Later
            rows with splices then raise too, until a row with a document or with `bodies`.
        """
        before, self._document = self._document, None
        if whole_version is None:
            document = snapshot
        else:
            if bodies is not None:
                before = _apply_bodies(bodies)
            if before is None:
                raise ValueError("the document of the version before is missing")
            document = apply_message_body(before, snapshot)
        self._document = document
        return document


def _apply_bodies(bodies: Sequence[bytes]) -> bytes | None:
    """Return the document of the last of these snapshots, of which the first is a document. None if there are none."""
    document = None
    for body in bodies:
        document = body if document is None else apply_message_body(document, body)
    return document
