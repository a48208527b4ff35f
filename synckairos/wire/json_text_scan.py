"""Properties of JSON texts and values that are found by scans in C, without a step of Python for each value.

A body can have thousands of values. A loop over them takes milliseconds, in which the event loop waits.
"""

import re
from typing import Any

import orjson

SHORT_BYTES = 1_000
"""Bytes of a JSON text below which a loop over its values is faster than the scans."""

_MAX_PASSES = 8  # levels of objects up to which the members of objects are counted by scans

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_LONG_INTEGER = re.compile(rb"(?:^|,)-?(\d{16,})(?=,|$)")
_JSON_SPACE = b" \n\r\t"
_OPENING = bytes.maketrans(b"{}", b"[]")
_OTHER_BYTES = bytes(set(range(256)) - set(b"[]{}"))
_NO_OBJECT_BYTES = bytes(set(range(256)) - set(b"{}:"))


def is_exact(text: bytes, value: Any) -> bool:
    """Return whether every member and number of a JSON text is certainly in its parsed value.

    `value` is the result of `orjson.loads(text)`. The result is True for texts that `orjson` would render likewise,
    with or without spaces. It is False if a name is repeated in an object or an integer has more than 64 bits. It can
    also be False for other texts, for example because of escapes.
    """
    # The texts without spaces have the same tokens only if the same members are in both.
    try:
        rendered = orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False  # orjson parses more levels than it renders
    return rendered.translate(None, _JSON_SPACE) == text.translate(None, _JSON_SPACE)


def has_plain_values(text: bytes, max_integer: int, max_levels: int) -> bool:
    """Return whether a JSON text has no NUL, no integer beyond ±`max_integer` and at most `max_levels` levels.

    `text` is valid JSON, such as a result of `orjson.dumps`. `max_integer` has at least 16 digits. A level is an array
    or object; the outermost one is level 1.
    """
    # Without the escaped backslashes, each remaining backslash begins another escape.
    if b"\\u0000" in text.replace(b"\\\\", b""):
        return False
    structure = _without_strings(text)
    if any(int(digits) > max_integer for digits in _LONG_INTEGER.findall(structure.translate(None, b"[]{}:"))):
        return False
    return not _is_nested_deeper(structure, max_levels)


def is_nested_deeper(text: bytes, max_levels: int) -> bool:
    """Return whether a valid JSON text has more than `max_levels` levels of arrays and objects."""
    return _is_nested_deeper(_without_strings(text), max_levels)


def has_small_objects(text: bytes, max_members: int) -> bool:
    """Return whether each object in a valid JSON text certainly has at most `max_members` members.

    The result can be False for a text with small objects, if it has many levels of objects.
    """
    if text.count(b":") <= max_members:
        return True
    objects = _without_strings(text).translate(None, _NO_OBJECT_BYTES)
    innermost = re.compile(rb"\{:{0,%d}\}" % max_members)
    for _ in range(_MAX_PASSES):
        # Without the objects inside it, an object is its colons in braces.
        objects = innermost.sub(b"", objects)
        if not objects:
            return True
    return False


def _without_strings(text: bytes) -> bytes:
    """Return a valid JSON text without its strings."""
    if b"\\" not in text:
        return b"".join(text.split(b'"')[::2])
    return _STRING.sub(b"", text)


def _is_nested_deeper(structure: bytes, max_levels: int) -> bool:
    brackets = structure.translate(_OPENING, _OTHER_BYTES)
    for _ in range(max_levels):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")  # the innermost level of each nesting
    return bool(brackets)
