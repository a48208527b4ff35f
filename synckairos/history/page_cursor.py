"""Page cursors: opaque texts that contain the list position of the last item of a page.

A caller sends the cursor of a page to get the next page.
"""

import base64
import binascii
from typing import Any
from uuid import UUID

import orjson

from synckairos.errors import ValidationFailed
from synckairos.store.participant_sessions import ListKey

MAX_TEXT = 200
"""Maximum characters of a text in a cursor. The texts in cursors are ids and epochs."""

MAX_NUMBER = 2**53 - 1
"""Largest number in a cursor. The smallest number is `-MAX_NUMBER`."""


def render_cursor(*key: int | str) -> str:
    """Return the cursor for a list position: the values of `key` as JSON in base64url without padding."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).rstrip(b"=").decode()


def parse_cursor(text: str, *types: type) -> tuple[Any, ...]:
    """Return the list position that a cursor of `render_cursor` contains, as a tuple.

    `types` are the expected types of the values, `int` or `str`, in order.

    Raises: ValidationFailed if `text` is not a cursor with values of these types.
    """
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        key = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (UnicodeEncodeError, binascii.Error, orjson.JSONDecodeError):
        key = None
    if not isinstance(key, list) or [type(each) for each in key] != list(types) or not all(map(_is_allowed, key)):
        raise _invalid_cursor()
    return tuple(key)


def parse_list_cursor(cursor: str | None) -> ListKey | None:
    """Return the position that a cursor of a list of sessions contains.

    The position is an instant in ms since the Unix epoch, and a session id. Return None if `cursor` is None, for the
    start of the list.

    Raises: ValidationFailed if the cursor is invalid.
    """
    if cursor is None:
        return None
    at_ms, text = parse_cursor(cursor, int, str)
    try:
        key = at_ms, str(UUID(text))
    except ValueError:
        raise _invalid_cursor() from None
    if at_ms < 0:
        raise _invalid_cursor()
    return key


def _invalid_cursor() -> ValidationFailed:
    return ValidationFailed.at_path("cursor", "should be a next_cursor of the page before")


def _is_allowed(member: int | str) -> bool:
    """Return whether Redis and Postgres accept this value of a cursor. A caller can send any text as a cursor."""
    if isinstance(member, str):
        return len(member) <= MAX_TEXT and "\0" not in member
    return -MAX_NUMBER <= member <= MAX_NUMBER
