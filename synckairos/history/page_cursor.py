"""Cursors of pages: the key of the last item of a page, opaque to the caller that sends it back."""

import base64
import binascii
from typing import Any
from uuid import UUID

import orjson

from synckairos.errors import ValidationFailed
from synckairos.store.participant_sessions import ListKey

MAX_TEXT = 200
"""Characters of a text in a key. The texts of this product are ids and epochs."""

MAX_NUMBER = 2**53 - 1
"""Largest number in a key, and with a minus sign the smallest."""


def render_cursor(*key: int | str) -> str:
    """Render a key as base64url without padding."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).rstrip(b"=").decode()


def parse_cursor(text: str, *types: type) -> tuple[Any, ...]:
    """Parse a cursor whose key has members of these types. Raises ValidationFailed if it is not one."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        key = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (UnicodeEncodeError, binascii.Error, orjson.JSONDecodeError):
        key = None
    if not isinstance(key, list) or [type(each) for each in key] != list(types) or not all(map(_is_allowed, key)):
        raise _invalid_cursor()
    return tuple(key)


def parse_list_cursor(cursor: str | None) -> ListKey | None:
    """Parse the cursor of a list that is newest first. None is the beginning of the list. Raises ValidationFailed."""
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
    return ValidationFailed.at("cursor", "should be a next_cursor of the page before")


def _is_allowed(member: int | str) -> bool:
    """Return whether a store accepts this value of a cursor. The check is needed because callers may invent cursors."""
    if isinstance(member, str):
        return len(member) <= MAX_TEXT and "\0" not in member
    return -MAX_NUMBER <= member <= MAX_NUMBER
