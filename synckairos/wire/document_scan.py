"""Single facts of a session's document, mostly read from its bytes without parsing it."""

import re

import orjson

from synckairos.wire.instants import parse_instant_ms, render_instant


def extract_participants_json(document: bytes) -> bytes:
    """Return the JSON array of participants in a document, with its brackets. The document is not parsed."""
    # The members before the array contain only names and numbers that this server writes. No text inside the array
    # contains an unescaped quote.
    return document[document.index(b'"participants":') + 15 : document.index(b',"groups":[')]


def find_session_id(document: bytes) -> str:
    """Return the id of the session of a document, which is its first member. The document is not parsed."""
    return document[15:51].decode()


def extract_updated_at_ms(document: bytes) -> int:
    """Return the instant of the last transition in a document, in ms since the Unix epoch.

    The document is not parsed.
    """
    # No text before this member contains an unescaped quote, so the first match is the member itself.
    begin = document.index(b'"updated_at":"') + 14
    return parse_instant_ms(document[begin : document.index(b'"', begin)].decode())


def extract_created_at_ms(document: bytes) -> int:
    """Return the instant of the session's creation in a document, ms since the Unix epoch.

    Raises: ValueError if the document is not JSON or has no such instant.
    """
    created_at = orjson.loads(document).get("created_at")
    if not isinstance(created_at, str):
        raise ValueError("the document has no instant of creation")
    return parse_instant_ms(created_at)


def may_use_lag_compensation(document: bytes) -> bool:
    """Return whether a session possibly uses lag compensation, without parsing the document.

    False is always correct. True can be wrong, because metadata can contain the same text.
    """
    return b'"lag_compensation":true' in document


def extract_labels(document: bytes) -> dict[str, str]:
    """Return the labels in a document by key, empty without labels. Only the end of the document is parsed."""
    # The members after `turn` are the labels and the turn number. No text contains an unescaped quote, so the last
    # match is the member itself.
    end = document[document.rindex(b',"turn":{"used_ms":') + 1 :]
    labels: dict[str, str] = orjson.loads(b"{" + end).get("labels", {})
    return labels


_TURN_NUMBER_AT_END = re.compile(rb',"turn_number":\d+}\Z')


def is_second_edition(document: bytes) -> bool:
    """Return whether a document belongs to a session of the clock's second edition, without parsing the document."""
    return _TURN_NUMBER_AT_END.search(document, max(0, len(document) - 64)) is not None


def is_individual(document: bytes) -> bool:
    """Return whether a document belongs to a session in `individual`, without parsing the document."""
    # Before the participants, a document has only names, numbers and ids.
    return document.find(b'"sync_mode":"individual"', 0, document.find(b'"participants":')) >= 0


def starts_at_instant(document: bytes, at_ms: int) -> bool:
    """Return whether a document has the `starts_at` `at_ms` (ms since the Unix epoch), without parsing the document."""
    # No text before `updated_at` contains an unescaped quote, so a match is the member itself.
    end = document.index(b'"updated_at":"')
    return document.find(b'"starts_at":"%b"' % render_instant(at_ms).encode(), 0, end) >= 0
