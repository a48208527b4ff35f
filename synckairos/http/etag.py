"""ETags of sessions, and parsers of `If-Match` and `If-None-Match` (RFC 9110).

An ETag has the form `"<version>-<epoch>"`, or `"<version>-<epoch>;<participant>"` for a view of one row.
"""

import re

from synckairos.errors import ValidationFailed

_ENTITY_TAG = re.compile(r'(W/)?"([^"]*)"')

UNMATCHABLE = (-1, "")
"""Version and epoch that no session has. Represents an `If-Match` header that matches no session."""


def render_etag(version: int, epoch: str, only: str | None = None) -> str:
    """Return the value of the header `ETag` for a version of a session, with its quotes.

    `only` is the participant whose row the response has alone, None if it has all rows. `If-Match` ignores it.
    """
    return f'"{version}-{epoch}"' if only is None else f'"{version}-{epoch};{only}"'


def is_not_modified(if_none_match: str | None, etag: str) -> bool:
    """Return whether the header `If-None-Match` is `*` or lists `etag`, so that the response must be 304.

    Uses weak comparison (RFC 9110, section 8.8.3.2). If `if_none_match` is None (no such header), return False.
    """
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return any(f'"{opaque}"' == etag for _, opaque in _ENTITY_TAG.findall(if_none_match))


def parse_if_match(if_match: str | None) -> list[tuple[int, str]]:
    """Return the pairs of version and epoch that the header `If-Match` allows.

    Return an empty list if every version is allowed: `if_match` is None (no such header) or `*`. Weak tags, and tags
    without version and epoch, match no session. If the header has only such tags, return one pair that no session has.

    Raises: ValidationFailed if the header is neither `*` nor a list of quoted tags.
    """
    if if_match is None or if_match.strip() == "*":
        return []
    if not _is_tag_list(if_match):
        raise ValidationFailed.at_path("If-Match", 'should be *, or quoted values of ETag such as "3-<epoch>"')
    pairs = [_parse_opaque_tag(opaque) for weak, opaque in _ENTITY_TAG.findall(if_match) if not weak]
    return [pair for pair in pairs if pair is not None] or [UNMATCHABLE]


def _is_tag_list(header: str) -> bool:
    """Return whether a header is a list of entity tags. Empty elements are allowed (RFC 9110, section 5.6.1)."""
    placeholder = "\0"  # a character that cannot occur in a header
    elements = [each.strip() for each in _ENTITY_TAG.sub(placeholder, header).split(",")]
    return placeholder in elements and all(each in ("", placeholder) for each in elements)


def _parse_opaque_tag(opaque: str) -> tuple[int, str] | None:
    version, dash, epoch = opaque.partition("-")
    if not dash or not version.isascii() or not version.isdigit() or len(version) > 15:
        return None
    return int(version), epoch.partition(";")[0]
