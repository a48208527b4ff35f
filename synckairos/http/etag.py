"""ETags of the form `"<version>-<epoch>"`, and the headers If-Match and If-None-Match (RFC 9110, section 13)."""

import re

from synckairos.errors import ValidationFailed

_ENTITY_TAG = re.compile(r'(W/)?"([^"]*)"')

UNMATCHABLE = (-1, "")
"""Version and epoch of no session. They stand for an If-Match that no session can meet."""


def render_etag(version: int, epoch: str) -> str:
    return f'"{version}-{epoch}"'


def is_not_modified(if_none_match: str | None, etag: str) -> bool:
    """Return whether If-None-Match lists this ETag, so that the response is 304. Uses the weak comparison."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return any(f'"{opaque}"' == etag for _, opaque in _ENTITY_TAG.findall(if_none_match))


def parse_etags(if_match: str | None) -> list[tuple[int, str]]:
    """Return the versions and epochs that If-Match allows; an empty list allows every version.

    Uses the strong comparison: weak tags, and tags of another form, match no session. Raises ValidationFailed if the
    header is no list of quoted tags.
    """
    if if_match is None or if_match.strip() == "*":
        return []
    if not _is_tag_list(if_match):
        raise ValidationFailed.at("If-Match", 'should be *, or quoted values of ETag such as "3-<epoch>"')
    pairs = [_parse_opaque_tag(opaque) for weak, opaque in _ENTITY_TAG.findall(if_match) if not weak]
    return [pair for pair in pairs if pair is not None] or [UNMATCHABLE]


def _is_tag_list(header: str) -> bool:
    """Return whether a header is a list of entity tags; elements may be empty (RFC 9110, section 5.6.1)."""
    placeholder = "\0"  # a header cannot contain it
    elements = [each.strip() for each in _ENTITY_TAG.sub(placeholder, header).split(",")]
    return placeholder in elements and all(each in ("", placeholder) for each in elements)


def _parse_opaque_tag(opaque: str) -> tuple[int, str] | None:
    version, dash, epoch = opaque.partition("-")
    if not dash or not version.isascii() or not version.isdigit() or len(version) > 15:
        return None
    return int(version), epoch
