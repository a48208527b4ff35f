"""Which form of an answer the client wants: the Accept header, read the way RFC 9110 (12.5.1) says."""

from collections.abc import Sequence

# Lines of JSON never got a registered name, and clients ask for them by several.
_KNOWN_AS = dict.fromkeys(("application/ndjson", "application/jsonl"), "application/x-ndjson")


def preferred_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """Return the media type of those offered that the client likes best; the first where it likes none of them."""
    if not accept:
        return offered[0]
    ranges = [_range(each) for each in accept.lower().split(",") if each.strip()]
    scored = [(_quality(media_type, ranges), -at, media_type) for at, media_type in enumerate(offered)]
    quality, _, best = max(scored)
    return best if quality > 0 else offered[0]


def _range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in text.split(";"))
    quality = 1.0
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                quality = min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                quality = 0.0
    return _KNOWN_AS.get(name, name), quality


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return how much a media type is liked, by the most specific range that takes it in."""
    group = media_type.partition("/")[0]
    for wanted in (media_type, f"{group}/*", "*/*"):
        found = [quality for name, quality in ranges if name == wanted]
        if found:
            return max(found)
    return 0.0
