"""Selection of the response's media type by the Accept header (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence

# JSON lines have no registered media type, and clients use several names for them.
_ALIASES = dict.fromkeys(("application/ndjson", "application/jsonl"), "application/x-ndjson")


def preferred_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """Return the offered media type that the client prefers, or the first one if the client accepts none of them."""
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
    """Return the quality value of a media type: that of the most specific range that includes it, or 0."""
    group = media_type.partition("/")[0]
    for name in (media_type, f"{group}/*", "*/*"):
        found = [quality for range_name, quality in ranges if range_name == name]
        if found:
            return max(found)
    return 0.0
