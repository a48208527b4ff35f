"""Cursors: the key of the last row of a page, opaque to whoever passes it back."""

import base64
import binascii
from typing import Any

import orjson

from synckairos.errors import ValidationFailed

MAX_TEXT = 200
"""Characters of a text in a key; ours are ids and epochs."""

MAX_NUMBER = 2**53 - 1


def render_cursor(*key: int | str) -> str:
    """Render a key as base64url without padding."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).rstrip(b"=").decode()


def parse_cursor(text: str, *types: type) -> tuple[Any, ...]:
    """Parse what `render_cursor` made of members of these types. Raises ValidationFailed where it isn't that."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        key = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (UnicodeEncodeError, binascii.Error, orjson.JSONDecodeError):
        key = None
    if not isinstance(key, list) or [type(each) for each in key] != list(types) or not all(map(_is_fine, key)):
        raise ValidationFailed.at("cursor", "should be a next_cursor of the page before")
    return tuple(key)


def _is_fine(member: int | str) -> bool:
    """Tell whether a store can be asked about this: anybody can make a cursor."""
    if isinstance(member, str):
        return len(member) <= MAX_TEXT and "\0" not in member
    return -MAX_NUMBER <= member <= MAX_NUMBER
