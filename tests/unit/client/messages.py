"""Messages of a server about one session, as a client receives them, and the versions of the session."""

from collections.abc import Iterator
from typing import Any

import orjson

from synckairos.clock import creation, engine
from synckairos.clock.model import Session
from synckairos.wire import document_merge_patch
from synckairos.wire.session_json import render_session
from tests.unit.clock.histories import Bytes, commands, draw_creation
from tests.unit.clock.script import T0


def history(tape: Bytes) -> Iterator[Session]:
    """Yield the states of a random history of a session."""
    spec = draw_creation(tape)
    state = creation.create(spec, "s", "e", T0).state
    yield state
    now_ms = T0
    for wait_ms, command, _ in commands(tape, 12, spec.plan):
        now_ms += wait_ms
        for transition in engine.apply(state, command, now_ms).all_transitions:
            state = transition.state
            if state.deleted:
                return
            yield state


def state_message(before: Session | None, after: Session) -> dict[str, Any]:
    """Return the message that leads from `before` to `after`: a delta if possible, else the full state."""
    document = render_session(after)
    message: dict[str, Any] = {"type": "STATE_SYNC", "epoch": after.epoch, "version": after.version}
    patch = (
        None
        if before is None
        else document_merge_patch.make_keyed_patch(
            document_merge_patch.parse_keyed_document(render_session(before)),
            document_merge_patch.parse_keyed_document(document),
        )
    )
    if before is None or patch is None:
        message["state"] = orjson.loads(document)
    else:
        message |= {"type": "STATE_DELTA", "from_version": before.version, "patch": patch}
    received: dict[str, Any] = orjson.loads(orjson.dumps(message))
    return received


def event(version: int, epoch: str = "e") -> dict[str, Any]:
    at = "2026-01-31T12:00:00.000Z"
    return {"type": "EVENT", "event_type": "time_warning", "version": version, "epoch": epoch, "at": at}
