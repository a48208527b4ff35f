# Generated from synckairos.wire.audience_display_json by `make python-client`. Do not edit.
"""An announcement as JSON values, and the parser of these values."""

from typing import Any

from synckairos_client.generated.clock.audience_display import Announcement, AnnouncementTone
from synckairos_client.generated.wire.instants import parse_instant_ms, render_instant


def announcement_json(announcement: Announcement) -> dict[str, Any]:
    """Return an announcement as JSON values. Members that are unset are absent."""
    value: dict[str, Any] = {
        "text": announcement.text,
        "tone": announcement.tone,
        "announced_at": render_instant(announcement.announced_at_ms),
    }
    if announcement.flashes:
        value["flash"] = True
    if announcement.until_ms is not None:
        value["until"] = render_instant(announcement.until_ms)
    return value


def parse_announcement(value: dict[str, Any]) -> Announcement:
    """Return the announcement that `announcement_json` rendered."""
    return Announcement(
        value["text"],
        parse_instant_ms(value["announced_at"]),
        AnnouncementTone(value["tone"]),
        value.get("flash", False),
        parse_instant_ms(value["until"]) if "until" in value else None,
    )
