"""The last versions of a session as Redis keeps them: the newest one's document, and with each version the way back.

So a switch among a thousand participants is kept in two kilobytes and not in a quarter of a million.
"""

from collections.abc import Iterator, Sequence
from itertools import dropwhile

from synckairos.wire.document_splices import apply_body
from synckairos.wire.feed_message import FeedMessage, PackedMessage
from synckairos.wire.snapshot import Snapshot


def walk_back(newest: Snapshot, kept: Sequence[bytes]) -> Iterator[FeedMessage]:
    """Yield the versions from this one back to the oldest kept, newest first, each made when it is asked for.

    `kept` are the history's parcels, oldest first, read no earlier than the document. They lead back from the very
    bytes that the tag names: none where the store lost these meanwhile and issued the version anew.
    """
    tag, document = newest.tag, newest.document

    def is_newer(parcel: PackedMessage) -> bool:
        return parcel.message.snapshot.position != newest.position

    for parcel in dropwhile(is_newer, map(PackedMessage.parse, reversed(kept))):
        if not parcel.message.snapshot.tag:
            return  # kept by a release that kept whole states and no way back
        if tag and parcel.message.snapshot.tag != tag:
            return
        tag = ""  # each of the others is led to by the one after it
        yield parcel.with_document(document)
        if not parcel.body:
            return
        document = apply_body(document, parcel.body)
