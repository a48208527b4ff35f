"""ETags: `"<version>-<epoch>"`, and what If-Match and If-None-Match say about them (RFC 9110, section 13)."""

import re

_TAG = re.compile(r'(W/)?"([^"]*)"')

UNMATCHABLE = (-1, "")
"""The version and epoch of no session: what an If-Match that can't be met asks for."""


def render_etag(version: int, epoch: str) -> str:
    return f'"{version}-{epoch}"'


def is_not_modified(if_none_match: str | None, etag: str) -> bool:
    """Tell whether the client has this representation already, by the weak comparison."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return any(f'"{opaque}"' == etag for _, opaque in _TAG.findall(if_none_match))


def parse_etags(if_match: str | None) -> list[tuple[int, str]]:
    """Return the versions and epochs an If-Match allows; empty where anything will do.

    Weak tags and tags that were never ours match nothing, by the strong comparison.
    """
    if if_match is None or if_match.strip() == "*":
        return []
    pairs = [_pair(opaque) for weak, opaque in _TAG.findall(if_match) if not weak]
    return [pair for pair in pairs if pair is not None] or [UNMATCHABLE]


def _pair(opaque: str) -> tuple[int, str] | None:
    version, dash, epoch = opaque.partition("-")
    if not dash or not version.isascii() or not version.isdigit() or len(version) > 15:
        return None
    return int(version), epoch
