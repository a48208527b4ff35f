"""Selection of a response's media type by the request's `Accept` header (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence

# The format JSON lines has no registered media type, so clients use several names.
_ALIASES = dict.fromkeys(("application/ndjson", "application/jsonl"), "application/x-ndjson")


def preferred_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """Return the media type of `offered` that the client prefers. Among equally preferred types, return the first.

    `accept` is the header `Accept`. If it is None or empty, or accepts none of `offered`, return the first of
    `offered`.
    """
    if not accept:
        return offered[0]
    ranges = [_parse_range(each) for each in accept.lower().split(",") if each.strip()]
    scored = [(_quality(media_type, ranges), -index, media_type) for index, media_type in enumerate(offered)]
    quality, _, best = max(scored)
    return best if quality > 0 else offered[0]


def _parse_range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in text.split(";"))
    quality = 1.0
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                quality = min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                quality = 0.0
    return _ALIASES.get(name, name), quality


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the quality value of a media type, from the most specific matching range of the `Accept` header.

    Return 0 if no range matches.
    """
    group = media_type.partition("/")[0]
    for name in (media_type, f"{group}/*", "*/*"):
        found = [quality for range_name, quality in ranges if range_name == name]
        if found:
            return max(found)
    return 0.0
