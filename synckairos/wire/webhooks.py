"""Webhooks: what may be asked about them, and the messages themselves."""

from typing import Any

import orjson

from synckairos.wire.events import Happening, event_json
from synckairos.wire.instant import render_instant


def render_message(session_id: str, event: Happening) -> bytes:
    """Render what an endpoint is told of an event: `data` is the event as the trail shows it, and whose it is."""
    return _message(event.event_type, event.occurred_at_ms, {"session_id": session_id, **event_json(event)})


def render_test(event_type: str, at_ms: int, endpoint_id: str) -> bytes:
    """Render a message that only asks whether somebody is there."""
    return _message(event_type, at_ms, {"endpoint_id": endpoint_id})


def _message(kind: str, at_ms: int, data: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "timestamp": render_instant(at_ms), "data": data})
