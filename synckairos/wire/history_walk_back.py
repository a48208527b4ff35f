"""Reader of a session's version history in Redis.

The history is the newest document, and for each version reverse splices.

With reverse splices, a switch in a session of 1,000 participants takes 2 KB in the history instead of 250 KB. In small
sessions, messages are packed instead (`packed_history.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import dropwhile

from synckairos.wire.document_splices import apply_message_body
from synckairos.wire.feed_message import FeedMessage, PackedFeedMessage
from synckairos.wire.packed_history import is_packed, read_position, unpack_message
from synckairos.wire.snapshot import SessionSnapshot


def rebuild_earlier_versions(newest: SessionSnapshot, packed: Sequence[bytes]) -> Iterator[FeedMessage]:
    """Yield the feed messages of `newest` and of all earlier versions in the version history, in descending order.

    Each feed message is built when the iterator reaches it. `packed` must have the stored messages of the history,
    oldest first. The caller must read `packed` together with `newest` or later. Messages of versions after `newest` are
    skipped. The iterator ends before a version that an old release stored without reverse splices. It yields nothing if
    the version number of `newest` now has another tag, because the store lost that version and used its number again.
    """
    tag, document = newest.tag, newest.document
    for message in _skip_newer(newest, reversed(packed)):
        stored_tag = read_stored_position(message).tag
        if not stored_tag:
            return  # from an old release that stored whole states instead of reverse splices
        if tag and stored_tag != tag:
            return
        tag = ""  # each version leads to the version before, so only the first tag needs the check
        kept = PackedFeedMessage.parse(unpack_message(message, document) if is_packed(message) else message)
        yield kept.with_document(document)
        if not kept.body:
            return
        document = apply_message_body(document, kept.body)


def _skip_newer(newest: SessionSnapshot, messages: Iterable[bytes]) -> Iterator[bytes]:
    """Return the messages from the message of `newest` on. `messages` are the stored messages, newest first."""
    return dropwhile(
        lambda message: read_stored_position(message).epoch_and_version != newest.epoch_and_version, messages
    )


def read_stored_position(message: bytes) -> SessionSnapshot:
    """Return epoch, version and tag of a stored message, packed or not. The document of the result is empty.

    Raises: ValueError or MsgspecError if the message is malformed.
    """
    return read_position(message) if is_packed(message) else PackedFeedMessage.parse(message).message.snapshot
